"""Publishers and subscriptions: plain fields and messages on one side, CDR on the other."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from embmem.dds.executor import Executor
from embmem.dds.participant import PATIENCE, Participant
from embmem.dds.types import Raw
from embmem.dds.writing import write
from embmem.errors import InputError
from embmem.ros.definitions import message_of, ready, typestore
from embmem.ros.ports import Fields, QoS

Log = Callable[[str, str], None]  # (level, text)
_HEAD = 4  # bytes that say how the rest is encoded


def to_cdr(type: str, fields: Fields) -> memoryview:
    """The message as CDR.

    Raises:
        InputError: if a field is unknown or a value does not fit.
    """
    return typestore().serialize_cdr(message_of(type, fields), type)


def of_cdr(type: str, data: bytes | memoryview) -> Any:
    """The message; its arrays lie in `data`.

    Raises:
        InputError: if the bytes are no such message.
    """
    try:
        return typestore().deserialize_cdr(memoryview(data), type)
    except Exception as error:  # whatever damaged bytes make the parser raise
        raise InputError(f"{len(data)} bytes are no {type} ({error})") from error


class DdsPublisher:
    """Sends messages of one type to one topic; any thread may.

    Args:
        participant: of the node.
        type: of the messages.
        topic: full name.
        qos: quality.
        log: hears of messages that slow listeners have missed.
        patience: [s] that it waits for slow reliable listeners.
    """

    def __init__(
        self, participant: Participant, type: str, topic: str, qos: QoS, log: Log, *, patience: float = PATIENCE
    ) -> None:
        self._participant, self._log = participant, log
        self._type, self._topic, self.is_latched = ready(type), topic, qos.is_latched
        self._writer = participant.writer(type, f"rt{topic}", qos, patience=patience)

    @property
    def n_subscriptions(self) -> int:
        """How many listen."""
        return 0 if self._writer is None else int(self._writer.get_publication_matched_status().current_count)

    def publish(self, fields: Fields) -> None:
        """Send one; a message that a full queue has no room for in time is lost and reported.

        Raises:
            InputError: if the type has no such field, or a value does not fit it.
        """
        self.publish_cdr(to_cdr(self._type, fields))

    def publish_cdr(self, data: bytes | memoryview) -> None:
        """Send one that is CDR already.

        Raises:
            InputError: if it has not even the head of CDR.
        """
        from cyclonedds.core import DDSException

        if len(data) < _HEAD:
            raise InputError(f"{len(data)} bytes are no CDR")
        writer = self._writer
        if writer is None:
            return
        try:
            write(writer, data)
        except DDSException as error:
            self._log("warning", f"a message on {self._topic} is lost: {error}")

    def flush(self, seconds: float) -> None:
        """Wait until reliable listeners have what was sent."""
        from cyclonedds.core import DDSException

        with suppress(DDSException, AttributeError):  # cyclonedds 11.0.1 stumbles over its own time-out
            self._writer.wait_for_acks(round(seconds * 1e9))

    def close(self) -> None:
        """End it."""
        writer, self._writer = self._writer, None
        if writer is not None:
            self._participant.delete(writer)


def subscribe(
    executor: Executor,
    participant: Participant,
    type: str,
    topic: str,
    callback: Callable[[Any], None],
    qos: QoS,
    *,
    is_raw: bool,
    log: Log,
) -> Any:
    """Call back with every message, or with its bytes; what is no message of the type is reported and passed over."""
    ready(type)

    def on_sample(raw: Raw) -> None:
        if is_raw:
            callback(raw.data)
            return
        try:
            message = of_cdr(type, raw.data)
        except InputError as error:
            log("warning", f"dropped a message on {topic}: {error}")
            return
        callback(message)

    return executor.watch(participant.reader(type, f"rt{topic}", qos), on_sample)
