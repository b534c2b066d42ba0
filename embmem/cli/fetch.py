"""`embmem fetch`: a public recording to begin with."""

from __future__ import annotations

from pathlib import Path
from shlex import quote

from omegaconf import DictConfig
from rich.console import Console

from embmem.cli.progress import counting
from embmem.cli.settings import word
from embmem.errors import InputError
from embmem.fetch.download import cache_folder, fetch_sample, fetch_url
from embmem.fetch.samples import public_samples, sample_named

HELP = """embmem fetch: a public recording to begin with

  embmem fetch                                       what there is: size, licence, where from
  embmem fetch kinect                                into the cache folder; says how to go on
  embmem fetch redwood folder=data                   into data/redwood
  embmem fetch https://host/run.zip sha256=1f2e...   somebody's recording: a file, or an archive that is unpacked

Every file is checked by SHA-256. What has arrived whole is kept, so that a second call goes on where the first stopped.
"""
POSITIONAL = ("name",)


def run(cfg: DictConfig) -> None:
    """List the samples, or fetch one and say what to do with it."""
    console = Console()
    if cfg.name is None:
        console.print(_list(), highlight=False, soft_wrap=True, markup=False)
        return
    name = word(cfg, "name")
    folder = cache_folder() if cfg.folder is None else Path(word(cfg, "folder"))
    with counting(f"fetching {name}", console) as progress:
        if "://" in name:
            sha256 = None if cfg.sha256 is None else _sha256(word(cfg, "sha256"))
            path = fetch_url(name, folder, sha256=sha256, progress=progress)
            then = f"embmem doctor {quote(str(path))}"
        else:
            sample = sample_named(name)
            then = sample.then.format(path=quote(str(fetch_sample(sample, folder, progress=progress))))
    console.print(f"go on with: {then}", highlight=False, soft_wrap=True, markup=False)


def _sha256(text: str) -> str:
    if len(text) != 64 or not set(text.lower()) <= set("0123456789abcdef"):
        raise InputError(f"sha256 must be 64 hexadecimal digits, got {text!r}")
    return text.lower()


def _list() -> str:
    """Three lines a sample."""
    lines = []
    for sample in public_samples().values():
        files = "1 file" if len(sample.files) == 1 else f"{len(sample.files)} files"
        lines.append(f"{sample.name:<10} {sample.n_bytes / 1e6:.1f} MB in {files}: {sample.about}")
        lines += [f"{'':<10} licence: {sample.licence}", f"{'':<10} {sample.url}"]
    return "\n".join([*lines, "embmem fetch NAME gets one of them"])
