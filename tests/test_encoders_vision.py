"""Encoders loaded from a folder, on tiny checkpoints with random weights: the loading is real, the meaning not.

They hold what the libraries compute, and that a folder is opened without running anything in it.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from box_room import MUG, walk
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from embmem.encoders import (
    ImageEncoder,
    ImageTextEncoder,
    SegmentEmbeddings,
    SentenceEncoder,
    TextEncoder,
    ViewEncoder,
    image_encoder,
)
from embmem.encoders.checkpoints import loading, model_folder
from embmem.errors import InputError, MissingExtraError
from embmem.maps import VoxelMap
from embmem.maps.voxels.meaning.payload import Payload
from embmem.maps.voxels.meaning.prototypes import PrototypeTable
from embmem.maps.voxels.meaning.semantic import Search
from embmem.memory import Memory
from embmem.records import Query
from embmem.testing import wall_ahead

# torch and its friends warn about one another
pytestmark = pytest.mark.filterwarnings("default")
needs_models = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("torch", "transformers", "sentence_transformers")),
    reason="needs the extras text and vision",
)
TEXTS = ["red mug", "MUG, 3 of them", "", "a sofa in a very long sentence that no longer fits into sixteen tokens"]


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """No progress bar of the models that are saved here."""
    if importlib.util.find_spec("transformers") is None:
        yield
        return
    logging: Any = importlib.import_module("transformers.utils.logging")
    logging.disable_progress_bar()
    yield
    logging.enable_progress_bar()


@pytest.fixture(scope="module", params=["clip", "siglip", "siglip_with_sentencepiece"])
def checkpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    if request.param.endswith("sentencepiece"):
        pytest.importorskip("sentencepiece", reason="needs sentencepiece, which the extra vision brings")
        pytest.importorskip("google.protobuf", reason="needs protobuf, which the extra vision brings")
    import tiny_models

    folder: Path = tmp_path_factory.mktemp("models") / request.param
    save: Callable[[Path], None] = getattr(tiny_models, f"save_{request.param}")
    save(folder)
    return folder


def images(*sizes: tuple[int, int]) -> list[np.ndarray]:
    rng = np.random.default_rng(4)
    return [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes]


def prepared(image: np.ndarray, kind: str) -> np.ndarray:
    """(3, 24, 24) what the network is fed: with Pillow and numpy only."""
    height, width = image.shape[:2]
    size = (24, 24)
    if kind == "clip":  # the shorter side to 24, then the middle
        short = min(height, width)
        size = (int(24 * width / short), int(24 * height / short))
    pixels = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC), np.float32) / 255.0
    top, left = (pixels.shape[0] - 24) // 2, (pixels.shape[1] - 24) // 2
    mean = np.array([0.48145466, 0.4578275, 0.40821073] if kind == "clip" else [0.5] * 3)
    spread = np.array([0.26862954, 0.26130258, 0.27577711] if kind == "clip" else [0.5] * 3)
    middle = (pixels[top : top + 24, left : left + 24] - mean) / spread
    return middle.transpose(2, 0, 1).astype(np.float32)


@needs_models
def test_vectors_are_those_of_the_network_run_by_hand(checkpoint: Path) -> None:
    import torch

    transformers: Any = importlib.import_module("transformers")
    encoder = ImageTextEncoder(checkpoint, batch_size=2, template="a photo of a {}")
    assert isinstance(encoder, TextEncoder)
    assert isinstance(encoder, ImageEncoder)
    kind = checkpoint.name.split("_")[0]
    tokenizer = transformers.AutoTokenizer.from_pretrained(checkpoint)
    given = images((40, 30), (24, 24), (100, 31))
    with torch.inference_mode():
        if kind == "clip":
            network = transformers.CLIPModel.from_pretrained(checkpoint).eval()
            ids = [tokenizer(f"a photo of a {t.lower()}", truncation=True, max_length=16)["input_ids"] for t in TEXTS]
            text = (
                torch.cat([network.text_model(torch.tensor([i])).pooler_output for i in ids])
                @ network.text_projection.weight.T
            )
            pixels = torch.tensor(np.stack([prepared(image, kind) for image in given]))
            seen = network.vision_model(pixels).pooler_output @ network.visual_projection.weight.T
        else:
            network = transformers.SiglipModel.from_pretrained(checkpoint).eval()
            full = [tokenizer(f"a photo of a {t.lower()}", truncation=True, max_length=16)["input_ids"] for t in TEXTS]
            ids = [i + [tokenizer.pad_token_id] * (16 - len(i)) for i in full]
            text = network.text_model(torch.tensor(ids)).pooler_output
            seen = network.vision_model(
                torch.tensor(np.stack([prepared(image, kind) for image in given]))
            ).pooler_output
    np.testing.assert_allclose(encoder(TEXTS), unit(text.numpy()), atol=1e-5)
    np.testing.assert_allclose(encoder.encode_images(given), unit(seen.numpy()), atol=1e-5)


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@needs_models
def test_texts_and_images_have_unit_vectors_of_one_length_whatever_their_company(checkpoint: Path) -> None:
    encoder = ImageTextEncoder(checkpoint, batch_size=3)
    given = images((9, 50), (24, 24), (1, 1), (64, 48))
    encode: Sequence[tuple[Callable[[list[Any]], np.ndarray], list[Any]]] = [(encoder, TEXTS)]
    for embed, items in (*encode, (encoder.encode_images, given)):
        together = embed(items)
        assert together.shape == (4, encoder.dim)
        assert together.dtype == np.float32
        np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1.0, atol=1e-5)
        np.testing.assert_allclose(together, np.concatenate([embed([item]) for item in items]), atol=1e-5)
    assert encoder([]).shape == encoder.encode_images([]).shape == (0, encoder.dim)
    with pytest.raises(ValueError, match="no pixels"):
        encoder.encode_images([np.zeros((0, 4, 3), np.uint8)])


@needs_models
def test_weights_kept_in_half_precision_are_computed_with_in_full(checkpoint: Path, tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    half = tmp_path / "half"
    half.mkdir()
    for file in checkpoint.iterdir():
        (half / file.name).write_bytes(file.read_bytes())
    tensors = {name: tensor.astype(np.float16) for name, tensor in load_file(checkpoint / "model.safetensors").items()}
    save_file(tensors, half / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((half / "config.json").read_text())
    (half / "config.json").write_text(json.dumps({**config, "dtype": "float16"}))
    given = images((40, 30))
    np.testing.assert_allclose(
        ImageTextEncoder(half).encode_images(given), ImageTextEncoder(checkpoint).encode_images(given), atol=5e-3
    )
    network: Any = ImageTextEncoder(half)._model
    assert str(network.dtype) == "torch.float32"


@needs_models
@pytest.mark.parametrize("wrong", [{"batch_size": 0}, {"template": "a photo"}])
def test_senseless_settings_are_refused(tmp_path: Path, wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="template"):
        ImageTextEncoder(tmp_path, **wrong)  # type: ignore[arg-type]


@needs_models
def test_a_folder_that_is_not_a_whole_model_is_refused_with_what_is_wrong(tmp_path: Path) -> None:
    import tiny_models
    from safetensors.numpy import load_file, save_file

    whole = tmp_path / "clip"
    tiny_models.save_clip(whole)

    def spoilt(name: str, change: Callable[[Path], object]) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        for file in whole.iterdir():
            (folder / file.name).write_bytes(file.read_bytes())
        change(folder)
        return folder

    def without_a_tensor(folder: Path) -> None:
        tensors = load_file(folder / "model.safetensors")
        del tensors["visual_projection.weight"]
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})

    def with_type(kind: str) -> Callable[[Path], object]:
        return lambda f: (f / "config.json").write_text(json.dumps({"model_type": kind}))

    spoils: dict[str, Callable[[Path], object]] = {
        "config.json is missing": lambda f: (f / "config.json").unlink(),
        "no \\*.safetensors": lambda f: (f / "model.safetensors").unlink(),
        "only as pytorch_model.bin": lambda f: (f / "model.safetensors").rename(f / "pytorch_model.bin"),
        "cannot be read as JSON": lambda f: (f / "config.json").write_text("{"),
        "must hold a JSON dict": lambda f: (f / "config.json").write_text("[]"),
        "of type 'bert'": with_type("bert"),
        "lacks 1 of": without_a_tensor,
        "cannot be loaded": lambda f: (f / "model.safetensors").write_bytes(b"\xff" * 100),
        "cannot be loaded: OSError": lambda f: (f / "preprocessor_config.json").unlink(),
        "cannot be loaded: JSONDecodeError": lambda f: (f / "tokenizer.json").write_text("{"),
    }
    for i, (message, change) in enumerate(spoils.items()):
        with pytest.raises(InputError, match=message):
            ImageTextEncoder(spoilt(str(i), change))
    with pytest.raises(InputError, match="there is no folder"):
        ImageTextEncoder(tmp_path / "elsewhere")


@pytest.fixture(scope="module")
def sentences(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if importlib.util.find_spec("sentence_transformers") is None:
        pytest.skip("needs the extra text")
    import tiny_models

    folder: Path = tmp_path_factory.mktemp("sentences") / "tiny"
    tiny_models.save_sentence_encoder(folder)
    return folder


def test_a_sentence_is_the_mean_over_the_tokens_of_its_network(sentences: Path) -> None:
    import torch

    transformers: Any = importlib.import_module("transformers")
    encoder = SentenceEncoder(sentences)
    network = transformers.AutoModel.from_pretrained(sentences / "base").eval()
    ids = [[2, 7, 5, 3], [2, 6, 3]]  # [CLS] red mug [SEP], [CLS] sofa [SEP]
    with torch.inference_mode():
        expected = [network(torch.tensor([i])).last_hidden_state.mean(dim=1)[0].numpy() for i in ids]
    np.testing.assert_allclose(encoder(["red mug", "sofa"]), unit(np.stack(expected)), atol=1e-5)
    assert encoder.dim == 16
    assert encoder([]).shape == (0, 16)


def test_a_sentence_encoder_with_code_of_its_own_or_pickled_parts_is_refused(sentences: Path, tmp_path: Path) -> None:
    proof = tmp_path / "was_run"
    (sentences / "evil.py").write_text(f"open({str(proof)!r}, 'w')\n")
    modules = sentences / "modules.json"
    before = modules.read_text()
    listed = json.loads(before)
    try:
        modules.write_text(json.dumps([*listed, {"idx": 2, "name": "2", "path": "", "type": "evil.Evil"}]))
        with pytest.raises(InputError, match=r"evil\.Evil"):
            SentenceEncoder(sentences)
        part = sentences / "2_Dense"
        part.mkdir()
        (part / "pytorch_model.bin").write_bytes(b"\x80\x04.")
        dense = {"idx": 2, "name": "2", "path": "2_Dense", "type": "sentence_transformers.models.Dense"}
        modules.write_text(json.dumps([*listed, dense]))
        with pytest.raises(InputError, match="as a pickle"):
            SentenceEncoder(sentences)
        modules.write_text("[1]")
        with pytest.raises(InputError, match="as objects"):
            SentenceEncoder(sentences)
    finally:
        modules.write_text(before)
    assert not proof.exists()


def test_a_package_without_a_model_and_a_folder_that_is_not_there_are_told_apart() -> None:
    pytest.importorskip("sentence_transformers")
    with pytest.raises(InputError, match="carries no model"):
        SentenceEncoder("json")
    with pytest.raises(InputError, match="there is no folder"):
        SentenceEncoder("./no such folder")
    with pytest.raises(MissingExtraError, match=r"embmem\[text\]"):
        SentenceEncoder("no_such_package")


def test_without_the_extra_the_error_names_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingExtraError, match=r"embmem\[vision\]"):
        ImageTextEncoder(tmp_path)


@needs_models
def test_a_model_that_needs_another_library_names_the_extra(tmp_path: Path) -> None:
    with pytest.raises(MissingExtraError, match=r"sentencepiece.*embmem\[vision\]"), loading(tmp_path, "vision"):
        raise ImportError("it requires sentencepiece")


def test_a_model_is_recognised_by_its_files_alone(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(InputError, match=r"no \*\.safetensors"):
        model_folder(tmp_path)
    (tmp_path / "weights.ckpt").touch()
    with pytest.raises(InputError, match=r"weights\.ckpt"):
        model_folder(tmp_path)
    (tmp_path / "model.safetensors").touch()
    assert model_folder(str(tmp_path)) == tmp_path


class Seen:
    """The crops it was shown, and a vector that tells their number."""

    def __init__(self) -> None:
        self.crops: list[np.ndarray] = []

    def encode_images(self, images: Sequence[np.ndarray]) -> np.ndarray:
        self.crops += images
        return np.eye(8, dtype=np.float32)[: len(images)]


@given(st.integers(0, 10**6), st.integers(1, 30), st.sampled_from([0.0, 0.1, 3.0]))
def test_each_large_segment_gets_the_vector_of_its_bounding_box(seed: int, min_pixels: int, margin: float) -> None:
    rng = np.random.default_rng(seed)
    frame = wall_ahead()
    instance: np.ndarray = np.zeros(np.asarray(frame.instance).shape, np.int32)
    for number in rng.choice([-1, 3, 4, 70_000], 3):
        top, left = rng.integers(0, instance.shape)
        instance[top : top + rng.integers(1, 9), left : left + rng.integers(1, 9)] = number
    rgb = rng.integers(0, 256, (*instance.shape, 3), dtype=np.uint8)
    seen = Seen()
    embedded = SegmentEmbeddings(seen, min_pixels=min_pixels, margin=margin)(replace(frame, instance=instance, rgb=rgb))
    large = [n for n in (3, 4, 70_000) if (instance == n).sum() >= min_pixels]
    assert list(embedded.embeddings or {}) == large
    for i, number in enumerate(large):
        rows, columns = np.nonzero(instance == number)
        inside = np.zeros(instance.shape, bool)
        inside[span(rows, margin, instance.shape[0]), span(columns, margin, instance.shape[1])] = True
        np.testing.assert_array_equal(seen.crops[i].reshape(-1, 3), rgb[inside])
        assert (embedded.embeddings or {})[number].argmax() == i


def span(along: np.ndarray, margin: float, size: int) -> slice:
    low, high = int(along.min()), int(along.max()) + 1
    border = int(np.ceil(margin * (high - low)))
    return slice(max(low - border, 0), min(high + border, size))


def test_frames_without_colours_or_segments_or_with_vectors_stay_as_they_are() -> None:
    seen, frame = Seen(), wall_ahead()
    rgb = np.zeros((*np.asarray(frame.instance).shape, 3), np.uint8)
    embed = SegmentEmbeddings(seen)
    given = {1: np.ones(3, np.float32)}
    for same in (
        replace(frame, rgb=None),
        replace(frame, rgb=rgb, instance=None),
        replace(frame, rgb=rgb, embeddings=given),
    ):
        assert embed(same) is same
    assert embed(replace(frame, rgb=rgb, instance=np.zeros_like(frame.instance))).embeddings == {}
    assert not seen.crops
    wrongs: list[dict[str, Any]] = [{"min_pixels": 0}, {"margin": -0.1}, {"margin": np.inf}]
    for wrong in wrongs:
        with pytest.raises(ValueError, match="margin"):
            SegmentEmbeddings(seen, **wrong)


@needs_models
def test_a_map_takes_the_vectors_of_crops_and_is_asked_in_words_of_the_same_space(checkpoint: Path) -> None:
    encoder = ImageTextEncoder(checkpoint)
    embed = SegmentEmbeddings(encoder, min_pixels=20)
    payload = Payload(["labels", "prototype"], prototypes=PrototypeTable(encoder.dim))
    voxels = VoxelMap(0.1, payload=payload, search=Search(encoder=encoder))
    looks = []
    for frame in walk(12):
        seen = embed(frame)
        looks += list((seen.embeddings or {}).values())
        voxels.observe(seen)
    best = voxels.query(Query(embedding=looks[0]))[0]
    assert best.entity == "mug"  # the only segment of these frames
    assert best.position is not None
    assert np.linalg.norm(best.position - MUG) < 0.3
    by_vector = voxels.query(Query(embedding=encoder(["mug"])[0]))
    assert [hit.score for hit in voxels.query(Query(text="mug"))] == [hit.score for hit in by_vector]


@needs_models
def test_a_folder_names_the_encoder_of_views(checkpoint: Path) -> None:
    encoder = image_encoder(str(checkpoint))
    assert isinstance(encoder, ImageTextEncoder)
    memory = Memory([], encode_view=ViewEncoder(encoder))
    rng = np.random.default_rng(0)
    frames = [replace(f, rgb=rng.integers(0, 256, (48, 64, 3), dtype=np.uint8)) for f in walk(4)]
    for frame in frames:
        memory.observe(frame)
    assert frames[2].rgb is not None
    (picture,) = encoder.encode_images([frames[2].rgb])
    best = memory.query(Query(kind="view", embedding=picture, k=1))[0]
    assert best.stamp == frames[2].stamp
    assert best.detail["cosine"] == pytest.approx(1.0, abs=2e-3)
