"""Proximal policy optimisation over tokens, for policies that remember by attention, by a GRU or not at all."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float

from embmem.policies.learned.imitation import draw_actions
from embmem.policies.learned.networks import PolicyNetwork, as_inputs
from embmem.policies.learned.tokens import TokenWorld


@runtime_checkable
class RewardWorld(TokenWorld, Protocol):
    """A world that also says how well it goes."""

    rewards: np.ndarray  # (n,) of the last step

    @property
    def is_acting(self) -> np.ndarray:
        """(n,) whether what each agent answers now counts; an agent acts at least once, and until it has ended."""


class ProximalPolicy:
    """PPO with clipped ratios (Schulman et al., arXiv 1707.06347, eq. 7) and generalised advantages (1506.02438).

    Each iteration plays `world.n` episodes and goes over them `epochs` times, in `parts` batches of whole episodes.
    Only steps that were acted are learned from. Advantages are centred and scaled over the iteration. What comes after
    the last step is not counted: the clock is the agents' own. An iteration depends on the seed, its number, the
    weights and the optimiser alone.
    """

    def __init__(
        self,
        network: PolicyNetwork,
        world: RewardWorld,
        fabric: Any,
        *,
        seed: int,
        iterations: int,
        epochs: int = 3,
        parts: int = 4,
        discount: float = 0.95,
        trace: float = 0.9,
        clip: float = 0.2,
        entropy: float = 0.01,
        rate: float = 3e-3,
    ) -> None:
        if min(iterations, epochs, parts) < 1 or parts > world.n or not 0.0 <= discount <= 1.0 or not rate > 0.0:
            raise ValueError(
                f"need iterations, epochs >= 1, 1 to {world.n} parts, discount in [0, 1] and rate > 0, got "
                f"{iterations}, {epochs}, {parts}, {discount}, {rate}"
            )
        if network.value is None:
            raise ValueError("reinforcement needs a network that estimates the return: set has_value")
        self.network, self.world, self.fabric = network, world, fabric
        self.seed, self.iterations, self.epochs, self.parts = seed, iterations, epochs, parts
        self.discount, self.trace, self.clip, self.entropy, self.rate = discount, trace, clip, entropy, rate
        optimiser = torch.optim.Adam(network.parameters(), lr=rate, eps=1e-5)
        self.model, self.optimiser = fabric.setup(network, optimiser)

    def iterate(self, i: int) -> dict[str, float]:
        """Play and learn once; the metrics of it."""
        rng = np.random.default_rng([self.seed, i, self.fabric.global_rank])
        played = self._play(rng)
        for group in self.optimiser.param_groups:
            group["lr"] = self.rate * (1.0 - i / self.iterations)
        losses = []
        for _ in range(self.epochs):
            for rows in np.array_split(rng.permutation(self.world.n), self.parts):
                losses.append(self._update({name: a[:, rows] for name, a in played.items()}))
        success = float(self.world.scores()["success"].mean())
        return {"loss": float(np.mean(losses)), "success": success, "reward": self._reward}

    def _play(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Episodes as arrays (t, n, ...): the fields of `Tokens`, actions, their log-chances, advantages, returns."""
        n, rows = self.world.n, np.arange(self.world.n)
        tokens, kept = self.world.reset(rng), self.network.begin(n)
        logits, values = torch.zeros(n, self.network.spec.n_actions), torch.zeros(n)
        moments = []
        for _ in range(self.world.n_steps):
            is_acted = self.world.is_acting.copy()
            if is_acted.any() or kept.numel():  # a policy that keeps nothing need not watch
                logits, values, kept = self.network.act(as_inputs(tokens, self.fabric.device), kept)  # type: ignore[assignment]
            chances = logits.float().log_softmax(-1).cpu().numpy()
            actions = draw_actions(np.exp(chances), rng)
            moment = {**tokens.arrays(), "actions": actions, "chances": chances[rows, actions], "acted": is_acted}
            tokens = self.world.step(actions)
            moments.append({**moment, "rewards": self.world.rewards, "values": values.float().cpu().numpy() * is_acted})
        played = {name: np.stack([moment[name] for moment in moments]) for name in moments[0]}
        rewards, guessed, acted = played.pop("rewards"), played.pop("values"), played["acted"]
        gains = advantages(rewards, guessed, discount=self.discount, trace=self.trace)
        spread = gains[acted].std() + 1e-6 if acted.any() else 1.0
        scaled = (gains - gains[acted].mean()) / spread if acted.any() else gains
        self._reward = float(rewards.sum(0).mean())
        return {**played, "returns": gains + guessed, "advantages": scaled}

    def _update(self, played: dict[str, np.ndarray]) -> float:
        if self.network.shape.memory != "recurrent":
            played = {name: a[played["acted"]] for name, a in played.items()}
        told = {name: torch.from_numpy(np.ascontiguousarray(a)).to(self.fabric.device) for name, a in played.items()}
        actions, before, acted = told.pop("actions"), told.pop("chances"), told.pop("acted")
        gains, returns = told.pop("advantages")[acted], told.pop("returns")[acted]
        logits, values = self.model(told)
        chances = logits.float().log_softmax(-1)[acted]
        ratio = (chances.gather(-1, actions[acted][..., None])[..., 0] - before[acted]).exp()
        limited = ratio.clamp(1.0 - self.clip, 1.0 + self.clip)
        gain = torch.minimum(ratio * gains, limited * gains).mean()
        spread = -(chances.exp() * chances).sum(-1).mean()
        loss = -gain - self.entropy * spread + 0.5 * (values.float()[acted] - returns).square().mean()
        self.optimiser.zero_grad()
        self.fabric.backward(loss)
        self.fabric.clip_gradients(self.model, self.optimiser, max_norm=0.5, error_if_nonfinite=False)
        self.optimiser.step()
        return float(loss.detach())

    def state(self) -> dict[str, torch.Tensor]:
        """Nothing is kept from iteration to iteration."""
        return {}

    def restore(self, state: dict[str, torch.Tensor]) -> None:
        """Take back what `state` gave."""


def advantages(
    rewards: Float[np.ndarray, "t n"], values: Float[np.ndarray, "t n"], *, discount: float, trace: float
) -> Float[np.ndarray, "t n"]:
    """Generalised advantages of episodes that end after their last step."""
    result, carried = np.zeros_like(values), np.zeros_like(values[0])
    following = np.concatenate([values[1:], np.zeros_like(values[:1])])
    for t in range(len(rewards) - 1, -1, -1):
        surprise = rewards[t] + discount * following[t] - values[t]
        carried = surprise + discount * trace * carried
        result[t] = carried
    return result
