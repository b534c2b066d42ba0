"""Policies over tokens: attention over what was remembered, and two of the same size that do without."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from embmem.policies.learned.tokens import Spec, Tokens

MEMORIES = ("attention", "recurrent", "none")
Inputs = dict[str, torch.Tensor]  # the fields of `Tokens`, with any number of leading axes


@dataclass(frozen=True)
class Shape:
    """The size of a policy network, and what it remembers with.

    `memory` "attention" reads all tokens; "recurrent" reads those in view and keeps a state (GRU); "none" reads those
    in view. All three have the same parts but the core: a GRU, or a feed-forward block of as many parameters.
    """

    memory: str = "attention"
    width: int = 48
    n_heads: int = 4
    n_hops: int = 2  # reads of the tokens, one after the other
    has_value: bool = False  # also estimates the return, for reinforcement

    def __post_init__(self) -> None:
        sizes = (self.width, self.n_heads, self.n_hops)
        if self.memory not in MEMORIES or any(type(size) is not int or size < 1 for size in sizes):
            raise ValueError(f"memory must be one of {MEMORIES} and the sizes positive whole numbers, got {self}")
        if self.width % self.n_heads or max(sizes) > 4096:
            raise ValueError(f"the width must be a multiple of n_heads, and nothing beyond 4096, got {self}")


class TextEncoder(nn.Module):
    """Words of an instruction as vectors, and one vector for all: a layer of self-attention, mean over the words."""

    def __init__(self, spec: Spec, width: int, n_heads: int) -> None:
        super().__init__()
        self.words = nn.Embedding(spec.n_ids, width)
        self.places = nn.Parameter(0.5 * torch.randn(spec.n_words, width))
        self.attention = Attention(width, n_heads)
        self.norm = nn.LayerNorm(width)

    def forward(self, words: torch.Tensor) -> torch.Tensor:
        """(..., d) of word numbers (..., l)."""
        said, which = torch.unique(words.flatten(0, -2), dim=0, return_inverse=True)  # many moments share one
        return self._encode(said)[which].reshape(*words.shape[:-1], -1)

    def _encode(self, words: torch.Tensor) -> torch.Tensor:
        is_word = words > 0
        x = self.words(words) + self.places[: words.shape[-1]]
        x = self.norm(x + self.attention(x, x, is_word))
        weight = is_word.to(x.dtype)[..., None]
        return (x * weight).sum(-2) / weight.sum(-2).clamp(min=1.0)


class Attention(nn.Module):
    """Scaled dot-product attention of several heads; where there is nothing to attend to the answer is 0."""

    def __init__(self, width: int, n_heads: int) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.query, self.out = nn.Linear(width, width), nn.Linear(width, width, bias=False)
        self.key, self.value = nn.Linear(width, width, bias=False), nn.Linear(width, width, bias=False)

    def forward(self, queries: torch.Tensor, tokens: torch.Tensor, is_there: torch.Tensor) -> torch.Tensor:
        """(..., q, d) answers to queries (..., q, d) from tokens (..., m, d) where `is_there` (..., m)."""
        q, k, v = (self._split(x) for x in (self.query(queries), self.key(tokens), self.value(tokens)))
        scores = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
        scores = scores.masked_fill(~is_there[..., None, None, :], -1e4)
        weights = scores.softmax(-1) * is_there[..., None, None, :].to(scores.dtype)
        return self.out((weights @ v).transpose(-2, -3).flatten(-2))

    def _split(self, x: torch.Tensor) -> torch.Tensor:
        return x.reshape(*x.shape[:-1], self.n_heads, -1).transpose(-2, -3)


class PolicyNetwork(nn.Module):
    """Instruction, own state and tokens in; a logit for each action (and a value) out.

    A token is the sum of embeddings of its kind, of the word that names it (the same as in the instruction) and of its
    features. The query is the instruction and the state; each hop reads the tokens and adds what it finds through a
    sigmoid gate (MemoryVLA, eq. 4-5, gates a cross-attention alike). Times are features of the tokens.
    """

    def __init__(self, spec: Spec, shape: Shape) -> None:
        super().__init__()
        self.spec, self.shape = spec, shape
        d = shape.width
        self.text = TextEncoder(spec, d, shape.n_heads)
        self.kinds = nn.Embedding(spec.n_kinds, d)
        self.features = nn.Sequential(nn.Linear(spec.n_features, d), nn.GELU(), nn.Linear(d, d))
        self.state = nn.Sequential(nn.Linear(spec.n_state, d), nn.GELU(), nn.Linear(d, d))
        self.token_norm = nn.LayerNorm(d)
        self.reads = nn.ModuleList([Attention(d, shape.n_heads) for _ in range(shape.n_hops)])
        self.gates = nn.ModuleList([nn.Linear(2 * d, d) for _ in range(shape.n_hops)])
        self.norms = nn.ModuleList([nn.LayerNorm(d) for _ in range(shape.n_hops)])
        is_recurrent = shape.memory == "recurrent"
        block = nn.Sequential(nn.Linear(d, 3 * d), nn.GELU(), nn.Linear(3 * d, d))
        self.core = nn.GRUCell(d, d) if is_recurrent else block
        self.actions = nn.Linear(d, spec.n_actions)
        self.value = nn.Linear(d, 1) if shape.has_value else None

    def begin(self, n: int) -> torch.Tensor:
        """The state of n agents before they have seen anything; empty where nothing is kept."""
        width = self.shape.width if self.shape.memory == "recurrent" else 0
        return torch.zeros(n, width, device=self.actions.weight.device)

    def read(self, inputs: Inputs) -> torch.Tensor:
        """(..., d) what the instruction, the state and the tokens say, before the core."""
        is_there, features = inputs["kinds"] > 0, inputs["features"]
        if self.shape.memory != "attention":
            is_there = is_there & inputs["is_visible"]
            now = torch.arange(features.shape[-1], device=features.device) < self.spec.n_now
            features = features * now.to(features.dtype)
        names = inputs["names"]
        named = self.text.words(names) * (names > 0)[..., None].to(features.dtype)
        tokens = self.token_norm(self.kinds(inputs["kinds"]) + named + self.features(features))
        query = self.text(inputs["words"]) + self.state(inputs["state"])
        for read, gate, norm in zip(self.reads, self.gates, self.norms, strict=True):
            found = read(query[..., None, :], tokens, is_there)[..., 0, :]
            query = norm(query + torch.sigmoid(gate(torch.cat([query, found], -1))) * found)
        return query

    def decide(self, read: torch.Tensor, kept: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """What comes out of the core (n, d) and what is kept (n, h), from what was read (n, d)."""
        if self.shape.memory == "recurrent":
            kept = self.core(read, kept)
            return read + kept, kept
        return read + self.core(read), kept

    @torch.no_grad()
    def act(self, inputs: Inputs, kept: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor]:
        """Logits (n, a), values (n,) or None, and what is kept, from the inputs of one moment."""
        out, kept = self.decide(self.read(inputs), kept)
        return self.actions(out), self._value(out), kept

    def forward(self, inputs: Inputs) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Logits (t, n, a) and values (t, n) of whole episodes, from inputs with leading axes (t, n).

        A network that keeps nothing takes any leading axes.
        """
        read = self.read(inputs)
        if self.shape.memory == "recurrent":
            kept, outs = self.begin(read.shape[1]), []
            for moment in read:
                out, kept = self.decide(moment, kept)
                outs.append(out)
            out = torch.stack(outs)
        else:
            out, _ = self.decide(read, self.begin(0))
        return self.actions(out), self._value(out)

    def _value(self, out: torch.Tensor) -> torch.Tensor | None:
        return None if self.value is None else self.value(out)[..., 0]

    def n_parameters(self) -> int:
        """Numbers that are trained."""
        return sum(p.numel() for p in self.parameters())

    def config(self) -> dict[str, Any]:
        """All that is needed to build the network again, as JSON values."""
        return {"spec": self.spec.as_json(), "shape": asdict(self.shape)}


def build(spec: Spec, shape: Shape, *, seed: int) -> PolicyNetwork:
    """A network with random weights that depend on the seed alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return PolicyNetwork(spec, shape)


def as_inputs(tokens: Tokens, device: torch.device | None = None) -> Inputs:
    """The tokens as tensors."""
    return {name: torch.from_numpy(np.ascontiguousarray(a)).to(device) for name, a in tokens.arrays().items()}
