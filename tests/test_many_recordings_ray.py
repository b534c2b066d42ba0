"""Workers of Ray give the serial result, also when one is killed in the middle. Starts Ray: some ten seconds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from box_room import walk

from embmem.building.many import build_many
from embmem.building.sessions import build_merged
from embmem.cli.build import plan_of
from embmem.cli.main import compose_config
from embmem.map_hash import map_hash
from embmem.maps import open_memory
from embmem.maps.merging import merge_memories
from embmem.recordings.writing import write_recording

pytest.importorskip("ray", reason="many workers need Ray: pip install 'embmem[ray]'")
N = 20


@pytest.mark.slow
def test_two_workers_of_which_one_is_killed_give_the_serial_maps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ray

    monkeypatch.setenv("PYTHONPATH", f"{Path(__file__).parent}:{Path(__file__).parents[1]}")
    mark = tmp_path / "killed"
    perceive = {"_target_": "killed_once.KilledOnce", "mark": str(mark), "at": N // 2}
    plans = []
    for name, start in (("a", 0), ("b", 5)):
        write_recording(list(walk(N))[start:], tmp_path / name, layout="rgbd")
        words = [f"recording={tmp_path / name}", f"out={tmp_path / name}.embmem", "resolution=0.1", "frame=identity"]
        plans.append(replace(plan_of(compose_config("build", words)), perceive=perceive, checkpoint=0.0))
    mark.write_text("not in this process")
    serial = build_many(plans)
    mark.unlink()
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, configure_logging=False)
    try:
        parallel = build_many([replace(plan, overwrite=True) for plan in plans], workers=2)
        assert int(mark.read_text()) > 0, "a worker was killed"
        for one, two in zip(serial, parallel, strict=True):
            assert one.record is not None
            assert two.record is not None, two.error
            assert two.record.map_hash == one.record.map_hash
            assert map_hash(open_memory(two.record.out)) == one.record.map_hash
            assert two.record.T_map_camera.tobytes() == one.record.T_map_camera.tobytes()
        for workers in (1, 2):
            out = tmp_path / f"all{workers}.embmem"
            build_merged(plans, out, merge_memories, frame="same", workers=workers)
        assert len({map_hash(open_memory(tmp_path / f"all{workers}.embmem")) for workers in (1, 2)}) == 1
    finally:
        ray.shutdown()
