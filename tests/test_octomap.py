"""OctoMap's files against a plain recursive octree, hand-made bytes, OctoMap's own library and damage."""

from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from embmem.cli.main import main
from embmem.errors import InputError
from embmem.maps import VoxelMap, open_memory
from embmem.maps.voxels.blocks import UNKNOWN, VOLUME, BlockPool, pack
from embmem.maps.voxels.formats.octomap_files import read_octomap, write_octomap
from embmem.memory import Memory

HEADER = (
    "# Octomap OcTree {kind}file\n# (feel free to add / change comments, but leave the first line as it is!)\n#\n"
    "id {id}\nsize {size}\nres {res}\ndata\n"
)
Cells = dict[tuple[int, int, int], int]  # byte by voxel
same_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)


def header(kind: str, size: int, *, res: str = "0.5", tree: str = "OcTree") -> bytes:
    return HEADER.format(kind=kind, id=tree, size=size, res=res).encode()


def make_map(blocks: dict[tuple[int, int, int], np.ndarray], resolution: float = 0.5) -> VoxelMap:
    voxels = VoxelMap(resolution)
    keys = np.array([pack(*block) for block in blocks], dtype=np.int64)
    cells = np.array(list(blocks.values()), dtype=np.int8).reshape(-1, VOLUME)
    voxels.blocks = BlockPool.from_rows(keys, cells, np.zeros(len(keys)))
    return voxels


def cells_of(voxels: VoxelMap) -> Cells:
    centres = np.concatenate([voxels.occupied(), voxels.free()])
    index = np.floor(centres / voxels.resolution).astype(int)
    values = np.rint(voxels.log_odds(centres) * 32).astype(int)
    return {(int(x), int(y), int(z)): int(value) for (x, y, z), value in zip(index, values, strict=True)}


def states_of(cells: Cells) -> dict[tuple[int, int, int], bool]:
    return {voxel: value > 0 for voxel, value in cells.items()}


recipes = st.tuples(
    st.integers(0, 2**32 - 1),  # seed
    st.lists(st.tuples(*[st.integers(-2, 1)] * 3), max_size=4, unique=True),  # blocks
    st.sampled_from([1, 2, 4, 8]),  # edge of what is uniform
    st.booleans(),  # whether there is a leaf above the blocks
)


def map_of(recipe: tuple[int, list[tuple[int, int, int]], int, bool]) -> VoxelMap:
    seed, places, side, has_large_leaf = recipe
    rng, blocks = np.random.default_rng(seed), {}
    for block in places:
        coarse = rng.choice([-128, -64, -13, 0, 27, 112], size=(8 // side,) * 3)
        blocks[block] = np.kron(coarse, np.ones((side,) * 3)).astype(np.int8).reshape(-1)
    for x, y, z in np.ndindex(2, 2, 2) if has_large_leaf else ():
        blocks[100 + x, y, z] = np.full(VOLUME, 27, dtype=np.int8)
    return make_map(blocks)


def plain_tree(cells: Cells, corner: tuple[int, int, int], side: int) -> Any:
    """None, a byte or a list of eight of the same, as OctoMap prunes; the root is never pruned."""
    if not cells:
        return None
    if side == 1:
        return cells[corner]
    half = side // 2
    parts: list[Cells] = [{} for _ in range(8)]
    for (x, y, z), byte in cells.items():
        i = (x >= corner[0] + half) + 2 * (y >= corner[1] + half) + 4 * (z >= corner[2] + half)
        parts[i][x, y, z] = byte
    children = [
        plain_tree(
            part, (corner[0] + half * (i & 1), corner[1] + half * (i >> 1 & 1), corner[2] + half * (i >> 2)), half
        )
        for i, part in enumerate(parts)
    ]
    is_uniform = all(isinstance(child, int) and child == children[0] for child in children)
    return children[0] if is_uniform and side < 2**16 else children


def count(tree: Any) -> int:
    return 1 + sum(count(child) for child in tree if child is not None) if isinstance(tree, list) else 1


def plain_binary(tree: Any) -> bytes:
    word = 0
    for i, child in enumerate(tree):
        word |= (0 if child is None else 3 if isinstance(child, list) else 2 if child > 0 else 1) << 2 * i
    return struct.pack("<H", word) + b"".join(plain_binary(child) for child in tree if isinstance(child, list))


def highest(tree: Any) -> int:
    return max(highest(child) for child in tree if child is not None) if isinstance(tree, list) else int(tree)


def as_float(byte: int) -> float:
    return byte / 32 if byte else -float(np.finfo(np.float32).tiny)  # 0 is free here, but occupied there


def plain_full(tree: Any) -> bytes:
    if not isinstance(tree, list):
        return struct.pack("<fB", as_float(tree), 0)
    mask = sum(1 << i for i, child in enumerate(tree) if child is not None)
    rest = b"".join(plain_full(child) for child in tree if child is not None)
    return struct.pack("<fB", as_float(highest(tree)), mask) + rest


@same_folder
@given(recipes)
def test_files_are_what_a_plain_recursive_octree_writes(tmp_path: Path, recipe: Any) -> None:
    voxels = map_of(recipe)
    cells = cells_of(voxels)
    full = plain_tree(cells, (-(2**15),) * 3, 2**16)
    states = plain_tree({v: 1 if b > 0 else -1 for v, b in cells.items()}, (-(2**15),) * 3, 2**16)
    write_octomap(tmp_path / "map.bt", voxels)
    write_octomap(tmp_path / "map.ot", voxels)
    binary_data, full_data = (b"", b"") if states is None else (plain_binary(states), plain_full(full))
    n_states, n_full = (0, 0) if states is None else (count(states), count(full))
    assert (tmp_path / "map.bt").read_bytes() == header("binary ", n_states) + binary_data
    assert (tmp_path / "map.ot").read_bytes() == header("", n_full) + full_data


@same_folder
@given(recipes)
def test_a_written_map_is_read_back(tmp_path: Path, recipe: Any) -> None:
    voxels = map_of(recipe)
    write_octomap(tmp_path / "map.ot", voxels)
    write_octomap(tmp_path / "map.bt", voxels)
    full, binary = read_octomap(tmp_path / "map.ot"), read_octomap(tmp_path / "map.bt")
    assert cells_of(full) == cells_of(voxels)
    assert cells_of(binary) == {voxel: 112 if value > 0 else -64 for voxel, value in cells_of(voxels).items()}
    assert full.resolution == binary.resolution == voxels.resolution


def test_one_voxel_is_fifteen_inner_nodes_and_a_leaf(tmp_path: Path) -> None:
    path = tmp_path / "one.bt"
    words = [3 << 14] + 14 * [3] + [2]  # child 7 of the root is the positive octant, then always child 0
    path.write_bytes(header("binary ", 17, res="0.1") + struct.pack("<16H", *words))
    voxels = read_octomap(path)
    np.testing.assert_allclose(voxels.occupied(), [[0.05, 0.05, 0.05]])
    assert len(voxels.free()) == 0
    write_octomap(tmp_path / "again.bt", voxels)
    assert (tmp_path / "again.bt").read_bytes() == path.read_bytes()


def test_resolutions_come_back_exactly(tmp_path: Path) -> None:
    for resolution in (0.05, 0.1, 1 / 3, 2.0, 0.123456789):
        write_octomap(tmp_path / "map.bt", VoxelMap(resolution, max_range=resolution))
        assert read_octomap(tmp_path / "map.bt").resolution == resolution


def test_a_large_leaf_becomes_its_voxels(tmp_path: Path) -> None:
    path = tmp_path / "leaf.ot"
    nodes = [(0.5, 0x80)] + 9 * [(0.5, 1)] + [(0.5, 0)]  # depth 10: a leaf of 64^3 voxels
    path.write_bytes(header("", 11) + b"".join(struct.pack("<fB", *node) for node in nodes))
    voxels = read_octomap(path)
    centres = voxels.occupied()
    assert len(centres) == 64**3
    np.testing.assert_allclose([centres.min(), centres.max()], [0.25, 31.75])
    np.testing.assert_allclose(voxels.log_odds(centres), 0.5)


def test_log_odds_are_rounded_and_clamped_and_stay_occupied(tmp_path: Path) -> None:
    values = [-5.0, -2.0, -0.41, -0.001, 0.0, 0.001, 0.86, 9.0]
    path = tmp_path / "map.ot"
    inner = b"".join(struct.pack("<fB", 9.0, mask) for mask in [0x80] + 14 * [1] + [0xFF])
    path.write_bytes(header("", 24) + inner + b"".join(struct.pack("<fB", value, 0) for value in values))
    corners = np.array([(i & 1, i >> 1 & 1, i >> 2) for i in range(8)])
    read = read_octomap(path, low=-2.0, high=3.5).log_odds((corners + 0.5) * 0.5)
    np.testing.assert_array_equal(read * 32, [-64, -64, -13, 0, 1, 1, 28, 112])


def test_colours_of_a_colour_tree_become_a_channel(tmp_path: Path) -> None:
    path = tmp_path / "map.ot"
    inner = b"".join(struct.pack("<f3BB", 1.0, 255, 255, 255, mask) for mask in [0x80] + 14 * [1] + [0x81])
    leaves = struct.pack("<f3BB", 1.0, 10, 20, 30, 0) + struct.pack("<f3BB", -1.0, 255, 255, 255, 0)
    path.write_bytes(header("", 18, tree="ColorOcTree") + inner + leaves)
    voxels = read_octomap(path)
    colours = voxels.blocks.channels["colour"][0].reshape(8, 8, 8, 4)
    assert colours[0, 0, 0].tolist() == [10 * 256, 20 * 256, 30 * 256, 1]
    assert np.count_nonzero(colours) == 4  # of the other leaf, white, OctoMap knows no colour


def octomap_leaves(tree: Any) -> dict[tuple[int, int, int], float]:
    """Log-odds by voxel from OctoMap's own leaves, large ones expanded."""
    found, resolution = {}, tree.getResolution()
    for leaf in tree.begin_leafs():
        side = 1 << (16 - leaf.getDepth())
        corner = np.rint(np.array(leaf.getCoordinate()) / resolution - side / 2).astype(int)
        for offset in np.ndindex(side, side, side):
            x, y, z = (corner + offset).tolist()
            found[x, y, z] = leaf.current_node.getLogOdds()
    return found


@settings(same_folder, max_examples=10)
@given(recipes)
def test_octomap_reads_our_files_and_finds_nothing_to_prune(tmp_path: Path, recipe: Any) -> None:
    voxels = map_of(recipe)
    pyoctomap = pytest.importorskip("pyoctomap", reason="the oracle, pyoctomap, is not installed")
    cells = cells_of(voxels)
    if not cells:
        return
    write_octomap(tmp_path / "map.ot", voxels)
    write_octomap(tmp_path / "map.bt", voxels)
    full = pyoctomap.OcTree(0.1).read(str(tmp_path / "map.ot"))
    assert full.getResolution() == voxels.resolution
    assert octomap_leaves(full) == {voxel: as_float(value) for voxel, value in cells.items()}
    binary = pyoctomap.OcTree(0.1)
    assert binary.readBinary(str(tmp_path / "map.bt"))
    assert states_of({v: 1 if x > 0 else -1 for v, x in octomap_leaves(binary).items()}) == states_of(cells)
    n_nodes = binary.size()
    assert binary.writeBinary(str(tmp_path / "pruned.bt"))  # prunes first
    assert binary.size() == n_nodes
    assert (tmp_path / "pruned.bt").read_bytes() == (tmp_path / "map.bt").read_bytes()


def test_octomaps_converter_makes_our_binary_tree_of_our_full_tree(tmp_path: Path) -> None:
    if shutil.which("convert_octree") is None:
        pytest.skip("no convert_octree (Debian: octomap-tools)")
    voxels = map_of((5, [(0, 0, 0), (-1, 1, 0)], 2, True))
    write_octomap(tmp_path / "ours.ot", voxels)
    write_octomap(tmp_path / "ours.bt", voxels)
    command = ["convert_octree", str(tmp_path / "ours.ot"), str(tmp_path / "theirs.bt")]
    subprocess.run(command, check=True, capture_output=True)
    assert (tmp_path / "theirs.bt").read_bytes() == (tmp_path / "ours.bt").read_bytes()


def scanned_tree(seed: int) -> Any:
    pyoctomap = pytest.importorskip("pyoctomap", reason="the oracle, pyoctomap, is not installed")
    rng, tree = np.random.default_rng(seed), pyoctomap.OcTree(0.25)
    for _ in range(4):
        tree.insertPointCloud(rng.uniform(-3, 3, (40, 3)), rng.uniform(-1, 1, 3))
    return tree


@pytest.mark.parametrize("seed", [0, 1])
def test_octomaps_own_maps_come_through_us_within_half_a_step(tmp_path: Path, seed: int) -> None:
    tree = scanned_tree(seed)
    assert tree.write(str(tmp_path / "theirs.ot"))
    before = octomap_leaves(tree)
    write_octomap(tmp_path / "ours.ot", read_octomap(tmp_path / "theirs.ot", high=3.5))
    after = octomap_leaves(tree.read(str(tmp_path / "ours.ot")))
    assert after.keys() == before.keys()
    for voxel, value in before.items():
        assert abs(after[voxel] - np.clip(value, -2.0, 3.5)) <= (1 / 32 if 0 <= value < 1 / 64 else 1 / 64)
        assert (after[voxel] >= 0) == (value >= 0)
    assert tree.writeBinary(str(tmp_path / "theirs.bt"))
    write_octomap(tmp_path / "ours.bt", read_octomap(tmp_path / "theirs.bt"))
    assert (tmp_path / "ours.bt").read_bytes() == (tmp_path / "theirs.bt").read_bytes()


def test_octomaps_colours_are_read(tmp_path: Path) -> None:
    pyoctomap = pytest.importorskip("pyoctomap", reason="the oracle, pyoctomap, is not installed")
    tree = pyoctomap.ColorOcTree(0.1)
    tree.updateNode(np.array([-0.05, 0.05, 0.15]), True)
    tree.setNodeColor(np.array([-0.05, 0.05, 0.15]), 10, 20, 30)
    assert tree.write(str(tmp_path / "map.ot"))
    voxels = read_octomap(tmp_path / "map.ot")
    np.testing.assert_allclose(voxels.occupied(), [[-0.05, 0.05, 0.15]])
    assert voxels.blocks.channels["colour"][0].reshape(8, 8, 8, 4)[7, 0, 1].tolist() == [2560, 5120, 7680, 1]


def test_a_real_building_round_trips_byte_for_byte(data_dir: Path, tmp_path: Path) -> None:
    path = data_dir / "octomap" / "geb079.bt"
    write_octomap(tmp_path / "again.bt", read_octomap(path))
    assert (tmp_path / "again.bt").read_bytes() == path.read_bytes()


def written(tmp_path: Path, suffix: str) -> bytes:
    rng = np.random.default_rng(0)
    cells = rng.choice([-128, -64, 27], size=(2, VOLUME)).astype(np.int8)
    write_octomap(tmp_path / f"whole{suffix}", make_map({(0, 0, 0): cells[0], (-3, 1, 2): cells[1]}))
    return (tmp_path / f"whole{suffix}").read_bytes()


@pytest.mark.parametrize("suffix", [".bt", ".ot"])
def test_a_file_cut_anywhere_is_refused_by_name(tmp_path: Path, suffix: str) -> None:
    whole, path = written(tmp_path, suffix), tmp_path / f"cut{suffix}"
    for length in [*range(0, 200, 7), *range(200, len(whole), 31), len(whole) - 1]:
        path.write_bytes(whole[:length])
        with pytest.raises(InputError, match=f"cut{suffix}"):
            read_octomap(path)
    path.write_bytes(whole + b"\0")
    with pytest.raises(InputError, match="1 bytes more"):
        read_octomap(path)


@pytest.mark.parametrize("suffix", [".bt", ".ot"])
def test_flipped_bytes_give_another_map_or_are_refused(tmp_path: Path, suffix: str) -> None:
    whole, path, rng = written(tmp_path, suffix), tmp_path / f"bad{suffix}", np.random.default_rng(1)
    n_refused = 0
    for _ in range(300):
        damaged = bytearray(whole)
        for place in rng.integers(0, len(whole), rng.integers(1, 4)):
            damaged[place] ^= 1 << rng.integers(8)
        path.write_bytes(damaged)
        try:
            voxels = read_octomap(path, max_voxels=2**22)
        except InputError:
            n_refused += 1
        else:
            assert (voxels.blocks.cells[: voxels.blocks.n] >= -128).all()
    assert n_refused > 50


BOMB = struct.pack("<H", 0x5555)  # the root's eight children are free: 2^48 voxels in two bytes


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no header"),
        (b"ply\nformat ascii 1.0\ndata\n", "no header"),
        (header("binary ", 9) + BOMB, "more than max_voxels"),
        (header("binary ", 2**59) + BOMB, "claims 576,460,752,303,423,488 nodes but holds 9"),
        (header("binary ", 10**30) + BOMB, "the size"),
        (header("binary ", 5) + BOMB, "claims 5 nodes but holds 9"),
        (header("binary ", 9, res="0") + BOMB, "resolution '0'"),
        (header("binary ", 9, res="nan") + BOMB, "resolution 'nan'"),
        (header("binary ", 9, tree="CountingOcTree") + BOMB, "class 'CountingOcTree'"),
        (header("binary ", 1) + b"\0\0", "without children"),
        (header("binary ", 20) + 17 * struct.pack("<H", 3), "below depth 16"),
        (header("", 20) + 20 * struct.pack("<fB", 1.0, 1), "below depth 16"),
        (header("", 1) + struct.pack("<fB", 1.0, 0), "more than max_voxels"),
        (header("", 17) + 16 * struct.pack("<fB", 1.0, 1) + struct.pack("<fB", np.nan, 0), "not finite"),
    ],
)
def test_hostile_files_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "hostile.bt"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as error:
        read_octomap(path)
    assert str(path) in str(error.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nothing\.bt is not a file"):
        read_octomap(tmp_path / "nothing.bt")


def test_a_map_beyond_octomaps_keys_is_refused_and_nothing_written(tmp_path: Path) -> None:
    cells = np.full(VOLUME, 27, dtype=np.int8)
    write_octomap(tmp_path / "edge.bt", make_map({(4095, -4096, 0): cells}))
    np.testing.assert_allclose(read_octomap(tmp_path / "edge.bt").occupied().max(), 32767.5 * 0.5)
    for block in ((4096, 0, 0), (0, -4097, 0)):
        with pytest.raises(InputError, match="does not fit"):
            write_octomap(tmp_path / "beyond.bt", make_map({block: cells}))
    assert not (tmp_path / "beyond.bt").exists()
    write_octomap(tmp_path / "unknown.bt", make_map({(5000, 0, 0): np.full(VOLUME, UNKNOWN)}))
    with pytest.raises(ValueError, match=r"\.bt or \.ot"):
        write_octomap(tmp_path / "map.txt", VoxelMap(0.5))


def test_the_command_line_exports_trees(tmp_path: Path) -> None:
    voxels = map_of((3, [(0, 0, 0), (-1, 0, 1)], 2, False))
    Memory([voxels]).save(tmp_path / "map.embmem")
    assert main(["export", f"file={tmp_path}/map.embmem", f"out={tmp_path}/out", "formats=[bt,ot]"]) == 0
    assert cells_of(read_octomap(tmp_path / "out" / "map.ot")) == cells_of(voxels)
    assert states_of(cells_of(read_octomap(tmp_path / "out" / "map.bt"))) == states_of(cells_of(voxels))


def test_a_tree_opens_as_a_memory(tmp_path: Path) -> None:
    voxels = map_of((4, [(0, 0, 0), (1, -1, 0)], 1, False))
    write_octomap(tmp_path / "map.ot", voxels)
    assert cells_of(open_memory(tmp_path / "map.ot").layer(VoxelMap)) == cells_of(voxels)
    assert main(["export", f"file={tmp_path}/map.ot", f"out={tmp_path}/out", "formats=[ply]"]) == 0
    assert main(["export", f"file={tmp_path}/nothing.ot", f"out={tmp_path}/no", "formats=[ply]"]) == 1
