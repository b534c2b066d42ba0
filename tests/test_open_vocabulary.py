"""Open-vocabulary detectors from a folder, on tiny checkpoints with random weights: the loading and the way of a box
into the map are real, the meaning is not."""

from __future__ import annotations

import importlib
import importlib.util
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from box_room import walk

from embmem.cli.main import main
from embmem.detection.grounding_dino import GroundingDinoDetector
from embmem.detection.open_vocabulary import boxes_of
from embmem.detection.owlv2 import Owlv2Detector
from embmem.detection.perceive import BoxDetector, DetectedLabels
from embmem.detection.segments import Box
from embmem.errors import InputError, MissingExtraError
from embmem.maps import ObjectMemory, open_memory
from embmem.observation import Intrinsics, Observation
from embmem.recordings.rgbd_writer import write_rgbd_folder

pytestmark = [
    pytest.mark.filterwarnings("default"),  # torch and its friends warn about one another
    pytest.mark.skipif(
        any(importlib.util.find_spec(name) is None for name in ("torch", "transformers", "PIL")),
        reason="needs the extra vision",
    ),
]
LABELS = ["mug", "red chair"]
DETECTORS: dict[str, Any] = {"owlv2": Owlv2Detector, "grounding_dino": GroundingDinoDetector}
CAMERA = Intrinsics.from_fov(320, 240, 70.0)


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """No progress bar of the models that are saved here."""
    logging: Any = importlib.import_module("transformers.utils.logging")
    logging.disable_progress_bar()
    yield
    logging.enable_progress_bar()


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import tiny_detectors

    folder = tmp_path_factory.mktemp("models")
    for name in DETECTORS:
        save: Callable[[Path], None] = getattr(tiny_detectors, f"save_{name}")
        save(folder / name)
    return folder


@pytest.fixture(params=list(DETECTORS))
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def picture(width: int = 320, height: int = 240, seed: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_boxes_are_those_of_the_library(models: Path, kind: str) -> None:
    import torch

    transformers: Any = importlib.import_module("transformers")
    image = picture(60, 40)
    found = DETECTORS[kind](models / kind, LABELS, threshold=0.01).detect([image])[0]
    tokenizer = transformers.AutoTokenizer.from_pretrained(models / kind)
    processor = transformers.AutoImageProcessor.from_pretrained(models / kind, backend="pil")
    pixels = processor(images=[image], return_tensors="pt")
    network = transformers.AutoModelForZeroShotObjectDetection.from_pretrained(models / kind).eval()
    with torch.inference_mode():
        if kind == "owlv2":
            texts = tokenizer([f"a photo of a {label}" for label in LABELS], padding="max_length", return_tensors="pt")
            seen = network(**pixels, input_ids=texts["input_ids"], attention_mask=texts["attention_mask"])
            (said,) = processor.post_process_object_detection(seen, threshold=0.01, target_sizes=[(40, 60)])
            names = [LABELS[i] for i in said["labels"].tolist()]
        else:
            joined = transformers.GroundingDinoProcessor(processor, tokenizer)(text=[LABELS], return_tensors="pt")
            seen = network(**pixels, **joined)
            assert joined["input_ids"][0, [2, 5]].tolist() == [1012, 1012]  # [CLS] mug . red chair . [SEP]
            (said,) = processor.post_process_object_detection(seen, threshold=-1.0, target_sizes=[(40, 60)])
            by_label = seen.logits[0].sigmoid()[:, [1, 3, 4]]
            said["scores"], best = by_label.max(dim=1)
            names = [LABELS[min(i, 1)] for i in best.tolist()]
    order = np.argsort(-said["scores"].numpy(), kind="stable")
    edges = np.clip(said["boxes"].numpy()[order], 0, [60, 40, 60, 40]) - 0.5
    is_box = (edges[:, 2:] > edges[:, :2]).all(axis=1)
    assert [box.label for box in found] == [names[i] for i in order[is_box]]
    np.testing.assert_allclose([box.score for box in found], said["scores"].numpy()[order[is_box]], rtol=1e-5)
    ours = np.array([[box.left, box.top, box.right, box.bottom] for box in found])
    np.testing.assert_allclose(ours, edges[is_box], atol=1e-3)


def test_images_of_any_sizes_give_alone_and_together_the_same_boxes(models: Path, kind: str) -> None:
    images = [picture(60, 40), picture(60, 40, 4), picture(40, 60, 5), picture(60, 40, 6)]
    detector = DETECTORS[kind](models / kind, LABELS, threshold=0.05, batch_size=2)
    assert isinstance(detector, BoxDetector)
    together = detector.detect(images)
    for image, boxes in zip(images, together, strict=True):
        (alone,) = detector.detect([image])
        assert [box.label for box in alone] == [box.label for box in boxes]
        np.testing.assert_allclose([b.score for b in alone], [b.score for b in boxes], rtol=1e-4)
    assert detector.detect([]) == []
    with pytest.raises(ValueError, match="no pixels"):
        detector.detect([np.zeros((0, 3, 3), np.uint8)])


def scene(box: Box) -> tuple[np.ndarray, np.ndarray]:
    """(depth of a wall with something flat before it in the middle of the box, where in the camera frame that is)."""
    u, v = (box.left + box.right) / 2, (box.top + box.bottom) / 2
    rows, columns = np.indices((CAMERA.height, CAMERA.width))
    is_inside = np.abs(columns - u) <= 0.4 * (box.right - box.left)
    is_inside &= np.abs(rows - v) <= 0.4 * (box.bottom - box.top)
    depth = np.where(is_inside, 1.5, 3.0).astype(np.float32)
    return depth, 1.5 * np.array([(u - CAMERA.cx) / CAMERA.fx, (v - CAMERA.cy) / CAMERA.fy, 1.0])


@pytest.fixture(scope="module")
def grid(models: Path) -> Path:
    """OWLv2 without a box head, whose boxes are where its patches are."""
    import torch

    transformers: Any = importlib.import_module("transformers")
    folder = shutil.copytree(models / "owlv2", models / "grid")
    network = transformers.Owlv2ForObjectDetection.from_pretrained(folder)
    with torch.no_grad():
        network.box_head.dense2.weight.zero_()
        network.box_head.dense2.bias.zero_()
    network.save_pretrained(folder)
    return folder


def test_the_patches_of_a_network_without_a_box_head_are_where_we_know_them_to_be(grid: Path) -> None:
    boxes = Owlv2Detector(grid, LABELS, threshold=0.0).detect([picture()])[0]
    # 4 x 4 patches of a square of 320 pixels, of which the image fills the upper three rows; a patch is a box around
    # its lower right corner, and what reaches below the image is cut
    middles = {(c, r) for c in (80, 160, 240, 320) for r in (80, 160, 240)}
    edges = {tuple(np.clip([x - 40, y - 40, x + 40, y + 40], 0, [320, 240, 320, 240]) - 0.5) for x, y in middles}
    found = {tuple(np.round([b.left, b.top, b.right, b.bottom], 1)) for b in boxes}
    assert found == edges


def test_a_box_becomes_a_thing_of_the_map_where_it_is(models: Path, grid: Path, kind: str) -> None:
    image, folder = picture(), grid if kind == "owlv2" else models / kind
    boxes = DETECTORS[kind](folder, LABELS, threshold=0.0).detect([image])[0]
    first, second = boxes[0].score, boxes[1].score
    detector = DETECTORS[kind](folder, LABELS, threshold=(first + second) / 2)
    depth, position = scene(boxes[0])
    perceive, objects = DetectedLabels(detector), ObjectMemory()
    for stamp in range(3):
        objects.observe(perceive(Observation(float(stamp), np.eye(4), CAMERA, depth, image)))
    (thing,) = objects.things()
    assert objects.categories[thing["category"]] == boxes[0].label
    np.testing.assert_allclose(thing["position"], position, atol=0.1)


def test_scores_decide_and_boxes_are_cut_to_the_image() -> None:
    scores = np.array([[0.1, 0.9], [0.6, 0.5], [0.2, 0.1], [0.9, 0.9]], np.float32)
    middle = np.array([[0.5, 0.5, 0.5, 0.5], [0.0, 0.0, 0.2, 0.4], [0.5, 0.5, 1, 1], [np.nan, 0, 1, 1]], np.float32)
    found = boxes_of(scores, middle, LABELS, threshold=0.3, size=(100, 50), unit=(100.0, 50.0))
    assert [box.label for box in found] == ["red chair", "mug"]
    assert (found[0].left, found[0].top, found[0].right, found[0].bottom) == (24.5, 12.0, 74.5, 37.0)
    assert (found[1].left, found[1].top) == (-0.5, -0.5)
    np.testing.assert_allclose([found[1].right, found[1].bottom], [9.5, 9.5], atol=1e-5)


@pytest.mark.parametrize(
    ("labels", "settings", "message"),
    [
        ([], {}, "different words"), (["mug", " mug "], {}, "different words"), ([""], {}, "different words"),
        (["mug"], {"threshold": 1.5}, "threshold"), (["mug"], {"batch_size": 0}, "batch_size"),
    ],
)  # fmt: skip
def test_settings_that_make_no_sense_are_refused(
    models: Path, kind: str, labels: list[str], settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        DETECTORS[kind](models / kind, labels, **settings)


def test_labels_that_a_model_cannot_read_are_refused(models: Path) -> None:
    with pytest.raises(InputError, match="reads 16 tokens at most; 'a very long name of a thing' is longer"):
        Owlv2Detector(models / "owlv2", ["mug", "a very long name of a thing"])
    with pytest.raises(ValueError, match="template"):
        Owlv2Detector(models / "owlv2", ["mug"], template="a photo")
    with pytest.raises(ValueError, match=r"told apart by full stops.*'St\. Bernard'"):
        GroundingDinoDetector(models / "grounding_dino", ["mug", "St. Bernard"])
    with pytest.raises(InputError, match="reads 32 tokens at most, and the labels are 56"):
        GroundingDinoDetector(models / "grounding_dino", ["mug" + " mug" * i for i in range(9)])


def test_a_folder_that_holds_no_such_model_is_refused_in_one_line(models: Path, tmp_path: Path, kind: str) -> None:
    detector, other = DETECTORS[kind], next(name for name in DETECTORS if name != kind)
    with pytest.raises(InputError, match="there is no folder"):
        detector(tmp_path / "nothing", LABELS)
    with pytest.raises(InputError, match=r"holds a model of type '[a-z0-9-]+', not"):
        detector(models / other, LABELS)
    folder = shutil.copytree(models / kind, tmp_path / "broken")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"use_timm_backbone": True}))
    with pytest.raises(InputError, match="its backbone lies elsewhere"):
        detector(folder, LABELS)
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "preprocessor_config.json").unlink()
    for file in ("processor_config.json", "image_processor_config.json"):
        (folder / file).unlink(missing_ok=True)
    with pytest.raises(InputError, match="cannot be loaded") as raised:
        detector(folder, LABELS)
    assert str(folder) in str(raised.value)
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(InputError, match="can execute code"):
        detector(folder, LABELS)


def test_a_model_that_lacks_tensors_is_refused(models: Path, tmp_path: Path, kind: str) -> None:
    from safetensors.numpy import load_file, save_file

    folder = shutil.copytree(models / kind, tmp_path / "cut")
    tensors = load_file(folder / "model.safetensors")
    gone = sorted(name for name in tensors if "layernorm" in name.lower() or "layer_norm" in name)[0]
    save_file({name: t for name, t in tensors.items() if name != gone}, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(InputError, match="lacks 1 of the model's tensors"):
        DETECTORS[kind](folder, LABELS)


def test_without_the_extra_it_is_named(models: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import embmem.errors

    def absent(module: str, extra: str) -> Any:
        raise MissingExtraError(f"{module} is not available; install it with: pip install 'embmem[{extra}]'")

    for name in DETECTORS:
        monkeypatch.setattr(f"embmem.detection.{name}.import_extra", absent)
    monkeypatch.setattr(embmem.errors, "import_extra", absent)
    with pytest.raises(MissingExtraError, match=r"embmem\[vision\]"):
        DETECTORS[kind](models / kind, LABELS)


def test_a_build_looks_for_words_and_says_so_if_it_cannot_see_colours(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_rgbd_folder(walk(2), tmp_path / "room")
    words = ["perceive=owlv2", f"perceive.detector.path={models / 'owlv2'}", "perceive.detector.labels=[mug,red chair]"]
    command = ["build", str(tmp_path / "room"), *words, "perceive.detector.threshold=0.0", "report=false"]
    assert main([*command, f"out={tmp_path / 'grey.embmem'}"]) == 1
    error = capsys.readouterr().err
    assert "a detector needs to see colours: set colour=true" in error
    assert error.count("\n") == 1
    assert main([*command, f"out={tmp_path / 'room.embmem'}", "colour=true"]) == 0
    memory = open_memory(tmp_path / "room.embmem")
    assert {label for label in memory.layer(ObjectMemory).categories if label != "unlabelled"} & set(LABELS)
    capsys.readouterr()
    assert main([*command[:3], "perceive.detector.path=nowhere", f"out={tmp_path / 'no.embmem'}", "report=false"]) == 1
    assert capsys.readouterr().err.count("\n") == 1
