"""Fitting street rankers without any route of the region that they will be judged in."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int
from scipy.cluster.vq import kmeans2

from embmem.maps.streets import StreetAction, StreetMap, move
from embmem.policies.street.candidates import Reach, candidates
from embmem.policies.street.features import Features, featurise
from embmem.policies.street.ranking import Example, fit
from embmem.policies.street.weights import RegionRankers
from embmem.policies.street.words import parse
from embmem.sim_envs.street.episodes import StreetEpisode

MAP2SEQ = Reach(34, 44, is_shortest=True)
TOUCHDOWN = Reach(8, 45, is_shortest=False, may_turn_around=True)
NEGATIVES = 400  # walks besides the meant one that a text is learned from


def reach_of(split: str) -> Reach:
    """Which walks count: the lengths of the task, shortest ones in Map2Seq, as its makers say."""
    return MAP2SEQ if split.startswith("map2seq") else TOUCHDOWN


def regions(
    streets: StreetMap, episodes: Sequence[StreetEpisode], k: int, seed: int
) -> tuple[Float[np.ndarray, "k 2"], Int[np.ndarray, " n"]]:
    """Middles of `k` regions of the city and the region of each episode, by where it starts."""
    starts = np.array([streets.xy[episode.route[0]] for episode in episodes])
    centres, _ = kmeans2(starts, k, seed=np.random.default_rng(seed), minit="++")
    apart = np.linalg.norm(starts[:, None] - centres[None], axis=2)
    return centres, apart.argmin(axis=1).astype(np.int64)


def apart_from(train: Sequence[StreetEpisode], judged: Sequence[StreetEpisode]) -> list[StreetEpisode]:
    """The training episodes whose routes share no place with any route that is judged."""
    taken = {place for episode in judged for place in episode.route}
    return [episode for episode in train if taken.isdisjoint(episode.route)]


def cross_fitted(
    streets: StreetMap,
    episodes: Sequence[StreetEpisode],
    *,
    k: int = 5,
    seed: int = 0,
    more: Sequence[StreetEpisode] = (),
) -> RegionRankers:
    """One ranker a region, fitted on the routes of the other regions that share no place with its own.

    Args:
        streets: the map.
        episodes: of a split, all of which will be judged; each by the ranker of the region it starts in.
        k: number of regions; 1 fits on `more` alone.
        seed: of the regions and the sampled walks.
        more: episodes of other splits, of which those apart from the judged ones are learned from as well.
    """
    centres, region = regions(streets, episodes, k, seed)
    reach = reach_of(episodes[0].split)
    rng = np.random.default_rng(seed)
    known: dict[str, Example | None] = {}
    rankers, sizes = [], []
    for r in range(k):
        judged = [e for e, own in zip(episodes, region.tolist(), strict=True) if own == r]
        others = [e for e, own in zip(episodes, region.tolist(), strict=True) if own != r]
        train = apart_from([*others, *more], judged)
        for e in train:
            if (key := f"{e.split}/{e.id}") not in known:
                known[key] = example(streets, e, reach, rng)
        found = [x for e in train if (x := known[f"{e.split}/{e.id}"]) is not None]
        rankers.append(fit(found))
        sizes.append(len(found))
    about = {"split": episodes[0].split, "regions": k, "seed": seed, "examples": sizes}
    return RegionRankers(centres, tuple(rankers), reach, about)


def example(streets: StreetMap, episode: StreetEpisode, reach: Reach, rng: np.random.Generator) -> Example | None:
    """An episode to learn from; None where the gold route is no walk that counts."""
    pose = episode.start(streets)
    if episode.is_map2seq:
        pose = move(streets, pose, StreetAction.FORWARD)
    found = candidates(streets, pose, reach)
    gold = found.index(episode.route)
    if gold is None:
        return None
    kept = np.arange(len(found))
    if len(found) > NEGATIVES:
        kept = np.unique(np.append(rng.choice(len(found), NEGATIVES, replace=False), gold))
    program = parse(episode.text)
    few = found.only(kept)
    features: Features = featurise(streets, program, few, pose.heading)
    return Example(episode.text, program, features, int(np.searchsorted(kept, gold)))
