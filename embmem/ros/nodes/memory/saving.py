"""What SaveMemory writes: the memory itself, and what `embmem export` writes, into a folder below the node's own."""

from __future__ import annotations

from pathlib import Path

from embmem.cli.export import FORMATS, Work
from embmem.cli.main import compose_config
from embmem.errors import InputError
from embmem.live import LiveMemory
from embmem.output import new_folder

MEMORY = "memory"  # the name of a format, and of its file


def inside(folder: Path, path: str, otherwise: str) -> Path:
    """A path below the folder.

    Raises:
        InputError: if it leads anywhere else.
    """
    given = Path(path or otherwise)
    if given.is_absolute() or ".." in given.parts or "\0" in path or not given.parts:
        raise InputError(f"a path below the node's folder is wanted, not {path!r}")
    return folder / given


def saved(memory: LiveMemory, folder: Path, formats: list[str], *, overwrite: bool) -> list[Path]:
    """Write the memory in these formats; the files. They appear all or none.

    Raises:
        InputError: if there is no such format, or the memory has nothing for it.
        OutputExistsError: if the folder exists with files in it and is not to be overwritten.
        StoreError: if it cannot be written.
    """
    if unknown := [name for name in formats if name not in (MEMORY, *FORMATS)]:
        raise InputError(f"no format {unknown[0]!r}, only {MEMORY}, {', '.join(FORMATS)}")
    folder.parent.mkdir(parents=True, exist_ok=True)
    config = compose_config("export", ["file=memory", "out=folder"])
    with new_folder(folder, overwrite=overwrite) as part:
        work = Work(memory, config)
        for name in dict.fromkeys(formats or [MEMORY]):
            if name == MEMORY:
                memory.save(part / f"{MEMORY}.embmem")
            else:
                FORMATS[name].write(part, work)
        names = sorted(path.relative_to(part) for path in part.rglob("*") if path.is_file())
    return [(folder / name).absolute() for name in names]
