"""Services and their clients as rmw_cyclonedds sends them: two topics, and who asked in front of every message.

A robot that runs on Fast DDS tells requests and replies apart otherwise: there only topics work.
"""

from __future__ import annotations

import itertools
import os
import struct
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from embmem.dds.executor import Executor, Later
from embmem.dds.participant import Participant
from embmem.dds.topics import Log, of_cdr, to_cdr
from embmem.dds.types import Raw
from embmem.dds.writing import write
from embmem.errors import InputError
from embmem.ros.definitions import ready, typestore
from embmem.ros.ports import Fields, QoS

_QOS = QoS(depth=10)
_HEADER = {False: struct.Struct(">Qq"), True: struct.Struct("<Qq")}  # is it little-endian: guid, sequence number
_CDR = 4  # bytes that say how the rest is encoded
_BODY = _CDR + _HEADER[True].size
_PATIENCE, _PAUSE = 1.0, 0.01  # [s] for a client's reader to be matched, between two looks
Header = tuple[int, int]


def with_header(header: Header, data: bytes | memoryview) -> bytes:
    """CDR with the header in front, whose 16 bytes keep everything behind them aligned."""
    return b"".join((data[:_CDR], _HEADER[True].pack(*header), data[_CDR:]))


def split(data: bytes) -> tuple[Header, bytes]:
    """(header, CDR without it).

    Raises:
        InputError: if there is none.
    """
    if len(data) < _BODY:
        raise InputError(f"{len(data)} bytes, and the header of a service has {_BODY}")
    guid, number = _HEADER[bool(data[1] & 1)].unpack_from(data, _CDR)
    return (guid, number), data[:_CDR] + data[_BODY:]


def _user_data(endpoint: Any, key: str) -> bytes | None:
    """What an endpoint says of itself under a key."""
    from cyclonedds.core import Policy

    if endpoint is None or isinstance(endpoint, int) or Policy.Userdata not in endpoint.qos:
        return None
    pairs = (part.partition(b"=") for part in bytes(endpoint.qos[Policy.Userdata].data).split(b";"))
    return next((value for name, _, value in pairs if name == key.encode()), None)


def _own_id() -> str:
    return ".".join(str(byte) for byte in os.urandom(16))


class DdsService:
    """Answers requests at once or by a future.

    Args:
        executor: whose thread the handler runs on.
        participant: of the node.
        type: of the service.
        name: full name.
        handler: as `Ports.service` has it.
        log: hears of failures.
    """

    def __init__(
        self,
        executor: Executor,
        participant: Participant,
        type: str,
        name: str,
        handler: Callable[[Any], Fields | Future[Fields]],
        log: Log,
    ) -> None:
        self._executor, self._participant, self._log = executor, participant, log
        self._request, self._response = ready(f"{type}_Request"), ready(f"{type}_Response")
        self._name, self._handler = name, handler
        user_data, topics = f"serviceid={_own_id()};", (f"rr{name}Reply", f"rq{name}Request")
        self._writer = participant.writer(self._response, topics[0], _QOS, with_header=True, user_data=user_data)
        reader = participant.reader(self._request, topics[1], _QOS, with_header=True, user_data=user_data)
        self._watch = executor.watch(reader, self._on_request)
        self._is_open = True

    def close(self) -> None:
        """Answer no more; what is asked and not answered yet stays so."""
        if self._is_open:
            self._is_open = False
            self._watch.close()
            self._participant.delete(self._writer)

    def _on_request(self, raw: Raw) -> None:
        try:
            header, body = split(raw.data)
            request = of_cdr(self._request, body)
        except InputError as error:
            self._log("warning", f"a request of {self._name} is dropped: {error}")
            return
        asked_by = raw.sample_info.publication_handle
        try:
            answer = self._handler(request)
        except Exception as error:  # the client learns of it, the node goes on
            self._failed(header, asked_by, error)
            return
        if isinstance(answer, Future):
            answer.add_done_callback(lambda done: self._executor.post(lambda: self._on_done(header, asked_by, done)))
        else:
            self._answer(header, asked_by, answer)

    def _on_done(self, header: Header, asked_by: int, done: Future[Fields]) -> None:
        error = InputError("it was cancelled") if done.cancelled() else done.exception()
        if error is not None:
            self._failed(header, asked_by, error)
        else:
            self._answer(header, asked_by, done.result())

    def _failed(self, header: Header, asked_by: int, error: BaseException) -> None:
        self._log("error", f"{self._name} failed: {error!r}")
        fields = dict(typestore().fielddefs[self._response][1])
        self._answer(header, asked_by, {"message": f"it failed: {error}"} if "message" in fields else {})

    def _answer(self, header: Header, asked_by: int, fields: Fields) -> None:
        try:
            data = to_cdr(self._response, fields)
        except InputError as error:
            self._log("error", f"{self._name} has no valid response: {error}")
            data = to_cdr(self._response, {})
        self._send(with_header(header, data), asked_by, _PATIENCE)

    def _send(self, data: bytes, asked_by: int, patience: float) -> None:
        """Once the client's reader is known: what is written before it never gets there."""
        from cyclonedds.core import DDSException

        if not self._is_open:
            return
        if patience > 0 and not self._is_heard(asked_by):
            self._executor.later(_PAUSE, lambda: self._send(data, asked_by, patience - _PAUSE))
            return
        try:
            write(self._writer, data)
        except DDSException as error:
            self._log("warning", f"a response of {self._name} is lost: {error}")

    def _is_heard(self, asked_by: int) -> bool:
        client = _user_data(self._watch.reader.get_matched_publication_data(asked_by), "clientid")
        readers = self._writer.get_matched_subscriptions()
        if client is None:  # no such writer any more, or one that does not say
            return bool(readers)
        return any(_user_data(self._writer.get_matched_subscription_data(r), "clientid") == client for r in readers)


class DdsClient:
    """Calls one service; on the thread of the callbacks.

    Args:
        executor: whose thread the responses come on.
        participant: of the node.
        type: of the service.
        name: full name.
        log: hears of failures.
    """

    def __init__(self, executor: Executor, participant: Participant, type: str, name: str, log: Log) -> None:
        self._executor, self._participant, self._log = executor, participant, log
        self._request, self._response = ready(f"{type}_Request"), ready(f"{type}_Response")
        self._name, self._guid = name, struct.unpack("<Q", os.urandom(8))[0]
        self._numbers = itertools.count(1)
        self._pending: dict[int, tuple[Callable[[Any | None], None], Later | None]] = {}
        user_data, topics = f"clientid={_own_id()};", (f"rq{name}Request", f"rr{name}Reply")
        reader = participant.reader(self._response, topics[1], _QOS, with_header=True, user_data=user_data)
        self._watch = executor.watch(reader, self._on_response)
        self._writer = participant.writer(self._request, topics[0], _QOS, with_header=True, user_data=user_data)
        self._is_open = True

    def is_ready(self) -> bool:
        """Whether a server is there: one whose two topics are both matched."""
        if not self._is_open:
            return False
        readers = [self._writer.get_matched_subscription_data(h) for h in self._writer.get_matched_subscriptions()]
        reader = self._watch.reader
        writers = [reader.get_matched_publication_data(h) for h in reader.get_matched_publications()]
        ids, writer_ids = ({_user_data(endpoint, "serviceid") for endpoint in some} for some in (readers, writers))
        return bool(ids & writer_ids) if ids - {None} else bool(readers and writers)

    def call(self, request: Fields, on_response: Callable[[Any | None], None], *, timeout: float) -> None:
        """Ask; `on_response` gets the response, or None when none came in `timeout` seconds.

        Raises:
            InputError: if the request does not fit the type.
        """
        from cyclonedds.core import DDSException

        data = to_cdr(self._request, request)
        number = next(self._numbers)
        later = None if timeout == float("inf") else self._executor.later(timeout, lambda: self._finish(number, None))
        self._pending[number] = on_response, later
        try:
            write(self._writer, with_header((self._guid, number), data))
        except DDSException as error:
            self._log("warning", f"a request of {self._name} is lost: {error}")

    def close(self) -> None:
        """End it; what was asked is answered no more."""
        if self._is_open:
            self._is_open = False
            for _, later in self._pending.values():
                if later is not None:
                    later.close()
            self._pending.clear()
            self._watch.close()
            self._participant.delete(self._writer)

    def _on_response(self, raw: Raw) -> None:
        try:
            (guid, number), body = split(raw.data)
            if guid != self._guid or number not in self._pending:
                return
            response = of_cdr(self._response, body)
        except InputError as error:
            self._log("warning", f"a response of {self._name} is dropped: {error}")
            return
        self._finish(number, response)

    def _finish(self, number: int, response: Any | None) -> None:
        on_response, later = self._pending.pop(number)
        if later is not None:
            later.close()
        on_response(response)
