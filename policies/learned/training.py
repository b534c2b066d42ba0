"""Training from a configuration: on one core or many devices, with metrics, and going on where it was interrupted."""

from __future__ import annotations

import hashlib
import json
import math
import struct
import time
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from hydra.utils import instantiate
from rich.console import Console
from safetensors import SafetensorError
from safetensors.torch import load, save

from embmem.cli.progress import counting
from embmem.errors import InputError, OutputExistsError, import_extra
from embmem.output import write_atomic
from embmem.policies.learned.checkpoints import save_policy
from embmem.policies.learned.networks import PolicyNetwork, build


@runtime_checkable
class Learner(Protocol):
    """What is repeated `iterations` times, and all that an iteration depends on beside weights and optimiser."""

    network: PolicyNetwork
    optimiser: Any
    iterations: int

    def iterate(self, i: int) -> dict[str, float]:
        """Learn once more; metrics come back."""

    def state(self) -> dict[str, torch.Tensor]:
        """What is kept from iteration to iteration."""

    def restore(self, state: dict[str, torch.Tensor]) -> None:
        """Take back what `state` gave."""


def run_training(*, config: dict[str, Any], console: Console) -> dict[str, float]:
    """Train what the configuration says, or go on with it; the policy is written to `config["out"]`.

    Beside it stands, until the training is done, a file `.state<rank>` a process: weights, optimiser and kept episodes.
    Lightning Fabric places the work: `accelerator`, `devices` and `precision` are its words.

    Raises:
        InputError: if the state that is there is of another configuration, or damaged, or the training diverges.
        OutputExistsError: if `out` is there and `overwrite` is not set, or is no file.
        ValueError: if a setting is out of range, or there is no such device.
    """
    out = Path(str(config["out"]))
    if out.exists() and (not config["overwrite"] or not out.is_file()):
        raise OutputExistsError(f"{out} exists; choose another name or set overwrite=true")
    if not out.parent.is_dir():
        raise InputError(f"{out.parent} is not a folder; create it first")
    stop_at = config["stop_at"]
    if min(config["save_every"], config["threads"], 1 if stop_at is None else stop_at) < 1:
        raise ValueError(
            f"save_every, threads and stop_at must be at least 1, got {config['save_every']}, {config['threads']} and "
            f"{stop_at}"
        )
    threads = torch.get_num_threads()
    torch.set_num_threads(config["threads"])  # sums do not depend on how many cores there are
    try:
        return _train(out, config, console)
    finally:
        torch.set_num_threads(threads)


def _train(out: Path, config: dict[str, Any], console: Console) -> dict[str, float]:
    fabric = _fabric(config)
    seed = config["seed"]
    learner = make_learner(config["train"], fabric, seed=seed)
    state_file = out.with_name(f"{out.name}.state{fabric.global_rank}")
    told = fingerprint(config)
    start, spent = resume(state_file, learner, told) if state_file.exists() else (0, 0.0)
    if (fabric.all_gather(torch.tensor(start)) != start).any():
        raise InputError(f"the states beside {out} are not of one iteration; remove them to begin anew")
    metrics: dict[str, float] = {}
    with counting(f"training {out.name}", console) as show, _writer(config["log"], start, fabric.global_rank) as log:
        for i in range(start, min(learner.iterations, config["stop_at"] or learner.iterations)):
            begin = time.process_time()
            metrics = learner.iterate(i)
            spent += time.process_time() - begin
            if not (math.isfinite(metrics["loss"]) and all(p.isfinite().all() for p in learner.network.parameters())):
                raise InputError(f"the training diverged in iteration {i}; take a smaller rate")
            for name, value in {**metrics, "cpu_seconds": spent}.items():
                log.add_scalar(name, value, i)
            show(i + 1, learner.iterations)
            if (i + 1) % config["save_every"] == 0 or i + 1 == config["stop_at"]:
                write_state(state_file, learner, told, i + 1, spent)
    if config["stop_at"] and config["stop_at"] < learner.iterations:
        return metrics
    if fabric.global_rank == 0:
        command = {key: value for key, value in config.items() if key not in ("training", "log", "overwrite")}
        made_by = {**command, "out": out.name, "cpu_seconds": round(spent, 1), "metrics": metrics}
        save_policy(out, learner.network, made_by, overwrite=config["overwrite"])
        console.print(f"{out}: {learner.network.n_parameters()} numbers, {spent:.0f} CPU seconds, {metrics}")
    state_file.unlink(missing_ok=True)
    return metrics


def _fabric(config: dict[str, Any]) -> Any:
    """Lightning Fabric, with its processes launched."""
    told = {name: config[name] for name in ("accelerator", "devices", "precision")}
    library = import_extra("lightning_fabric", "learn")
    try:
        fabric = library.Fabric(**told)
    except (RuntimeError, ValueError, TypeError) as error:
        raise ValueError(f"Lightning Fabric cannot work with {told}: {error}") from error
    fabric.launch()
    return fabric


def make_learner(settings: dict[str, Any], fabric: Any, *, seed: int) -> Learner:
    """The learner of a group of `configs/train`: `world`, `shape` and `learner`."""
    world = instantiate(settings["world"])
    network = build(world.spec, instantiate(settings["shape"]), seed=seed)
    learner: Learner = instantiate(settings["learner"])(network, world, fabric, seed=seed)
    return learner


def fingerprint(config: dict[str, Any]) -> str:
    """Of all settings that the weights depend on."""
    names = ("train", "seed", "threads", "accelerator", "devices", "precision")
    text = json.dumps({name: config[name] for name in names}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def write_state(path: Path, learner: Learner, told: str, iteration: int, spent: float) -> None:
    """All that the next iteration depends on, whole or not at all."""
    tensors = {f"network.{name}": t for name, t in learner.network.state_dict().items()}
    tensors |= {f"learner.{name}": t for name, t in learner.state().items()}
    for i, values in learner.optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser.{i}.{name}": torch.as_tensor(value) for name, value in values.items()}
    dense = {name: t.detach().cpu().contiguous().clone() for name, t in tensors.items()}
    metadata = {"fingerprint": told, "iteration": str(iteration), "spent": str(spent)}
    write_atomic(path, save(dense, metadata=metadata))


def resume(path: Path, learner: Learner, told: str) -> tuple[int, float]:
    """Take back what `write_state` wrote; the iteration that comes next, and the CPU seconds spent so far.

    Raises:
        InputError: if the file is damaged, of another configuration, or of a network that is another by now.
    """
    data = path.read_bytes()
    try:
        tensors = load(data)
        (length,) = struct.unpack_from("<Q", data)
        metadata = json.loads(data[8 : 8 + length])["__metadata__"]
        iteration, spent = int(metadata["iteration"]), float(metadata["spent"])
    except (SafetensorError, ValueError, KeyError, TypeError, struct.error) as error:
        raise InputError(f"{path} is damaged ({error}); remove it to begin anew") from error
    if metadata["fingerprint"] != told:
        raise InputError(f"{path} is of a training with other settings; remove it to begin anew, or choose another out")
    try:
        _restore(learner, tensors)
    except (KeyError, ValueError, RuntimeError) as error:
        raise InputError(f"{path} does not fit the network ({error}); remove it to begin anew") from error
    return iteration, spent


def _restore(learner: Learner, tensors: dict[str, torch.Tensor]) -> None:
    parts: dict[str, dict[str, torch.Tensor]] = {"network": {}, "learner": {}, "optimiser": {}}
    for name, tensor in tensors.items():
        part, _, rest = name.partition(".")
        parts[part][rest] = tensor
    learner.network.load_state_dict(parts["network"])
    learner.restore(parts["learner"])
    optimiser = learner.optimiser.state_dict()
    values: dict[int, dict[str, torch.Tensor]] = {}
    for name, tensor in parts["optimiser"].items():
        i, _, which = name.partition(".")
        values.setdefault(int(i), {})[which] = tensor
    learner.optimiser.load_state_dict({**optimiser, "state": values})


class _NoWriter:
    """Where nobody wants metrics."""

    def add_scalar(self, name: str, value: float, step: int) -> None:
        """Forget it."""

    def __enter__(self) -> _NoWriter:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to close."""


def _writer(folder: str | None, start: int, rank: int) -> Any:
    """Of TensorBoard's event files; what an interrupted run wrote beyond `start` is purged there."""
    if folder is None or rank != 0:
        return _NoWriter()
    writer = import_extra("tensorboardX", "learn").SummaryWriter
    return writer(logdir=str(folder), purge_step=start if start else None)
