"""Reversible residual networks: the input comes back from the output, block by block.

y1 = x1 + F(x2), y2 = x2 + G(y1) (Gomez et al., RevNet, NeurIPS 2017, eq. 6; Kitaev et al., Reformer, ICLR 2020,
sec. 3). The inverse recomputes F and G, so they must answer the same twice: nothing random is let in. It is exact up
to rounding, which is why only float32 passes: in bfloat16 what comes back is wrong by some per cent.
"""

from __future__ import annotations

import math
from typing import cast

import torch
from jaxtyping import Float
from torch import nn
from torch.nn.functional import linear, silu

CAP = 0.5  # the longest step that one residual takes; facts have length one
_RANDOM_SETTINGS = ("dropout", "dropout_p")  # floats that MultiheadAttention, LSTM and their like keep


class BoundedResidual(nn.Module):
    """Two linear layers whose output is never longer than `cap`, whatever comes in."""

    def __init__(self, width: int, hidden: int, generator: torch.Generator, *, cap: float = CAP) -> None:
        super().__init__()
        self.cap = cap
        self.inner = nn.Parameter(torch.randn(hidden, width, generator=generator) / math.sqrt(width))
        self.inner_bias = nn.Parameter(torch.zeros(hidden))
        self.outer = nn.Parameter(torch.randn(width, hidden, generator=generator) * (0.05 / math.sqrt(hidden)))
        self.outer_bias = nn.Parameter(torch.zeros(width))

    def forward(self, x: Float[torch.Tensor, "*n width"]) -> Float[torch.Tensor, "*n width"]:
        u = linear(silu(linear(x, self.inner, self.inner_bias)), self.outer, self.outer_bias)
        return self.cap * u * torch.rsqrt(1.0 + (u * u).sum(-1, keepdim=True))


class ReversibleBlock(nn.Module):
    """One block around any two modules that map a half onto a half.

    Raises:
        ValueError: if `f` or `g` holds dropout of any kind (also at rate 0 or in eval mode, since both can change
            later) or weights that are not float32.
    """

    def __init__(self, f: nn.Module, g: nn.Module) -> None:
        super().__init__()
        for name, module in (("f", f), ("g", g)):
            _refuse_randomness(name, module)
            _refuse_precision(name, module)
        self.f, self.g = f, g

    def forward(
        self, x1: Float[torch.Tensor, "*n half"], x2: Float[torch.Tensor, "*n half"]
    ) -> tuple[Float[torch.Tensor, "*n half"], Float[torch.Tensor, "*n half"]]:
        y1 = x1 + _exact(self.f(x2))
        return y1, x2 + _exact(self.g(y1))

    def inverse(
        self, y1: Float[torch.Tensor, "*n half"], y2: Float[torch.Tensor, "*n half"]
    ) -> tuple[Float[torch.Tensor, "*n half"], Float[torch.Tensor, "*n half"]]:
        """The halves that `forward` was given."""
        x2 = y2 - _exact(self.g(y1))
        return y1 - _exact(self.f(x2)), x2


class ReversibleStack(nn.Module):
    """`n_blocks` blocks on vectors of an even `dim`; `hidden` is the width inside (default `dim`).

    No output is longer than the input by more than 2 · n_blocks · CAP.
    """

    def __init__(self, dim: int = 256, n_blocks: int = 6, *, hidden: int | None = None, seed: int = 0) -> None:
        super().__init__()
        hidden = dim if hidden is None else hidden
        if dim < 2 or dim % 2 or n_blocks < 1 or hidden < 1:
            raise ValueError(
                f"need an even dim >= 2, n_blocks >= 1 and hidden >= 1, got {dim=}, {n_blocks=}, {hidden=}"
            )
        generator = torch.Generator().manual_seed(seed)
        self.dim, self.hidden = dim, hidden
        self.blocks = nn.ModuleList(
            ReversibleBlock(*(BoundedResidual(dim // 2, hidden, generator) for _ in range(2))) for _ in range(n_blocks)
        )

    def forward(self, x: Float[torch.Tensor, "*n dim"]) -> Float[torch.Tensor, "*n dim"]:
        """The code of each vector.

        Raises:
            ValueError: if `x` is not float32 or the weights were made anything else.
        """
        self._check(x)
        x1, x2 = x.chunk(2, dim=-1)
        for block in self.blocks:
            x1, x2 = block(x1, x2)
        return torch.cat((x1, x2), dim=-1)

    def inverse(self, y: Float[torch.Tensor, "*n dim"]) -> Float[torch.Tensor, "*n dim"]:
        """The vectors whose codes are `y`; errors as in `forward`."""
        self._check(y)
        y1, y2 = y.chunk(2, dim=-1)
        for block in reversed(self.blocks):
            y1, y2 = cast(ReversibleBlock, block).inverse(y1, y2)
        return torch.cat((y1, y2), dim=-1)

    def require_float32(self) -> None:
        """Refuse weights that were made anything else, by a ValueError."""
        dtypes = {p.dtype for p in self.parameters()}
        if dtypes != {torch.float32}:
            raise ValueError(f"reversible blocks are exact in float32 only, got weights of {sorted(map(str, dtypes))}")

    def _check(self, x: torch.Tensor) -> None:
        self.require_float32()
        if x.shape[-1] != self.dim or x.dtype != torch.float32:
            raise ValueError(f"need float32 vectors of {self.dim} numbers, got {x.dtype} of shape {tuple(x.shape)}")


def _exact(step: torch.Tensor) -> torch.Tensor:
    if step.dtype != torch.float32:  # autocast lowers the precision inside F and G
        raise ValueError(f"reversible blocks are exact in float32 only, a residual came out as {step.dtype}")
    return step


def _refuse_randomness(name: str, module: nn.Module) -> None:
    for path, part in module.named_modules():
        rate = next((getattr(part, setting) for setting in _RANDOM_SETTINGS if hasattr(part, setting)), 0.0)
        drops = isinstance(part, nn.modules.dropout._DropoutNd | nn.RReLU)
        if drops or (isinstance(rate, float) and rate > 0.0):
            where = f"{name}.{path}" if path else name
            raise ValueError(
                f"{where} is {type(part).__name__}, which draws at random: a block with dropout has no inverse; "
                "remove it (rate 0 or eval mode does not do)"
            )


def _refuse_precision(name: str, module: nn.Module) -> None:
    wrong = {str(p.dtype) for p in module.parameters() if p.dtype != torch.float32}
    if wrong:
        raise ValueError(f"{name} has weights of {sorted(wrong)}; reversible blocks are exact in float32 only")
