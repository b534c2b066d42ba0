# Everything from a fresh clone: `make demo`, `make test`. The virtual environment is built once, in .venv.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# torch and the like are pinned to what was tested.
INSTALL := $(BIN)/python -m pip install --quiet --constraint constraints.txt
WORKERS ?= 2
# Expected values of the navigation metrics, where they are at hand.
VECTORS ?= ../shared/vectors/navigation_metrics.json

.PHONY: help demo test check fuzz benchmark format clean

help:
	@echo "make demo       install, evaluate agents with and without memory, show a table and a report"
	@echo "make test       install, lint, type-check, run every test"
	@echo "make fuzz       100,000 damaged inputs for each reader of recordings and maps (the tests try 10,000)"
	@echo "make benchmark  run every benchmark and write benchmarks/results/*.json"
	@echo "make format     format the code"

$(BIN)/activate:
	$(PYTHON) -m venv $(VENV)

# Two installs: the demo needs no oracle and no linter.
$(VENV)/run.stamp: $(BIN)/activate pyproject.toml constraints.txt
	$(INSTALL) --editable .
	@touch $@

$(VENV)/dev.stamp: $(VENV)/run.stamp
	$(INSTALL) --editable '.[dev,recon,cuda,text,vision,learn,index,fleet,view,llm,ros,dds,lerobot,mesh,ray,bench]'
	@touch $@

demo: $(VENV)/run.stamp
	$(BIN)/embmem eval task=search_again agent=[frontier,memory,oracle] episodes=40 workers=$(WORKERS) out=runs/demo/search_again
	$(BIN)/embmem eval task=after_the_night agent=[frontier,memory,oracle] episodes=40 workers=$(WORKERS) out=runs/demo/after_the_night

check: $(VENV)/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: check
	$(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder

fuzz: $(VENV)/dev.stamp
	PYTHONPATH=tests $(BIN)/python tests/fuzz_recordings.py 100000
	PYTHONPATH=tests $(BIN)/python tests/fuzz_storage.py 100000
	PYTHONPATH=tests $(BIN)/python tests/fuzz_imports.py 100000

benchmark: $(VENV)/dev.stamp
	@mkdir -p benchmarks/results
	$(BIN)/python benchmarks/rendering.py --json benchmarks/results/rendering.json
	$(BIN)/python benchmarks/voxels.py --json benchmarks/results/voxels.json
	$(BIN)/python benchmarks/euclidean.py --json benchmarks/results/euclidean.json
	$(BIN)/python benchmarks/grids.py --json benchmarks/results/grids.json
	$(BIN)/python benchmarks/semantic.py --json benchmarks/results/semantic.json
	$(BIN)/python benchmarks/motion.py --json benchmarks/results/motion.json
	$(BIN)/python benchmarks/gpu.py --json benchmarks/results/gpu.json
	$(BIN)/python benchmarks/durability.py --json benchmarks/results/durability.json
	$(BIN)/python benchmarks/store.py --json benchmarks/results/store.json
	$(BIN)/python benchmarks/vectors.py --json benchmarks/results/vectors.json
	$(BIN)/python benchmarks/forgetting.py --json benchmarks/results/forgetting.json
	$(BIN)/python benchmarks/eviction.py --json benchmarks/results/eviction.json
	$(BIN)/python benchmarks/tokens.py --json benchmarks/results/tokens.json
	$(BIN)/python benchmarks/pose_graph.py --json benchmarks/results/pose_graph.json
	$(BIN)/python benchmarks/graphs.py --json benchmarks/results/graphs.json
	$(BIN)/python benchmarks/identity.py --json benchmarks/results/identity.json
	$(BIN)/python benchmarks/rooms.py --json benchmarks/results/rooms.json
	$(BIN)/python benchmarks/facts.py --json benchmarks/results/facts.json
	$(BIN)/python benchmarks/grid_memories.py --json benchmarks/results/grid_memories.json
	$(BIN)/python benchmarks/relocalisation.py --json benchmarks/results/relocalisation.json
	$(BIN)/python benchmarks/merge.py --json benchmarks/results/merge.json
	$(BIN)/python benchmarks/doctor.py --json benchmarks/results/doctor.json
	$(BIN)/python benchmarks/offline.py --json benchmarks/results/offline.json
	$(BIN)/python benchmarks/round_trips.py --json benchmarks/results/round_trips.json
	$(BIN)/python benchmarks/streets.py --quick --json benchmarks/results/streets.json
	$(BIN)/python benchmarks/households.py --json benchmarks/results/households.json
	$(BIN)/python benchmarks/planners.py --json benchmarks/results/planners.json
	$(BIN)/python benchmarks/learned.py --json benchmarks/results/learned.json
	$(BIN)/python benchmarks/instructions.py --json benchmarks/results/instructions.json
	$(BIN)/python benchmarks/instructions_learned.py --json benchmarks/results/instructions_learned.json
	$(BIN)/python benchmarks/evaluation.py --json benchmarks/results/evaluation.json
	$(BIN)/python benchmarks/ros.py --json benchmarks/results/ros.json
	@if [ -f "$(VECTORS)" ]; then \
	  $(BIN)/python benchmarks/metric_conformance.py "$(VECTORS)" --json benchmarks/results/metric_conformance.json; \
	else echo "metric_conformance: left out, no file $(VECTORS) (set VECTORS)"; fi

format: $(VENV)/dev.stamp
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
