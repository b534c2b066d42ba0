"""Many pairs (cue, code) in one vector: unitary keys, binding by convolution, and the token that reads back best.

A cue becomes a key whose spectrum has modulus one everywhere; its phases are random projections of the cue, so that
two keys are alike exp(-|difference|^2 / 2) (Rahimi and Recht, NeurIPS 2007). Codes are bound by circular convolution
(Plate, Holographic reduced representations, IEEE Trans. Neural Networks 1995). The shifts of a unitary key are
orthonormal: reading right after binding is exact.
"""

from __future__ import annotations

import torch
from jaxtyping import Complex, Float

ITERATIONS = 16  # of conjugate gradients, always: near the solution, since the ridge bounds the condition number


def keys(phases: Float[torch.Tensor, "*n half"]) -> Complex[torch.Tensor, "*n bins"]:
    """Half spectra of unitary keys of 2 · half + 1 numbers, from their phases [rad]."""
    padded = torch.nn.functional.pad(phases, (1, 0))
    return torch.polar(torch.ones_like(padded), padded)


def bind(
    codes: Float[torch.Tensor, "*n width"], key: Complex[torch.Tensor, "*n bins"]
) -> Float[torch.Tensor, "*n size"]:
    """Each code convolved with its key; the code's missing coordinates are 0."""
    size = 2 * key.shape[-1] - 1
    return torch.fft.irfft(torch.fft.rfft(codes, n=size) * key, n=size)


def unbind(
    memory: Float[torch.Tensor, "*#n size"], key: Complex[torch.Tensor, "*#n bins"], width: int
) -> Float[torch.Tensor, "*#n width"]:
    """The first `width` coordinates of what is bound to each key; the adjoint of `bind`."""
    return torch.fft.irfft(torch.fft.rfft(memory) * key.conj(), n=memory.shape[-1])[..., :width]


def superpose(
    codes: Float[torch.Tensor, "*b n width"],
    key: Complex[torch.Tensor, "*b n bins"],
    ridge: float,
) -> Float[torch.Tensor, "*b size"]:
    """The memory from which the keys read their codes with the least squared error, plus `ridge` · |memory|^2.

    This is attention over all n entries with the inverse of their Gram matrix (von Oswald et al., Uncovering
    mesa-optimization algorithms in Transformers, 2023), solved by conjugate gradients from 0. Exact while
    n · width <= size and the keys differ; a compromise beyond.
    """
    width = codes.shape[-1]
    residual = bind(codes, key).sum(-2)
    memory, direction = torch.zeros_like(residual), residual
    power = (residual * residual).sum(-1, keepdim=True)
    for _ in range(ITERATIONS):
        image = bind(unbind(direction.unsqueeze(-2), key, width), key).sum(-2) + ridge * direction
        step = power / (direction * image).sum(-1, keepdim=True).clamp_min(1e-20)
        memory = memory + step * direction
        residual = residual - step * image
        previous, power = power, (residual * residual).sum(-1, keepdim=True)
        direction = residual + power / previous.clamp_min(1e-20) * direction
    return memory
