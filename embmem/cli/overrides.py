"""Settings from the command line keep the kind of their default: `episodes=abc` is refused before anything runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from omegaconf import DictConfig, OmegaConf

_ABSENT = object()
KINDS = {bool: "true or false", int: "a whole number", float: "a number"}


def check_kinds(config: DictConfig, overrides: Sequence[str], compose: Callable[[list[str]], DictConfig]) -> None:
    """Compare every value that was set with what stands there where none is set.

    Args:
        config: composed with all overrides.
        overrides: as typed, `key=value`; choices of config groups and new keys (`+key=value`) are left alone.
        compose: makes the configuration with fewer overrides; asked once.

    Raises:
        ValueError: naming the setting, the kind that it must have and what was given.
    """
    keys = {override: override.partition("=")[0] for override in overrides}
    plain = {override: key for override, key in keys.items() if key[:1] not in "+~" and _is_plain(_value(config, key))}
    without = compose([override for override in overrides if override not in plain]) if plain else config
    for key in plain.values():
        given, default = _value(config, key), _value(without, key)
        if OmegaConf.is_list(default) and not OmegaConf.is_list(given):
            raise ValueError(f"{key} must be a list in brackets, got {given!r}")
        if type(default) in KINDS and not _fits(given, type(default)):
            raise ValueError(f"{key} must be {KINDS[type(default)]}, got {given!r}")


def _is_plain(given: Any) -> bool:
    return given is not _ABSENT and not OmegaConf.is_dict(given)


def _value(config: DictConfig, key: str) -> Any:
    """What stands at a key; `_ABSENT` where nothing does (a config group has no key) or it must still be given."""
    return OmegaConf.select(config, key, default=_ABSENT)


def _fits(given: Any, kind: type) -> bool:
    return type(given) is kind or (kind is float and type(given) is int)
