"""What a walker perceives of the landmarks: with misses, false alarms, and noise of published size and seed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from embmem.maps.streets import Pose, StreetMap
from embmem.policies.street.agent import Sighting
from embmem.sim_envs.street.landmarks import DIM, LandmarkWorld


@dataclass(frozen=True)
class Perception:
    """Noise of a detector on the street."""

    reach: float = 30.0  # [m] within which landmarks can be seen
    miss: float = 0.3  # chance to overlook one in a view
    false_alarm: float = 0.05  # chance of a view to show some phrase of the world that is not there
    bearing: float = 10.0  # [degrees], standard deviation
    distance: float = 0.2  # relative, standard deviation
    embedding: float = 0.6  # length of the noise added to a unit vector: cosines of .86 with the truth

    def __post_init__(self) -> None:
        rates, sizes = (self.miss, self.false_alarm), (self.reach, self.bearing, self.distance, self.embedding)
        if not all(0 <= rate <= 1 for rate in rates) or not all(0 <= size < np.inf for size in sizes):
            raise ValueError(f"need rates in [0, 1] and finite sizes >= 0, got {self}")

    def see(
        self, streets: StreetMap, world: LandmarkWorld, pose: Pose, rng: np.random.Generator
    ) -> tuple[Sighting, ...]:
        """The sightings of one view, all around."""
        here = streets.xy[pose.place]
        seen = []
        for i in world.near(here, self.reach):
            if rng.random() < self.miss:
                continue
            east, north = world.xy[i] - here
            angle, metres = float(np.degrees(np.arctan2(east, north))), float(np.hypot(east, north))
            seen.append(self.noisy(world.embeddings[i], angle, metres, rng))
        if len(world.phrases) and rng.random() < self.false_alarm:
            i = int(rng.integers(len(world.phrases)))
            seen.append(self.noisy(world.embeddings[i], rng.uniform(0, 360), rng.uniform(0, self.reach), rng))
        return tuple(seen)

    def noisy(self, embedding: np.ndarray, angle: float, metres: float, rng: np.random.Generator) -> Sighting:
        """A sighting of something with this embedding, at this bearing [degrees] and distance [m]."""
        noise = rng.normal(size=DIM)
        noisy = embedding + self.embedding * noise / np.linalg.norm(noise)
        return Sighting(
            noisy / np.linalg.norm(noisy),
            float((angle + rng.normal(0.0, self.bearing)) % 360),
            float(max(0.0, metres * (1.0 + rng.normal(0.0, self.distance)))),
        )
