"""Networks over tokens: what each may know, equal sizes, files that hold them, and the two ways to train them."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
fabrics = pytest.importorskip("lightning_fabric")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from rich.console import Console  # noqa: E402
from safetensors.numpy import load, save  # noqa: E402

from embmem.errors import FileVersionError, InputError  # noqa: E402
from embmem.policies.learned.checkpoints import SHIPPED, load_policy, save_policy  # noqa: E402
from embmem.policies.learned.imitation import Imitation, draw_actions, evaluate, play  # noqa: E402
from embmem.policies.learned.networks import MEMORIES, PolicyNetwork, Shape, as_inputs, build  # noqa: E402
from embmem.policies.learned.reinforcement import ProximalPolicy, advantages  # noqa: E402
from embmem.policies.learned.tokens import Spec, Tokens  # noqa: E402
from embmem.policies.learned.training import run_training  # noqa: E402
from embmem.sim_envs.maze import ImageGoalWorld, MazeWorld  # noqa: E402

SPEC = MazeWorld(1).spec


def some_tokens(seed: int, n: int = 5, spec: Spec = SPEC) -> Tokens:
    """Tokens of any kind, some of them not there."""
    rng = np.random.default_rng(seed)
    words = rng.integers(spec.n_ids, size=(n, spec.n_words)) * (np.arange(spec.n_words) < 5)
    return Tokens(
        words=words, kinds=rng.integers(spec.n_kinds, size=(n, 7)), names=rng.integers(spec.n_ids, size=(n, 7)),
        features=rng.normal(size=(n, 7, spec.n_features)).astype(np.float32),
        is_visible=rng.uniform(size=(n, 7)) < 0.5,
        state=rng.normal(size=(n, spec.n_state)).astype(np.float32),
    )  # fmt: skip


def logits(network: PolicyNetwork, tokens: Tokens) -> np.ndarray:
    return np.asarray(network.act(as_inputs(tokens), network.begin(len(tokens.words)))[0].numpy())


def changed(tokens: Tokens, **arrays: np.ndarray) -> Tokens:
    return Tokens(**{**tokens.arrays(), **arrays})


@pytest.mark.parametrize("width", [16, 32, 64])
@pytest.mark.parametrize("has_value", [False, True])
def test_the_three_policies_are_of_equal_size(width: int, has_value: bool) -> None:
    sizes = [build(SPEC, Shape(m, width=width, has_value=has_value), seed=0).n_parameters() for m in MEMORIES]
    assert max(sizes) / min(sizes) < 1.05


def test_the_three_policies_differ_in_the_memory_alone() -> None:
    rest = []
    for memory in MEMORIES:
        network = build(SPEC, Shape(memory), seed=0)
        told = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
        rest.append({name: size for name, size in told.items() if not name.startswith(("recall", "remembered"))})
    assert rest[0] == rest[1] == rest[2]
    assert any(name.startswith("sight") for name in rest[0])


@given(st.integers(0, 1000))
@settings(max_examples=10)
def test_the_order_of_tokens_does_not_matter_nor_what_is_not_there(seed: int) -> None:
    network, tokens = build(SPEC, Shape(), seed=0), some_tokens(seed)
    order = np.random.default_rng(seed).permutation(7)
    mixed = changed(tokens, **{
        name: tokens.arrays()[name][:, order] for name in ("kinds", "names", "features", "is_visible")
    })  # fmt: skip
    np.testing.assert_allclose(logits(network, tokens), logits(network, mixed), atol=1e-5)
    noise = np.where((tokens.kinds == 0)[..., None], np.float32(9.0), tokens.features)
    np.testing.assert_allclose(logits(network, tokens), logits(network, changed(tokens, features=noise)), atol=1e-5)


@pytest.mark.parametrize("memory", MEMORIES)
def test_only_attention_reads_what_is_not_in_view_and_what_only_a_memory_knows(memory: str) -> None:
    network, tokens = build(SPEC, Shape(memory), seed=0), some_tokens(1)
    hidden = np.where(tokens.is_visible[..., None], tokens.features, tokens.features + 1)
    remembered = tokens.features.copy()
    remembered[..., SPEC.n_now :] += 1.0
    for features in (hidden, remembered):
        other = logits(network, changed(tokens, features=features.astype(np.float32)))
        assert np.allclose(logits(network, tokens), other, atol=1e-6) == (memory != "attention")


def test_without_any_token_the_answer_is_finite() -> None:
    tokens = some_tokens(0)
    assert np.isfinite(logits(build(SPEC, Shape(), seed=0), changed(tokens, kinds=np.zeros_like(tokens.kinds)))).all()


@pytest.mark.parametrize("n_hops", [1, 2])
@pytest.mark.parametrize("memory", MEMORIES)
def test_whole_episodes_come_out_as_step_by_step(memory: str, n_hops: int) -> None:
    network = build(SPEC, Shape(memory, n_hops=n_hops, has_value=True), seed=3)
    moments = [as_inputs(some_tokens(seed)) for seed in range(4)]
    kept, single = network.begin(5), []
    for moment in moments:
        out, value, kept = network.act(moment, kept)
        assert value is not None
        single.append(torch.cat([out, value[:, None]], 1))
    out, values = network({name: torch.stack([m[name] for m in moments]) for name in moments[0]})
    torch.testing.assert_close(torch.cat([out, values[..., None]], 2).detach(), torch.stack(single))


def test_weights_depend_on_the_seed_alone_and_no_global_seed_is_touched() -> None:
    before = torch.get_rng_state()
    a, b, c = (build(SPEC, Shape(), seed=seed).state_dict() for seed in (1, 1, 2))
    assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert not torch.equal(a["actions.weight"], c["actions.weight"])


def test_what_was_saved_is_what_is_loaded(tmp_path: Path) -> None:
    network = build(SPEC, Shape("recurrent"), seed=0)
    save_policy(tmp_path / "a.safetensors", network, {"seed": 0})
    again, made_by = load_policy(tmp_path / "a.safetensors")
    assert made_by == {"seed": 0}
    assert (again.spec, again.shape) == (network.spec, network.shape)
    np.testing.assert_array_equal(logits(network, some_tokens(0)), logits(again, some_tokens(0)))


@pytest.mark.parametrize(
    ("metadata", "error"),
    [
        ({"kind": "something else"}, FileVersionError),
        ({"version": "2"}, FileVersionError),
        ({"sha256": "0"}, InputError),
        ({"config": "{}"}, InputError),
        ({"config": "[" * 10_000}, InputError),
        ({"made_by": "7"}, InputError),
    ],
)
def test_files_that_are_not_what_they_say_are_refused(
    tmp_path: Path, metadata: dict[str, str], error: type[Exception]
) -> None:
    path = tmp_path / "a.safetensors"
    save_policy(path, build(SPEC, Shape(width=16), seed=0), {})
    data = path.read_bytes()
    told = json.loads(data[8 : 8 + struct.unpack_from("<Q", data)[0]])["__metadata__"]
    path.write_bytes(save(load(data), metadata={**told, **metadata}))
    with pytest.raises(error, match=r"a\.safetensors"):
        load_policy(path)


def test_weights_of_another_size_than_the_config_says_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    network = build(SPEC, Shape(width=16), seed=0)
    network.shape = Shape(width=4096)
    save_policy(path, network, {})
    with pytest.raises(InputError, match="another shape"):
        load_policy(path)
    path.write_bytes(b"no file of weights")
    with pytest.raises(InputError, match="damaged"):
        load_policy(path)


def test_actions_are_drawn_as_often_as_the_chances_say() -> None:
    chances = np.tile([0.1, 0.0, 0.6, 0.3], (20_000, 1))
    drawn = np.bincount(draw_actions(chances, np.random.default_rng(0)), minlength=4) / 20_000
    np.testing.assert_allclose(drawn, chances[0], atol=0.02)


def test_advantages_are_the_discounted_sums_of_surprises() -> None:
    rng = np.random.default_rng(0)
    rewards, values = rng.normal(size=(6, 2)), rng.normal(size=(6, 2))
    told = advantages(rewards, values, discount=0.9, trace=0.8)
    following = np.vstack([values[1:], np.zeros((1, 2))])
    surprise = rewards + 0.9 * following - values
    for t in range(6):
        np.testing.assert_allclose(told[t], sum(0.72 ** (k - t) * surprise[k] for k in range(t, 6)))


def test_with_a_full_trace_advantage_and_value_are_the_return() -> None:
    rng = np.random.default_rng(0)
    rewards, values = rng.normal(size=(6, 2)), rng.normal(size=(6, 2))
    told = advantages(rewards, values, discount=1.0, trace=1.0) + values
    np.testing.assert_allclose(told, rewards[::-1].cumsum(axis=0)[::-1])


@pytest.mark.parametrize("memory", MEMORIES)
def test_imitation_learns_and_the_seed_fixes_it(memory: str) -> None:
    fabric, metrics = fabrics.Fabric(accelerator="cpu", devices=1), []
    task = {"size": 3, "n_landmarks": 2, "tour": 4, "steps": 4, "kinds": ["named"], "in_view": 1.0}
    test = MazeWorld(128, **task)  # type: ignore[arg-type]
    for n in (8, 2):  # again, but shorter
        world = MazeWorld(16, **task)  # type: ignore[arg-type]
        network = build(world.spec, Shape(memory, width=16), seed=1)
        before = evaluate(network, test, np.random.default_rng(2))["success"].mean()
        learner = Imitation(network, world, fabric, seed=1, iterations=8, updates=5, batch=16, rate=0.01)
        metrics.append([learner.iterate(i) for i in range(n)])
        after = evaluate(network, test, np.random.default_rng(2))["success"].mean()
        assert n < 8 or after > before + 0.2
    assert metrics[0][:2] == metrics[1]


def test_reinforcement_learns_and_the_seed_fixes_it() -> None:
    fabric, rewards = fabrics.Fabric(accelerator="cpu", devices=1), []
    for n in (10, 2):  # again, but shorter
        world = ImageGoalWorld(16, size=3, tour=2, steps=8, n_goals=9, in_view=0.5)
        network = build(world.spec, Shape(width=16, n_hops=1, has_value=True), seed=1)
        learner = ProximalPolicy(network, world, fabric, seed=1, iterations=10, rate=0.01)
        rewards.append([learner.iterate(i)["reward"] for i in range(n)])
    assert rewards[0][:2] == rewards[1]
    assert np.mean(rewards[0][-3:]) > np.mean(rewards[0][:3])


@pytest.mark.parametrize("memory", ["recurrent", "none"])
def test_reinforcement_learns_from_acted_steps_alone(memory: str) -> None:
    """What is drawn on the tour, and after the last goal, changes nothing."""
    fabric = fabrics.Fabric(accelerator="cpu", devices=1)
    world = ImageGoalWorld(4, size=3, tour=3, steps=12, n_goals=1, in_view=1.0)
    learners = [
        ProximalPolicy(
            build(world.spec, Shape(memory, width=8, has_value=True), seed=1), world, fabric, seed=1, iterations=1
        )
        for _ in range(2)
    ]
    played = learners[0]._play(np.random.default_rng(0))
    assert 0 < played["acted"].sum() < 4 * 12
    assert not played["acted"][:3].any()
    other = {name: array.copy() for name, array in played.items()}
    for name in ("actions", "chances", "advantages", "returns"):
        other[name][~played["acted"]] = 1
    for learner, told in zip(learners, (played, other), strict=True):
        learner._update(told)
    a, b = (learner.network.state_dict() for learner in learners)
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_reinforcement_wants_a_network_with_a_value() -> None:
    world = ImageGoalWorld(4)
    with pytest.raises(ValueError, match="has_value"):
        ProximalPolicy(build(world.spec, Shape(), seed=0), world, None, seed=0, iterations=1)


def test_a_policy_that_is_not_taught_acts_by_itself_and_is_labelled() -> None:
    world = MazeWorld(4, size=4, n_landmarks=3, tour=6, steps=6)
    played = play(build(world.spec, Shape(width=16), seed=0), world, np.random.default_rng(0))
    assert played["targets"].shape == (12, 4, 5)
    assert not played["targets"][:6].any()
    assert set(evaluate(build(world.spec, Shape(width=16), seed=0), world, np.random.default_rng(0))) >= {"success"}


@pytest.mark.parametrize("wrong", [{"memory": "elephant"}, {"width": 30}, {"width": 0}, {"n_hops": 5000}])
def test_shapes_that_cannot_be_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="got Shape"):
        Shape(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("path", sorted(SHIPPED.glob("*.safetensors")), ids=lambda path: path.stem)
def test_shipped_policies_load_and_say_how_they_were_made(path: Path) -> None:
    network, made_by = load_policy(path)
    assert {"seed", "train", "cpu_seconds", "metrics"} <= made_by.keys()
    assert made_by["train"]["shape"]["memory"] == network.shape.memory
    assert path.stat().st_size < 1 << 18


def test_a_small_policy_trained_again_is_as_good_as_the_shipped_one(tmp_path: Path) -> None:
    shipped, made_by = load_policy(SHIPPED / "errands_small-attention-0.safetensors")
    config = {**made_by, "out": str(tmp_path / "again.safetensors"), "log": None, "overwrite": False}
    run_training(config=config, console=Console(quiet=True))
    again, told = load_policy(tmp_path / "again.safetensors")
    assert told["train"] == made_by["train"]
    settings_of_world = {name: value for name, value in made_by["train"]["world"].items() if name != "_target_"}
    world = MazeWorld(**{**settings_of_world, "n": 256})
    success = [evaluate(net, world, np.random.default_rng([9, 9]))["success"].mean() for net in (shipped, again)]
    assert success[0] > 0.7
    assert abs(success[0] - success[1]) < 0.15
