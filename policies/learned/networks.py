"""Policies over tokens: all see alike; they differ in the memory alone (attention, a GRU, none), not in size."""

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

    Perception is the same for all: attention over the tokens in view now. What follows it differs: `memory`
    "attention" reads all remembered tokens; "recurrent" keeps a state (GRU); "none" has a feed-forward block. Each of
    these has as many parameters as the others (within 5 %); the head that follows is the same for all again.
    """

    memory: str = "attention"
    width: int = 48
    n_heads: int = 4
    n_hops: int = 1  # reads of the tokens in view, one after the other, and as many of those that are remembered
    has_value: bool = False  # also estimates the return, for reinforcement
    reads_words: bool = False  # each token attends to the words: is it spoken of, and where
    by_ways: bool = False  # where it points: an action reads of the remembered tokens those that it leads to, alone
    points: bool = False  # an action is judged by its own token, of kind action + 1; without one it is not taken

    def __post_init__(self) -> None:
        sizes = (self.width, self.n_heads, self.n_hops)
        if self.memory not in MEMORIES or any(type(size) is not int or size < 1 for size in sizes):
            raise ValueError(f"memory must be one of {MEMORIES} and the sizes positive whole numbers, got {self}")
        if self.width % self.n_heads or max(sizes) > 4096:
            raise ValueError(f"the width must be a multiple of n_heads, and nothing beyond 4096, got {self}")
        if self.by_ways and not self.points:
            raise ValueError(f"only a network that points at actions reads by ways, got {self}")
        if self.points and self.has_value:
            raise ValueError(f"a network that points at actions estimates no return, got {self}")


class TextEncoder(nn.Module):
    """Words of an instruction as vectors by one layer of self-attention, and their mean."""

    def __init__(self, spec: Spec, width: int, n_heads: int) -> None:
        super().__init__()
        self.words = nn.Embedding(spec.n_ids, width)
        self.places = nn.Parameter(0.5 * torch.randn(spec.n_words, width))
        self.attention = Attention(width, n_heads)
        self.norm = nn.LayerNorm(width)

    def forward(self, words: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The mean (..., d) and the single words (..., l, d) of word numbers (..., l)."""
        said, which = torch.unique(words.flatten(0, -2), dim=0, return_inverse=True)  # many moments share one
        is_word = said > 0
        x = self.words(said) + self.places[: said.shape[-1]]
        x = self.norm(x + self.attention(x, x, is_word))
        weight = is_word.to(x.dtype)[..., None]
        mean = (x * weight).sum(-2) / weight.sum(-2).clamp(min=1.0)
        return mean[which].reshape(*words.shape[:-1], -1), x[which].reshape(*words.shape, -1)


class Attention(nn.Module):
    """Scaled dot-product attention of several heads; where there is nothing to attend to the answer is 0."""

    def __init__(self, width: int, n_heads: int) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.query, self.out = nn.Linear(width, width), nn.Linear(width, width, bias=False)
        self.key, self.value = nn.Linear(width, width, bias=False), nn.Linear(width, width, bias=False)
        nn.init.orthogonal_(self.query.weight, gain=2.0)
        self.key.weight.data.copy_(self.query.weight.data)  # at first, like finds like: "lamp" what is named lamp

    def forward(self, queries: torch.Tensor, tokens: torch.Tensor, is_there: torch.Tensor) -> torch.Tensor:
        """(..., q, d) answers to queries (..., q, d) from tokens (..., m, d); `is_there` is (..., m) or (..., q, m)."""
        q, k, v = (self._split(x) for x in (self.query(queries), self.key(tokens), self.value(tokens)))
        scores = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
        is_open = is_there[..., None, :, :] if is_there.dim() == tokens.dim() else is_there[..., None, None, :]
        scores = scores.masked_fill(~is_open, -1e4)
        weights = scores.softmax(-1) * is_open.to(scores.dtype)
        return self.out((weights @ v).transpose(-2, -3).flatten(-2))

    def _split(self, x: torch.Tensor) -> torch.Tensor:
        return x.reshape(*x.shape[:-1], self.n_heads, -1).transpose(-2, -3)


class GatedRead(nn.Module):
    """Queries read tokens and add what they find through a sigmoid gate (MemoryVLA, eq. 4-5, gates alike)."""

    def __init__(self, width: int, n_heads: int) -> None:
        super().__init__()
        self.attention, self.gate = Attention(width, n_heads), nn.Linear(2 * width, width)
        self.norm = nn.LayerNorm(width)

    def forward(self, query: torch.Tensor, tokens: torch.Tensor, is_there: torch.Tensor) -> torch.Tensor:
        """(..., q, d) the queries (..., q, d) and what they found; tokens and `is_there` as in `Attention`."""
        found = self.attention(query, tokens, is_there)
        return self.norm(query + torch.sigmoid(self.gate(torch.cat([query, found], -1))) * found)


class PolicyNetwork(nn.Module):
    """Instruction, own state and tokens in; a logit for each action (and a value) out.

    A token is the sum of embeddings of its kind, of the word that names it (the same as in the instruction) and of its
    features; a remembered one has what only a memory knows (times, say) added. The query is the instruction and the
    state; where the network points, there is one query an action, to which the action's own token is added. Perception
    reads the tokens in view; then comes the memory, and a feed-forward head.
    """

    def __init__(self, spec: Spec, shape: Shape) -> None:
        super().__init__()
        self.spec, self.shape = spec, shape
        d = shape.width
        self.text = TextEncoder(spec, d, shape.n_heads)
        self.kinds = nn.Embedding(spec.n_kinds, d)
        self.features = nn.Sequential(nn.Linear(spec.n_now, d), nn.GELU(), nn.Linear(d, d))
        self.state = nn.Sequential(nn.Linear(spec.n_state, d), nn.GELU(), nn.Linear(d, d))
        self.token_norm = nn.LayerNorm(d)
        if shape.reads_words:
            self.listen = GatedRead(d, shape.n_heads)
        self.sight = nn.ModuleList([GatedRead(d, shape.n_heads) for _ in range(shape.n_hops)])
        if shape.memory == "attention":
            self.remembered = nn.Linear(spec.n_features - spec.n_now, d)
            self.recall = nn.ModuleList([GatedRead(d, shape.n_heads) for _ in range(shape.n_hops)])
        elif shape.memory == "recurrent":
            self.recall = nn.ModuleList([nn.GRUCell(d, d) for _ in range(shape.n_hops)])
        else:
            self.recall = nn.ModuleList([_block(d, 3 * d) for _ in range(shape.n_hops)])
        self.head = _block(d, 2 * d)
        self.actions = nn.Linear(d, 1 if shape.points else spec.n_actions)
        self.value = nn.Linear(d, 1) if shape.has_value else None

    def begin(self, n: int) -> torch.Tensor:
        """The state of n agents before they have seen anything; empty where nothing is kept."""
        width = self.shape.width * self.shape.n_hops if self.shape.memory == "recurrent" else 0
        return torch.zeros(n, width, device=self.actions.weight.device)

    def read(self, inputs: Inputs) -> torch.Tensor:
        """What the instruction, the state and the tokens say, (..., d), or (..., a, d) for a network that points.

        With "attention" the remembered tokens are read, too.
        """
        inputs = _without_padding(inputs)
        is_there, features, names = inputs["kinds"] > 0, inputs["features"], inputs["names"]
        named = self.text.words(names) * (names > 0)[..., None].to(features.dtype)
        now, remembered = features[..., : self.spec.n_now], features[..., self.spec.n_now :]
        tokens = self.token_norm(self.kinds(inputs["kinds"]) + named + self.features(now))
        mean, words = self.text(inputs["words"])
        if self.shape.reads_words:
            tokens = self.listen(tokens, words, inputs["words"] > 0)
        query = (mean + self.state(inputs["state"]))[..., None, :]
        if self.shape.points:
            own = self._is_own(inputs).to(features.dtype)
            query = query + own @ tokens
        for read in self.sight:
            query = read(query, tokens, is_there & inputs["is_visible"])
        if self.shape.memory == "attention":
            told = self.remembered(remembered)
            if self.shape.points:
                query = query + own @ told
            if self.shape.by_ways:
                actions = torch.arange(1, self.spec.n_actions + 1, device=is_there.device)
                is_there = is_there[..., None, :] & (inputs["ways"][..., None, :] == actions[:, None])
            for read in self.recall:
                query = read(query, tokens + told, is_there)
        return query if self.shape.points else query[..., 0, :]

    def decide(self, read: torch.Tensor, kept: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """What is left to decide the action by, shaped as what was read, and what is kept (n, h).

        A state is one for all actions, of what was read for them on average.
        """
        if self.shape.memory == "recurrent":
            states, points = [], self.shape.points
            for cell, state in zip(self.recall, torch.split(kept, self.shape.width, -1), strict=True):
                states.append(cell(read.mean(-2) if points else read, state))
                read = read + (states[-1][..., None, :] if points else states[-1])
            kept = torch.cat(states, -1)
        elif self.shape.memory == "none":
            for block in self.recall:
                read = read + block(read)
        return read + self.head(read), kept

    @torch.no_grad()
    def act(self, inputs: Inputs, kept: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor]:
        """Logits (n, a), values (n,) or None, and what is kept, from the inputs of one moment."""
        out, kept = self.decide(self.read(inputs), kept)
        return self._logits(out, inputs), self._value(out), kept

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
        return self._logits(out, inputs), self._value(out)

    def _is_own(self, inputs: Inputs) -> torch.Tensor:
        """(..., a, m) whether a token stands for an action."""
        kinds = torch.arange(1, self.spec.n_actions + 1, device=inputs["kinds"].device)
        return inputs["kinds"][..., None, :] == kinds[:, None]

    def _logits(self, out: torch.Tensor, inputs: Inputs) -> torch.Tensor:
        """(..., a) of the actions."""
        if not self.shape.points:
            return self.actions(out)
        return self.actions(out)[..., 0].masked_fill(~self._is_own(inputs).any(-1), -1e4)

    def _value(self, out: torch.Tensor) -> torch.Tensor | None:
        return None if self.value is None else self.value(out)[..., 0]

    def n_parameters(self) -> int:
        """Numbers that are trained."""
        return sum(p.numel() for p in self.parameters())

    def config(self) -> dict[str, Any]:
        """All that is needed to build the network again, as JSON values."""
        return {"spec": self.spec.as_json(), "shape": asdict(self.shape)}


def _block(width: int, hidden: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))


def _without_padding(inputs: Inputs) -> Inputs:
    """The same without the places that are empty in all moments, but for one."""
    most = max(int((inputs["kinds"] > 0).sum(-1).max()), 1)
    is_last = not bool((inputs["kinds"][..., most:] > 0).any())
    if not is_last:
        return inputs
    cut: Inputs = {
        name: inputs[name][..., :most] for name in ("kinds", "names", "is_visible", "ways") if name in inputs
    }
    return {**inputs, **cut, "features": inputs["features"][..., :most, :]}


def build(spec: Spec, shape: Shape, *, seed: int) -> PolicyNetwork:
    """A network with random weights that depend on the seed alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return PolicyNetwork(spec, shape)


def as_inputs(tokens: Tokens, device: torch.device | None = None) -> Inputs:
    """The tokens as tensors."""
    return {name: torch.from_numpy(np.ascontiguousarray(a)).to(device) for name, a in tokens.arrays().items()}
