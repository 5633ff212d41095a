# The commands of the project. Each needs only make and Python 3.11 or newer; `make setup` does the rest, once.
#   make run ARGS="agent=random train.epochs=2"     passes overrides on
#   make attack ATTACK=60 ARGS="parts=kills"        attacks files, programs and readers for a minute
#   make setup PYTHON=python3.12                    chooses the interpreter
.PHONY: setup run test attack check docs format clean
.DEFAULT_GOAL := run

BIN := .venv/bin
STAMP := .venv/.installed
PYTHON ?=
ARGS ?=
ATTACK ?= 600
# A virtual environment or module path of the caller must not change what runs here.
unexport VIRTUAL_ENV PYTHONHOME PYTHONPATH

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@PYTHON="$(PYTHON)" sh scripts/setup.sh

run: $(STAMP)
	@$(BIN)/python -m experiments.run agent=mcts $(ARGS)

test: $(STAMP)
	@$(BIN)/python -m pytest -n auto --dist loadfile $(ARGS)

attack: $(STAMP)
	@$(BIN)/python -m tests.attack seconds=$(ATTACK) $(ARGS)

check: $(STAMP)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/python -m scripts.check_docs

docs: $(STAMP)
	@$(BIN)/python -c "import material, mkdocstrings" 2>/dev/null || $(BIN)/python -m pip install --quiet -c constraints.txt -e '.[docs]'
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

format: $(STAMP)
	$(BIN)/ruff check --fix
	$(BIN)/ruff format
	$(BIN)/python -m experiments.settings.yaml_comments

clean:
	rm -rf .venv site outputs multirun .mypy_cache .pytest_cache .ruff_cache .hypothesis
