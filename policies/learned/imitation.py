"""Imitation with DAgger: the learner acts, the teacher says what would have been best, all of it is learned."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from embmem.policies.learned.networks import Inputs, PolicyNetwork, as_inputs
from embmem.policies.learned.tokens import TokenWorld

TARGETS = "targets"


class Imitation:
    """Learns from a teacher in a world (Ross, Gordon and Bagnell, AISTATS 2011, algorithm 3.1).

    Each iteration plays `world.n` new episodes. With probability `mixing` to the power of the iteration a step is the
    teacher's, else it is drawn from the policy (but nobody stops before the teacher would); every step is labelled by
    the teacher. Then `updates` steps of Adam follow, each on `batch` episodes out of the last `window` iterations: the
    cross-entropy to the teacher's distribution, the mean over all steps that were acted. The rate falls along a cosine.

    Iteration i depends on the seed, i, the weights and the kept episodes alone; so a run that goes on from its saved
    state is the run that was not interrupted, bit for bit on one machine.
    """

    def __init__(
        self,
        network: PolicyNetwork,
        world: TokenWorld,
        fabric: Any,
        *,
        seed: int,
        iterations: int,
        updates: int = 8,
        batch: int = 64,
        window: int = 6,
        mixing: float = 0.8,
        rate: float = 3e-3,
    ) -> None:
        if min(iterations, updates, batch, window) < 1 or not 0.0 <= mixing <= 1.0 or not rate > 0.0:
            raise ValueError(
                "iterations, updates, batch and window must be at least 1, mixing in [0, 1] and rate above 0, got "
                f"{iterations}, {updates}, {batch}, {window}, {mixing}, {rate}"
            )
        self.network, self.world, self.fabric = network, world, fabric
        self.seed, self.iterations, self.updates, self.batch = seed, iterations, updates, batch
        self.window, self.mixing, self.rate = window, mixing, rate
        optimiser = torch.optim.Adam(network.parameters(), lr=rate)
        self.model, self.optimiser = fabric.setup(network, optimiser)
        self.kept: list[dict[str, np.ndarray]] = []  # the episodes of an iteration, arrays (t, n, ...)

    def iterate(self, i: int) -> dict[str, float]:
        """Play, label and learn once; the metrics of it."""
        rng = np.random.default_rng([self.seed, i, self.fabric.global_rank])
        played = play(self.network, self.world, rng, expert_share=self.mixing**i, device=self.fabric.device)
        self.kept = [*self.kept, played][-self.window :]
        for group in self.optimiser.param_groups:
            group["lr"] = self.rate * (0.5 + 0.5 * math.cos(math.pi * i / self.iterations))
        losses = [self._update(rng) for _ in range(self.updates)]
        scores = {name: float(values.mean()) for name, values in self.world.scores().items()}
        return {"loss": float(np.mean(losses)), "success": scores["success"]}

    def _update(self, rng: np.random.Generator) -> float:
        inputs, targets = self._draw(rng)
        logits, _ = self.model(inputs)
        weight = targets.sum(-1)
        loss = -(targets * logits.float().log_softmax(-1)).sum() / weight.sum().clamp(min=1.0)
        self.optimiser.zero_grad()
        self.fabric.backward(loss)
        self.fabric.clip_gradients(self.model, self.optimiser, max_norm=1.0, error_if_nonfinite=False)
        self.optimiser.step()
        return float(loss.detach())

    def _draw(self, rng: np.random.Generator) -> tuple[Inputs, torch.Tensor]:
        """A batch of kept episodes; of networks that keep nothing, only the steps that are learned from."""
        n = self.world.n
        chosen = rng.integers(len(self.kept) * n, size=self.batch)
        arrays = {
            name: np.concatenate(
                [part[name][:, chosen[chosen // n == k] % n] for k, part in enumerate(self.kept)], axis=1
            )
            for name in self.kept[0]
        }
        if self.network.shape.memory != "recurrent":
            is_acted = arrays[TARGETS].any(axis=-1)
            arrays = {name: values[is_acted] for name, values in arrays.items()}
        tensors = {name: torch.from_numpy(values).to(self.fabric.device) for name, values in arrays.items()}
        return tensors, tensors.pop(TARGETS)

    def state(self) -> dict[str, torch.Tensor]:
        """The episodes that are kept; with weights and optimiser all that the next iteration depends on."""
        return {
            f"{k}.{name}": torch.from_numpy(np.ascontiguousarray(values))
            for k, part in enumerate(self.kept)
            for name, values in part.items()
        }

    def restore(self, state: dict[str, torch.Tensor]) -> None:
        """Take back what `state` gave."""
        n = 1 + max((int(name.split(".")[0]) for name in state), default=-1)
        self.kept = [
            {name.partition(".")[2]: t.numpy() for name, t in state.items() if name.startswith(f"{k}.")}
            for k in range(n)
        ]


def play(
    network: PolicyNetwork,
    world: TokenWorld,
    rng: np.random.Generator,
    *,
    expert_share: float = 0.0,
    device: torch.device | None = None,
) -> dict[str, np.ndarray]:
    """Episodes of a policy that draws its actions, labelled by the teacher: the fields of `Tokens` and `targets`."""
    tokens, kept = world.reset(rng), network.begin(world.n)
    moments: list[dict[str, np.ndarray]] = []
    for _ in range(world.n_steps):
        inputs, best = as_inputs(tokens, device), world.expert()
        moments.append({**tokens.arrays(), TARGETS: best.astype(np.float32)})
        taught = drawn = best.argmax(axis=1)
        if best.any() or kept.numel():  # a policy that keeps nothing need not watch
            logits, _, kept = network.act(inputs, kept)
            drawn = draw_actions(logits.float().softmax(-1).cpu().numpy(), rng)
        is_taught = (rng.uniform(size=world.n) < expert_share) | ((drawn == 0) & (taught != 0))
        tokens = world.step(np.where(is_taught, taught, drawn))
    return {name: np.stack([moment[name] for moment in moments]) for name in moments[0]}


def evaluate(
    network: PolicyNetwork, world: TokenWorld, rng: np.random.Generator, *, device: torch.device | None = None
) -> dict[str, np.ndarray]:
    """The scores of n new episodes in which the policy takes what it deems best."""
    tokens, kept = world.reset(rng), network.begin(world.n)
    for _ in range(world.n_steps):
        logits, _, kept = network.act(as_inputs(tokens, device), kept)
        tokens = world.step(logits.argmax(-1).cpu().numpy())
    return world.scores()


def draw_actions(chances: Float[np.ndarray, "n a"], rng: np.random.Generator) -> np.ndarray:
    """(n,) actions drawn from a distribution each."""
    edges = chances.cumsum(axis=1)
    return (edges < rng.uniform(size=(len(edges), 1)) * edges[:, -1:]).sum(axis=1)
