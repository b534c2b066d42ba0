"""Weights on disk: what is written comes back, and nothing that is damaged does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embmem.errors import FileVersionError, InputError, OutputExistsError
from embmem.weights import load_weights, save_weights

ARRAYS = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.array([-0.5], dtype=np.float32)}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "w.safetensors"
    save_weights(path, ARRAYS, kind="embmem test", version=2, facts={"made_by": "hand"})
    return path


def test_what_is_written_comes_back(file: Path) -> None:
    arrays, facts = load_weights(file, kind="embmem test", version=2)
    assert {name: array.tolist() for name, array in arrays.items()} == {n: a.tolist() for n, a in ARRAYS.items()}
    assert facts["made_by"] == "hand"


def test_a_newer_file_and_one_of_another_kind_are_told_apart_from_a_damaged_one(file: Path) -> None:
    with pytest.raises(FileVersionError, match="version '2', this embmem reads up to 1"):
        load_weights(file, kind="embmem test", version=1)
    with pytest.raises(FileVersionError, match="no other thing"):
        load_weights(file, kind="embmem other thing", version=2)


def test_a_file_that_is_there_is_kept(file: Path) -> None:
    before = file.read_bytes()
    with pytest.raises(OutputExistsError):
        save_weights(file, {}, kind="embmem test", version=2, facts={})
    assert file.read_bytes() == before


def test_numbers_that_are_none_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "nan.safetensors"
    save_weights(path, {"a": np.array([np.nan])}, kind="embmem test", version=1, facts={})
    with pytest.raises(InputError, match="a is not of finite"):
        load_weights(path, kind="embmem test", version=1)


def test_a_cut_file_is_refused_wherever_it_was_cut(file: Path) -> None:
    data = file.read_bytes()
    for n in range(len(data)):
        file.write_bytes(data[:n])
        with pytest.raises(InputError):
            load_weights(file, kind="embmem test", version=2)


@given(at=st.floats(0, 1, exclude_max=True), flip=st.integers(1, 255))
def test_a_changed_byte_is_refused_or_changes_a_fact_alone(
    tmp_path_factory: pytest.TempPathFactory, at: float, flip: int
) -> None:
    path = tmp_path_factory.mktemp("changed") / "w.safetensors"
    save_weights(path, ARRAYS, kind="embmem test", version=2, facts={"made_by": "hand"})
    data = bytearray(path.read_bytes())
    data[int(at * len(data))] ^= flip
    path.write_bytes(data)
    try:
        arrays, _ = load_weights(path, kind="embmem test", version=9)
    except (InputError, FileVersionError):
        return
    assert {name: array.tolist() for name, array in arrays.items()} == {n: a.tolist() for n, a in ARRAYS.items()}
