# make search   the main job: a Pareto front on the embedded images, on this machine
# make test     the tests;  make lint  ruff and mypy
# ARGS goes to the command: make search ARGS="space=mobilenet_v3 trials=500"
PYTHON ?= python3
VENV ?= .venv
RUN = $(VENV)/bin/python
ARGS ?=

.PHONY: search test lint format
.DELETE_ON_ERROR:

search: $(VENV)/.ready
	$(RUN) -m nas.search $(ARGS)

test: $(VENV)/.ready
	$(RUN) -m pytest -n 2 --dist loadscope $(ARGS)

lint: $(VENV)/.ready
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy

format: $(VENV)/.ready
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .

$(VENV)/.ready: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "make: Python 3.11 or newer is needed; name one with PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(RUN) -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@
