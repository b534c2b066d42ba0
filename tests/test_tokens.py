"""Compressed tokens: exact inverses, bounded norms, and what is recovered beside overwriting and averaging."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("torch")

import torch
from safetensors.numpy import load_file, save_file
from torch import nn

from embmem.errors import FileVersionError, InputError, OutputExistsError
from embmem.tokens import (
    ReversibleBlock,
    ReversibleStack,
    TokenCompressor,
    fit,
    load_compressor,
    save_compressor,
)
from embmem.tokens.binding import bind, keys, superpose, unbind

GOLDEN = Path(__file__).parent / "data" / "tokens_v1.safetensors"
DIM, TOKEN = 32, 64


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def curved(m: int, seed: int, *, world: int = 0, intrinsic: int = 5) -> np.ndarray:
    """Unit vectors near a curved sheet of few dimensions; `world` chooses the sheet."""
    shape, rng = np.random.default_rng(world), np.random.default_rng(seed)
    inner, outer = shape.normal(size=(intrinsic, 16)), shape.normal(size=(16, DIM))
    return unit(np.tanh(rng.normal(size=(m, intrinsic)) @ inner) @ outer + 0.05 * rng.normal(size=(m, DIM)))


def small(**settings: int) -> TokenCompressor:
    return TokenCompressor(DIM, token_dim=TOKEN, n_blocks=2, least_code=4, **settings)


@pytest.fixture(scope="module")
def trained() -> TokenCompressor:
    compressor = small()
    losses = fit(compressor, curved(800, 1), curved(800, 2, world=1), rng=np.random.default_rng(0), steps=80, most=16)
    assert len(losses) == 80
    return compressor


@given(st.integers(1, 20), st.integers(1, 6), st.integers(1, 5), st.floats(1e-3, 30.0), st.integers(0, 2**31))
def test_the_inverse_of_a_stack_of_random_weights_gives_the_input_back(
    half: int, n_blocks: int, n: int, scale: float, seed: int
) -> None:
    stack = ReversibleStack(2 * half, n_blocks, seed=seed % 100)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in stack.parameters():
            p.normal_(0.0, 1.0, generator=generator)
        x = scale * torch.randn(n, 2 * half, generator=generator)
        y = stack(x)
        assert float((stack.inverse(y) - x).abs().max()) <= 1e-5 * max(1.0, scale)
        moved = (y - x).norm(dim=1)
    assert float(moved.max()) <= n_blocks + 1e-3  # each residual moves by at most CAP = 1 / 2


@settings(max_examples=25)
@given(st.integers(0, 2**31), st.integers(0, 40))
def test_a_write_is_undone_by_its_latent(seed: int, n: int) -> None:
    compressor = small(seed=seed % 7)
    generator = torch.Generator().manual_seed(seed)
    memory, fact, cue = (torch.randn(3, d, generator=generator) for d in (TOKEN - 1, DIM, DIM))
    with torch.no_grad():
        before, back = compressor.uncouple(*compressor.couple(memory, fact, cue, n + 1), cue, n + 1)
    assert float((before - memory).abs().max()) < 1e-5
    assert float((back - fact).abs().max()) < 1e-5


def test_the_inverse_stays_exact_after_training(trained: TokenCompressor) -> None:
    facts, cues = curved(64, 11), curved(64, 12, world=1)
    assert trained.inversion_error(facts, cues) < 1e-5
    with torch.no_grad():
        x = torch.from_numpy(facts)
        assert float((trained.stack.inverse(trained.stack(x)) - x).abs().max()) < 1e-5


def test_reading_is_the_inverse_with_the_latent_set_to_zero(trained: TokenCompressor) -> None:
    facts, cues = curved(9, 11), curved(9, 12, world=1)
    token = trained.summarise(facts, cues)
    memory = torch.from_numpy(token[1:]).expand(9, -1)
    with torch.no_grad():
        _, expected = trained.uncouple(memory, torch.zeros(9, DIM), torch.from_numpy(cues), 9)
    np.testing.assert_allclose(trained.read(token, cues), unit(expected.numpy()), atol=1e-5)


@pytest.mark.parametrize(
    "part",
    [
        nn.Dropout(0.1),
        nn.Dropout(0.0),
        nn.Dropout2d(0.1).eval(),
        nn.AlphaDropout(0.1),
        nn.FeatureAlphaDropout(0.1),
        nn.RReLU(),
        nn.MultiheadAttention(8, 2, dropout=0.1),
        nn.LSTM(8, 8, num_layers=2, dropout=0.1),
    ],
    ids=lambda part: type(part).__name__,
)
def test_dropout_is_refused_wherever_it_hides(part: nn.Module) -> None:
    clean, hiding = nn.Linear(8, 8), nn.Sequential(nn.Linear(8, 8), nn.Sequential(part))
    for pair in ((hiding, clean), (clean, hiding.eval()), (part, clean)):
        with pytest.raises(ValueError, match="no inverse"):
            ReversibleBlock(*pair)
    ReversibleBlock(clean, nn.Sequential(nn.Linear(8, 8), nn.GELU()))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_only_float32_passes(dtype: torch.dtype) -> None:
    with pytest.raises(ValueError, match="float32 only"):
        ReversibleBlock(nn.Linear(4, 4, dtype=dtype), nn.Linear(4, 4))
    stack = ReversibleStack(8, 1)
    with pytest.raises(ValueError, match="float32"):
        stack(torch.zeros(1, 8, dtype=dtype))
    with pytest.raises(ValueError, match="float32 only"):
        stack.to(dtype)(torch.zeros(1, 8))
    compressor = small()
    compressor.read(compressor.empty(), np.ones(DIM))
    with pytest.raises(ValueError, match="float32 only"):
        compressor.to(dtype).read(compressor.empty(), np.ones(DIM))


def test_autocast_is_refused() -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16), pytest.raises(ValueError, match="float32 only"):
        ReversibleBlock(nn.Linear(4, 4), nn.Linear(4, 4))(torch.zeros(1, 4), torch.zeros(1, 4))


def test_gradients_of_the_cycle_loss_reach_every_weight() -> None:
    compressor = small()
    facts = torch.from_numpy(curved(24, 1).reshape(2, 12, DIM))
    cues = torch.from_numpy(curved(24, 2, world=1).reshape(2, 12, DIM))
    memory = compressor.superpose(facts, cues).unsqueeze(1).expand(2, 12, -1)
    torch.autograd.backward([(facts - compressor.recall(memory, cues, 12)).square().sum()])
    for name, weight in compressor.named_parameters():
        assert weight.grad is not None, name
        assert float(weight.grad.abs().max()) > 0.0, name


@settings(max_examples=15)
@given(st.integers(1, 12), st.integers(1, 8), st.integers(0, 2**31))
def test_a_superposed_memory_is_the_ridge_solution(n: int, width: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    codes, phases = rng.normal(size=(n, width)).astype(np.float32), rng.uniform(-3, 3, size=(n, 10)).astype(np.float32)
    key, ridge = keys(torch.from_numpy(phases)), 0.3
    units = torch.eye(21)
    rows = np.concatenate([unbind(units, k.expand(21, -1), width).numpy().T for k in key])  # one equation a row
    expected = np.linalg.solve(rows.T @ rows + ridge * np.eye(21), rows.T @ codes.ravel())
    np.testing.assert_allclose(superpose(torch.from_numpy(codes), key, ridge).numpy(), expected, atol=1e-3)


@given(st.integers(1, 21), st.integers(0, 2**31))
def test_what_was_bound_alone_is_read_back_exactly(width: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    code = torch.from_numpy(rng.normal(size=(1, width)).astype(np.float32))
    key = keys(torch.from_numpy(rng.uniform(-3, 3, size=(1, 10)).astype(np.float32)))
    assert float((unbind(bind(code, key), key, width) - code).abs().max()) < 1e-5


def test_the_norm_stays_bounded_over_a_thousand_writes(trained: TokenCompressor) -> None:
    for compressor in (small(), trained):
        for cues in (curved(1000, 4, world=1), np.repeat(curved(2, 5), 500, axis=0)):
            token, longest = compressor.empty(), 0.0
            for fact, cue in zip(curved(1000, 3), cues, strict=True):
                token = compressor.write(token, fact, cue)
                longest = max(longest, float(np.linalg.norm(token)))
            assert longest <= compressor.bound
            assert longest < 12.0  # of facts of length one, 15 of whose narrow codes fit side by side


@settings(max_examples=15)
@given(st.integers(1, 100), st.integers(0, 2**31))
def test_the_norm_of_a_summary_is_bounded_for_any_weights(n: int, seed: int) -> None:
    compressor, rng = small(), np.random.default_rng(seed)
    with torch.no_grad():
        for p in compressor.stack.parameters():
            p.normal_(0.0, 3.0, generator=torch.Generator().manual_seed(seed))
    facts = unit(rng.normal(size=(n, DIM)) + rng.uniform(0, 5) * rng.normal(size=DIM))
    assert np.linalg.norm(compressor.summarise(facts)) <= compressor.bound


def recovered(compressor: TokenCompressor, n: int, *, repeats: int = 20) -> dict[str, np.ndarray]:
    """Share of n facts that are the nearest of 200 candidates by cosine, each repeat, by method."""
    candidates, all_cues = curved(200, 21), curved(400, 22, world=1)
    rng = np.random.default_rng(n)
    shares: dict[str, list[float]] = {"token": [], "overwrite": [], "mean": []}
    for _ in range(repeats):
        rows = rng.permutation(200)[:n]
        facts, cues = candidates[rows], all_cues[rng.permutation(400)[:n]]
        queries = unit(cues + 0.1 / np.sqrt(DIM) * rng.normal(size=cues.shape))
        answers = {
            "token": compressor.read(compressor.summarise(facts, cues), queries),
            "overwrite": np.repeat(facts[-1:], n, axis=0),
            "mean": np.repeat(facts.mean(0, keepdims=True), n, axis=0),
        }
        for name, answer in answers.items():
            shares[name].append(float(((answer @ candidates.T).argmax(1) == rows).mean()))
    return {name: np.array(values) for name, values in shares.items()}


@pytest.mark.parametrize("n", [2, 4, 8, 16])
def test_the_trained_token_recovers_more_facts_than_overwriting_and_averaging(trained: TokenCompressor, n: int) -> None:
    shares, margin = recovered(trained, n), 0.2 if n <= 8 else 0.0  # 16 facts are twice what 63 numbers hold well
    for baseline in ("overwrite", "mean"):
        gain = shares["token"] - shares[baseline]
        assert gain.mean() > margin + 4.0 * gain.std(ddof=1) / np.sqrt(len(gain)), (baseline, shares)


def test_the_cycle_loss_teaches_more_than_the_principal_axes_know() -> None:
    """On a sheet of two dimensions that is curved through many; the cues and the facts of the test are new."""
    sheet, cues = curved(1000, 1, intrinsic=2), curved(1000, 2, world=1)
    facts, asked = curved(80, 31, intrinsic=2).reshape(20, 4, DIM), curved(80, 32, world=1).reshape(20, 4, DIM)
    errors = []
    for steps in (0, 120):
        compressor = small()
        fit(compressor, sheet, cues, rng=np.random.default_rng(0), steps=steps, most=8)
        answers = [compressor.read(compressor.summarise(f, c), c) for f, c in zip(facts, asked, strict=True)]
        errors.append(np.square(facts - np.stack(answers)).sum(2).mean())
    assert errors[1] < 0.6 * errors[0]


def test_a_history_longer_than_the_token_is_lost(trained: TokenCompressor) -> None:
    """What the module promises not to do: 150 facts do not fit into 63 numbers."""
    assert recovered(trained, 150, repeats=3)["token"].mean() < 0.3


def test_an_empty_token_does_not_leak_the_query(trained: TokenCompressor) -> None:
    answers = trained.read(trained.empty(), curved(10, 7))
    assert np.ptp(answers, axis=0).max() < 1e-6
    np.testing.assert_array_equal(trained.summarise(np.empty((0, DIM))), trained.empty())


def test_a_fact_written_last_is_read_back_and_the_order_of_a_log_does_not_matter(trained: TokenCompressor) -> None:
    facts, cues = curved(12, 41), curved(12, 42, world=1)
    token = trained.summarise(facts, cues)
    np.testing.assert_allclose(trained.summarise(facts[::-1], cues[::-1]), token, atol=1e-4)
    extended = trained.write(token, facts[0], -cues[0])
    assert round(1 / extended[0]) - 1 == 13
    width = trained.width(13)
    with torch.no_grad():
        code = trained.encode(torch.from_numpy(facts[:1]))
        code[:, width:] = 0.0
        expected = unit(trained.decode(code).numpy())[0]
    np.testing.assert_allclose(trained.read(extended, -cues[0]), expected, atol=1e-4)


def test_numpy_and_torch_write_the_same(trained: TokenCompressor) -> None:
    facts, cues = curved(2, 51), curved(2, 52, world=1)
    token = trained.summarise(facts[:1], cues[:1])
    with torch.no_grad():
        before, fact, cue = map(torch.from_numpy, (token[None, 1:], facts[1:], cues[1:]))
        memory, _ = trained.couple(before, fact, cue, 2)
    np.testing.assert_allclose(trained.write(token, facts[1], cues[1])[1:], memory[0].numpy(), atol=1e-5)


def test_the_same_seed_gives_the_same_weights_and_leaves_torch_as_it_was() -> None:
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    tokens = []
    for _ in range(2):
        compressor = small(seed=3)
        fit(compressor, curved(100, 1), rng=np.random.default_rng(5), steps=3, most=8)
        tokens.append(compressor.summarise(curved(5, 2)))
    np.testing.assert_array_equal(tokens[0], tokens[1])
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads


def test_bad_rows_are_refused(trained: TokenCompressor) -> None:
    good = curved(3, 1)
    for bad in (np.full((1, DIM), np.nan), np.zeros((1, DIM)), np.full((1, DIM), np.inf), np.ones((1, DIM + 1))):
        for call in (
            lambda bad=bad: trained.summarise(bad),
            lambda bad=bad: trained.summarise(good[:1], bad),
            lambda bad=bad: trained.read(trained.empty(), bad),
            lambda bad=bad: trained.write(trained.empty(), bad[0]),
            lambda bad=bad: fit(trained, bad.repeat(3, axis=0), rng=np.random.default_rng(0)),
        ):
            with pytest.raises(ValueError, match=r"row|numbers"):
                call()
    with pytest.raises(ValueError, match="one cue"):
        trained.summarise(good, good[:2])
    for token in (np.zeros(TOKEN), np.ones(TOKEN + 1), np.full(TOKEN, np.nan)):
        with pytest.raises(ValueError, match="token"):
            trained.read(token, good[0])
    for sizes in ({"dim": 7}, {"dim": 0}, {"token_dim": 9}, {"least_code": 0}, {"n_blocks": 0}, {"cue_dim": 0}):
        with pytest.raises(ValueError, match="need"):
            TokenCompressor(**{"dim": 16, "token_dim": 32, **sizes})


def test_a_file_gives_the_same_compressor_back(trained: TokenCompressor, tmp_path: Path) -> None:
    path, facts = tmp_path / "tokens.safetensors", curved(6, 3)
    save_compressor(path, trained)
    loaded = load_compressor(path)
    token = trained.summarise(facts)
    np.testing.assert_array_equal(loaded.summarise(facts), token)
    np.testing.assert_array_equal(loaded.read(token, facts), trained.read(token, facts))
    with pytest.raises(OutputExistsError):
        save_compressor(path, trained)
    save_compressor(path, trained, overwrite=True)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    with pytest.raises(InputError, match="not a folder"):
        save_compressor(tmp_path / "absent" / "x.safetensors", trained)


def test_damaged_and_foreign_files_are_refused(trained: TokenCompressor, tmp_path: Path) -> None:
    path = tmp_path / "tokens.safetensors"
    save_compressor(path, trained)
    data = path.read_bytes()
    rng = np.random.default_rng(0)
    flipped = [bytearray(data) for _ in range(20)]
    for copy in flipped:
        copy[int(rng.integers(len(data)))] ^= 1 << int(rng.integers(8))
    told = data.replace(b"embmem token compressor", b"embmem voice compressor")
    assert told != data
    newer = data.replace(b'"version":"1"', b'"version":"2"')
    larger = data.replace(b'\\"token_dim\\": 64', b'\\"token_dim\\": 66')
    assert newer != data != larger
    broken_files: list[bytes] = [
        b"",
        b"x" * 100,
        data[:-1],
        data[: len(data) // 2],
        data + b"x",
        told,
        newer,
        larger,
        *map(bytes, flipped),
    ]
    for broken in broken_files:
        path.write_bytes(broken)
        with pytest.raises(InputError):
            load_compressor(path)
    save_file({"a": np.zeros(3, np.float32)}, path)
    with pytest.raises(FileVersionError):
        load_compressor(path)
    with pytest.raises(InputError, match="not a file"):
        load_compressor(tmp_path)


def test_a_golden_file_of_version_1_reads_as_it_did() -> None:
    compressor, answers = load_compressor(GOLDEN), load_file(GOLDEN.with_name("tokens_v1_answers.safetensors"))
    np.testing.assert_allclose(compressor.summarise(answers["facts"], answers["cues"]), answers["token"], atol=1e-4)
    np.testing.assert_allclose(compressor.read(answers["token"], answers["cues"]), answers["read"], atol=1e-4)


def write_golden() -> None:
    compressor = TokenCompressor(8, cue_dim=6, token_dim=16, n_blocks=2, least_code=2, seed=1)
    rng = np.random.default_rng(0)
    fit(compressor, rng.normal(size=(50, 8)), rng.normal(size=(50, 6)), rng=rng, steps=5, most=4)
    save_compressor(GOLDEN, compressor)
    facts, cues = unit(rng.normal(size=(3, 8))), unit(rng.normal(size=(3, 6)))
    token = compressor.summarise(facts, cues)
    answers = {"facts": facts, "cues": cues, "token": token, "read": compressor.read(token, cues)}
    save_file(answers, GOLDEN.with_name("tokens_v1_answers.safetensors"))


if __name__ == "__main__":
    if GOLDEN.exists():
        raise SystemExit(f"{GOLDEN} is there already: a golden file is never written again")
    write_golden()
