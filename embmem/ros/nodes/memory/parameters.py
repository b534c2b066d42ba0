"""The parameters of the memory node, and what they cannot be together."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from embmem.ros.parameters import USE_SIM_TIME, Parameter, Value

NEEDS_COLOR = "image_encoder compares colour images: set color to true, too"
INPUT = (
    Parameter("input", "depth", "what is mapped", choices=("depth", "points"), is_read_only=True),
    Parameter("depth_transport", "raw", "depth/image comes as Image or as CompressedImage (compressedDepth)",
              choices=("raw", "compressed"), is_read_only=True),
    Parameter("color_transport", "raw", "color/image comes as Image or as CompressedImage",
              choices=("raw", "compressed"), is_read_only=True),
    Parameter("color", False, "take color/image, too: kept with the keyframes, in the map where it keeps colours",
              is_read_only=True),
    Parameter("detections", "none", "take detections of vision_msgs, boxes in the image (2d) or in space (3d)",
              choices=("none", "2d", "3d"), is_read_only=True),
    Parameter("segments_transport", "raw", "they come as Image or as CompressedImage (PNG of 16 bits)",
              choices=("raw", "compressed"), is_read_only=True),
    Parameter("segments", "none", "take semantic/image, the class of every pixel, named by semantic/labels; with both "
              "instance/image, too: which thing it is", choices=("none", "semantic", "both"), is_read_only=True),
    Parameter("image_encoder", "", "makes ~/query find what looks like an image: layout (built in), or a folder with "
              "CLIP or SigLIP (extra vision); empty: it does not. Needs color", is_read_only=True),
    Parameter("reliable_inputs", False, "reliable instead of sensor-data quality of service", is_read_only=True),
    Parameter("input_depth", 5, "messages that the middleware keeps of each input", low=1, high=10000,
              is_read_only=True),
    Parameter("depth_unit", 0.0, "[m] of one raw unit of depth; 0: by REP 118, 0.001 of integers and 1 of floats",
              low=0.0, high=1.0, is_read_only=True),
    Parameter("depth_invalid", ["0", "65535"], "raw depths that mean that nothing was measured, besides NaN",
              is_read_only=True),
    Parameter("is_rectified", False, "depth images are rectified: the projection P of camera_info is theirs",
              is_read_only=True),
    Parameter("color_gap", 0.02, "[s] between depth and the colour or the detections that go with it",
              low=0.001, high=1.0, is_read_only=True),
    Parameter("least_score", 0.0, "of detections that are believed", low=0.0, high=1.0, is_read_only=True),
)  # fmt: skip
POSES = (
    Parameter("pose_source", "tf", "what says where the camera is: tf, or odometry messages and static transforms",
              choices=("tf", "odometry"), is_read_only=True),
    Parameter("map_frame", "map", "frame of the memory and of all that goes out", is_read_only=True),
    Parameter("world_frame", "", "frame in which TF tells the camera's pose, such as odom; empty: map_frame",
              is_read_only=True),
    Parameter("camera_frame", "", "frame of the camera, where the images name a wrong one", is_read_only=True),
    Parameter("frame_prefix", "", "put before the frames named here, for several robots; not before one with a /",
              is_read_only=True),
    Parameter("camera_axes", "optical", "of the camera's frame: optical z ahead, body x ahead",
              choices=("optical", "body"), is_read_only=True),
    Parameter("time_offset", 0.0, "[s] added to the stamps of images before poses are looked up", low=-10.0, high=10.0,
              is_read_only=True),
    Parameter("tf_gap", 0.5, "[s] between two poses that may be interpolated between", low=0.001, high=60.0,
              is_read_only=True),
    Parameter("tf_wait", 0.5, "[s] that a frame waits for its pose and for camera_info, then it is dropped",
              low=0.0, high=60.0),
    Parameter("trust_map_frame", False, "world_frame is the same in every session, because something localises in it; "
              "else the robot has to be found again after a restart"),
    Parameter("publish_map_to_world", False, "send the transform from map_frame to world_frame (REP 105: only one may)",
              is_read_only=True),
)  # fmt: skip
MAPPING = (
    Parameter("memory", "robot", "which layers: a name of configs/memory", is_read_only=True),
    Parameter("memory_settings", ["resolution=0.05"], "of the layers, as for embmem build: name=value",
              is_read_only=True),
    Parameter("folder", "embmem", "where memories and what is saved lie", is_read_only=True),
    Parameter("mode", "newest", "of frames that come faster than they are mapped: newest drops the oldest; all keeps "
              "every one, for replaying bags", choices=("newest", "all")),
    Parameter("queue_size", 2, "frames that wait to be mapped, in mode newest", low=1, high=100),
    Parameter("replay_queue", 2000, "frames that wait to be mapped, in mode all; beyond it frames are dropped",
              low=1, high=100000),
    Parameter("thin_interval", 0.1, "[s] in mode newest a frame is mapped if it is so much later than the last ...",
              low=0.0, high=60.0, is_read_only=True),
    Parameter("thin_distance", 0.05, "[m] ... or the camera has moved so far ...", low=0.0, high=10.0,
              is_read_only=True),
    Parameter("thin_angle", 0.05, "[rad] ... or turned", low=0.0, high=3.2, is_read_only=True),
    Parameter("depth_step", 0.001, "[m] that depth is rounded to before it is mapped and kept; 0 keeps every bit",
              low=0.0, high=0.1, is_read_only=True),
    Parameter("warm_up", True, "load all that a first frame and a first question need before they come: 1 s or more",
              is_read_only=True),
    Parameter("clock_backwards", "new_session", "of stamps that run backwards: begin a new session, or refuse them",
              choices=("new_session", "refuse"), is_read_only=True),
)  # fmt: skip
KEEPING = (
    Parameter("snapshot_period", 60.0, "[s] between two snapshots of the layers: what a restart need not replay",
              low=1.0, high=86400.0, is_read_only=True),
    Parameter("disk_budget", 16384, "[MiB] of the memory's file, beyond which the oldest frames are forgotten",
              low=1, high=2**30, is_read_only=True),
    Parameter("ram_budget", 4096, "[MiB] of layers and index", low=16, high=2**30, is_read_only=True),
    Parameter("disk_reserve", 64, "[MiB] free on the disk, below which nothing more is mapped", low=0, high=2**20),
    Parameter("retry_period", 5.0, "[s] between two looks whether a full disk can be written again", low=0.1,
              high=3600.0),
)  # fmt: skip
OUTPUT = (
    Parameter("publish_rate", 1.0, "[Hz] of maps and graphs, at most; they are sent only when they have changed",
              low=0.01, high=100.0),
    Parameter("whole_period", 10.0, "[s] after which a grid or graph is sent whole again, not as a change",
              low=0.1, high=3600.0),
    Parameter("derive_period", 5.0, "[s] between two derivations of rooms and relations", low=0.1, high=3600.0),
    Parameter("diagnostics_period", 1.0, "[s] between two diagnostics", low=0.05, high=60.0),
    Parameter("z_min", 0.15, "[m] above which a robot on the floor can hit something", low=-10.0, high=100.0,
              is_read_only=True),
    Parameter("z_max", 1.0, "[m] below which it can", low=-10.0, high=100.0, is_read_only=True),
    Parameter("least_confidence", 0.5, "of things that are sent", low=0.0, high=1.0, is_read_only=True),
)  # fmt: skip
STRESS = (
    Parameter("jump", 1.0, "[s] that the clock may go forward between two looks at it, before it counts as a jump",
              low=0.1, high=3600.0),
    Parameter("sensor_timeout", 2.0, "[s] without a message of the mapped input that count as a pause", low=0.1,
              high=3600.0),
)  # fmt: skip
PARAMETERS = (USE_SIM_TIME, *INPUT, *POSES, *MAPPING, *KEEPING, *OUTPUT, *STRESS)


def refusal_together(values: Callable[[str], Value], changes: Mapping[str, Value]) -> str | None:
    """Why these changes make no sense with the other values as they are; None if they do."""

    def of(name: str) -> Value:
        return changes.get(name, values(name))

    z_min, z_max = of("z_min"), of("z_max")
    if isinstance(z_min, (int, float)) and isinstance(z_max, (int, float)) and not z_min < z_max:
        return f"z_min must lie below z_max, got {z_min:g} and {z_max:g}"
    if of("map_frame") in ("", "/"):
        return "map_frame must have a name"
    if of("input") == "points" and (of("color") or of("detections") != "none" or of("segments") != "none"):
        return "color, detections and segments go with depth images, not with points"
    if of("image_encoder") and not of("color"):
        return NEEDS_COLOR
    for number in _texts(of("depth_invalid")):
        if not _is_number(number):
            return f"depth_invalid holds numbers, not {number!r}"
    for setting in _texts(of("memory_settings")):
        if "=" not in setting or setting.startswith(("_", "=")) or "_target_" in setting.partition("=")[0]:
            return f"memory_settings holds name=value of settings, not {setting!r}"
    if not str(of("memory")).replace("_", "a").isalnum():
        return f"memory is a name of configs/memory, not {of('memory')!r}"
    if of("publish_map_to_world") and _is_same(of("world_frame"), of("map_frame")):
        return "publish_map_to_world needs a world_frame that is not map_frame"
    return None


def _is_same(world: Value, frame: Value) -> bool:
    return world in ("", frame)


def _texts(value: Value) -> list[str]:
    return value if isinstance(value, list) else []


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
