"""Following instructions on the streets as a world of tokens, for training; no route of a judged split is in it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from embmem.maps.streets import Pose, StreetAction, StreetMap, move
from embmem.policies.learned.tokens import Tokens
from embmem.policies.street.agent import StreetInstruction
from embmem.policies.street.memory import Parts, Recollection
from embmem.policies.street.tokens import MOVES, Walker, stacked, street_spec
from embmem.policies.street.words import normalised
from embmem.sim_envs.street.episodes import StreetEpisode, read_split
from embmem.sim_envs.street.files import read_streets
from embmem.sim_envs.street.folds import apart_from
from embmem.sim_envs.street.landmarks import embed, mentions, place_landmarks
from embmem.sim_envs.street.perception import Perception
from embmem.sim_envs.street.task import street_folder
from embmem.sim_envs.street.told_routes import Lengths, made_up_town, sample_routes

_AROUND = 400.0  # [m] from the start within which a tour may have passed
_MOST_WORDS = 500  # that a network is to know
_LEAST = 3  # times that a word must be told


class PlainMemory:
    """`StreetMemory` with octree, graph and long term, by plain search over few sightings: thousands are needed here.

    The first of several alike sightings within `parts.same` is kept.
    """

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self._points: list[np.ndarray] = []
        self._units: list[np.ndarray] = []

    def write(self, position: np.ndarray, embedding: np.ndarray, stamp: float, here: np.ndarray) -> None:
        """Take a sighting."""
        if self._units:
            is_alike = np.array(self._units) @ embedding >= self.parts.similar
            if (is_alike & (np.linalg.norm(np.array(self._points) - position, axis=1) <= self.parts.same)).any():
                return
        self._points.append(position)
        self._units.append(embedding)

    def read(self, embedding: np.ndarray, here: np.ndarray) -> list[Recollection]:
        """Where something like that was seen, most alike first."""
        if not self._units:
            return []
        cosines, points = np.array(self._units) @ embedding, np.array(self._points)
        fits = (cosines >= self.parts.similar) & (np.abs(points - here).max(axis=1) <= self.parts.reach)
        best = np.flatnonzero(fits)[np.argsort(-cosines[fits], kind="stable")][: self.parts.k]
        return [Recollection((float(points[i, 0]), float(points[i, 1])), float(cosines[i]), "seen") for i in best]


class StreetTokenWorld:
    """n walkers with an instruction each; the teacher goes the shortest way to the goal and stops there.

    Routes are sampled from the map and told by rule; a share of them may be routes of another split in the words of
    people. All landmarks of all these routes stand in one world. With chance `knows` an episode begins with a memory:
    of each landmark around, the tour before has seen it with a chance that is drawn for the episode.
    """

    def __init__(
        self,
        n: int,
        *,
        folder: str | None = None,
        town: int | None = None,
        judged: Sequence[str] = ("map2seq_unseen", "touchdown_unseen"),
        told: str | None = None,
        share_told: float = 0.5,
        n_routes: int = 600,
        least: int = 34,
        most: int = 44,
        steps: int = 50,
        stray: int = 8,
        knows: float = 0.5,
        perception: Perception | None = None,
        parts: Parts | None = None,
        seed: int = 0,
    ) -> None:
        """Draw the routes.

        Args:
            n: walkers side by side.
            folder: of the street data; by default `street` in the folder that EMBMEM_DATA_DIR names.
            town: streets of a made-up town to walk in instead of the data.
            judged: splits none of whose places is on any route here.
            told: a split of which routes apart from the judged ones are learned from, too.
            share_told: chance that an episode is one of those.
            n_routes: that are sampled.
            least: hops of a sampled route.
            most: hops of a sampled route.
            steps: moves of an episode.
            stray: hops of detour after which a walker is given up: nobody could tell from the words how to go on.
            knows: chance that an episode begins with a memory.
            perception: noise of what is seen.
            parts: of the memory.
            seed: of routes, words and landmarks.

        Raises:
            ValueError: if a number is out of range, or there are too few routes.
        """
        if min(n, n_routes, steps, least, stray) < 1 or most < least or not (0 <= knows <= 1 and 0 <= share_told <= 1):
            raise ValueError(f"numbers out of range: {n}, {n_routes}, {steps}, {least}, {most}, {knows}, {share_told}")
        self.n, self.n_steps, self.stray, self.knows, self.share_told = n, steps, stray, knows, share_told
        self.perception, self.parts = perception or Perception(), parts or Parts()
        rng = np.random.default_rng(seed)
        self.streets: StreetMap
        self.told: list[StreetEpisode] = []
        if town is not None:
            self.streets = made_up_town(town)
            is_free = np.ones(len(self.streets), dtype=bool)
        else:
            where = street_folder(folder)
            self.streets = read_streets(where / "graph")
            is_free = self._free(where, judged, told)
        self.routes = sample_routes(self.streets, is_free, n_routes, rng, Lengths(least, most))
        self.landmarks = place_landmarks(self.streets, [*self.routes, *self.told], rng)
        self.spec = street_spec(frequent([e.text for e in (*self.routes, *self.told)]))
        self._begin(rng)

    def _free(self, folder: Path, judged: Sequence[str], told: str | None) -> np.ndarray:
        """(n,) places that lie in the part of the city that is not held out, on no route of a judged split."""
        episodes = [e for split in judged for e in read_split(folder, split, self.streets)]
        is_free = ~self.streets.is_unseen
        is_free[[place for e in episodes for place in e.route]] = False
        if told is not None:
            self.told = apart_from(read_split(folder, told, self.streets), episodes)
        return is_free

    def reset(self, rng: np.random.Generator) -> Tokens:
        """n new episodes."""
        self._begin(rng)
        return self._tokens()

    def _begin(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self.episodes: list[StreetEpisode] = []
        self.walkers: list[Walker] = []
        self._away: list[np.ndarray] = []
        for _ in range(self.n):
            pool = self.told if self.told and rng.random() < self.share_told else self.routes
            episode = pool[int(rng.integers(len(pool)))]
            self.episodes.append(episode)
            pose = move(self.streets, episode.start(self.streets), StreetAction.FORWARD)
            phrases = dict.fromkeys(mention.phrase for mention in mentions(episode.text))
            task = StreetInstruction(episode.text, self.streets, pose, tuple((p, embed(p)) for p in phrases))
            walker = Walker(task, self._memory(episode, rng), self.spec)
            walker.see(pose, self.perception.see(self.streets, self.landmarks, pose, rng), 1.0)
            self.walkers.append(walker)
            goal = episode.route[-1]
            self._away.append(self.streets.hops_from(goal, is_directed=False))
        self.has_ended = np.zeros(self.n, dtype=bool)
        self._rows: list[dict[str, np.ndarray]] = [{} for _ in range(self.n)]

    def _memory(self, episode: StreetEpisode, rng: np.random.Generator) -> PlainMemory:
        """What a walker begins with: nothing, or what a tour through these streets may have seen."""
        memory = PlainMemory(self.parts)
        if rng.random() >= self.knows:
            return memory
        share = float(rng.uniform())
        wanted = {mention.phrase for mention in mentions(episode.text)}
        for i in self.landmarks.near(self.streets.xy[episode.route[0]], _AROUND):
            if self.landmarks.phrases[i] in wanted and rng.random() < share:  # nothing else will be asked for
                seen = self.perception.noisy(self.landmarks.embeddings[i], 0.0, 15.0, rng)
                there = self.landmarks.xy[i] + rng.normal(0.0, 4.0, 2)
                memory.write(there, seen.embedding, 0.0, there)
        return memory

    def step(self, actions: Int[np.ndarray, " n"]) -> Tokens:
        """Move; who stops, or stands at the goal, has ended."""
        for i, (walker, action) in enumerate(zip(self.walkers, actions.tolist(), strict=True)):
            if self.has_ended[i]:
                continue
            moves = walker.moves()
            if action not in moves or self._away[i][walker.pose.place] == 0:
                self.has_ended[i] = True
                continue
            here, end = walker.pose.place, moves[action]
            pose = Pose(end, float(round(self.streets.heading(here, end))), here)
            walker.see(pose, self.perception.see(self.streets, self.landmarks, pose, self._rng), 1.0)
            detour = len(walker.walked) + int(self._away[i][end]) - len(self.episodes[i].route)
            self.has_ended[i] = detour > self.stray
        return self._tokens()

    def expert(self) -> Float[np.ndarray, "n a"]:
        """Stop at the goal, else the move after which the fewest hops are left."""
        best = np.zeros((self.n, len(MOVES)))
        for i, walker in enumerate(self.walkers):
            away = self._away[i]
            if self.has_ended[i]:
                continue
            left = {action: int(away[place]) for action, place in walker.moves().items() if away[place] >= 0}
            if away[walker.pose.place] == 0 or not left:
                best[i, 0] = 1.0
                continue
            fewest = min(left.values())
            chosen = [action for action, hops in left.items() if hops == fewest]
            best[i, chosen] = 1.0 / len(chosen)
        return best

    def scores(self) -> dict[str, np.ndarray]:
        """`success`: the last place is the goal or next to it; and hops that are left."""
        left = np.array([away[w.pose.place] for w, away in zip(self.walkers, self._away, strict=True)], dtype=float)
        left[left < 0] = len(self.streets)
        return {"success": (left <= 1).astype(float), "hops": left}

    def _tokens(self) -> Tokens:
        """Of those that walk; where one has ended nothing is learned, so its last ones stay."""
        self._rows = [
            row if ended and row else walker.tokens()
            for walker, row, ended in zip(self.walkers, self._rows, self.has_ended, strict=True)
        ]
        return stacked(self._rows)


def frequent(texts: Sequence[str]) -> list[str]:
    """The words that are told most often, no more than `_MOST_WORDS`."""
    counts = Counter(word for text in texts for word in normalised(text).split())
    known = [word for word, n in counts.items() if n >= _LEAST]
    return sorted(sorted(known, key=lambda word: (-counts[word], word))[:_MOST_WORDS])
