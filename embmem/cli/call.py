"""`embmem call`: ask a service or an action of a running ROS 2 node."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import yaml
from omegaconf import DictConfig
from rich.console import Console

from embmem.cli.node import stopped_by_signals
from embmem.cli.settings import word
from embmem.errors import EmbmemError, InputError

HELP = """embmem call: ask a service or an action of a running ROS 2 node (pip install 'embmem[dds]')

  embmem call /memory/query '{entity: sofa, k: 3}'
  embmem call /memory/save '{path: flat, formats: [memory, map_server]}'
  embmem call /planner/go_to '{object: sofa}'                 an action: feedback on the way; Ctrl-C cancels the goal
  embmem call /memory/get_state
  embmem call /memory/query '{text: keys}' json=true

The service says itself what type it is. A service that is not there is named with those that are.
"""
POSITIONAL = ("name", "request")
_LOOK = 0.01  # [s] between two looks
_SHOWN = 12  # items of an array of numbers
_STATUS = {4: "succeeded", 5: "canceled", 6: "aborted"}  # action_msgs/GoalStatus


def run(cfg: DictConfig) -> None:
    """Ask, print the answer; an answer that says `success: false` is an error."""
    from embmem.dds.names import Names
    from embmem.dds.participant import domain_id
    from embmem.dds.ports import DdsPorts

    request = _request(word(cfg, "request"))
    ports = DdsPorts(Names("embmem_call"), domain_id() if cfg.domain is None else cfg.domain, log_level="warning")
    ports.executor.start()
    try:
        with stopped_by_signals() as stop:
            name = ports.names.full(word(cfg, "name"))
            type = _type(ports, name, cfg.type, float(cfg.wait), stop)
            ask = _ask_action if "/action/" in type else _ask_service
            answer = ask(ports, (type, name), request, float(cfg.timeout), stop)
    finally:
        ports.close()
    console = Console()
    if cfg.json:
        console.out(json.dumps(plain(answer, most=None)), highlight=False)
    else:
        console.out(text_of(answer), highlight=False)
    if getattr(answer, "success", True) is False:
        raise EmbmemError(f"{name}: {getattr(answer, 'message', '') or 'no success'}")


def _request(text: str) -> dict[str, Any]:
    try:
        request = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InputError(f"request is YAML such as {{entity: sofa}}, not {text!r} ({error})") from None
    if request is not None and not isinstance(request, dict):
        raise InputError(f"request is fields and their values such as {{entity: sofa}}, not {text!r}")
    return request or {}


def _type(ports: Any, name: str, given: Any, wait: float, stop: threading.Event) -> str:
    """The type that is set, or that the node there tells.

    Raises:
        EmbmemError: if there is no such service or action.
    """
    from embmem.dds.discovery import Discovery

    if given is not None:
        return str(given)
    found, end = Discovery(ports.entity), time.monotonic() + wait
    while name not in (servers := found.servers()) and time.monotonic() < end and not stop.wait(_LOOK):
        pass
    if name in servers:
        return servers[name]
    there = ", ".join(servers) or "no service at all; is the node running, in this domain?"
    raise EmbmemError(f"there is no service or action {name} after {wait:g} s, but {there}")


def _on_thread(ports: Any, do: Callable[[], Any]) -> Any:
    """Done by the thread of the callbacks; its result, or what it raised."""
    from concurrent.futures import Future

    done: Future[Any] = Future()

    def work() -> None:
        try:
            done.set_result(do())
        except Exception as error:
            done.set_exception(error)

    ports.post(work)
    return done.result()


def _until(ports: Any, is_so: Callable[[], Any], seconds: float, stop: threading.Event, what: str) -> None:
    end = time.monotonic() + seconds
    while not _on_thread(ports, is_so):
        if stop.wait(_LOOK):
            raise EmbmemError("stopped")
        if time.monotonic() > end:
            raise EmbmemError(f"{what} after {seconds:g} s")


def _ask_service(
    ports: Any, which: tuple[str, str], request: dict[str, Any], timeout: float, stop: threading.Event
) -> Any:
    client, answers = _on_thread(ports, lambda: ports.client(*which)), list[Any]()
    _until(ports, client.is_ready, timeout, stop, f"{which[1]} is not ready")
    _on_thread(ports, lambda: client.call(request, answers.append, timeout=timeout))
    _until(ports, lambda: answers, timeout + 1.0, stop, f"no answer of {which[1]}")
    if answers[0] is None:
        raise EmbmemError(f"no answer of {which[1]} after {timeout:g} s")
    return answers[0]


def _ask_action(ports: Any, which: tuple[str, str], goal: dict[str, Any], timeout: float, stop: threading.Event) -> Any:
    """The result; feedback is printed as it comes, a signal cancels the goal."""
    console = Console(stderr=True)
    client, accepted, results = _on_thread(ports, lambda: ports.action_client(*which)), list[bool](), list[Any]()
    _until(ports, client.is_ready, timeout, stop, f"{which[1]} is not ready")
    send = partial(
        client.send,
        goal,
        on_accepted=accepted.append,
        on_feedback=lambda message: console.out(line_of(message), highlight=False),
        on_result=lambda status, result: results.append((status, result)),
    )
    sent = _on_thread(ports, send)
    _until(ports, lambda: accepted, timeout, stop, f"no answer of {which[1]}")
    if not accepted[0]:
        raise EmbmemError(f"{which[1]} refused the goal; its log says why")
    end, is_cancelled = time.monotonic() + timeout, False
    while not results:
        if (stop.is_set() or time.monotonic() > end) and not is_cancelled:
            console.out("cancelling the goal", highlight=False)
            _on_thread(ports, lambda: sent.cancel(lambda is_taken: None))
            is_cancelled, end = True, time.monotonic() + timeout
        elif time.monotonic() > end:
            raise EmbmemError(f"{which[1]} does not end the goal that was cancelled")
        time.sleep(_LOOK)
    status, result = results[0]
    console.out(f"goal {_STATUS.get(status, f'ended with status {status}')}", highlight=False)
    return result


def plain(value: Any, *, most: int | None = _SHOWN) -> Any:
    """A message as mappings, lists, numbers and texts; arrays longer than `most` are told by their length."""
    if hasattr(value, "__msgtype__"):
        names = [name for name in vars(value) if not name.startswith("__") and not name.isupper()]  # no constants
        return {name: plain(getattr(value, name), most=most) for name in names}
    if hasattr(value, "tolist"):
        is_long = most is not None and value.size > most
        return f"<{value.size} numbers>" if is_long else value.tolist()
    if isinstance(value, list):
        return [plain(item, most=most) for item in value]
    return value


def text_of(message: Any) -> str:
    """A message as YAML."""
    return yaml.safe_dump(plain(message), sort_keys=False, allow_unicode=True).rstrip()


def line_of(message: Any) -> str:
    """The fields of a message that are numbers or texts, on one line."""
    fields = plain(message).items()
    told = {name: value for name, value in fields if isinstance(value, (str, int, float)) and value}
    parts = (f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}" for name, value in told.items())
    return "  ".join(parts)
