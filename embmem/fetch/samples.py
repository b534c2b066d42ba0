"""The public recordings that `embmem fetch` knows: where their files lie and what is in them, by SHA-256.

Every file is named by the commit of a public repository, so that its address keeps meaning the same bytes.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from embmem.errors import InputError


@dataclass(frozen=True)
class SampleFile:
    """One file of a sample."""

    name: str  # in the folder of the sample
    address: str  # behind the sample's url
    n_bytes: int
    sha256: str


@dataclass(frozen=True)
class PublicSample:
    """A small public recording."""

    name: str
    about: str
    licence: str
    url: str  # that all addresses begin with
    then: str  # the command to go on with; {path} stands for the folder
    files: tuple[SampleFile, ...]

    @property
    def n_bytes(self) -> int:
        """The size of all files together."""
        return sum(file.n_bytes for file in self.files)


@cache
def public_samples() -> dict[str, PublicSample]:
    """Name -> sample, in the order in which a person should try them."""
    described = json.loads((Path(__file__).parent / "samples.json").read_text("utf-8"))
    samples = [PublicSample(**{**d, "files": tuple(SampleFile(*file) for file in d["files"])}) for d in described]
    return {sample.name: sample for sample in samples}


def sample_named(name: str) -> PublicSample:
    """The sample of that name.

    Raises:
        InputError: if there is none.
    """
    samples = public_samples()
    if name not in samples:
        raise InputError(f"no sample is called {name!r}; there are {', '.join(samples)}")
    return samples[name]
