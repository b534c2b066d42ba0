"""`embmem train`: goes on where it was interrupted, bit for bit, and refuses what does not fit."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("lightning_fabric")
pytest.importorskip("tensorboardX")

from safetensors.numpy import load, save  # noqa: E402

from embmem.cli.main import main  # noqa: E402
from embmem.policies.learned.checkpoints import load_policy  # noqa: E402

TINY = [
    "train.world.n=4", "train.world.size=4", "train.world.n_landmarks=3", "train.world.tour=4", "train.world.steps=4",
    "train.shape.width=8", "train.learner.iterations=4", "train.learner.updates=1", "train.learner.batch=4",
    "train.learner.window=2",
]  # fmt: skip
TINY_VIEWS = [
    "train=image_goal", "train.world.n=4", "train.world.size=3", "train.world.steps=4", "train.shape.width=8",
    "train.learner.iterations=4",
]  # fmt: skip


def weights(path: Path) -> dict[str, Any]:
    return dict(load_policy(path)[0].state_dict())


def scalars(folder: Path) -> list[tuple[str, int, float]]:
    """(name, step, value) of TensorBoard's event files, read as its format is written down: length, two checksums."""
    event_pb2 = pytest.importorskip("tensorboardX.proto.event_pb2")
    found = []
    for path in sorted(folder.iterdir()):
        data, at = path.read_bytes(), 0
        while at < len(data):
            (length,) = struct.unpack_from("<Q", data, at)
            event = event_pb2.Event.FromString(data[at + 12 : at + 12 + length])
            found += [(value.tag, event.step, value.simple_value) for value in event.summary.value]
            at += length + 16
    return found


@pytest.mark.parametrize(
    "settings", [TINY, [*TINY, "train.shape.memory=recurrent"], TINY_VIEWS], ids=["attention", "recurrent", "views"]
)
def test_an_interrupted_training_ends_with_the_same_weights(settings: list[str], tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole.safetensors", tmp_path / "parts.safetensors"
    assert main(["train", *settings, f"out={whole}"]) == 0
    assert main(["train", *settings, f"out={parts}", "stop_at=2"]) == 0
    assert not parts.exists()
    assert main(["train", *settings, f"out={parts}"]) == 0
    a, b = weights(whole), weights(parts)
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["parts.safetensors", "whole.safetensors"]


def test_other_settings_do_not_go_on_from_that_state(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "a.safetensors"
    assert main(["train", *TINY, f"out={out}", "stop_at=2"]) == 0
    state = tmp_path / "a.safetensors.state0"
    before = state.read_bytes()
    assert main(["train", *TINY, f"out={out}", "seed=1"]) == 1
    assert "other settings" in capsys.readouterr().err
    assert state.read_bytes() == before
    state.write_bytes(before[:100])
    assert main(["train", *TINY, f"out={out}"]) == 1
    assert "damaged" in capsys.readouterr().err
    tensors, told = load(before), json.loads(before[8 : 8 + struct.unpack_from("<Q", before)[0]])["__metadata__"]
    state.write_bytes(save({**tensors, "network.actions.bias": np.zeros(9, np.float32)}, metadata=told))
    assert main(["train", *TINY, f"out={out}"]) == 1
    assert "does not fit" in capsys.readouterr().err
    assert not out.exists()


def test_a_training_that_diverges_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "a.safetensors"
    assert main(["train", *TINY, "train.learner.rate=1e30", f"out={out}", "save_every=1"]) == 1
    assert "diverged" in capsys.readouterr().err
    assert not out.exists()
    for path in tmp_path.iterdir():
        assert all(np.isfinite(array).all() for array in load(path.read_bytes()).values())


def test_metrics_are_written_for_tensorboard_and_the_file_says_how_it_was_made(tmp_path: Path) -> None:
    out = tmp_path / "a.safetensors"
    assert main(["train", *TINY, f"out={out}", "seed=4", f"log={tmp_path / 'log'}"]) == 0
    told = scalars(tmp_path / "log")
    assert {name for name, _, _ in told} == {"loss", "success", "cpu_seconds"}
    assert sorted(step for name, step, _ in told if name == "loss") == list(range(4))
    assert all(np.isfinite(value) for _, _, value in told)
    made_by = load_policy(out)[1]
    assert (made_by["seed"], made_by["train"]["learner"]["iterations"]) == (4, 4)
    assert made_by["metrics"]["loss"] == pytest.approx(next(v for n, s, v in told if (n, s) == ("loss", 3)))


def test_mixed_precision_trains_on_a_cpu_too(tmp_path: Path) -> None:
    out = tmp_path / "a.safetensors"
    assert main(["train", *TINY, f"out={out}", "precision=bf16-mixed"]) == 0
    assert all(torch.isfinite(tensor).all() for tensor in weights(out).values())


@pytest.mark.parametrize(
    ("wrong", "status", "what"),
    [
        (["train.learner.rate=-1.0"], 1, "rate above 0"),
        (["train.shape.memory=elephant"], 1, "elephant"),
        (["train=juggling"], 2, "juggling"),
        (["save_every=0"], 1, "save_every"),
        (["threads=0"], 1, "threads"),
        (["precision=3-bit"], 1, "3-bit"),
        (["accelerator=abacus"], 1, "abacus"),
        (["seed=abc"], 2, "seed must be a whole number"),
    ],
)
def test_wrong_settings_are_one_line(
    wrong: list[str], status: int, what: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", f"out={tmp_path / 'a.safetensors'}", *wrong]) == status
    error = capsys.readouterr().err
    assert what in error
    assert error.count("\n") == 1


def test_a_file_that_is_there_is_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.safetensors").write_text("mine")
    assert main(["train", *TINY, f"out={tmp_path / 'a.safetensors'}"]) == 1
    assert "exists" in capsys.readouterr().err
    assert (tmp_path / "a.safetensors").read_text() == "mine"
    (tmp_path / "folder").mkdir()
    assert main(["train", *TINY, f"out={tmp_path / 'folder'}", "overwrite=true"]) == 1  # told before it is trained
    assert capsys.readouterr().err.count("exists") == 1
