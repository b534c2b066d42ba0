"""What a planner takes from earlier tasks and leaves for later ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from embmem.experience import MAX_STEPS, MAX_TEXT, Experience, ExperienceStore, Remembered
from embmem.policies.actions import QUESTIONS, Outcome, Step, to_text
from embmem.policies.world_state import WorldState

_MAX_SHOWN = 4
_WINDOW = 30  # receptacles that describe a state


class Lessons:
    """The experience of a planner; does nothing without a store.

    Args:
        store: of experiences.
        clock: gives the present [s].
    """

    def __init__(self, store: ExperienceStore | None, clock: Callable[[], float]) -> None:
        self._store, self._clock = store, clock
        self._task, self._state = "", ""
        self._errors: dict[Step, tuple[str, int]] = {}  # what went wrong and after how many steps
        self._taken: list[Step] = []
        self._last_error = ""

    def begin(self, task: str) -> None:
        """A new task; what it began with is what is seen before its first step."""
        self._task, self._state, self._last_error = _kept(task), "", ""
        self._errors, self._taken = {}, []

    def useful(self, task: str, state: WorldState) -> list[Remembered]:
        """Repairs of the last error, taught programs and attempts at similar tasks, each once."""
        if self._store is None or not task.strip():
            return []
        self._state = self._state or in_words(state)
        repairs = self._store.repairs(self._last_error, task=task, k=1) if self._last_error else []
        found = [*repairs, *self._store.programs(task, k=1), *self._store.similar(task, state=self._state, k=3)]
        return list({remembered.id: remembered for remembered in found}.values())[:_MAX_SHOWN]

    def notice(self, step: Step, outcome: Outcome) -> None:
        """A step that works after it had failed shows what repairs the error; that is kept at once."""
        if self._store is None or isinstance(step, QUESTIONS):
            return
        self._taken.append(step)
        self._last_error = "" if outcome.ok else _kept(outcome.reason)
        if not outcome.ok:
            self._errors[step] = (self._last_error, len(self._taken))
        elif step in self._errors and self._task.strip():
            error, since = self._errors.pop(step)
            if error:
                plan = tuple(_kept(to_text(taken)) for taken in self._taken[since:][:MAX_STEPS])
                repair = Experience(self._task, plan, ok=True, state=self._state, repaired=error)
                self._store.add(repair, stamp=self._clock())

    def finish(self, steps: Sequence[Step], ok: bool, reason: str) -> None:
        """Keep the attempt as a whole."""
        if self._store is None or not self._task.strip():
            return
        plan = tuple(_kept(to_text(step)) for step in steps[:MAX_STEPS])
        attempt = Experience(self._task, plan, ok, self._state, "" if ok else _kept(reason))
        self._store.add(attempt, stamp=self._clock())


def in_words(state: WorldState) -> str:
    """The state as one line of words, to be compared with others."""
    things = sorted(f"{name} on {where}" for name, where in state.inside.items())
    return _kept(f"at {state.at}, holding {' '.join(state.held) or 'nothing'}, {', '.join(things[:_WINDOW])}")


def _kept(text: str) -> str:
    """As much of a text of the world as a record takes; half a surrogate pair becomes a question mark."""
    return text[:MAX_TEXT].encode("utf-8", "replace").decode()
