"""Runs the node of the contract in a shell until its standard input ends. Arguments: the shell, settings as JSON."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from typing import Any

from contract_node import ContractNode


def on_dds(settings: dict[str, Any]) -> None:
    from embmem.dds.node import run_node

    with run_node(ContractNode, "contract", **settings):
        sys.stdin.read()


def on_rclpy(settings: dict[str, Any]) -> None:
    from embmem_ros.shell import run

    arguments = ["-r", f"__ns:={settings.get('namespace', '/')}"]
    parameters = {"autostart": settings.get("autostart", True), **settings.get("parameters", {})}
    for name, value in parameters.items():
        arguments += ["-p", f"{name}:={json.dumps(value)}"]
    for name, other in settings.get("remaps", {}).items():
        arguments += ["-r", f"{name}:={other}"]
    sys.argv = [sys.argv[0], "--ros-args", *arguments]

    def stop_at_end() -> None:
        sys.stdin.read()
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=stop_at_end, daemon=True).start()
    run(ContractNode, "contract")


if __name__ == "__main__":
    {"dds": on_dds, "rclpy": on_rclpy}[sys.argv[1]](json.loads(sys.argv[2]))
