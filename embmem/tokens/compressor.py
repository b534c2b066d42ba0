"""A fixed number of floats that stands for the log of a key, written and read by a reversible network.

The network R maps (memory || fact) onto (memory' || latent), given a cue: a reversible stack turns the fact into a
code, and two additive couplings tie the code to the memory,

    e = k - unbind(memory),    memory' = memory + bind(e),

where k are the first coordinates of the code. R has an exact inverse. The latent (e and the other coordinates) is not
kept: reading is R^-1(memory' || 0), and training makes the fact survive that (the cycle loss, `embmem.tokens.fit`).

What it cannot do: a token does not grow, a history does. About `token_dim` / `least_code` facts is the most that can
come back, fewer where facts have little common structure; past that, answers become wrong without a sign. On facts
without structure a plain holographic sum does as well or better, and where only bytes count, signs of random
projections of each entry, packed into as many bytes, keep far more (`benchmarks/tokens.py` shows both). Facts are
directions: their length is lost. Two facts under one cue come back as their mean. The exact log is the truth; a token
is a cache of it that can be made again.
"""

from __future__ import annotations

import math
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Complex, Float
from torch import nn

from embmem.tokens import binding
from embmem.tokens.plain import PlainNetwork, residual_views
from embmem.tokens.reversible import CAP, ReversibleBlock, ReversibleStack

BANDWIDTH = 2.0  # phases per unit of cue: unrelated unit cues get keys that are exp(-4) alike, noise of .1 keeps .98
KEEP = 0.995  # of the memory at a write: what bounds its norm for ever
RIDGE = 0.02
MAX_COUNT = 1 << 20  # entries that a token can tell apart by number


class TokenCompressor(nn.Module):
    """Writes logs into tokens of `token_dim` numbers and reads facts back by their cues.

    A token is 1 / (1 + number of entries), then the memory. Few entries get wide codes (all `dim` coordinates for
    one), many get narrow ones, never under `least_code`; the first coordinates matter most (nested dropout's ordering,
    Rippel et al., ICML 2014, but without its dropout: principal axes first). Untrained it works on facts without
    structure; `embmem.tokens.fit` adapts it to facts that have some.

    Args:
        dim: numbers in a fact, even.
        cue_dim: numbers in a cue; by default `dim`, for entries that are their own cue.
        token_dim: numbers in a token, even.
        n_blocks: of the reversible stack; `hidden` is the width inside them.
        least_code: the narrowest code; `fit` chooses it anew.
        seed: of the initial weights.

    Raises:
        ValueError: if a size is out of range.
    """

    rotation: torch.Tensor
    fact_mean: torch.Tensor
    cue_mean: torch.Tensor

    def __init__(
        self,
        dim: int = 256,
        *,
        cue_dim: int | None = None,
        token_dim: int = 256,
        n_blocks: int = 6,
        hidden: int | None = None,
        least_code: int = 8,
        seed: int = 0,
    ) -> None:
        super().__init__()
        cue_dim = dim if cue_dim is None else cue_dim
        if cue_dim < 1 or token_dim < 4 or token_dim % 2 or not 1 <= least_code < min(dim + 1, token_dim):
            raise ValueError(
                "need cue_dim >= 1, an even token_dim >= 4 and 1 <= least_code <= dim and < token_dim, "
                f"got {dim=}, {cue_dim=}, {token_dim=}, {least_code=}"
            )
        self.stack = ReversibleStack(dim, n_blocks, hidden=hidden, seed=seed)
        self.dim, self.cue_dim, self.size, self.least_code = dim, cue_dim, token_dim - 1, least_code
        generator = torch.Generator().manual_seed(seed)
        self.register_buffer("rotation", torch.linalg.qr(torch.randn(dim, dim, generator=generator))[0])
        self.register_buffer("fact_mean", torch.zeros(dim))
        self.register_buffer("cue_mean", torch.zeros(cue_dim))
        self.phases = nn.Parameter(BANDWIDTH * torch.randn(cue_dim, self.size // 2, generator=generator))
        self._plain: PlainNetwork | None = None

    @property
    def token_dim(self) -> int:
        """Numbers in a token."""
        return self.size + 1

    @property
    def bound(self) -> float:
        """No token is longer, however many unit facts were written and however the weights were trained.

        A code has at most length 2 + 2 · n_blocks · CAP. A write keeps `KEEP` of what is orthogonal to the new key's
        shifts and adds one code; a summary is a ridge solution, of which conjugate gradients stay inside.
        """
        code = 2.0 + 2.0 * CAP * len(self.stack.blocks)
        summary = math.sqrt(self.size / (4.0 * RIDGE * self.least_code))
        return 1.0 + code * max(1.0 / math.sqrt(1.0 - KEEP**2), summary)

    def width(self, n: int) -> int:
        """Coordinates of a code that are kept when a memory holds `n` entries."""
        return min(self.dim, max(self.least_code, self.size // max(n, 1)))

    def encode(self, facts: Float[torch.Tensor, "*n dim"]) -> Float[torch.Tensor, "*n dim"]:
        """Codes of facts; `decode` is the exact inverse."""
        return self.stack((facts - self.fact_mean) @ self.rotation)

    def decode(self, codes: Float[torch.Tensor, "*n dim"]) -> Float[torch.Tensor, "*n dim"]:
        """Facts of codes."""
        return self.stack.inverse(codes) @ self.rotation.T + self.fact_mean

    def keys(self, cues: Float[torch.Tensor, "*n cue"]) -> Complex[torch.Tensor, "*n bins"]:
        """The spectra under which cues bind."""
        return binding.keys((cues - self.cue_mean) @ self.phases)

    def couple(
        self,
        memory: Float[torch.Tensor, "*n size"],
        fact: Float[torch.Tensor, "*n dim"],
        cue: Float[torch.Tensor, "*n cue"],
        n: int,
    ) -> tuple[Float[torch.Tensor, "*n size"], Float[torch.Tensor, "*n dim"]]:
        """R: the memory with the fact as its `n`-th entry, and the latent that undoes the write."""
        key, code, kept = self.keys(cue), self.encode(fact), KEEP * memory
        width = self.width(n)
        error = code[..., :width] - binding.unbind(kept, key, width)
        return kept + binding.bind(error, key), torch.cat((error, code[..., width:]), dim=-1)

    def uncouple(
        self,
        memory: Float[torch.Tensor, "*n size"],
        latent: Float[torch.Tensor, "*n dim"],
        cue: Float[torch.Tensor, "*n cue"],
        n: int,
    ) -> tuple[Float[torch.Tensor, "*n size"], Float[torch.Tensor, "*n dim"]]:
        """R^-1: the memory before its `n`-th entry, and that entry."""
        key, width = self.keys(cue), self.width(n)
        error = latent[..., :width]
        kept = memory - binding.bind(error, key)
        code = torch.cat((error + binding.unbind(kept, key, width), latent[..., width:]), dim=-1)
        return kept / KEEP, self.decode(code)

    def superpose(
        self, facts: Float[torch.Tensor, "*b n dim"], cues: Float[torch.Tensor, "*b n cue"]
    ) -> Float[torch.Tensor, "*b size"]:
        """The memory of whole logs, from which all entries read back with the least squared error of their codes."""
        n = facts.shape[-2]
        width = self.width(n)
        ridge = RIDGE * max(1.0, n * width / self.size)
        return binding.superpose(self.encode(facts)[..., :width], self.keys(cues), ridge)

    def recall(
        self, memory: Float[torch.Tensor, "*n size"], cues: Float[torch.Tensor, "*n cue"], n: int
    ) -> Float[torch.Tensor, "*n dim"]:
        """R^-1(memory || 0): the fact that a memory of `n` entries holds under each cue, the latent unknown."""
        key = self.keys(cues)
        code = binding.unbind(memory, key, self.width(n))
        return self.decode(nn.functional.pad(code, (0, self.dim - code.shape[-1])))

    def empty(self) -> Float[np.ndarray, " token"]:
        """The token of an empty log."""
        return self._token(np.zeros(self.size, np.float32), 0)

    @torch.inference_mode()
    def summarise(
        self, log: Float[np.ndarray, "n dim"], cues: Float[np.ndarray, "m cue"] | None = None
    ) -> Float[np.ndarray, " token"]:
        """The token of a whole log, whose order does not matter; cost and quality as the module says.

        Args:
            log: one fact a row; only the direction counts.
            cues: what each fact will be asked by; by default the fact itself.

        Raises:
            ValueError: if a row is not finite or has no direction, or the shapes do not match.
        """
        facts = unit_rows("log", log, self.dim)
        keys = facts if cues is None else unit_rows("cues", cues, self.cue_dim)
        if len(facts) != len(keys) or keys.shape[1] != self.cue_dim:
            raise ValueError(f"need one cue of {self.cue_dim} numbers for each entry, got {keys.shape} for {log.shape}")
        if not len(facts):
            return self.empty()
        return self._token(self.superpose(torch.from_numpy(facts), torch.from_numpy(keys)).numpy(), len(facts))

    def write(
        self,
        token: Float[np.ndarray, " token"],
        fact: Float[np.ndarray, " dim"],
        cue: Float[np.ndarray, " cue"] | None = None,
    ) -> Float[np.ndarray, " token"]:
        """The token with one more fact, without the log; what lies under alike cues is replaced.

        A summary of the whole log reads back better: this one sees the log no more.

        Raises:
            ValueError: as `summarise`, or if `token` is none of this compressor's.
        """
        memory, n = self._parts(token)
        v = unit_rows("fact", fact[None], self.dim)
        c = v if cue is None else unit_rows("cue", cue[None], self.cue_dim)
        if c.shape[1] != self.cue_dim:
            raise ValueError(f"need a cue of {self.cue_dim} numbers, the fact has {self.dim}")
        return self._token(self._network().write(np.float32(KEEP) * memory, v, c, self.width(n + 1))[0], n + 1)

    def read(
        self, token: Float[np.ndarray, " token"], query: Float[np.ndarray, "*m cue"]
    ) -> Float[np.ndarray, "*m dim"]:
        """What the token holds under each query, as unit vectors.

        A fact comes back whether or not there is one: an empty token gives the same answer to every query.

        Raises:
            ValueError: as `write`.
        """
        memory, n = self._parts(token)
        facts = self._network().recall(memory, unit_rows("query", np.atleast_2d(query), self.cue_dim), self.width(n))
        facts /= np.maximum(np.linalg.norm(facts, axis=1, keepdims=True), 1e-12)
        return facts.reshape(*query.shape[:-1], self.dim)

    def read_each(
        self, tokens: Float[np.ndarray, "m token"], query: Float[np.ndarray, " cue"]
    ) -> Float[np.ndarray, "m dim"]:
        """What each of several tokens holds under one query, as `read` says it of one; much faster than one by one.

        Raises:
            ValueError: as `write`.
        """
        shares = tokens[:, :1] if tokens.ndim == 2 else np.zeros((1, 1))
        fits = np.isfinite(tokens).all() and ((shares > 0.0) & (shares <= 1.0)).all()
        if tokens.shape != (len(tokens), self.token_dim) or not fits:
            raise ValueError(f"need rows of {self.token_dim} finite numbers that this compressor wrote")
        cue, network = unit_rows("query", query[None], self.cue_dim), self._network()
        counts = np.rint(1.0 / shares[:, 0].astype(np.float64)).astype(np.int64) - 1
        facts = np.zeros((len(tokens), self.dim), np.float32)
        for n in np.unique(counts).tolist():
            facts[counts == n] = network.recall(tokens[counts == n, 1:].astype(np.float32), cue, self.width(n))
        return facts / np.maximum(np.linalg.norm(facts, axis=1, keepdims=True), 1e-12)

    @torch.inference_mode()
    def inversion_error(
        self, facts: Float[np.ndarray, "n dim"], cues: Float[np.ndarray, "m cue"] | None = None
    ) -> float:
        """The largest error of a number of memory or fact over R^-1(R(memory || fact)), the latent given.

        Each fact meets the memory of all the others. This tells the rounding only: with the latent, the inverse exists
        by construction; what reading without it costs is told by `recall`.
        """
        v = torch.from_numpy(unit_rows("facts", facts, self.dim))
        c = v if cues is None else torch.from_numpy(unit_rows("cues", cues, self.cue_dim))
        memory = self.superpose(v, c).expand(len(v), -1)
        before, back = self.uncouple(*self.couple(memory, v, c, len(v)), c, len(v))
        return max(float((before - memory).abs().max()), float((back - v).abs().max()))

    def _apply(self, *arguments: Any, **settings: Any) -> "TokenCompressor":
        self._plain = None  # torch moves weights to new memory here
        return super()._apply(*arguments, **settings)  # type: ignore[no-untyped-call]

    def _network(self) -> PlainNetwork:
        if self._plain is None:
            self.stack.require_float32()
            blocks = [cast(ReversibleBlock, block) for block in self.stack.blocks]
            self._plain = PlainNetwork(
                residuals=[(residual_views(b.f, CAP), residual_views(b.g, CAP)) for b in blocks],
                rotation=self.rotation.numpy(),
                fact_mean=self.fact_mean.numpy(),
                cue_mean=self.cue_mean.numpy(),
                phases=self.phases.detach().numpy(),
                size=self.size,
            )
        return self._plain

    def _token(self, memory: np.ndarray, n: int) -> Float[np.ndarray, " token"]:
        return np.concatenate(([np.float32(1.0 / (1 + min(n, MAX_COUNT)))], memory)).astype(np.float32)

    def _parts(self, token: np.ndarray) -> tuple[np.ndarray, int]:
        if token.shape != (self.token_dim,) or not np.isfinite(token).all() or not 0.0 < token[0] <= 1.0:
            raise ValueError(f"need a token of {self.token_dim} finite numbers that this compressor wrote")
        return token[1:].astype(np.float32), round(1.0 / float(token[0])) - 1


def unit_rows(name: str, rows: Float[np.ndarray, "n d"], dim: int) -> Float[np.ndarray, "n d"]:
    """The rows as float32 of length one.

    Raises:
        ValueError: if they are not rows of `dim` finite numbers, or one has no direction.
    """
    if rows.ndim != 2 or rows.shape[1] != dim:
        raise ValueError(f"{name}: need rows of {dim} numbers, got shape {rows.shape}")
    wide = rows.astype(np.float64)
    lengths = np.linalg.norm(wide, axis=1, keepdims=True)
    if not np.isfinite(lengths).all() or (lengths < 1e-12).any():
        row = int(np.flatnonzero(~np.isfinite(lengths[:, 0]) | (lengths[:, 0] < 1e-12))[0])
        raise ValueError(f"{name}: row {row} is not finite or has no direction (length {lengths[row, 0]:.3g})")
    return (wide / lengths).astype(np.float32)
