# `make demo` shows what the project does, `make test` is what has to pass before a change goes in.
# Both install what they need first; see scripts/setup.

BIN := .venv/bin
PYTEST := $(BIN)/python -m pytest

.PHONY: help setup dev demo test lint unit integration opams fuzz medium pages caches compiler selftest published format clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' Makefile

setup: ## .venv and the system packages that are missing
	@scripts/setup

dev:
	@scripts/setup --dev

demo: setup ## build some libraries once, then get them back without a download (DEMO_DIR=./.demo, DEMO_FLAGS=--short)
	@$(BIN)/python -m demo $(DEMO_FLAGS)

# One recipe line per tool: the first that fails stops the run, and pytest's summary is the last thing printed.
test: lint ## everything: linters, types, unit, behaviour and integration tests
	@$(PYTEST) -m "not slow"

lint: dev ## ruff, mypy, import-linter
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --quiet --check .
	@$(BIN)/mypy --no-error-summary
	@$(BIN)/lint-imports --no-cache >.venv/lint-imports.log || { cat .venv/lint-imports.log; exit 1; }

unit: dev ## unit and behaviour tests: no opam needed, seconds
	@$(PYTEST) tests/unit tests/behaviour -m "not integration"

integration: dev ## tests with a real opam on a small set of packages
	@$(PYTEST) -m "integration and not slow"

opams: dev ## the same with every opam of OPAMBIN_TEST_OPAMS (joined by `:`), otherwise those of newer Debian suites, too
	@OPAMBIN_TEST_OPAMS="$${OPAMBIN_TEST_OPAMS:-$$(scripts/opams .opams)}" && export OPAMBIN_TEST_OPAMS && \
	echo "opams: $$OPAMBIN_TEST_OPAMS" && $(PYTEST) -m "integration and not slow"

fuzz: dev ## the engine of relocation against damaged files, for minutes (FUZZ_ROUNDS=20000)
	@OPAMBIN_FUZZ_ROUNDS=$${FUZZ_ROUNDS:-20000} $(PYTEST) tests/unit/test_relocate_fuzz.py

medium: ## the long integration run (many packages; the C libraries that they want are installed)
	@scripts/setup --dev --medium
	@$(PYTEST) tests/integration

pages: dev ## pages of 10,000 packages: how long they take, and the search in them
	@$(PYTEST) tests/integration/test_pages_many.py

caches: dev ## shared caches: every fault of remotes, and how long a pull takes
	@$(PYTEST) tests/integration/test_shared_caches.py tests/integration/test_ci_recipes.py tests/behaviour/test_remote_faults.py

compiler: ## a compiler that opam builds and tools on top, moved and used, and a second one elsewhere (30 minutes; OPAMBIN_TEST_SET=full: 50)
	@scripts/setup --dev --medium
	@$(PYTEST) tests/integration/test_compiler.py

selftest: ## what relocation can't see in a corpus and a compiler, into docs/relocation-selftest.md (half an hour; OPAMBIN_TEST_WORLD is kept)
	@scripts/setup --dev --medium
	@OPAMBIN_SELFTEST_TABLE=docs/relocation-selftest.md $(PYTEST) tests/integration/test_selftest_corpus.py

published: dev ## the whole corpus published, and installed by plain opam (OPAMBIN_TEST_WORLD: where `make compiler` has built it)
	@$(PYTEST) tests/integration/test_published_full.py

format: dev ## let ruff rewrite the files
	@$(BIN)/ruff check --quiet --fix .
	@$(BIN)/ruff format --quiet .

clean: ## remove what setup and the demo made
	rm -rf .venv .demo .opams .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
