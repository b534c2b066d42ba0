"""Training of a token compressor by the cycle loss through whole memories."""

from __future__ import annotations

import math

import numpy as np
import torch
from jaxtyping import Float
from torch import nn

from embmem.tokens.compressor import BANDWIDTH, TokenCompressor, unit_rows

TEMPERATURE = 0.1  # of the retrieval loss
WIDTHS = (4, 8, 16, 32, 64)  # that `least_code` is chosen from


def fit(
    compressor: TokenCompressor,
    facts: Float[np.ndarray, "m dim"],
    cues: Float[np.ndarray, "k cue"] | None = None,
    *,
    rng: np.random.Generator,
    steps: int = 200,
    batch: int = 128,
    most: int = 64,
    noise: float = 0.1,
    retrieval: float = 0.1,
    rate: float = 5e-3,
) -> list[float]:
    """Adapt `compressor`, in place, to facts and cues like these; the cycle loss of every step comes back.

    First the principal axes of the facts and the spread of the cues set the rotation and the keys, and `least_code`
    becomes the one of `WIDTHS` that recovers most: narrow where facts have structure, wide where not. Then, each step,
    `batch` facts fall into memories of n entries, n log-uniform up to `most`, and the weights follow the gradient of

        mean |v - R^-1(R(memory || v) || 0)|^2 + `retrieval` · cross-entropy of v among the batch's facts by cosine,

    where the memory holds all n entries, the latent is not given, and the queries are the cues plus noise of length
    `noise`. Same compressor, data and generator state: same weights (one thread, for that and for speed).

    Raises:
        ValueError: if there are fewer than two facts, the shapes do not match or a row is bad.
    """
    v = torch.from_numpy(unit_rows("facts", facts, compressor.dim))
    c = v if cues is None else torch.from_numpy(unit_rows("cues", cues, compressor.cue_dim))
    if len(v) < 2 or len(c) != len(v) or steps < 0 or most < 1:
        raise ValueError(
            f"need at least two facts, a cue each, steps >= 0 and most >= 1, "
            f"got {len(v)} facts, {len(c)} cues, {steps=}, {most=}"
        )
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        _set_axes(compressor, v, c, rng)
        _set_width(compressor, v, c, rng)
        optimiser = torch.optim.Adam(compressor.parameters(), lr=rate)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, max(steps, 1))
        losses = []
        for _ in range(steps):
            n = int(math.exp(rng.uniform(0.0, math.log(min(most, len(v)) + 1.0))))
            rows = torch.from_numpy(rng.permutation(len(v))[: max(1, min(batch, len(v)) // n) * n].reshape(-1, n))
            shake = torch.from_numpy(rng.normal(size=(*rows.shape, c.shape[1])).astype(np.float32))
            queries = nn.functional.normalize(c[rows] + noise / math.sqrt(c.shape[1]) * shake, dim=-1)
            cycle, ranking = _losses(compressor, v[rows], c[rows], queries)
            optimiser.zero_grad()
            torch.autograd.backward([cycle + retrieval * ranking])
            nn.utils.clip_grad_norm_(compressor.parameters(), 1.0)
            optimiser.step()
            schedule.step()
            losses.append(float(cycle.detach()))
        return losses
    finally:
        torch.set_num_threads(threads)


def _losses(
    compressor: TokenCompressor, facts: torch.Tensor, cues: torch.Tensor, queries: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """The cycle loss of memories of `facts` (b, n, d) and the retrieval loss among all b · n facts."""
    memory = compressor.superpose(facts, cues).unsqueeze(-2).expand(*facts.shape[:2], -1)
    back = compressor.recall(memory, queries, facts.shape[1])
    cycle = (facts - back).square().sum(-1).mean()
    flat = facts.flatten(0, 1)
    cosines = nn.functional.normalize(back.flatten(0, 1), dim=-1) @ flat.T
    return cycle, nn.functional.cross_entropy(cosines / TEMPERATURE, torch.arange(len(flat)))


@torch.no_grad()
def _set_axes(compressor: TokenCompressor, facts: torch.Tensor, cues: torch.Tensor, rng: np.random.Generator) -> None:
    compressor.fact_mean.copy_(facts.mean(0))
    compressor.cue_mean.copy_(cues.mean(0))
    centred = facts - compressor.fact_mean
    # Sorted by variance, since codes are cut from the end; in float64, where small axes keep apart.
    axes = torch.linalg.eigh((centred.T @ centred).double())[1].flip(1)
    compressor.rotation.copy_(axes.float())
    spread = float((cues - compressor.cue_mean).square().sum(1).mean().sqrt())
    phases = torch.from_numpy(rng.normal(size=tuple(compressor.phases.shape)).astype(np.float32))
    compressor.phases.copy_(BANDWIDTH / max(spread, 1e-6) * phases)


@torch.no_grad()
def _set_width(compressor: TokenCompressor, facts: torch.Tensor, cues: torch.Tensor, rng: np.random.Generator) -> None:
    """Try each width on the same memories: of half to one and a half times as many entries as codes of 8 fit in."""
    widths = [width for width in WIDTHS if width <= min(compressor.dim, compressor.size - 1)]
    most = min(len(facts), compressor.size // 8 + 1)
    logs = [rng.permutation(len(facts))[:1000] for _ in range(8)]
    shares = []
    for compressor.least_code in widths:
        found = 0
        for i, rows in enumerate(logs):
            n = max(1, most * (i + 4) // 8)
            v, c = facts[rows], cues[rows[:n]]
            memory = compressor.superpose(v[:n], c).expand(n, -1)
            nearest = (nn.functional.normalize(compressor.recall(memory, c, n), dim=-1) @ v.T).argmax(1)
            found += int((nearest == torch.arange(n)).sum())
        shares.append(found)
    compressor.least_code = widths[int(np.argmax(shares))]
