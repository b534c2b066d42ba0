"""What can go wrong with the world, as one small tree.

Wrong arguments raise `ValueError`; everything that comes from outside (files, sensors, a missing library) raises
a child of `EmbmemError`, so that a command prints one line and a node can go on.
"""

from __future__ import annotations

import importlib
from types import ModuleType


class EmbmemError(Exception):
    """Root of the errors that embmem raises about the world."""


class InputError(EmbmemError):
    """A file, folder or setting that was given is missing, malformed or not what it claims to be."""


class RefusedObservation(InputError):
    """The ingress gate refused an observation; nothing was stored. `fault` names the reason."""

    def __init__(self, fault: str, detail: str) -> None:
        super().__init__(f"{fault}: {detail}")
        self.fault = fault


class FileVersionError(InputError):
    """A file was written by a newer embmem, or is not an embmem file at all."""


class FetchError(EmbmemError):
    """A download cannot be had: no network, no such file, cut, or not what was published; nothing of it was kept."""


class OutputExistsError(EmbmemError):
    """The place to write to is taken; nothing was written."""


class StoreError(EmbmemError):
    """The store could not write or read (disk full, read-only, I/O error); what was not acknowledged is not stored."""


class StoreBusyError(StoreError):
    """Another process writes to this memory; it allows one writer and any number of readers."""


class MissingExtraError(EmbmemError):
    """An optional library is not installed; the message names the extra that brings it."""


def import_extra(module: str, extra: str) -> ModuleType:
    """The module, or an error that names the extra to install.

    Raises:
        MissingExtraError: if `module` cannot be imported.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtraError(
            f"{module} is not available ({error}); install it with: pip install 'embmem[{extra}]'"
        ) from error
