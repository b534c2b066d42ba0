"""Bare words on the command line: each arrives as it was typed, whatever Hydra's grammar makes of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embmem.cli.main import compose_config
from embmem.cli.words import as_overrides

TYPED = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1).filter(lambda word: "=" not in word)
NASTY = st.text(st.sampled_from(list("\\'\"${}[](),: ab~?")), min_size=1).filter(lambda word: word[0] not in "~+-")


@given(st.one_of(TYPED.filter(lambda word: word[0] not in "~-"), NASTY))
def test_a_bare_word_arrives_as_it_was_typed(word: str) -> None:
    config = compose_config("export", as_overrides([word], ["file"]))
    assert config.file == word


def test_bare_words_fill_the_settings_that_are_not_named() -> None:
    positional = ("file", "text")
    assert as_overrides(["a.embmem", "red mug"], positional) == ["file='a.embmem'", "text='red mug'"]
    assert as_overrides(["red mug", "file=a.embmem", "k=3"], positional) == ["text='red mug'", "file=a.embmem", "k=3"]
    with pytest.raises(ValueError, match="'here'"):
        as_overrides(["a", "b", "here"], positional)


@pytest.mark.parametrize(
    ("word", "override"),
    [
        ("near=1,2,0", "near=[1,2,0]"),
        ("near=-1.5, 2e-3,.5", "near=[-1.5, 2e-3,.5]"),
        ("near=[1,2,0]", "near=[1,2,0]"),
        ("radius=1", "radius=1"),
        ("formats=ply,png", "formats=ply,png"),
        ("entity='a,b'", "entity='a,b'"),
    ],
)
def test_points_need_no_brackets(word: str, override: str) -> None:
    assert as_overrides([word], ["file"]) == [override]
