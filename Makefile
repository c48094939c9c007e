# Two commands: `make demo` and `make test`. Both need nothing but Python 3.11 or newer.

PYTHON ?= python3
BIN := .venv/bin
# Processes that share the tests: twice as many as two processors, since many tests wait for a server or a process.
JOBS ?= 4
# Tests that judge by a clock mostly wait, and no more than three at a time. All others run beside them and give way: they
# get a processor only while no test with a clock wants it, so that each of these finds the processors idle.
CLOCKED := -n 3 --dist worksteal -o cache_dir=.pytest_cache/clocked
GIVE_WAY := nice -n 19
# Threads, processes and real servers on a shared machine: what fails gets another chance, alone, and the summary
# names what used it. (Reruns in the first run would cost 40 ms in each test.) A plain `pytest` gives none.
AGAIN := --last-failed --last-failed-no-failures none --reruns 2 --reruns-delay 1 -n 0
tests = $(2) $(BIN)/python -m pytest $(1) || $(2) $(BIN)/python -m pytest $(1) $(AGAIN)
# distro 0.66b1 pins an older SDK than the tests run with, but works with it; its configurator is what makes
# `opentelemetry-instrument` configure anything, so the tests of auto-configuration need it.
DISTRO := opentelemetry-distro==0.66b1
export PIP_DISABLE_PIP_VERSION_CHECK = 1
# Hundreds of processes import the package: where no bytecode may be kept, each of them would compile all of it.
export PYTHONDONTWRITEBYTECODE =

.PHONY: demo test others clocked slow coverage lint docs benchmark producers clean

demo: .venv/demo
	$(BIN)/otel-prom-bridge demo

test: .venv/dev
	$(MAKE) --jobs 2 build/compiled lint
	sh scripts/install-servers
	sh scripts/newer-servers
	$(MAKE) --jobs 2 others clocked; ended=$$?; cat build/clocked.txt; exit $$ended

others:
	$(call tests,-m "not clocked and not slow" -n $(JOBS),$(GIVE_WAY))

clocked:
	mkdir -p build
	($(call tests,-m "clocked and not slow" $(CLOCKED))) > build/clocked.txt 2>&1

# The same, and what no test reaches. It takes half as long again.
coverage: .venv/dev
	$(BIN)/python -m pytest -m "not clocked and not slow" -n $(JOBS) --cov --cov-report= --cov-fail-under=0
	$(BIN)/python -m pytest -m "clocked and not slow" --cov --cov-append --cov-report=term

# What takes minutes and rarely breaks; CI runs it, too.
slow: .venv/dev docs
	export PROGRAMS=whole; $(call tests,-m slow -n 2)
	export PROGRAMS=whole; $(call tests,-m "programs and not slow and not clocked" -n 2)
	export PROPERTIES=whole; $(call tests,-m "hypothesis and not slow" -n $(JOBS))
	export RECORDING=direct; $(call tests,tests/push tests/hub -m "not slow" -n $(JOBS))
	PYTHON=$(BIN)/python sh scripts/test-older-sdks
	$(BIN)/python -m benchmarks.scrape --quick
	$(BIN)/python -m benchmarks.views --quick
	$(BIN)/python -m benchmarks.endpoint --quick
	$(BIN)/python -m benchmarks.latency --quick
	$(BIN)/python -m benchmarks.requests --quick
	$(BIN)/python -m benchmarks.recording --quick
	$(BIN)/python -m benchmarks.memory --quick
	$(BIN)/python -m benchmarks.capacity --quick
	$(BIN)/python -m benchmarks.workers --quick
	$(BIN)/python -m benchmarks.spans --quick

# The documentation as a site, in build/site, with the reference made of docstrings. A warning is an error.
docs: .venv/dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --config-file .mkdocs.yml

lint: .venv/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The numbers in docs/performance.md; several minutes.
benchmark: .venv/dev
	$(BIN)/python -m benchmarks.scrape
	$(BIN)/python -m benchmarks.views
	$(BIN)/python -m benchmarks.endpoint
	$(BIN)/python -m benchmarks.latency
	$(BIN)/python -m benchmarks.requests
	$(BIN)/python -m benchmarks.recording
	$(BIN)/python -m benchmarks.memory
	$(BIN)/python -m benchmarks.capacity
	$(BIN)/python -m benchmarks.workers
	$(BIN)/python -m benchmarks.spans

# docs/producers.md, from a run of every producer; ten minutes.
producers: .venv/dev
	sh scripts/newer-servers
	$(BIN)/python tests/producers/table.py

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/demo: .venv/bin/python pyproject.toml
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

.venv/dev: .venv/bin/python pyproject.toml
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	$(BIN)/python -m pip install --quiet --no-deps $(DISTRO)
	touch $@

# One process reads all tests of a new clone, beside the checks of types: of several at once each would compile all of them.
build/compiled: .venv/dev
	-$(BIN)/python -m pytest --collect-only -q > /dev/null
	mkdir -p build
	touch $@

clean:
	rm -rf .venv .venvs .servers .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage*
