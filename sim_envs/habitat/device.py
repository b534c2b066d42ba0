"""Which GPU Habitat may be given; a wrong answer ends the process, so it is found before anything is constructed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

CPU = -1  # Habitat's number for "whatever EGL offers", which is Mesa's llvmpipe where there is no GPU

_VENDOR_FOLDERS = ("etc/glvnd/egl_vendor.d", "usr/share/glvnd/egl_vendor.d", "usr/local/share/glvnd/egl_vendor.d")


def choose_gpu(requested: int | None, environment: Mapping[str, str], root: Path = Path("/")) -> int:
    """The `gpu_device_id` to construct the simulator with: the requested GPU where NVIDIA's EGL is there, else -1.

    With a CUDA device asked for and only Mesa's EGL installed, Habitat ends the *process* without an exception.

    Args:
        requested: number of the GPU; None takes the first one if it can be used.
        environment: `os.environ`.
        root: where the file system begins.

    Raises:
        ValueError: if a GPU is asked for by number that Habitat could not open.
    """
    if requested is not None and requested < CPU:
        raise ValueError(f"gpu is a number from 0, or -1 for none, got {requested}")
    if requested == CPU:
        return CPU
    gpu = requested or 0
    missing = _missing(gpu, environment, root)
    if missing is None:
        return gpu
    if requested is None:
        return CPU
    raise ValueError(f"Habitat cannot use GPU {gpu}: {missing}; set gpu=-1 to render without one")


def _missing(gpu: int, environment: Mapping[str, str], root: Path) -> str | None:
    """What is missing to render on that GPU, or None."""
    if not (root / f"dev/nvidia{gpu}").exists():
        return f"there is no /dev/nvidia{gpu}"
    if not any(_is_nvidia(file) for file in _vendor_files(environment, root)):
        return "NVIDIA's EGL is not installed (no egl_vendor.d/*.json names libEGL_nvidia)"
    return None


def _vendor_files(environment: Mapping[str, str], root: Path) -> list[Path]:
    """The vendor files that libglvnd would read, in its order."""
    if names := environment.get("__EGL_VENDOR_LIBRARY_FILENAMES"):
        return [Path(name) for name in names.split(":") if name]
    if names := environment.get("__EGL_VENDOR_LIBRARY_DIRS"):
        folders = [Path(name) for name in names.split(":") if name]
    else:
        folders = [root / name for name in _VENDOR_FOLDERS]
        if prefix := environment.get("CONDA_PREFIX"):
            folders.append(Path(prefix) / "share/glvnd/egl_vendor.d")
    return [file for folder in folders for file in sorted(folder.glob("*.json"))]


def _is_nvidia(file: Path) -> bool:
    try:
        library = json.loads(file.read_text())["ICD"]["library_path"]
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return "libEGL_nvidia" in str(library)
