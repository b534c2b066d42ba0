"""`embmem compact`: give back the space of what was removed."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig
from rich.console import Console

from embmem.cli.settings import word
from embmem.store import RecordStore
from embmem.store.maintenance import compact

HELP = """embmem compact: give back the space of what was removed from a memory file

  embmem compact room.embmem              nobody may write meanwhile; needs room for a second copy of the file
  embmem compact room.embmem index=true   also write the search index of the embeddings beside it: the next question by
                                          meaning need not gather them; with the extra `index` and more than 131,072 of
                                          them, a graph for approximate search (about half a second per thousand)
"""


def run(cfg: DictConfig) -> None:
    """Write the file anew, without gaps."""
    file = Path(word(cfg, "file"))
    done = compact(file)
    Console().print(f"{file}: {done.bytes_before:,} -> {done.bytes_after:,} bytes", highlight=False, markup=False)
    if cfg.index:
        with RecordStore(file) as store:
            is_saved = store.embeddings.save(store, with_graph=True)
        said = (
            "search index written" if is_saved else "no search index: there are no embeddings, or it cannot be written"
        )
        Console().print(said, highlight=False, markup=False)
