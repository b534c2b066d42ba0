"""The constructor's arguments of an object memory, out of a file."""

from __future__ import annotations

from typing import Any

from embmem.errors import InputError
from embmem.maps.identity.model import IdentityModel
from embmem.maps.states import checked_numbers
from embmem.protocols import LayerState

NUMBERS = ("min_pixels", "max_range", "gate", "prior", "hit", "miss", "low", "high")
UNDOABLE = 256  # merges and splits that are kept to be undone


def arguments_of(state: LayerState) -> dict[str, Any]:
    """The arguments that the parameters of a saved memory stand for; what is left out has its default.

    Raises:
        InputError: if they are not those of an object memory.
    """
    params = dict(state.params)
    background = params.pop("background", None)
    if not isinstance(background, list) or not all(isinstance(name, str) for name in background):
        raise InputError(f"the background of layer {state.kind!r} is not a list of names")
    identity = IdentityModel.from_params(params.pop("identity")) if "identity" in params else None
    params.setdefault("undoable", UNDOABLE)
    numbers = checked_numbers(LayerState(state.kind, state.version, params, {}), (*NUMBERS, "undoable"))
    counts = {name: numbers.pop(name) for name in ("min_pixels", "undoable")}
    for name, value in counts.items():
        if value != int(value):
            raise InputError(f"{name} of layer {state.kind!r} is {value}, not a whole number")
    whole = {name: int(value) for name, value in counts.items()}
    return {**numbers, **whole, "background": background, "identity": identity}
