"""What a language model is shown at a junction, and the one move of a closed set that it may answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from embmem.maps.streets import Pose, StreetAction, StreetMap, move, validated
from embmem.maps.streets.legs import crossings
from embmem.maps.streets.moves import STEEP, relative_angle
from embmem.policies.language.fence import Fence, line
from embmem.policies.language.grammar import GrammarError, read_object
from embmem.policies.language.prompt import MAX_REASON, MAX_TASK, PromptError, fit_lines
from embmem.policies.street.memory import Recollection
from embmem.search.quoting import quote
from embmem.search.token_count import estimate_tokens

MOST_JUNCTIONS = 8  # that one answer may walk through
MAX_THOUGHT = 400  # characters that are kept
MAX_PHRASE = 80
_COMPASS = ("north", "north-east", "east", "south-east", "south", "south-west", "west", "north-west")
_STRAIGHT = 20.0  # [degrees] a way that bends less lies straight ahead
_BENDS = ((_STRAIGHT, "straight ahead"), (60.0, "slightly"), (120.0, ""), (160.0, "sharply"))
_WALKED, _RECALLED, _REFUSED = 0.3, 0.5, 0.2  # shares of what is left of the budget

SYSTEM = """You guide a walker through streets by told directions. You are asked at junctions, and where one of the
landmarks of the directions comes into sight. Answer with one JSON object and nothing else:
{{"thought": "one sentence", "move": one of the moves that are offered, "junctions": 0 to {most}}}
The move is taken here. After it the walker goes straight on through as many further junctions as you say, and asks you
again at the one after. stop with 0 ends the walk here, with n it goes straight on and ends at the nth junction from
here. Left and right are as seen by the walker. Follow the directions, do what they say next, and stop at their end.
{rule}"""


@dataclass(frozen=True)
class Choice:
    """A move, and how many further junctions are walked through straight on after it."""

    action: StreetAction
    junctions: int
    thought: str = ""


@dataclass(frozen=True, eq=False)
class Question:
    """What there is to know where the walker stands."""

    text: str
    streets: StreetMap
    pose: Pose
    walked: Sequence[int]  # places, the last is where the walker stands
    recalled: Sequence[tuple[str, Recollection]] = ()
    refused: Sequence[str] = ()  # why earlier answers were not taken


def options(streets: StreetMap, pose: Pose) -> dict[StreetAction, float]:
    """The moves that mean here what they say, but for STOP, with the heading [degrees] that each leaves by.

    A left that leads right is none, nor is a right that leads straight ahead, nor a way ahead that bends so much that
    it is turned to.
    """
    found: dict[StreetAction, float] = {}
    for action in (StreetAction.FORWARD, StreetAction.LEFT, StreetAction.RIGHT, StreetAction.TURN_AROUND):
        after = move(streets, pose, action)
        bend = relative_angle(pose.heading, after.heading)
        means = {
            StreetAction.FORWARD: after.place != pose.place,
            StreetAction.LEFT: bend < 0,
            StreetAction.RIGHT: bend > 0,
            StreetAction.TURN_AROUND: abs(bend) > 90,
        }[action]
        if means and validated(streets, pose.place, action) is action:
            found[action] = after.heading
    ahead = found.get(StreetAction.FORWARD)
    for turn in (StreetAction.LEFT, StreetAction.RIGHT):
        if ahead is not None and found.get(turn) == ahead:  # one way with two names
            bend = abs(relative_angle(pose.heading, ahead))
            if bend > STEEP:
                del found[StreetAction.FORWARD]
            elif bend <= _STRAIGHT:
                del found[turn]
    return found


def schema(offered: Sequence[StreetAction]) -> dict[str, Any]:
    """The JSON schema of an answer where these moves are offered."""
    fields = {
        "thought": {"type": "string"},
        "move": {"type": "string", "enum": [*(action.value for action in offered), StreetAction.STOP.value]},
        "junctions": {"type": "integer", "enum": list(range(MOST_JUNCTIONS + 1))},
    }
    return {"type": "object", "properties": fields, "required": list(fields), "additionalProperties": False}


def read_choice(answer: str, offered: Sequence[StreetAction]) -> Choice:
    """The choice in an answer.

    Raises:
        GrammarError: if there is none, or not one of those that are offered; it quotes nothing of the answer.
    """
    found = read_object(answer)
    if not set(found) <= {"thought", "move", "junctions"} or "move" not in found:
        raise GrammarError("the answer must have thought, move and junctions, and nothing else")
    names = {action.value: action for action in (*offered, StreetAction.STOP)}
    wanted, junctions, thought = found["move"], found.get("junctions", 0), found.get("thought", "")
    if not isinstance(wanted, str) or wanted not in names:
        raise GrammarError(f"the move must be one of {', '.join(names)}")
    if type(junctions) is not int or not 0 <= junctions <= MOST_JUNCTIONS:
        raise GrammarError(f"junctions must be a whole number from 0 to {MOST_JUNCTIONS}")
    if wanted == StreetAction.STOP.value and junctions and StreetAction.FORWARD not in offered:
        raise GrammarError("nothing leads straight on here: stop with 0 junctions, or take another move")
    if not isinstance(thought, str):
        raise GrammarError("the thought must be a sentence")
    return Choice(names[wanted], junctions, thought[:MAX_THOUGHT])


def render(
    question: Question, *, budget_tokens: int, seed: int = 0, count_tokens: Callable[[str], int] | None = None
) -> list[dict[str, str]]:
    """The messages of a request, of at most `budget_tokens`.

    The directions and the moves are always shown; of the walk the newest, of what is recalled the nearest.

    Raises:
        PromptError: if directions and moves alone do not fit.
    """
    count = count_tokens or estimate_tokens
    ask = "\n".join(
        [
            f"The directions, in the words of the person who gave them: {line(question.text, MAX_TASK)}",
            _place(question),
            "Moves that are offered:",
            *_moves(options(question.streets, question.pose), question.pose),
            "What is the next move? One JSON object.",
        ]
    )
    rules = SYSTEM.format(most=MOST_JUNCTIONS, rule=Fence(0).rule)
    titles = "Walked so far:\nThere were refused answers:\n" + Fence(0).wrap("remembered landmarks", "")
    room = budget_tokens - count(rules) - count(ask) - count(titles)
    if room < 0:
        raise PromptError(
            f"directions and moves alone need {budget_tokens - room} tokens, the budget is {budget_tokens}"
        )
    walked, _ = fit_lines(_legs(question)[::-1], int(_WALKED * room), count)
    recalled, _ = fit_lines(_memories(question), int(_RECALLED * room), count)
    refused, _ = fit_lines([line(why, MAX_REASON) for why in question.refused[::-1]], int(_REFUSED * room), count)
    fence = Fence(seed, *recalled)
    body = [fence.wrap("remembered landmarks", "\n".join(recalled))] if recalled else []
    body += ["Walked so far:", *walked[::-1]] if walked else []
    body += ["There were refused answers:", *refused] if refused else []
    system = SYSTEM.format(most=MOST_JUNCTIONS, rule=fence.rule)
    return [{"role": "system", "content": system}, {"role": "user", "content": "\n".join([*body, ask])}]


def _moves(offered: Mapping[StreetAction, float], pose: Pose) -> list[str]:
    lines = [f"{a.value}: {_side(relative_angle(pose.heading, h))}, {_compass(h)}" for a, h in offered.items()]
    return [*lines, f"{StreetAction.STOP.value}: the walk ends"]


def _place(question: Question) -> str:
    streets, pose = question.streets, question.pose
    n = int(streets.n_exits[pose.place])
    what = "between two junctions" if n == 2 else "at a dead end" if n < 2 else f"at a junction of {n} ways"
    parts = crossings(streets, question.walked)
    is_same = bool(parts) and parts[-1].first < parts[-1].last == len(question.walked) - 1
    same = ", still of the crossing that you were asked at" if is_same else ""
    return f"The walker stands {what}{same} and looks {_compass(pose.heading)}."


def _legs(question: Question) -> list[str]:
    """What was walked, oldest first: the ways between crossings, and what was done at each."""
    streets, path = question.streets, list(question.walked)
    steps = np.linalg.norm(np.diff(streets.xy[path], axis=0), axis=1)
    lines, done = [], 0
    for c in crossings(streets, path):
        if c.last < len(path) - 1:
            what = {"S": "straight on", "L": "left", "R": "right"}[c.symbol]
            lines.append(f"{steps[done : c.first].sum():.0f} m, then {what} at a junction of {c.n_ways} ways")
            done = c.last
    return [*lines, f"{steps[done:].sum():.0f} m to here"]


def _memories(question: Question) -> list[str]:
    """What is remembered of the landmarks of the directions, the nearest first."""
    here, lines = question.streets.xy[question.pose.place], []
    for phrase, found in question.recalled:
        east, north = np.array(found.position) - here
        metres, heading = float(np.hypot(east, north)), float(np.degrees(np.arctan2(east, north)) % 360)
        side = _side(relative_angle(question.pose.heading, heading))
        told = {"landmark": phrase[:MAX_PHRASE], "metres": round(metres), "where": side, "compass": _compass(heading)}
        lines.append((metres, quote({**told, "alike": round(found.cosine, 2)})))
    return [text for _, text in sorted(lines)]


def _side(bend: float) -> str:
    """A direction as the walker sees it: `slightly left`."""
    how = next((word for most, word in _BENDS if abs(bend) <= most), "back")
    return how if how in ("straight ahead", "back") else f"{how} {'left' if bend < 0 else 'right'}".strip()


def _compass(heading: float) -> str:
    return _COMPASS[round(heading / 45) % 8]
