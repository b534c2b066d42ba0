"""Stands in for a language model: reads nothing but its prompt, and answers with one step of a pick-and-place task.

It goes where the remembered block says, or else through the rooms in alphabetical order, then through what is closed.
Requests that are more than one named thing to one named place it leaves to the rules, by an answer without a step.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from embmem.policies.household.memory import fits, in_room
from embmem.policies.household.parse import Move, parse
from embmem.policies.language.client import ChatModel
from embmem.policies.language.usage import Usage
from embmem.policies.language.wire import Reply
from embmem.search.token_count import estimate_tokens

ROOMS = ("kitchen", "bathroom", "bedroom", "living_room", "dining_room", "office", "corridor", "playroom", "library",
         "storage_room", "laundry_room")  # fmt: skip
_TASK = re.compile(r'The task, in the words of the person who gave it: (".*")')
_REMEMBERED = re.compile(r'what \["(\w+)"\]; place "(\w+)"')


class ScriptedModel(ChatModel):
    """No endpoint is asked."""

    def __init__(self) -> None:
        super().__init__("scripted", base_url="http://127.0.0.1:9/v1", api_key_env=None)

    def complete(self, messages: Sequence[Mapping[str, str]], schema: Mapping[str, Any] | None = None) -> Reply:
        """One step; the tokens are those that a usual tokenizer would count at most."""
        prompt = messages[-1]["content"]
        answer = json.dumps({"thought": "next", "steps": _steps(prompt)})
        n_prompt, n_answer = sum(estimate_tokens(m["content"]) for m in messages), estimate_tokens(answer)
        self.usage += Usage(n_calls=1, prompt_tokens=n_prompt, completion_tokens=n_answer)
        return Reply(answer, n_prompt, n_answer)


def _steps(prompt: str) -> list[dict[str, str]]:
    match = _TASK.search(prompt)
    requests = parse(json.loads(match[1])) if match else []
    move = requests[0] if len(requests) == 1 else None
    if not isinstance(move, Move) or len(move.things) != 1 or move.things[0].kind != "named" or not move.spot.words:
        return []
    thing, spot = "_".join(move.things[0].words), move.spot
    state = [json.loads(line) for line in prompt.splitlines() if line.startswith("{")]
    robot: dict[str, Any] = next((line for line in state if "robot_at" in line), {"robot_at": None, "holding": []})
    seen = {line["receptacle"]: line for line in state if "receptacle" in line}
    holds = {held.split(" ")[0]: name for name, line in seen.items() for held in line["holds"]}
    places = [*seen, *(line["place"] for line in state if "place" in line)]
    rooms = {name for name in places if name.rsplit("_", 1)[0] in ROOMS}
    here = str(robot["robot_at"])
    goals = [n for n in places if fits(n, spot.words) and (n not in seen or in_room(str(seen[n]["room"]), spot.room))]
    if thing in {held.split(" ")[0] for held in robot["holding"]}:
        goals.sort(key=lambda name: name not in seen)
        return _at(goals[0], here, seen, ("place", thing)) if goals else _explore(rooms, seen, here, spot.room)
    if thing in holds:
        is_there = holds[thing] in goals
        return (
            [{"action": "stop", "reason": "it is there"}]
            if is_there
            else _at(holds[thing], here, seen, ("pick", thing))
        )
    told = [place for name, place in _REMEMBERED.findall(prompt) if name == thing]
    unseen = [place for place in told if place not in seen or seen[place].get("door") == "closed"]
    return _at(unseen[0], here, seen, None) if unseen else _explore(rooms, seen, here, ())


def _at(place: str, here: str, seen: Mapping[str, Any], then: tuple[str, str] | None) -> list[dict[str, str]]:
    """Go there, open it, then do something."""
    if here != place:
        return [{"action": "go", "place": place}]
    if seen.get(place, {}).get("door") == "closed":
        return [{"action": "open", "receptacle": place}]
    if then is None:
        return [{"action": "look"}]
    verb, thing = then
    return [{"action": verb, "object": thing} | ({"receptacle": place} if verb == "place" else {})]


def _explore(rooms: set[str], seen: Mapping[str, Any], here: str, kind: Sequence[str]) -> list[dict[str, str]]:
    """A room that was not seen, of the kind that is wanted first; then what is closed."""
    visited = {line["room"] for line in seen.values()} | {here}
    left = sorted((room for room in rooms - visited), key=lambda room: (not in_room(room, kind), room))
    if left:
        return [{"action": "go", "place": left[0]}]
    shut = sorted(name for name, line in seen.items() if line.get("door") == "closed")
    return _at(shut[0], here, seen, None) if shut else [{"action": "stop", "reason": "it is nowhere"}]
