"""How Habitat (Recast) shall make its navigation mesh."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from embmem.agent import Body
from embmem.errors import InputError

_SHRINK = 1e-3  # [m]: a radius is rounded *up* to whole cells, so 0.18 of 0.03 would become 7 cells in float32


@dataclass(frozen=True, kw_only=True)
class NavMeshSettings:
    """The numbers of `habitat_sim.NavMeshSettings`, with Habitat's defaults.

    Lengths [m]; heights are rounded to whole `cell_height`, the radius to whole `cell_size`, region sizes and
    `edge_max_error` are in cells.
    """

    cell_size: float = 0.05
    cell_height: float = 0.2
    agent_height: float = 1.5
    agent_radius: float = 0.1
    agent_max_climb: float = 0.2
    agent_max_slope: float = 45.0  # [degrees]
    region_min_size: float = 20.0
    region_merge_size: float = 20.0
    edge_max_len: float = 12.0
    edge_max_error: float = 1.3
    verts_per_poly: float = 6.0
    detail_sample_dist: float = 6.0
    detail_sample_max_error: float = 1.0
    filter_low_hanging_obstacles: bool = True
    filter_ledge_spans: bool = True
    filter_walkable_low_height_spans: bool = True

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if not isinstance(value, bool) and not (math.isfinite(value) and value >= 0):
                raise ValueError(f"{name} must be a number >= 0, got {value}")
        if not (self.cell_size > 0 and self.cell_height > 0 and self.agent_height > 0):
            raise ValueError(f"cell_size, cell_height and agent_height must be > 0, got {self}")

    def to_json(self) -> str:
        """The text of a file that `habitat_sim.NavMeshSettings.read_from_json` reads."""
        return json.dumps({_camel(name): value for name, value in asdict(self).items()}, indent=1)

    @classmethod
    def read(cls, path: Path) -> NavMeshSettings:
        """What `to_json` or Habitat's `write_to_json` wrote; fields that are missing keep Habitat's defaults.

        Raises:
            InputError: if the file is missing or malformed.
        """
        try:
            data = json.loads(path.read_text())
            names = {_camel(field.name): field.name for field in fields(cls)}
            values: dict[str, Any] = {names[key]: _value(value) for key, value in data.items() if key in names}
            return cls(**values)
        except (OSError, ValueError, AttributeError, TypeError) as error:
            raise InputError(f"{path}: not the settings of a navigation mesh ({error})") from error


def house_settings(body: Body) -> NavMeshSettings:
    """Settings with which Recast's free space of an exported house is ours, to within two cells.

    Cells of 3 cm keep every passage open that furnishing leaves; thin layers keep low furniture from being climbed and
    the mesh on the floor (it floats by one layer); regions below 3 m^2 are dropped, which leaves no table top that a
    step toward the table could be drawn to.
    """
    return NavMeshSettings(
        cell_size=0.03,
        cell_height=0.02,
        agent_height=body.height,
        agent_radius=max(body.radius - _SHRINK, 0.0),
        agent_max_climb=0.1,
        region_min_size=60.0,
    )


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def _value(value: Any) -> float | bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, (int, float)):
        return float(value)
    raise ValueError(f"expected a number, got {value!r:.40}")
