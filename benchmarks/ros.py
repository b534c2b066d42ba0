"""The memory node on a real wire: same map as offline, latency, throughput, questions while mapping, ten minutes flat.

    EMBMEM_DATA_DIR=... python benchmarks/ros.py [--quick] [--only wire map ten thirty long] [--json FILE]

Every part runs processes of their own on loopback (DDS, no ROS): a sender, the memory node, someone who asks. `wire`
sends VGA images one way, beside the same bytes through Cyclone DDS alone; `map` plays a real bag and compares the map
with `embmem build`; `ten` and `thirty` offer 640x480 depth at 10 and 30 Hz while questions are asked; `long` goes on at
10 Hz for ten minutes and looks whether CPU and memory stay flat. A part without its data is left out by name.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from ros_wire import one_way
from rows import row

from embmem.building.build import build
from embmem.cli.build import plan_of
from embmem.cli.main import compose_config
from embmem.dds.names import Names
from embmem.dds.ports import DdsPorts
from embmem.map_hash import map_hash
from embmem.maps import view_memory

DATA = Path(os.environ.get("EMBMEM_DATA_DIR", "/nowhere"))
KINECT, BAG = DATA / "rgbd" / "seven_scenes", DATA / "ros2" / "rgbd_7scenes_mcap"
HERE = Path(__file__).parent
Rows = list[dict[str, Any]]
ALL_FRAMES = {"thin_interval": 0.0, "thin_distance": 0.0, "thin_angle": 0.0}
TICK = os.sysconf("SC_CLK_TCK")


@contextmanager
def child(*command: str) -> Iterator[subprocess.Popen[str]]:
    """A process; ended as a user would, killed if that does not help."""
    process = subprocess.Popen([sys.executable, *command], stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()


def memory_node(domain: int, folder: Path, *more: str, **settings: Any) -> Any:
    """The memory node as a process."""
    values = {"folder": str(folder), **settings}
    given = ",".join(f"{name}:{value}" for name, value in values.items())
    return child("-m", "embmem.cli.main", "node", "memory", f"domain={domain}", f"set={{{given}}}", *more)


def last_line(process: subprocess.Popen[str]) -> Any:
    """The JSON that it printed last; waits for its end."""
    printed, _ = process.communicate()
    return json.loads(printed.splitlines()[-1])


class Usage:
    """CPU and RAM of a process, looked at now and then."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self.seconds: list[float] = []  # of the clock
        self.cpu: list[float] = []  # [s]
        self.resident: list[int] = []  # [bytes]

    def look(self) -> None:
        """Once."""
        fields = Path(f"/proc/{self._pid}/stat").read_text().rpartition(")")[2].split()
        self.seconds.append(time.monotonic())
        self.cpu.append((int(fields[11]) + int(fields[12])) / TICK)
        self.resident.append(int(fields[21]) * os.sysconf("SC_PAGE_SIZE"))

    def share(self, begin: float, end: float) -> float:
        """CPU time over time between two parts of the whole, 0 to 1."""
        a, b = (int(x * (len(self.seconds) - 1)) for x in (begin, end))
        return (self.cpu[b] - self.cpu[a]) / (self.seconds[b] - self.seconds[a])

    def bytes_at(self, part: float) -> float:
        """Median RAM around a part of the whole."""
        n = len(self.resident)
        width = max(1, n // 20)
        at = min(max(int(part * n), width), n - width)
        return float(np.median(self.resident[at - width : at + width]))


def offered(folder: Path, domain: int, *, hz: float, seconds: float) -> tuple[dict[str, Any], dict[str, Any], Usage]:
    """(what the asker heard, what the sender did, usage of the node) with so many frames a second."""
    with memory_node(domain, folder, **ALL_FRAMES) as node, \
            child(str(HERE / "ros_ask.py"), str(domain), str(seconds + 3.0)) as asker, \
            child(str(HERE / "ros_load.py"), str(KINECT), str(domain), str(hz), str(seconds)) as sender:  # fmt: skip
        usage = Usage(node.pid)
        while sender.poll() is None:
            usage.look()
            time.sleep(1.0)
        asker.wait(60)
        return last_line(asker), last_line(sender), usage


def load_rows(name: str, heard: dict[str, Any], sent: dict[str, Any], *, every: bool) -> Rows:
    """Frames and answers."""
    node, took = heard["node"], [1e3 * t for t in heard["took"]]
    mapped, dropped = node.get("mapped", 0.0), sent["offered"] - node.get("mapped", 0.0)
    seconds = {q: node.get(f"age {q} [s]", float("nan")) for q in ("p50", "p99")}
    goal = {"goal": "= offered", "met": mapped == sent["offered"]} if every else {}
    return [
        row(f"{name}: frames offered", sent["offered"]),
        row(f"{name}: frames mapped", mapped, **goal),
        row(f"{name}: frames not mapped, all counted", dropped,
            goal="= counted", met=dropped == sum(node.get(k, 0.0) for k in DROPS) + unheard(node, sent)),
        *(row(f"{name}: stamp to map {q} [ms]", 1e3 * seconds[q]) for q in seconds),
        row(f"{name}: answer p50 [ms]", took[0]),
        row(f"{name}: answer p99 [ms]", took[1], goal="<= 20", met=took[1] <= 20.0 and not heard["answers"]["failed"]),
        row(f"{name}: answers", heard["answers"]["n"]),
    ]  # fmt: skip


DROPS = ("dropped_queue", "tf_late", "tf_missing", "tf_gap", "camera_missing", "bad_message", "refused", "thinned",
         "unlocalised", "stamp_backward", "lost_storage")  # fmt: skip


def unheard(node: dict[str, float], sent: dict[str, Any]) -> float:
    """Images that the middleware dropped: best effort."""
    return float(sent["offered"] - node.get("received", 0.0))


def ten(folder: Path, domain: int, *, is_quick: bool) -> Rows:
    """10 Hz: every frame is to be taken."""
    heard, sent, _ = offered(folder / "ten", domain, hz=10.0, seconds=10.0 if is_quick else 60.0)
    return load_rows("10 Hz", heard, sent, every=True)


def thirty(folder: Path, domain: int, *, is_quick: bool) -> Rows:
    """30 Hz, as a camera offers; what is not mapped is counted."""
    heard, sent, usage = offered(folder / "thirty", domain, hz=30.0, seconds=10.0 if is_quick else 60.0)
    rate = heard["node"].get("mapped", 0.0) / (sent["offered"] / 30.0)
    return [
        *load_rows("30 Hz", heard, sent, every=False),
        row("30 Hz: frames mapped a second", rate, goal=">= 10", met=rate >= 10.0),
        row("30 Hz: CPU of the node [cores]", usage.share(0.2, 1.0)),
    ]


def long(folder: Path, domain: int, *, is_quick: bool) -> Rows:
    """CPU and RAM of the last third beside those of the second."""
    heard, sent, usage = offered(folder / "long", domain, hz=10.0, seconds=45.0 if is_quick else 600.0)
    cpu, ram = usage.share(0.67, 1.0) / usage.share(0.33, 0.67), usage.bytes_at(0.97) / usage.bytes_at(0.4)
    return [
        *load_rows("ten minutes at 10 Hz", heard, sent, every=True),
        row("ten minutes: CPU, last third to second", cpu, goal="<= 1.1", met=cpu <= 1.1),
        row("ten minutes: RAM, at the end to 40 %", ram, goal="<= 1.05", met=ram <= 1.05),
        row("ten minutes: RAM at the end [MiB]", usage.bytes_at(0.97) / 2**20),
        row("ten minutes: CPU [cores]", usage.share(0.33, 1.0)),
    ]


def same_map(folder: Path, domain: int, *, is_quick: bool) -> Rows:
    """A bag on the wire and the same bag read offline."""
    camera = "/camera/depth"
    remap = f"remap={{depth/image:{camera}/image_raw/compressedDepth,depth/camera_info:{camera}/camera_info}}"
    ports = DdsPorts(Names("watcher"), domain)
    ports.executor.start()
    heard: dict[str, float] = {}
    with memory_node(domain, folder / "map", remap, "use_sim_time=true", depth_transport="compressed", mode="all",
                     map_frame="odom", reliable_inputs="true", input_depth=1000, **ALL_FRAMES):  # fmt: skip
        from ros_ask import counters_of

        ports.subscription("diagnostic_msgs/msg/DiagnosticArray", "/diagnostics",
                           lambda message: heard.update(counters_of(message)))  # fmt: skip
        started = time.monotonic()
        wait_for = f"wait_for=[{camera}/image_raw/compressedDepth,/tf]"
        command = ["-m", "embmem.cli.main", "play", str(BAG), f"domain={domain}", "rate=inf", wait_for]
        with child(*command) as player:
            player.wait(120)
        while heard.get("mapped", 0.0) < 100 and time.monotonic() < started + 120:
            time.sleep(0.01)
        took = time.monotonic() - started
    ports.close()
    plan = plan_of(compose_config("build", [
        f"recording={BAG}", f"out={folder / 'offline.embmem'}", "memory=robot", "frame=identity", "report=false",
    ]))  # fmt: skip
    offline = build(plan)
    memory = view_memory(folder / "map" / "memory.embmem")
    is_same = map_hash(memory) == offline.map_hash
    return [
        row("the real bag: frames mapped", heard.get("mapped", 0.0), goal="100", met=heard.get("mapped") == 100),
        row("the real bag: map of the node = map of embmem build", 1.0 * is_same, goal="1", met=is_same),
        row("the real bag: s from the start of all, as fast as it goes", took, peer=sum(offline.seconds.values()),
            peer_name="embmem build"),
    ]  # fmt: skip


def wire(folder: Path, domain: int, *, is_quick: bool) -> Rows:
    """640x480 rgb8 images at 30 Hz from process to process."""
    n = 90 if is_quick else 600
    ours, plain = (one_way(domain, n, is_plain=is_plain) for is_plain in (False, True))
    return [
        row(f"VGA image one way {name} [ms]", 1e3 * ours[i], peer=1e3 * plain[i], peer_name="Cyclone DDS, bytes only",
            goal="<= 5", met=ours[i] <= 0.005)
        for i, name in enumerate(("p50", "p99"))
    ]  # fmt: skip


PARTS: dict[str, tuple[Callable[..., Rows], Path | None]] = {
    "wire": (wire, None), "map": (same_map, BAG), "ten": (ten, KINECT), "thirty": (thirty, KINECT),
    "long": (long, KINECT),
}  # fmt: skip


def main() -> None:
    """Run the parts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", nargs="*", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--domain", type=int, default=90)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    found: Rows = []
    with tempfile.TemporaryDirectory() as folder:
        for i, name in enumerate(arguments.only):
            part, needs = PARTS[name]
            if needs is not None and not needs.exists():
                print(f"{name} is left out: {needs} is not there (EMBMEM_DATA_DIR)", file=sys.stderr)
                continue
            found += part(Path(folder), arguments.domain + i, is_quick=arguments.quick)
    show(found)
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1))


def show(found: Rows) -> None:
    """The table."""
    from rich.console import Console
    from rich.table import Table

    table = Table("figure", "ours", "peer", "peer is", "goal", "met")
    for one in found:
        peer = "" if one["peer"] is None else f"{one['peer']:.4g}"
        said = {"none set": ""}.get(one["goal"], "yes" if one["met"] else "NO")
        name = "" if one["peer"] is None else one["peer_name"]
        table.add_row(one["name"].replace("[", "\\["), f"{one['ours']:.4g}", peer, name, one["goal"], said)
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
