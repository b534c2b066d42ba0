"""The simple agents, the parts of the searching one, and their configurations."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import yaml
from hydra import compose, initialize_config_module
from hydra.utils import instantiate
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from embmem.agent import Action, Agent, Body, Goal, Question
from embmem.geometry import camera_pose
from embmem.maps import VoxelMap
from embmem.memory import Memory
from embmem.observation import Intrinsics, Observation
from embmem.policies.cost_map import CostMap
from embmem.policies.coverage import Coverage
from embmem.policies.oracle import OracleAgent
from embmem.policies.questions import answer
from embmem.policies.recall import Recall
from embmem.policies.simple import ForwardAgent, RandomAgent
from embmem.policies.stand import viewpoints
from embmem.protocols import Deformation, LayerState
from embmem.records import Hit, Query

CAMERA = Intrinsics.from_fov(64, 48, 79.0)
AGENTS = ("forward", "frontier", "memory", "oracle", "random")


class ListedObjects:
    """An object layer whose content is given."""

    kind: ClassVar[str] = "objects"
    version: ClassVar[int] = 1

    def __init__(self, hits: list[Hit]) -> None:
        self.hits = hits

    def observe(self, observation: Observation) -> None: ...

    def query(self, query: Query) -> list[Hit]:
        return [hit for hit in self.hits if query.entity in (None, hit.entity)][: query.k]

    def tick(self, stamp: float) -> None: ...

    def deform(self, deformation: Deformation) -> None: ...

    def stats(self) -> dict[str, float]:
        return {}

    def save(self) -> LayerState:
        return LayerState(self.kind, self.version, {}, {})

    @classmethod
    def load(cls, state: LayerState) -> ListedObjects:
        return cls([])


def hit(category: str, first: float, last: float, confidence: float = 0.9, x: float = 0.0, seen: float = 5.0) -> Hit:
    detail = {"confidence": confidence, "first_seen": first, "times_seen": seen}
    return Hit(confidence, "", "objects", last, np.array([x, 0.0, 1.0]), category, detail=detail)


def frame(x: float, y: float = 0.0, yaw: float = 0.0, stamp: float = 0.0) -> Observation:
    """A pose without images."""
    return Observation(stamp, camera_pose(np.array([x, y, 0.88]), yaw), CAMERA)


def facing_wall(distance: float, label: int, stamp: float = 1.0) -> Observation:
    """A flat thing with label `label` at `distance` before the camera, which looks along +x from the origin."""
    shape = (CAMERA.height, CAMERA.width)
    return Observation(
        stamp,
        camera_pose(np.array([0.0, 0.0, 0.88]), 0.0),
        CAMERA,
        depth=np.full(shape, distance, np.float32),
        semantic=np.full(shape, label, np.int32),
        labels=("unlabelled", "wall", "sideboard"),
    )


@pytest.mark.parametrize("name", AGENTS)
def test_every_agent_is_made_from_its_configuration(name: str) -> None:
    with initialize_config_module("embmem.configs", version_base=None):
        cfg = compose(overrides=[f"+agent={name}"])
    agent = instantiate(cfg.agents[name])
    assert isinstance(agent, Agent)
    agent.reset(np.random.default_rng(0))


def test_agents_take_the_body_of_the_world() -> None:
    with initialize_config_module("embmem.configs", version_base=None):
        cfg = compose(overrides=["+agent=memory", "+world=house", "world.body.turn=10.0"])
    agents: Any = OmegaConf.to_container(cfg.agents, resolve=True)
    assert instantiate(agents["memory"]).planner.body == Body(turn=10.0)


def test_frontier_and_memory_differ_in_remembering_only() -> None:
    folder = Path(__file__).parents[1] / "configs" / "agent"
    frontier, memory = (yaml.safe_load((folder / f"{name}.yaml").read_text()) for name in ("frontier", "memory"))
    assert (frontier.pop("remembers"), memory.pop("remembers")) == (False, True)
    assert frontier == memory


def test_random_agent_stops_and_moves_as_often_as_it_was_told() -> None:
    agent = RandomAgent(stop=0.1, forward=0.5)
    agent.reset(np.random.default_rng(1))
    actions = [agent.act(frame(0.0)) for _ in range(4000)]
    assert actions.count(Action.STOP) / 4000 == pytest.approx(0.1, abs=0.02)
    assert actions.count(Action.FORWARD) / 4000 == pytest.approx(0.45, abs=0.03)
    agent.reset(np.random.default_rng(1))
    assert [agent.act(frame(0.0)) for _ in range(4000)] == actions


def test_forward_agent_turns_only_where_it_did_not_get_on() -> None:
    agent = ForwardAgent()
    agent.reset(np.random.default_rng(0))
    agent.begin(Goal("mug"))
    assert {agent.act(frame(0.25 * i)) for i in range(20)} == {Action.FORWARD}
    assert agent.act(frame(0.25 * 19)) in (Action.LEFT, Action.RIGHT)


def test_oracle_does_what_it_is_told_and_refuses_to_guess() -> None:
    oracle = OracleAgent()
    with pytest.raises(ValueError, match="shortest"):
        oracle.begin(Goal("mug"))
    plan = iter([Action.LEFT, Action.FORWARD, Action.STOP])
    oracle.begin(Goal("mug"), lambda: next(plan))
    assert [oracle.act(frame(0.0)) for _ in range(3)] == [Action.LEFT, Action.FORWARD, Action.STOP]


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["mug", "book"]), st.integers(0, 50), st.integers(0, 50), st.sampled_from([0.3, 0.8])
        ),
        max_size=8,
    )
)
def test_answers_agree_with_reading_the_list_by_hand(rows: list[tuple[str, int, int, float]]) -> None:
    hits = [hit(c, float(min(a, b)), float(max(a, b)), p, x=float(i)) for i, (c, a, b, p) in enumerate(rows)]
    memory = Memory([ListedObjects(hits)])
    sure = [h for h in hits if h.score > 0.5]
    mugs = [h for h in sure if h.entity == "mug"]
    assert answer(memory, Question("how_many", ("mug",))).count == len(mugs)
    last = answer(memory, Question("last_seen", ("mug",))).stamp
    assert last == max((h.stamp for h in mugs), default=None)
    where = answer(memory, Question("where_is", ("mug",))).position
    if not mugs:
        assert where is None
    else:
        assert any(where is h.position and h.stamp == last for h in mugs)
    first = answer(memory, Question("which_first", ("mug", "book"))).category
    earliest = min((h.detail["first_seen"] for h in sure), default=None)
    if earliest is None:
        assert first is None
    else:
        assert any(h.entity == first and h.detail["first_seen"] == earliest for h in sure)


def test_an_unknown_kind_of_question_is_refused() -> None:
    with pytest.raises(ValueError, match="why_is"):
        answer(Memory([ListedObjects([])]), Question("why_is", ("mug",)))


def test_a_dismissed_place_comes_back_only_with_a_new_sighting() -> None:
    old = hit("mug", 0.0, 10.0)
    recall = Recall("mug", min_confidence=0.6)
    assert recall.hypotheses(Memory([ListedObjects([old])])) == [old]
    recall.dismiss(old, stamp=20.0)
    assert recall.hypotheses(Memory([ListedObjects([old])])) == []
    again, elsewhere = hit("mug", 0.0, 21.0), hit("mug", 0.0, 10.0, x=3.0)
    assert recall.hypotheses(Memory([ListedObjects([again, elsewhere])])) == [again, elsewhere]


def test_hints_count_only_where_there_is_nothing_better() -> None:
    sure, hint, refuted = (hit("mug", 0.0, 1.0, confidence=c, x=10 * c) for c in (0.8, 0.4, 0.2))
    recall = Recall("mug", min_confidence=0.6)
    assert recall.hypotheses(Memory([ListedObjects([sure, hint, refuted])])) == [sure]
    assert recall.hypotheses(Memory([ListedObjects([hint, refuted])])) == [hint]
    assert recall.hypotheses(Memory([ListedObjects([refuted])])) == []


def test_a_thing_waits_for_a_look_from_near_by_and_a_wall_does_not() -> None:
    coverage = Coverage(near=2.5)
    coverage.observe(facing_wall(4.0, label=1))
    assert not coverage.pending(0.0)[0].any()
    coverage.observe(facing_wall(4.0, label=2))
    mask, _ = coverage.pending(0.0)
    places = coverage.centres(np.argwhere(mask))
    assert len(places) > 10
    assert np.abs(places[:, 0] - 4.0).max() < 0.1
    coverage.observe(facing_wall(1.5, label=2, stamp=7.0))
    near = np.abs(coverage.centres(np.argwhere(coverage.pending(0.0)[0]))[:, 0] - 1.5) < 0.2
    assert not near.any()
    assert (np.abs(coverage.centres(np.argwhere(coverage.pending(8.0)[0]))[:, 0] - 1.5) < 0.2).any()


def test_places_given_up_are_not_proposed_again() -> None:
    coverage = Coverage()
    coverage.observe(facing_wall(4.0, label=2))
    coverage.mark(coverage.centres(np.argwhere(coverage.pending(0.0)[0])), stamp=3.0)
    assert not coverage.pending(3.0)[0].any()


def test_coverage_grows_with_the_house_and_keeps_what_it_knows() -> None:
    coverage = Coverage()
    for shift in (0.0, 25.0, -40.0):
        seen = facing_wall(4.0, label=2)
        seen.T_map_camera[:2, 3] += shift
        coverage.observe(seen)
    x = coverage.centres(np.argwhere(coverage.pending(0.0)[0]))[:, 0]
    assert all((np.abs(x - 4.0 - shift) < 0.1).any() for shift in (0.0, 25.0, -40.0))


@given(st.integers(0, 1000))
def test_viewpoints_see_the_target_past_a_wall(seed: int) -> None:
    rng = np.random.default_rng(seed)
    voxels = VoxelMap()
    wall_x = float(rng.uniform(0.3, 0.8))
    y, z = np.meshgrid(np.arange(-0.5, 0.5, 0.05) + 0.025, np.arange(0.0, 2.0, 0.05) + 0.025)
    wall = np.stack([np.full(y.size, wall_x), y.ravel(), z.ravel()], axis=1)
    for _ in range(3):
        voxels.integrate(wall, np.array([5.0, 0.0, 1.0]))
    price = np.ones((80, 80), np.float32)
    price[rng.random(price.shape) < 0.2] = np.inf
    costs = CostMap(price, np.array([-2.0, -2.0]), 0.05)
    target = np.array([0.0, 0.0, 0.9])
    points = viewpoints(costs, voxels, target, eye=0.88, far=1.5)
    assert len(points) > 20
    assert np.isfinite(costs.at(price, points)).all()
    assert (np.hypot(*points.T) <= 1.5).all()
    behind = points[points[:, 0] > wall_x + 0.1]
    crossing = np.abs(behind[:, 1] * wall_x / behind[:, 0])
    assert (crossing > 0.45).all()
    assert (points[:, 0] < wall_x).any()
