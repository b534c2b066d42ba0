"""How one moves on a street graph: the rules that the published street agents share.

Facts from the public navigator of VELMA (Schumann et al., AAAI 2024), which is that of ORAR: `forward` takes the exit
straight ahead, else the middle one of those that do not lead back; `left` and `right` turn on the spot, and mean
`forward` where there is nothing to turn to.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import Enum
from typing import NamedTuple

from embmem.maps.streets.graph import JUNCTION, StreetMap

STEEP = 45.0  # [degrees] at a place with three exits, a way that bends more than that is turned to, not walked


class StreetAction(Enum):
    """What a walker can do."""

    FORWARD = "forward"
    LEFT = "left"
    RIGHT = "right"
    TURN_AROUND = "turn_around"
    STOP = "stop"


class Pose(NamedTuple):
    """Where a walker stands, where it looks, and where it stood before its last action."""

    place: int
    heading: float  # [degrees], whole
    previous: int = -1  # -1: at the start


def start_pose(streets: StreetMap, place: int, heading: float, *, is_snapped: bool = False) -> Pose:
    """The pose at a start; snapped, it looks along the exit that is nearest to the heading, if there is one."""
    if is_snapped and streets.exits(place):
        heading = _closest(heading, _headings(streets, place))
    return Pose(place, float(round(heading)))


def validated(streets: StreetMap, place: int, action: StreetAction) -> StreetAction:
    """The action that is taken for one that makes no sense there."""
    n = int(streets.n_exits[place])
    if n <= 1 and action not in (StreetAction.STOP, StreetAction.TURN_AROUND):
        return StreetAction.STOP
    if n == 2 and action in (StreetAction.LEFT, StreetAction.RIGHT):
        return StreetAction.FORWARD
    return action


def move(streets: StreetMap, pose: Pose, action: StreetAction) -> Pose:
    """The pose after an action."""
    place, heading, previous = pose
    exits = dict(streets.exits(place))
    if action is StreetAction.STOP or not exits:
        return Pose(place, heading, place)
    if action is StreetAction.FORWARD and heading in exits:
        return Pose(exits[heading], heading, place)
    if action is StreetAction.TURN_AROUND:
        return Pose(place, float(round(_closest((heading - 180) % 360, list(exits)))), place)
    if len(exits) == 1 and previous not in (-1, place):
        return Pose(place, heading, place)  # the end of the graph; only who starts there may leave it
    wanted = _closest(heading, list(exits)) if len(exits) < JUNCTION else _at_junction(streets, pose, action)
    end = exits[wanted] if action is StreetAction.FORWARD else place
    return Pose(end, float(round(wanted)), place)


def follow(streets: StreetMap, pose: Pose, actions: Iterable[StreetAction]) -> list[Pose]:
    """All poses on the way, the first included."""
    poses = [pose]
    for action in actions:
        poses.append(move(streets, poses[-1], action))
    return poses


def actions_along(streets: StreetMap, pose: Pose, path: Sequence[int]) -> list[StreetAction]:
    """The actions that walk a path, `STOP` at its end included.

    Args:
        streets: the map.
        pose: at the first place of the path.
        path: places, each an exit of the one before.

    Raises:
        ValueError: if the path does not begin at the pose, leaves the streets, or cannot be turned to.
    """
    if not path or path[0] != pose.place:
        raise ValueError("the path must begin where the walker stands")
    actions: list[StreetAction] = []
    for end in path[1:]:
        wanted = streets.heading(pose.place, end)
        while pose.place != end:
            action = _towards(streets, pose, end, wanted)
            pose = move(streets, pose, action)
            actions.append(action)
            if len(actions) > 4 * len(path) + 8:
                raise ValueError(f"the rules lead nowhere from {streets.names[pose.place]!r}")
    return [*actions, StreetAction.STOP]


def _towards(streets: StreetMap, pose: Pose, end: int, wanted: float) -> StreetAction:
    """The next action of the reference's gold agent for a step to a neighbour."""
    ahead = move(streets, pose, StreetAction.FORWARD)
    bend = abs(relative_angle(ahead.heading, wanted))
    if ahead.place == end and (streets.n_exits[pose.place] != JUNCTION or bend < STEEP):
        return StreetAction.FORWARD
    turned = [move(streets, pose, action).heading for action in _TURNS]
    for action, heading in zip(_TURNS, turned, strict=True):
        if heading == wanted:
            return action
    return StreetAction.LEFT if _closest(wanted, turned[1:]) == turned[1] else StreetAction.RIGHT


_TURNS = (StreetAction.TURN_AROUND, StreetAction.LEFT, StreetAction.RIGHT)


def _at_junction(streets: StreetMap, pose: Pose, action: StreetAction) -> float:
    """The heading that an action chooses at a junction."""
    place, heading, previous = pose
    out = _headings(streets, place)
    ahead = heading
    if previous not in (-1, place):
        back = [h for h, end in streets.exits(place) if end == previous]
        out = [h for h in out if h not in back[:1]]
        out.sort(key=lambda h: relative_angle(heading, h))
        middle = len(out) // 2
        ahead = out[middle] if len(out) % 2 else _closest(heading, out[middle - 1 : middle + 1])
        if len(streets.exits(place)) == JUNCTION and action is not StreetAction.FORWARD:
            return out[0] if action is StreetAction.LEFT else out[-1]
    if action is StreetAction.FORWARD:
        return ahead if ahead in out else _closest(ahead, out)
    others = [h for h in out if h != ahead]
    if action is StreetAction.LEFT:
        return min(others, key=lambda h: (ahead - h) % 360)
    return min(others, key=lambda h: (h - ahead) % 360)


def relative_angle(heading: float, other: float) -> float:
    """How far `other` lies to the right of `heading` [degrees], in (-180, 180]."""
    angle = other - heading
    if angle > 180:
        return angle - 360
    return angle + 360 if angle <= -180 else angle


def _headings(streets: StreetMap, place: int) -> list[float]:
    return [heading for heading, _ in streets.exits(place)]


def _closest(heading: float, headings: Sequence[float]) -> float:
    return min(headings, key=lambda h: 180 - abs(abs(heading - h) - 180))
