"""What is typed after a command, as Hydra overrides: bare words, and points without brackets."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

_OVERRIDE = re.compile(r"[+~]{0,2}[\w./@:-]+=|~")
_NUMBER = r"\s*[-+]?[.\d][\w.+-]*\s*"
_POINT = re.compile(rf"(?P<key>[\w.]+)=(?P<numbers>{_NUMBER}(?:,{_NUMBER})+)")
_REFERENCE = re.compile(r"(\\*)\$\{")


def as_overrides(words: Iterable[str], positional: Sequence[str]) -> list[str]:
    """`room.embmem near=1,2,0` -> `file='room.embmem' near=[1,2,0]`.

    Args:
        words: as typed.
        positional: the settings that bare words stand for, in this order, those left out that are set by name; the
            last one may be a list of all that are left, "files...".

    Raises:
        ValueError: if there are more bare words than settings for them.
    """
    typed = list(words)
    named = {word.partition("=")[0] for word in typed if _OVERRIDE.match(word)}
    free = [name for name in positional if name.removesuffix("...") not in named]
    overrides: list[str] = []
    rest: list[str] = []
    for word in typed:
        if _OVERRIDE.match(word):
            point = _POINT.fullmatch(word)
            overrides.append(f"{point['key']}=[{point['numbers']}]" if point else word)
        elif free and free[0].endswith("..."):
            rest.append(_quoted(word))
        elif free:
            overrides.append(f"{free.pop(0)}={_quoted(word)}")
        else:
            raise ValueError(f"no setting is meant by {word!r}; say setting=value")
    return [*overrides, f"{free[0].removesuffix('...')}=[{','.join(rest)}]"] if rest else overrides


def _quoted(word: str) -> str:
    """The word as a string of Hydra's grammar in which nothing is an operator, an escape or a reference."""
    literal = _REFERENCE.sub(r"\1\1\\${", word)
    escaped = re.sub(r"(\\*)'", r"\1\1\\'", literal)
    tail = len(escaped) - len(escaped.rstrip("\\"))
    return f"'{escaped}{escaped[len(escaped) - tail :]}'"
