"""Strings of the world inside a prompt: what cannot be read as anything but a quoted string."""

from __future__ import annotations

import json
import unicodedata
from typing import Any

_AMBIGUOUS = frozenset("<>`")  # tags and code fences, also in their wide and small forms
# Letters and marks that show nothing (Unicode: default ignorable) can carry hidden text; U+2800 is a blank.
_FILLERS = (0x34F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x2800, 0x3164, 0xFFA0)
_SELECTORS = (range(0x180B, 0x1810), range(0xFE00, 0xFE10), range(0xE0100, 0xE01F0))
_INVISIBLE = frozenset(_FILLERS).union(*_SELECTORS)


def quote(value: Any, limit: int | None = None) -> str:
    """The value as JSON on one line that holds no tag, code fence, control, format, private or invisible character.

    Such characters are escaped, so that a JSON reader gives the value back. A string longer than `limit` is cut and
    ends with an ellipsis.
    """
    if limit is not None and len(value) > limit:
        value = value[: limit - 1] + "…"
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).translate(_ESCAPES)


def is_plain(char: str) -> bool:
    """Whether a character shows: no control, format, private or invisible one, and of blanks only the space."""
    return (char == " " or unicodedata.category(char)[0] not in "CZ") and ord(char) not in _INVISIBLE


class _Escapes(dict[int, str]):
    """For `str.translate`: each character, or a JSON escape of it where it may mislead. Filled as they are met."""

    def __missing__(self, code: int) -> str:
        char = chr(code)
        is_safe = is_plain(char) and not _AMBIGUOUS & set(unicodedata.normalize("NFKC", char))
        pair = char.encode("utf-16-be", "surrogatepass").hex()
        self[code] = char if is_safe else "".join(f"\\u{pair[i : i + 4]}" for i in range(0, len(pair), 4))
        return self[code]


_ESCAPES = _Escapes()
