"""Which folders with a model are opened: those that hold plain numbers and no program."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from embmem.errors import InputError, MissingExtraError, import_extra

T = TypeVar("T")
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")


def model_folder(path: str | Path) -> Path:
    """The folder of a model as the libraries of Hugging Face save it.

    Raises:
        InputError: if it is missing, holds no model, or weights that only unpickling opens.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise InputError(f"there is no folder {folder}; give one that `save_pretrained` wrote, nothing is downloaded")
    if not (folder / "config.json").is_file():
        raise InputError(f"{folder} holds no model: config.json is missing")
    if not any(folder.glob("*.safetensors")):
        pickles = sorted(file.name for pattern in PICKLES for file in folder.glob(pattern))
        if pickles:
            raise InputError(
                f"{folder} holds its weights only as {', '.join(pickles)}, which can execute code when it is opened; "
                "save them as safetensors (`save_pretrained` does)"
            )
        raise InputError(f"{folder} holds no weights: no *.safetensors file")
    return folder


def read_json(path: Path, kind: type[T]) -> T:
    """The content of a JSON file, which is a dict or a list.

    Raises:
        InputError: if it cannot be read as one.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path} cannot be read as JSON: {error}") from error
    if not isinstance(content, kind):
        raise InputError(f"{path} must hold a JSON {kind.__name__}, got a {type(content).__name__}")
    return content


@contextmanager
def loading(folder: Path, extra: str) -> Iterator[None]:
    """Loads without a progress bar; whatever a library says of a broken folder becomes an error of embmem.

    Raises:
        MissingExtraError: if the model needs a library that is not installed.
        InputError: for all else.
    """
    progress = import_extra("transformers.utils.logging", extra)
    was_shown = progress.is_progress_bar_enabled()
    progress.disable_progress_bar()
    try:
        yield
    except InputError:
        raise
    except ImportError as error:
        raise MissingExtraError(
            f"the model in {folder} needs a library that is not installed ({error}); "
            f"install it with: pip install 'embmem[{extra}]'"
        ) from error
    except Exception as error:  # there is no list of what the libraries raise
        raise InputError(f"the model in {folder} cannot be loaded: {type(error).__name__}: {error}") from error
    finally:
        if was_shown:
            progress.enable_progress_bar()
