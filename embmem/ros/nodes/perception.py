"""The perception node: detections for the memory node, of somebody else's detector or of one of ours on images."""

from __future__ import annotations

import math
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from embmem.detection.perceive import BoxDetector
from embmem.detection.segments import MAX_LABEL, Box
from embmem.errors import InputError
from embmem.recordings.raw import RawImage
from embmem.ros.images import compressed_image_of, image_of
from embmem.ros.messages import quaternion_of, stamp_ns, vector_of
from embmem.ros.outgoing.diagnostics import ERROR, OK, WARN, Status, diagnostics
from embmem.ros.outgoing.parts import header
from embmem.ros.parameters import USE_SIM_TIME, Parameter, Value
from embmem.ros.ports import SENSOR_DATA, Closable, Fields, Ports, QoS

IMAGE, COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
FLAT, SOLID = "vision_msgs/msg/Detection2DArray", "vision_msgs/msg/Detection3DArray"
SOURCES = ("bridge_2d", "bridge_3d", "detector")
_DELIVERED = Path(__file__).parents[2] / "configs" / "ros_setup" / "perception.yaml"
_DIAGNOSTICS = 1.0  # [s]
_PATIENCE = 10.0  # [s] for the image in hand, in the end
LABELS = ["chair", "table", "sofa", "bed", "cabinet", "shelf", "lamp", "sink", "toilet", "television", "plant", "box",
          "bag", "book", "bottle", "cup"]  # fmt: skip


class PerceptionNode:
    """Publishes vision_msgs on `detections`: what comes in on `raw_detections`, sorted out, or what it sees itself.

    A detector works on a thread of its own, on the newest image of `color/image`; what it has no time for is dropped.
    """

    PARAMETERS = (
        USE_SIM_TIME,
        Parameter("source", "bridge_2d", "who detects", choices=SOURCES, is_read_only=True),
        Parameter("min_score", 0.0, "of a detection, to be passed on; a score that is unknown passes", 0, 1),
        Parameter("max_detections", 100, "of a message, the surest", 1, 1000),
        Parameter("names", [], "what class ids mean, as 17=chair; an id that is not here stays as it is"),
        Parameter("only", [], "labels that are passed on; none: all"),
        Parameter("compressed", False, "look at color/image/compressed instead", is_read_only=True),
        Parameter("detector", "owlv2", "of the setup, to look with", is_read_only=True),
        Parameter("model", "", "folder with its checkpoint; nothing is downloaded", is_read_only=True),
        Parameter("labels", LABELS, "words to look for", is_read_only=True),
        Parameter("threshold", 0.2, "least score of a box", 0, 0.99, is_read_only=True),
        Parameter("device", "auto", "of torch; auto: the GPU where there is one", is_read_only=True),
        Parameter("setup", "", "YAML file of the detectors; empty: as delivered", is_read_only=True),
    )

    def __init__(self, ports: Ports) -> None:
        self._ports = ports
        self._open: list[Closable] = []
        self._inputs: list[Closable] = []
        self._looker: _Looker | None = None
        self._stopped: _Looker | None = None
        self._counters: Counter[str] = Counter()
        self._names: dict[str, str] = {}
        self._only: frozenset[str] = frozenset()

    def refuse(self, changes: Mapping[str, Value]) -> str | None:
        """Why changes make no sense."""
        try:
            names_of(changes.get("names", []))
        except InputError as error:
            return str(error)
        return None

    def configure(self) -> None:
        """Open what is published."""
        ports, source = self._ports, str(self._ports.parameter("source"))
        self._take_settings()
        if source == "detector" and not Path(str(ports.parameter("model"))).is_dir() and not ports.parameter("setup"):
            raise InputError(f"model: no folder {ports.parameter('model')!r} with the checkpoint of a detector")
        self._type = SOLID if source == "bridge_3d" else FLAT
        self._out = ports.publisher(self._type, "detections", QoS())
        self._diagnostics = ports.publisher("diagnostic_msgs/msg/DiagnosticArray", "/diagnostics", QoS())
        self._open += [self._out, self._diagnostics, ports.timer(_DIAGNOSTICS, self._tell, is_steady=True)]

    def activate(self) -> None:
        """Take images or detections; a detector is loaded meanwhile."""
        ports = self._ports
        if ports.parameter("source") != "detector":
            self._inputs.append(ports.subscription(self._type, "raw_detections", self._on_detections, SENSOR_DATA))
            return
        self._looker = _Looker(self._load, ports, self._on_boxes, self._counters)
        is_compressed = bool(ports.parameter("compressed"))
        topic, kind = ("color/image/compressed", COMPRESSED) if is_compressed else ("color/image", IMAGE)
        self._inputs.append(ports.subscription(kind, topic, self._looker.take, SENSOR_DATA))

    def deactivate(self) -> None:
        """Take no more."""
        for thing in self._inputs:
            thing.close()
        self._inputs.clear()
        if self._looker is not None:
            self._looker.stop()
            self._stopped, self._looker = self._looker, None

    def cleanup(self) -> None:
        """Close everything."""
        self.deactivate()
        if self._stopped is not None:
            self._stopped.join()  # a library that is cut off in its work may take the process with it
            self._stopped = None
        for thing in reversed(self._open):
            thing.close()
        self._open.clear()

    def changed(self, values: Mapping[str, Value]) -> None:
        """New values hold from the next message on."""
        self._take_settings()

    def _take_settings(self) -> None:
        only = self._ports.parameter("only")
        self._names = names_of(self._ports.parameter("names"))
        self._only = frozenset(only) if isinstance(only, list) else frozenset()

    def _load(self) -> BoxDetector:
        """The detector of the setup; takes long."""
        node = {name: self._ports.parameter(name) for name in ("model", "labels", "threshold", "device")}
        if node["device"] == "auto":
            node["device"] = _best_device()
        return detector_of(str(self._ports.parameter("setup")), str(self._ports.parameter("detector")), node)

    def _on_detections(self, message: Any) -> None:
        """Of somebody else."""
        read = flat_detection if self._type == FLAT else solid_detection
        kept: list[tuple[float, Fields]] = []
        for detection in message.detections:
            found = read(detection, self._labelled)
            if found is None:
                self._counters["senseless detections"] += 1
            else:
                kept.append(found)
        self._publish(message.header, kept)

    def _on_boxes(self, head: Any, boxes: Sequence[Box]) -> None:
        """Of our own detector."""
        self._publish(head, [(box.score, box_detection(box, self._labelled(box.label))) for box in boxes])

    def _labelled(self, name: str) -> str:
        """What a class is called, on one line."""
        return " ".join(self._names.get(name, name).split())[:MAX_LABEL]

    def _publish(self, head: Any, found: Sequence[tuple[float, Fields]]) -> None:
        least, most = self._number("min_score"), int(self._number("max_detections"))
        wanted = [
            (score, fields)
            for score, fields in found
            if not score < least and (not self._only or fields["results"][0]["hypothesis"]["class_id"] in self._only)
        ]
        surest = sorted(wanted, key=lambda each: -each[0] if math.isfinite(each[0]) else 0.0)[:most]
        self._counters["messages"] += 1
        self._counters["detections"] += len(surest)
        self._counters["left out"] += len(found) - len(surest)
        stamped = header(stamp_ns(head.stamp), str(head.frame_id))
        detections = [{"header": stamped, **fields} for _, fields in surest]
        self._out.publish({"header": stamped, "detections": detections})

    def _number(self, name: str) -> float:
        value = self._ports.parameter(name)
        return float(value) if isinstance(value, (int, float)) else 0.0

    def _tell(self) -> None:
        """How it is, for /diagnostics."""
        looker = self._looker
        level, message = OK, "detections pass" if self._inputs else "not active"
        if looker is not None:
            level, message = looker.state
        name = f"{self._ports.namespace.rstrip('/')}/{self._ports.name}"
        status = Status("detections", level, message, dict(self._counters))
        self._diagnostics.publish(diagnostics(name, [status], self._ports.now_ns()))


class _Looker:
    """A thread that loads a detector and then looks at the newest image, again and again."""

    def __init__(
        self,
        load: Callable[[], BoxDetector],
        ports: Ports,
        on_boxes: Callable[[Any, Sequence[Box]], None],
        counters: Counter[str],
    ) -> None:
        self._load, self._ports, self._on_boxes, self._counters = load, ports, on_boxes, counters
        self.state = WARN, "the detector is being loaded"
        self._newest: Any | None = None
        self._is_stopping = False
        self._wake = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="perception", daemon=True)
        self._thread.start()

    def take(self, message: Any) -> None:
        """Look at this next, and at no older one."""
        with self._wake:
            if self._newest is not None:
                self._counters["dropped images"] += 1
            self._newest = message
            self._wake.notify()

    def stop(self) -> None:
        """Look at nothing any more; what is in hand is not waited for."""
        with self._wake:
            self._is_stopping = True
            self._wake.notify()

    def join(self) -> None:
        """Wait for what is in hand, for a while."""
        self._thread.join(_PATIENCE)

    def _run(self) -> None:
        try:
            detector = self._load()
        except Exception as error:  # the node goes on; diagnostics say so
            self.state = ERROR, f"no detector: {' '.join(str(error).split())}"
            self._ports.log("error", self.state[1])
            return
        self.state = OK, "looking"
        self._ports.log("info", "the detector is loaded")
        while (message := self._next()) is not None:
            self._look(detector, message)

    def _next(self) -> Any | None:
        with self._wake:
            while self._newest is None and not self._is_stopping:
                self._wake.wait()
            message, self._newest = self._newest, None
            return None if self._is_stopping else message

    def _look(self, detector: BoxDetector, message: Any) -> None:
        try:
            image: RawImage = (image_of if hasattr(message, "encoding") else compressed_image_of)(message)
            if image.pixels.ndim != 3:
                raise InputError(f"an image of encoding {image.encoding!r} has no colours")
            (boxes,) = detector.detect([image.pixels])
        except InputError as error:
            self._counters["bad images"] += 1
            self._ports.log("warning", f"image dropped: {error}", throttle=5.0)
        except Exception as error:  # of a model or its device: the next image may do
            self._counters["failures"] += 1
            self.state = ERROR, f"the detector failed: {' '.join(str(error).split())}"
            self._ports.log("error", self.state[1], throttle=5.0)
        else:
            self.state = OK, "looking"
            self._counters["images"] += 1
            self._ports.post(lambda: None if self._is_stopping else self._on_boxes(message.header, boxes))


def names_of(lines: Value) -> dict[str, str]:
    """Labels by class ids.

    Raises:
        InputError: if a line is no `id=label`.
    """
    names: dict[str, str] = {}
    for line in lines if isinstance(lines, list) else []:
        key, equals, label = line.partition("=")
        if not equals or not key.strip() or not label.strip():
            raise InputError(f"names looks like 17=chair, not {line!r}")
        names[key.strip()] = label.strip()
    return names


def detector_of(setup: str, name: str, node: Mapping[str, Value]) -> BoxDetector:
    """A detector of a YAML file.

    Raises:
        InputError: if the file has none of that name, or it is none.
    """
    from hydra.errors import HydraException
    from hydra.utils import instantiate
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    file = Path(setup) if setup else _DELIVERED
    try:
        cfg = OmegaConf.merge(OmegaConf.load(file), {"node": dict(node)})
        if name not in cfg.detectors:
            raise InputError(f"{file} has no detector {name!r}, only {', '.join(map(str, cfg.detectors))}")
        detector = instantiate(cfg.detectors[name], _convert_="all")
    except HydraException as error:
        raise InputError(f"{file}: {' '.join(str(error.__cause__ or error).split())}") from error
    except (OSError, YAMLError, OmegaConfBaseException) as error:
        raise InputError(f"{file}: {' '.join(str(error).split())}") from error
    if not isinstance(detector, BoxDetector):
        raise InputError(f"{file}: {name} is no detector of boxes")
    return detector


def _best_device() -> str:
    """cuda where torch has one."""
    try:
        import torch
    except ImportError:
        return "cpu"
    return "cuda" if torch.cuda.is_available() else "cpu"


def box_detection(box: Box, label: str) -> Fields:
    """A vision_msgs/Detection2D without its header."""
    middle = {"position": {"x": (box.left + box.right) / 2, "y": (box.top + box.bottom) / 2}}
    size = {"size_x": box.right - box.left, "size_y": box.bottom - box.top}
    return {"results": [_hypothesis(label, box.score)], "bbox": {"center": middle, **size}}


def flat_detection(message: Any, labelled: Callable[[str], str]) -> tuple[float, Fields] | None:
    """(score, Detection2D with its best label alone); None for one that makes no sense."""
    best = _best(message)
    box = message.bbox
    at = getattr(box.center, "position", box.center)  # Foxy has it there itself
    numbers = [float(at.x), float(at.y), float(box.size_x), float(box.size_y)]
    if best is None or not all(map(math.isfinite, numbers)) or min(numbers[2:]) < 0:
        return None
    name, score = best
    bbox = {"center": {"position": {"x": numbers[0], "y": numbers[1]}}, "size_x": numbers[2], "size_y": numbers[3]}
    return score, {"results": [_hypothesis(labelled(name), score)], "bbox": bbox, "id": str(message.id)[:MAX_LABEL]}


def solid_detection(message: Any, labelled: Callable[[str], str]) -> tuple[float, Fields] | None:
    """(score, Detection3D with its best label alone); None for one that makes no sense."""
    best = _best(message)
    position, quat = vector_of(message.bbox.center.position), quaternion_of(message.bbox.center.orientation)
    size = vector_of(message.bbox.size)
    numbers = [*position, *quat, *size]
    if best is None or not all(map(math.isfinite, numbers)) or min(size) < 0 or abs(float(quat @ quat) - 1.0) > 0.01:
        return None
    name, score = best
    centre = {
        "position": dict(zip("xyz", map(float, position), strict=True)),
        "orientation": dict(zip("xyzw", map(float, quat), strict=True)),
    }
    bbox = {"center": centre, "size": dict(zip("xyz", map(float, size), strict=True))}
    return score, {"results": [_hypothesis(labelled(name), score)], "bbox": bbox, "id": str(message.id)[:MAX_LABEL]}


def _best(message: Any) -> tuple[str, float] | None:
    """(class id, score) of the surest hypothesis; None without any."""
    found = [(str(r.hypothesis.class_id), float(r.hypothesis.score)) for r in message.results]
    known = [each for each in found if math.isfinite(each[1])]
    return max(known or found, key=lambda each: each[1], default=None)


def _hypothesis(label: str, score: float) -> Fields:
    return {"hypothesis": {"class_id": label, "score": score}}
