"""A participant of a DDS domain as rmw_cyclonedds sets one up, and its announcement as a ROS node.

https://design.ros2.org/articles/topic_and_service_names.html, Node_to_Participant_mapping.html; rmw_dds_common.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any
from weakref import WeakValueDictionary

from embmem.dds.types import topic_type
from embmem.dds.writing import write
from embmem.errors import EmbmemError, InputError, import_extra
from embmem.ros.definitions import message_of, typestore
from embmem.ros.ports import LATCHED, QoS

MAX_DOMAIN = 232  # the ports of greater ones do not exist (DDSI-RTPS 2.5, 9.6.2.3)
# [s] that a full reliable writer waits for slow readers, then the message is lost
PATIENCE = 0.05
_DISCOVERY = "rmw_dds_common/msg/ParticipantEntitiesInfo"
_MAX_SAMPLE = "256 MiB"  # of one message; what claims to be larger is not received
# Images come in bursts that Cyclone's megabyte of socket buffer does not hold; the kernel gives what it may.
_GENERAL = (
    f"<CycloneDDS><Domain><Internal><MaxSampleSize>{_MAX_SAMPLE}</MaxSampleSize>"
    '<SocketReceiveBufferSize max="8MiB"/></Internal></Domain></CycloneDDS>'
)
# As rmw_cyclonedds does it for ROS_AUTOMATIC_DISCOVERY_RANGE=LOCALHOST: no multicast, which loopback often has not.
_LOOPBACK = (
    "<CycloneDDS><Domain><General><AllowMulticast>false</AllowMulticast><MaxMessageSize>65500B</MaxMessageSize>"
    '<Interfaces><NetworkInterface address="127.0.0.1"/></Interfaces></General>'
    "<Discovery><ParticipantIndex>auto</ParticipantIndex><MaxAutoParticipantIndex>32</MaxAutoParticipantIndex>"
    '<Peers><Peer address="localhost"/></Peers></Discovery></Domain></CycloneDDS>'
)
_POLICIES = {2: "durability", 4: "deadline", 8: "liveliness", 11: "reliability", 23: "representation", 24: "type"}
_domains: WeakValueDictionary[int, Any] = WeakValueDictionary()
_lock = threading.Lock()


def domain_id() -> int:
    """Of ROS_DOMAIN_ID, 0 if it is not set.

    Raises:
        InputError: if it is no domain.
    """
    text = os.environ.get("ROS_DOMAIN_ID", "").strip() or "0"
    if not text.isdecimal() or int(text) > MAX_DOMAIN:
        raise InputError(f"ROS_DOMAIN_ID is a whole number from 0 to {MAX_DOMAIN}, not {text!r}")
    return int(text)


class Participant:
    """One node in a domain. ROS_AUTOMATIC_DISCOVERY_RANGE=LOCALHOST and CYCLONEDDS_URI are heeded.

    Args:
        domain: 0 to 232.
        node: name of the node, as `ros2 node list` shows it.
        namespace: of the node.
    """

    def __init__(self, domain: int, node: str, namespace: str) -> None:
        if not 0 <= domain <= MAX_DOMAIN:
            raise InputError(f"a domain is a whole number from 0 to {MAX_DOMAIN}, not {domain}")
        self._node, self._namespace = node, namespace
        self._topics: dict[tuple[str, Any], Any] = {}
        self._readers: set[bytes] = set()
        self._writers: set[bytes] = set()
        self._is_announced = False
        self._statuses: dict[Any, tuple[str, Callable[[], Any]]] = {}  # endpoint -> topic, how its peers go with it
        self._lock = threading.Lock()
        import_extra("cyclonedds.domain", "dds")
        from cyclonedds.core import DDSException, Policy, Qos
        from cyclonedds.domain import DomainParticipant
        from cyclonedds.pub import DataWriter

        try:
            self._domain = _open_domain(domain)
            self.entity = DomainParticipant(domain, Qos(Policy.Userdata(b"enclave=/;")))
        except (DDSException, UnicodeError) as error:
            raise EmbmemError(f"DDS domain {domain} cannot be entered: {error}; see CYCLONEDDS_URI") from error
        topic = self._topic(_DISCOVERY, "ros_discovery_info", with_header=False)
        self._discovery = DataWriter(self.entity, topic, _qos(LATCHED, _DISCOVERY, ""))

    def writer(
        self,
        type: str,
        topic: str,
        qos: QoS,
        *,
        with_header: bool = False,
        user_data: str = "",
        patience: float = PATIENCE,
    ) -> Any:
        """A writer of the DDS topic; `delete` ends it.

        Args:
            type: of the messages, as ROS names it.
            topic: DDS name, with its prefix.
            qos: quality.
            with_header: whether it is of a service.
            user_data: that others see of it.
            patience: [s] that it waits for slow readers.
        """
        from cyclonedds.pub import DataWriter

        own = self._topic(type, topic, with_header)
        made = DataWriter(self.entity, own, _qos(qos, type, user_data, patience))
        with self._lock:
            self._writers.add(made.guid.bytes)
            self._statuses[made.guid] = topic, made.get_offered_incompatible_qos_status
            self._is_announced = False
        return made

    def reader(self, type: str, topic: str, qos: QoS, *, with_header: bool = False, user_data: str = "") -> Any:
        """A reader, likewise."""
        from cyclonedds.sub import DataReader

        made = DataReader(self.entity, self._topic(type, topic, with_header), _qos(qos, type, user_data))
        with self._lock:
            self._readers.add(made.guid.bytes)
            self._statuses[made.guid] = topic, made.get_requested_incompatible_qos_status
            self._is_announced = False
        return made

    def delete(self, *endpoints: Any) -> None:
        """End readers and writers."""
        with self._lock:
            for endpoint in endpoints:
                self._readers.discard(endpoint.guid.bytes)
                self._writers.discard(endpoint.guid.bytes)
                self._statuses.pop(endpoint.guid, None)
            self._is_announced = False
        for endpoint in endpoints:
            endpoint.__del__()

    def announce(self) -> None:
        """Tell ROS which endpoints the node has, if that has changed since the last time."""
        with self._lock:
            if self._is_announced:
                return
            self._is_announced = True
            readers, writers = ([{"data": gid} for gid in sorted(gids)] for gids in (self._readers, self._writers))
        node = {
            "node_namespace": self._namespace,
            "node_name": self._node,
            "reader_gid_seq": readers,
            "writer_gid_seq": writers,
        }
        self._tell([node])

    def close(self) -> None:
        """Leave the domain; the others learn of it at once."""
        from cyclonedds.core import DDSException

        with suppress(DDSException):
            self._tell([])
        self._topics.clear()
        self.entity.__del__()  # with all that was made of it
        self._domain = None

    def mismatches(self) -> list[tuple[str, str]]:
        """(topic, policy) of what has turned up since the last call: others whose quality does not go with ours.

        Asked for, not told by a listener: Cyclone would call that with its locks held, while others wait for them with
        the interpreter's lock.
        """
        with self._lock:
            looks = list(self._statuses.values())
        found = [(topic, status()) for topic, status in looks]
        return [
            (topic, _POLICIES.get(int(status.last_policy_id), f"policy {status.last_policy_id}"))
            for topic, status in found
            if status.total_count_change > 0
        ]

    def _tell(self, nodes: list[dict[str, Any]]) -> None:
        fields = {"gid": {"data": self.entity.guid.bytes}, "node_entities_info_seq": nodes}
        data = typestore().serialize_cdr(message_of(_DISCOVERY, fields), _DISCOVERY)
        write(self._discovery, data)

    def _topic(self, type: str, topic: str, with_header: bool) -> Any:
        from cyclonedds.topic import Topic

        made = topic_type(type, with_header=with_header)
        with self._lock:
            if (topic, made) not in self._topics:
                self._topics[topic, made] = Topic(self.entity, topic, made)
            return self._topics[topic, made]


def _open_domain(domain: int) -> Any:
    """The domain, configured once a process and closed with the last participant; None if it is somebody else's."""
    from cyclonedds.core import DDSException
    from cyclonedds.domain import Domain

    is_local = os.environ.get("ROS_AUTOMATIC_DISCOVERY_RANGE", "").upper() == "LOCALHOST"
    parts = [_GENERAL, _LOOPBACK if is_local else "", os.environ.get("CYCLONEDDS_URI", "")]
    with _lock:
        found = _domains.get(domain)
        if found is None:
            try:
                found = Domain(domain, ",".join(part for part in parts if part))
            except DDSException as error:
                if error.code != DDSException.DDS_RETCODE_PRECONDITION_NOT_MET:
                    raise
                return None  # other code of this process has opened it, with its own settings
            _domains[domain] = found
        return found


def _qos(qos: QoS, type: str, user_data: str, patience: float = PATIENCE) -> Any:
    """As rmw_cyclonedds' create_readwrite_qos; the type's hash is what silences its warnings."""
    from cyclonedds.core import Policy, Qos

    history = Policy.History.KeepLast(qos.depth)
    policies = [
        history,
        Policy.Reliability.Reliable(round(patience * 1e9)) if qos.is_reliable else Policy.Reliability.BestEffort,
        Policy.Durability.TransientLocal if qos.is_latched else Policy.Durability.Volatile,
        Policy.WriterDataLifecycle(autodispose=False),
        Policy.DataRepresentation(use_cdrv0_representation=True),
        Policy.Userdata(f"{user_data}typehash={typestore().hash_rihs01(type)};".encode()),
    ]
    if qos.is_latched:
        policies.append(Policy.DurabilityService(0, history, -1, -1, -1))
    return Qos(*policies)
