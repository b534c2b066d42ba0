"""MEMENTO's episodes: what somebody asks for, in which home, and which earlier episodes told what it takes."""

from __future__ import annotations

import gzip
import json
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from embmem.errors import InputError

TYPES = ("object_semantics", "user_pattern", "combined")
MAX_BYTES = 256 * 2**20  # of an unpacked file; the public ones have 20 MB


@dataclass(frozen=True)
class MementoEpisode:
    """One episode of a stage.

    In the acquisition stage the instruction tells something about its user ("the vase was a gift"); the utilisation
    stages ask for it in the user's words only ("the gift vase"), and `related` names the episodes that told it.
    """

    id: str
    home: str  # the scene
    instruction: str
    type: str  # one of TYPES
    memory: tuple[str, ...]  # what is to be learned, as the authors annotated it: a label, never a document
    related: tuple[str, ...]  # ids of the other stage
    categories: tuple[str, ...]  # of the target objects


def read_memento(path: Path) -> list[MementoEpisode]:
    """The episodes of a `.json.gz` (or `.json`) file, in its order.

    Raises:
        InputError: if the file is missing, is not that of MEMENTO, or an episode of it is malformed.
    """
    try:
        episodes = json.loads(_text(path))["episodes"]
    except (OSError, EOFError, zlib.error, ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(f"{path} is not a file of MEMENTO's episodes: {error!r}") from error
    if not isinstance(episodes, list):
        raise InputError(f"{path} must hold a list of episodes, got {type(episodes).__name__}")
    read = [_episode(path, i, each) for i, each in enumerate(episodes)]
    if len({episode.id for episode in read}) < len(read):
        raise InputError(f"{path} holds two episodes of one id")
    return read


def _text(path: Path) -> str:
    with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise InputError(f"{path} unpacks to more than {MAX_BYTES} bytes")
    return data.decode("utf-8")


def _episode(path: Path, i: int, raw: Any) -> MementoEpisode:
    try:
        meta = raw["metadata"]
        targets = meta.get("target_objects") or []
        episode = MementoEpisode(
            id=raw["episode_id"], home=raw["scene_id"], instruction=raw["instruction"], type=meta["episode_type"],
            memory=_words(meta["memory"]), related=_words(meta["related_episode_id"]),
            categories=tuple(t["category"] for t in _flat(targets)),
        )  # fmt: skip
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: episode number {i} is malformed: {error!r}") from error
    texts = (episode.id, episode.home, episode.instruction, *episode.memory, *episode.related, *episode.categories)
    if not all(isinstance(text, str) and text for text in texts) or not episode.related:
        raise InputError(f"{path}: episode number {i} needs an id, a scene, an instruction and related episodes")
    if episode.type not in TYPES:
        raise InputError(f"{path}: episode {episode.id} is of the unknown type {episode.type!r}, not one of {TYPES}")
    return episode


def _words(value: Any) -> tuple[str, ...]:
    """One text or a list of them."""
    return tuple(value) if isinstance(value, list) else (value,)


def _flat(targets: list[Any]) -> list[Any]:
    return [each for t in targets for each in (t if isinstance(t, list) else [t])]
