"""The compressor's network in numpy, on the very memory of its torch weights.

At a batch of one, torch's calls cost more than the products inside: writing and reading one fact takes a third of the
time here. Training, and the inverse with its latent, stay in torch.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.fft import irfft, rfft
from torch import nn

_Residual = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, float]


@dataclass(frozen=True, eq=False)
class PlainNetwork:
    """Views of the weights of one compressor; they follow what training does to them in place."""

    residuals: list[tuple[_Residual, _Residual]]  # F and G of each block
    rotation: np.ndarray
    fact_mean: np.ndarray
    cue_mean: np.ndarray
    phases: np.ndarray
    size: int  # of a memory

    def encode(self, facts: np.ndarray) -> np.ndarray:
        """As `TokenCompressor.encode`."""
        x1, x2 = np.split((facts - self.fact_mean) @ self.rotation, 2, axis=-1)
        for f, g in self.residuals:
            x1 = x1 + _step(x2, f)
            x2 = x2 + _step(x1, g)
        return np.concatenate((x1, x2), axis=-1)

    def decode(self, codes: np.ndarray) -> np.ndarray:
        """As `TokenCompressor.decode`."""
        y1, y2 = np.split(codes, 2, axis=-1)
        for f, g in reversed(self.residuals):
            y2 = y2 - _step(y1, g)
            y1 = y1 - _step(y2, f)
        return np.concatenate((y1, y2), axis=-1) @ self.rotation.T + self.fact_mean

    def keys(self, cues: np.ndarray) -> np.ndarray:
        """As `TokenCompressor.keys`."""
        phases = (cues - self.cue_mean) @ self.phases
        spectra = np.ones((*phases.shape[:-1], phases.shape[-1] + 1), np.complex64)
        spectra[..., 1:].real, spectra[..., 1:].imag = np.cos(phases), np.sin(phases)
        return spectra

    def write(self, memory: np.ndarray, fact: np.ndarray, cue: np.ndarray, width: int) -> np.ndarray:
        """What `TokenCompressor.couple` makes of a memory of which KEEP is already taken."""
        key = self.keys(cue)
        error = self.encode(fact)[..., :width] - self.unbind(memory, key, width)
        return memory + irfft(rfft(error, self.size) * key, self.size)

    def recall(self, memory: np.ndarray, cues: np.ndarray, width: int) -> np.ndarray:
        """As `TokenCompressor.recall`: several cues of one memory, or one cue of several."""
        found = self.unbind(memory, self.keys(cues), width)
        codes = np.zeros((len(found), len(self.fact_mean)), np.float32)
        codes[:, :width] = found
        return self.decode(codes)

    def unbind(self, memory: np.ndarray, key: np.ndarray, width: int) -> np.ndarray:
        """As `embmem.tokens.binding.unbind`."""
        return irfft(rfft(memory) * key.conj(), self.size)[..., :width]


def residual_views(module: nn.Module, cap: float) -> _Residual:
    """The weights of a `BoundedResidual`, transposed, without a copy."""
    inner, inner_bias, outer, outer_bias = (p.detach().numpy() for p in module.parameters())
    return inner.T, inner_bias, outer.T, outer_bias, cap


def _step(x: np.ndarray, weights: _Residual) -> np.ndarray:
    inner, inner_bias, outer, outer_bias, cap = weights
    z = x @ inner
    z += inner_bias
    z /= 1.0 + np.exp(np.minimum(-z, 80.0))  # float32 overflows at 88
    u = z @ outer
    u += outer_bias
    u *= cap / np.sqrt(1.0 + np.einsum("...i,...i->...", u, u)[..., None])
    return u
