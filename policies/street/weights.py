"""Weights of rankers on disk: one ranker a region of the city, each fitted without any route of its region."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from embmem.errors import InputError
from embmem.policies.street.candidates import Reach
from embmem.policies.street.features import EDITS, N_LENGTHS, PLACES, WAYS
from embmem.policies.street.ranking import Ranker
from embmem.weights import load_weights, save_weights

KIND, VERSION = "embmem street rankers", 1
PARTS = ("edits", "places", "ways", "lengths")


@dataclass(frozen=True, eq=False)
class RegionRankers:
    """Rankers with the middles of their regions; a walk belongs to the middle that its start is nearest to."""

    centres: Float[np.ndarray, "k 2"]  # [m]
    rankers: tuple[Ranker, ...]
    reach: Reach
    about: dict[str, Any]  # how they were made, JSON values

    def of(self, xy: Float[np.ndarray, "2"]) -> Ranker:
        """The ranker that has seen no route of the region around a start."""
        return self.rankers[int(np.linalg.norm(self.centres - xy, axis=1).argmin())]


def save_rankers(file: Path, made: RegionRankers) -> None:
    """Write the weights as float32, whole or not at all."""
    tensors = {"centres": made.centres}
    words: list[dict[str, list[str]]] = []
    for i, ranker in enumerate(made.rankers):
        words.append({"words": list(ranker.words), "openings": list(ranker.openings)})
        tensors |= {f"{i}.{part}": getattr(ranker, part) for part in PARTS}
    facts = {
        "columns": json.dumps([EDITS, PLACES, WAYS]),
        "words": json.dumps(words),
        "reach": json.dumps(asdict(made.reach)),
        "about": json.dumps(made.about),
    }
    save_weights(file, tensors, kind=KIND, version=VERSION, facts=facts, overwrite=True)


@lru_cache(maxsize=8)
def load_rankers(file: Path) -> RegionRankers:
    """What `save_rankers` wrote.

    Raises:
        InputError: if the file is missing, damaged, or does not fit together.
        FileVersionError: if it is of another kind or newer.
    """
    tensors, facts = load_weights(file, kind=KIND, version=VERSION)
    try:
        if json.loads(facts["columns"]) != [list(EDITS), list(PLACES), list(WAYS)]:
            raise InputError(f"{file}: made for other features; fit it again, see docs/streets.md")
        words = json.loads(facts["words"])
        rankers = tuple(_ranker(tensors, i, own) for i, own in enumerate(words))
        centres = tensors["centres"].astype(float)
        if centres.shape != (len(rankers), 2) or not rankers:
            raise InputError(f"{file}: {len(rankers)} rankers, {centres.shape} centres")
        return RegionRankers(centres, rankers, Reach(**json.loads(facts["reach"])), json.loads(facts["about"]))
    except (KeyError, ValueError, TypeError, RecursionError) as error:
        raise InputError(f"{file}: no weights of street rankers ({error})") from error


def _ranker(tensors: dict[str, np.ndarray], i: int, own: dict[str, list[str]]) -> Ranker:
    words, openings = ({word: j for j, word in enumerate(own[key])} for key in ("words", "openings"))
    parts = {part: tensors[f"{i}.{part}"].astype(float) for part in PARTS}
    shapes = {
        "edits": (len(EDITS),),
        "places": (len(PLACES), len(words) + 1),
        "ways": (len(WAYS), len(openings) + 1),
        "lengths": (N_LENGTHS,),
    }
    for part, shape in shapes.items():
        if parts[part].shape != shape or not np.isfinite(parts[part]).all():
            raise ValueError(f"{part} of ranker {i} must be finite and {shape}, got {parts[part].shape}")
    return Ranker(words, openings, **parts)
