"""The services of the memory node: each request on the right thread, each answer a success or a reason."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from embmem.errors import EmbmemError, InputError
from embmem.records import Query
from embmem.ros.messages import stamp_ns
from embmem.ros.nodes.memory import answering, correcting, saving
from embmem.ros.nodes.memory.counters import Counters
from embmem.ros.nodes.memory.intake import PosedFrame
from embmem.ros.nodes.memory.looks import able
from embmem.ros.nodes.memory.mapping import Mapping
from embmem.ros.nodes.memory.poses import Frames, PoseSource
from embmem.ros.nodes.memory.worker import Stopped, Worker
from embmem.ros.outgoing.items import items
from embmem.ros.ports import Closable, Fields, Ports
from embmem.ros.tf_buffer import TfBuffer, TransformError

TYPES = {
    "query": "QueryMemory", "save": "SaveMemory", "load": "LoadMemory", "correct": "CorrectMemory",
    "clear": "ClearMemory", "keyframe": "GetKeyframe",
}  # fmt: skip
STOPS = "the node stops; ask again when it is there"


class Services:
    """Opened when the node is configured; requests are answered whether or not it is active.

    Questions and images go to a thread of their own, so that they wait for nothing; what changes or writes the memory
    is done by the mapping thread, after the frames that came before.

    Args:
        ports: of the node.
        mapping: what it maps.
        worker: the mapping thread.
        counters: of requests.
        frames: their names.
        poses: that know the world frame.
        exchanged: called on the mapping thread when the memory is another one.
    """

    def __init__(
        self,
        ports: Ports,
        mapping: Mapping,
        worker: Worker[PosedFrame],
        *,
        counters: Counters,
        frames: Frames,
        poses: PoseSource,
        exchanged: Callable[[], None],
    ) -> None:
        self._ports, self._mapping, self._worker = ports, mapping, worker
        self._counters, self._frames, self._poses, self._exchanged = counters, frames, poses, exchanged
        self._folder = Path(str(ports.parameter("folder")))
        self._asker: Worker[None] = Worker(lambda item: None, name="embmem answers")
        self._open: list[Closable] = [
            ports.service(f"embmem_msgs/srv/{type}", f"~/{name}", getattr(self, name)) for name, type in TYPES.items()
        ]

    def close(self) -> None:
        """End the services; who waits for an answer is told that the node stops."""
        self._asker.stop()
        for service in self._open:  # after the answers, which go the same way
            self._ports.post(service.close)
        self._open = []

    def query(self, request: Any) -> Future[Fields]:
        """Answer QueryMemory."""
        now = self._ports.now_ns()
        try:
            query = answering.query_of(request, self._position(request.near))
            looks = able(self._mapping.keeper.looks, request) if len(request.image.data) else None
        except EmbmemError as error:
            return self._refuse(error)

        def job() -> Fields:
            asked = query if looks is None else replace(query, embedding=looks.picture(request.image))
            return self._ask(asked, now)

        return self._answer(self._asker, job)

    def keyframe(self, request: Any) -> Future[Fields]:
        """Answer GetKeyframe."""
        memory = self._mapping.keeper.memory
        return self._answer(self._asker, lambda: answering.keyframe(memory, int(request.id), self._frames.map))

    def save(self, request: Any) -> Future[Fields]:
        """Answer SaveMemory."""

        def job() -> Fields:
            keeper = self._mapping.keeper
            folder = saving.inside(self._folder, str(request.path), self._ports.name)
            files = saving.saved(
                keeper.memory, folder, [str(name) for name in request.formats], overwrite=bool(request.overwrite)
            )
            said = f"{len(files)} files in {folder}"
            return {"message": said, "files": [str(file) for file in files], "revision": keeper.revision}

        return self._answer(self._worker, job)

    def load(self, request: Any) -> Future[Fields]:
        """Answer LoadMemory."""

        def job() -> Fields:
            if not request.path:
                raise InputError("a path is wanted")
            path = saving.inside(self._folder, str(request.path), "")
            path = path / f"{saving.MEMORY}.embmem" if path.is_dir() else path
            kept, keeper = self._exchange(path), self._mapping.keeper
            return {
                "message": f"{path} was taken up; the memory before lies in {kept}", "revision": keeper.revision,
                "n_records": len(keeper.memory.acknowledged), "is_localised": self._mapping.localiser.now.is_known,
            }  # fmt: skip

        return self._answer(self._worker, job)

    def clear(self, request: Any) -> Future[Fields]:
        """Answer ClearMemory."""

        def job() -> Fields:
            if request.name != self._ports.name:
                raise InputError(f"the memory is called {self._ports.name!r}, not {str(request.name)!r}")
            kept = self._exchange(None)
            return {"message": f"a new memory was begun; the one before lies in {kept}", "kept_as": str(kept)}

        return self._answer(self._worker, job)

    def correct(self, request: Any) -> Future[Fields]:
        """Answer CorrectMemory."""
        try:
            position = self._position(request.position)
        except EmbmemError as error:
            return self._refuse(error)

        def job() -> Fields:
            keeper = self._mapping.keeper
            if keeper.failure:
                raise InputError(f"the memory cannot be written now: {keeper.failure}")
            written, said = correcting.corrected(keeper.memory, request, position=position, place=self._mapping.latest)
            keeper.revision += 1
            return {"message": said, "written": np.array(written, dtype=np.int64), "revision": keeper.revision}

        return self._answer(self._worker, job)

    def _ask(self, query: Query, now_ns: int) -> Fields:
        mapping = self._mapping
        revision = mapping.keeper.revision
        hits = answering.ask(mapping.keeper.memory, query)
        where = mapping.localiser.now
        said = [] if hits else ["nothing was found"]
        if query.embedding is not None and not hits:
            said.append("no view that the other fields of the question let through was kept with an image_encoder")
        if not where.is_known:
            said.append(f"the robot's own place in the memory is not known: {where.why}")
        return {"message": "; ".join(said), "found": items(hits, revision, now_ns, self._frames.map)}

    def _exchange(self, other: Path | None) -> Path:
        try:
            return self._mapping.exchange(other, is_trusted=bool(self._ports.parameter("trust_map_frame")))
        finally:
            self._exchanged()

    def _position(self, point: Any) -> Float[np.ndarray, "3"] | None:
        """A PointStamped in the map; None where it has no frame.

        Raises:
            InputError: if its frame cannot be taken to the map.
        """
        frame = str(point.header.frame_id).removeprefix("/")
        if not frame:
            return None
        if frame == self._frames.map:
            return answering.point_in(point, np.eye(4))
        where = self._mapping.localiser.now
        if not where.is_known:
            raise InputError(f"{frame!r} cannot be taken to {self._frames.map!r}: {where.why}")
        world = self._poses.world
        stamp = stamp_ns(point.header.stamp) or latest(self._ports.tf, world, frame)
        T = np.eye(4) if frame == world else self._ports.tf.lookup(world, frame, stamp)
        return answering.point_in(point, where.T_map_world @ T)

    def _refuse(self, error: Exception) -> Future[Fields]:
        self._counters.add("refused_requests")
        future: Future[Fields] = Future()
        future.set_result({"success": False, "message": str(error)})
        return future

    def _answer(self, worker: Worker[Any], job: Callable[[], Fields]) -> Future[Fields]:
        """What the job gives, with success, or why it gives nothing."""
        answer: Future[Fields] = Future()

        def finish(done: Future[Fields]) -> None:
            error = done.exception()
            if error is None:
                self._counters.add("answered")
                answer.set_result({"success": True, **done.result()})
                return
            is_known = isinstance(error, (EmbmemError, ValueError, OSError))
            self._counters.add("stopped_requests" if isinstance(error, Stopped) else "refused_requests")
            if not is_known and not isinstance(error, Stopped):
                self._ports.log("error", f"a request failed: {error!r}")
            said = STOPS if isinstance(error, Stopped) else str(error) if is_known else repr(error)
            answer.set_result({"success": False, "message": said})

        worker.submit(job).add_done_callback(finish)
        return answer


def latest(tf: TfBuffer, target: str, source: str) -> int:
    """The latest stamp [ns] at which both frames can be known, as tf2 takes a stamp of 0."""
    ends = []
    for frame in (target, source):
        for link in _up(tf, frame):
            if not tf.is_static(link):
                ends.append(tf.span(link)[1])
    if not ends and target not in tf.frames:
        raise TransformError("unknown_frame", f"no transform names the frame {target!r}, only {tf.frames}")
    return min(ends, default=0)


def _up(tf: TfBuffer, frame: str) -> list[str]:
    """The frame and its ancestors that have a parent."""
    chain: list[str] = []
    parent = tf.parent(frame)
    while parent is not None and frame not in chain:
        chain.append(frame)
        frame, parent = parent, tf.parent(parent)
    return chain
