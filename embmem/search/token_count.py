"""How many tokens a language model makes of a text, where its tokenizer is not at hand."""

from __future__ import annotations

import numpy as np

LETTERS_PER_TOKEN = 3
_IS_CAPITAL = np.isin(np.arange(256), list(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ"))
_IS_LETTER = _IS_CAPITAL | np.isin(np.arange(256), list(b"abcdefghijklmnopqrstuvwxyz"))
_IS_VOWEL = np.isin(np.arange(256), list(b"AEIOUaeiou"))


def estimate_tokens(text: str) -> int:
    """A number of tokens that the usual tokenizers seldom pass.

    A word (begun by a capital or after what is no letter) has a token for every three letters, begun or full, or as
    many as it has more consonants than vowels: letters without sense are cut into small pieces. Each digit, mark, line
    break and blank after a blank is one, and each byte beyond ASCII. Tokenizers need about one for four letters of
    English prose, so this is one and a half to two and a half times what they count there.
    """
    codes = np.frombuffer(text.encode("utf-8", "surrogatepass"), dtype=np.uint8)
    is_letter, is_blank = _IS_LETTER[codes], codes == ord(" ")
    n_others = int((~is_letter & ~(is_blank & ~_before(is_blank))).sum())
    starts = np.flatnonzero(is_letter & (_IS_CAPITAL[codes] | ~_before(is_letter)))
    if not len(starts):
        return n_others
    lengths = np.add.reduceat(is_letter.astype(np.int64), starts)
    vowels = np.add.reduceat(_IS_VOWEL[codes].astype(np.int64), starts)
    return n_others + int(np.maximum(-(-lengths // LETTERS_PER_TOKEN), lengths - 2 * vowels).sum())


def _before(mask: np.ndarray) -> np.ndarray:
    """The mask of the byte before each."""
    return np.append(np.zeros(1, bool), mask)[:-1]
