"""The encoder without weights: what its cosines mean, and that they are the same everywhere."""

from __future__ import annotations

import hashlib
import math
import subprocess
import sys
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embmem.encoders import HashingEncoder, TextEncoder
from embmem.sim_envs.house import LABELS

texts = st.lists(
    st.text(st.characters(), max_size=30) | st.lists(st.sampled_from(["red", "mug", "mugs", "a"])).map(" ".join)
)
GOLDEN = ["a red mug on the kitchen table", "Küche, 厨房 und Straße", "", "x" * 300, "the the the the mug"]
DIGEST = "869b1971a7f63c0f1617ed9890942fec12fc9db584f5abea62daac7eafe4e511"


def grams(text: str) -> dict[str, float]:
    """Every n-gram and its weight, in words and slices of strings."""
    folded = "".join(c if c.isalnum() else " " for c in text.lower())
    words = folded.split()
    counts = Counter({f"1 {word}": n for word, n in Counter(words).items()})
    counts += Counter(f"2 {a} {b}" for a, b in pairwise(words))
    for word in words:
        padded = f" {word} "
        counts += Counter(f"c {padded[i : i + n]}" for n in (3, 4, 5) for i in range(len(padded) - n + 1))
    scale = {"1": 1.0, "2": 0.5, "c": 0.5}
    return {gram: scale[gram[0]] * math.sqrt(n) for gram, n in counts.items()}


def cosine(a: dict[str, float], b: dict[str, float]) -> float:
    product = sum(value * b.get(gram, 0.0) for gram, value in a.items())
    return product / math.sqrt(sum(v * v for v in a.values()) * sum(v * v for v in b.values()))


sentences = st.lists(
    st.sampled_from(["the", "red", "mugs", "mug", "on", "a", "table,", "table-top", "3", "Kitchens"]), min_size=1
)


@given(sentences.map(" ".join), sentences.map(" ".join))
def test_the_cosine_is_that_of_the_full_n_gram_counts(a: str, b: str) -> None:
    first, second = HashingEncoder(1 << 18)([a, b])
    # With so many buckets only a few n-grams meet by chance.
    assert float(first @ second) == pytest.approx(cosine(grams(a), grams(b)), abs=0.02)


def test_in_few_buckets_the_cosine_errs_by_one_over_the_root_of_their_number_and_not_to_one_side() -> None:
    rng = np.random.default_rng(0)
    pairs = []
    for _ in range(400):
        vocabulary = ["".join(rng.choice(list("abcdefghijklmnop"), 6)) for _ in range(12)]  # new ones for each pair
        pairs.append([" ".join(rng.choice(vocabulary, 8)) for _ in range(2)])
    errors = [float(np.dot(*HashingEncoder()([a, b]))) - cosine(grams(a), grams(b)) for a, b in pairs]
    assert np.std(errors) < 1.3 / math.sqrt(384)
    assert abs(np.mean(errors)) < 4 * np.std(errors) / math.sqrt(len(errors))


@given(texts, st.sampled_from([1, 7, 384]))
def test_a_text_has_one_unit_vector_whatever_its_company(given: list[str], dim: int) -> None:
    encoder = HashingEncoder(dim)
    together = encoder(given)
    assert isinstance(encoder, TextEncoder)
    assert together.shape == (len(given), dim)
    assert together.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1.0, atol=1e-5)
    for text, vector in zip(given, together, strict=True):
        np.testing.assert_array_equal(encoder([text])[0], vector)


def test_many_and_long_texts_are_the_same_as_each_alone() -> None:
    encoder = HashingEncoder(64)
    given = [f"mug {i} " * (1 + 400 * (i % 50 == 0)) for i in range(300)] + ["sofa " * 30_000]
    np.testing.assert_array_equal(encoder(given), np.concatenate([encoder([text]) for text in given]))


def test_case_marks_and_spelling_variants_of_one_letter_do_not_matter() -> None:
    vectors = HashingEncoder()(["red mug", "  RED, mug!! ", "red_mug", "\uff32\uff25\uff24 mug"])
    assert (vectors == vectors[0]).all()
    composed = HashingEncoder()(["caf\u00e9 STRASSE", "cafe\u0301 straße"])
    assert (composed[0] == composed[1]).all()


def test_texts_without_a_word_are_alike_and_unlike_the_rest() -> None:
    vectors = HashingEncoder()(["", " ", "?!", "\n", "mug"])
    assert (vectors[:4] == vectors[0]).all()
    assert abs(float(vectors[0] @ vectors[4])) < 0.3


def test_order_of_words_and_endings_count_a_little() -> None:
    query, same, swapped, plural, other = HashingEncoder()(
        ["red mug table", "red mug table", "table mug red", "red mugs tables", "green sofa lamp"]
    )
    assert 1.0 > query @ swapped > query @ plural > 0.3 > abs(query @ other)
    assert query @ same == pytest.approx(1.0, abs=1e-6)


def test_a_misspelt_category_of_the_house_is_the_nearest_one() -> None:
    categories = [label for label in LABELS[5:] if len(label) >= 6]
    rng = np.random.default_rng(2)
    places = [int(rng.integers(1, len(name) - 2)) for name in categories]
    named = list(zip(categories, places, strict=True))
    misspelt = {
        "doubled": [name[:i] + name[i] + name[i:] for name, i in named],
        "left out": [name[:i] + name[i + 1 :] for name, i in named],
        "swapped": [name[:i] + name[i + 1] + name[i] + name[i + 2 :] for name, i in named],
    }
    encoder = HashingEncoder()
    found = {
        how: float(np.mean((encoder(names) @ encoder(categories).T).argmax(axis=1) == np.arange(len(categories))))
        for how, names in misspelt.items()
    }
    assert min(found["doubled"], found["left out"]) >= 0.95, found
    assert found["swapped"] >= 0.8, found


def digest() -> str:
    return hashlib.sha256(HashingEncoder()(GOLDEN).tobytes()).hexdigest()


def test_the_numbers_are_those_of_the_first_release_bit_for_bit() -> None:
    assert digest() == DIGEST


def test_the_numbers_do_not_depend_on_the_hash_seed_of_the_process() -> None:
    program = (
        "import hashlib; from embmem.encoders import HashingEncoder; "
        f"print(hashlib.sha256(HashingEncoder()({GOLDEN!r}).tobytes()).hexdigest())"
    )
    for seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": seed}
        )
        assert done.stdout.strip() == DIGEST


def test_a_size_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="dim"):
        HashingEncoder(0)
