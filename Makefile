# Every target makes its own virtual environment; a fresh clone needs Python 3.11 or newer, make and a package registry.
#
#   make demo         cut out the sample photos with the core install only; says where the results are
#   make test         the tests, without the slow ones
#   make test-slow    the slow ones
#   make test-machines the numeric rooms as older processors, other numbers of threads and busy machines compute them;
#                     with ROWS="sse avx2" those rows of tests/machines.py alone
#   make test-browser the tests that drive Chromium and Node.js, which must be there
#   make test-core    every module of the core with the core install only: nothing optional is needed by accident
#   make test-lowest  the core's tests with the lowest versions that pyproject.toml allows
#   make lint         ruff and mypy
#   make pictures     make docs/pictures again from the sample photos
#   make clean        remove what these made

# The first Python of this machine that is new enough: `make PYTHON=/path/to/python3.12 test` chooses another.
NEW_ENOUGH := import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for p in python3.11 python3 python3.12 python3.13 python3.14 /usr/bin/python3.11 /usr/bin/python3; do \
	$$p -c '$(NEW_ENOUGH)' >/dev/null 2>&1 && echo $$p && break; done)

PIP := -m pip --disable-pip-version-check install --quiet
SOURCES := pyproject.toml constraints.txt src/birefnet/__init__.py

.PHONY: demo test test-slow test-machines test-browser test-core test-lowest lint format pictures clean

demo: .venv-demo/ready
	.venv-demo/bin/birefnet remove examples/photos -o demo --overwrite
	@.venv-demo/bin/python examples/make_pictures.py --cutouts demo -o demo/side-by-side
	@echo
	@echo "The cut-outs:    demo/*.png (transparent PNG)"
	@echo "Side by side:    demo/side-by-side/side-by-side.jpg"
	@echo "Your own photo:  .venv-demo/bin/birefnet remove YOUR.jpg"

test: .venv/ready
	.venv/bin/python -m pytest -q

test-slow: .venv/ready
	.venv/bin/python -m pytest -q -m "slow and not browser"

test-machines: .venv/ready
	.venv/bin/python tests/machines.py $(ROWS)

test-browser: .venv/ready tests/web/node_modules/ready
	BIREFNET_VENDOR=tests/web/node_modules BIREFNET_BROWSER_TESTS=1 .venv/bin/python -m pytest -q -m browser

test-core: .venv-core/ready
	.venv-core/bin/python tests/core_import.py
	.venv-core/bin/python -m pytest -q tests/pixels tests/cli tests/test_architecture.py

test-lowest: .venv-lowest/ready
	.venv-lowest/bin/python tests/core_import.py
	.venv-lowest/bin/python -m pytest -q tests/pixels tests/cli tests/test_architecture.py

lint: .venv/ready
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy

format: .venv/ready
	.venv/bin/ruff check --fix
	.venv/bin/ruff format

pictures: .venv/ready
	.venv/bin/python examples/make_pictures.py -o docs/pictures

clean:
	rm -rf .venv .venv-demo .venv-core .venv-lowest tests/web/node_modules demo build dist .pytest_cache .mypy_cache .ruff_cache
	find src tests examples -name __pycache__ -type d -prune -exec rm -rf {} +

# Environments. An unpinned torch can bring several GB of GPU libraries: everything goes through the constraints.

.venv/ready: $(SOURCES)
	@$(call make-venv,.venv)
	.venv/bin/python $(PIP) -c constraints.txt -e '.[all,dev]'
# What our metrics are compared with. Its own bounds ask for older numpy and OpenCV than ours; it runs with both.
	.venv/bin/python $(PIP) --no-deps pysodmetrics==1.6.2
	@touch $@

# No scripts: what some packages fetch when they are installed is for GPUs.
tests/web/node_modules/ready: tests/web/package-lock.json
	npm ci --ignore-scripts --no-audit --no-fund --prefix tests/web
	@touch $@

.venv-demo/ready: $(SOURCES) $(shell find src -name '*.py' -o -name '*.onnx' -o -name '*.safetensors')
	@$(call make-venv,.venv-demo)
	.venv-demo/bin/python $(PIP) -c constraints.txt .
	@touch $@

.venv-core/ready: $(SOURCES)
	@$(call make-venv,.venv-core)
	.venv-core/bin/python $(PIP) -c constraints.txt -e '.[test]'
	@touch $@

.venv-lowest/ready: $(SOURCES) constraints-lowest.txt
	@$(call make-venv,.venv-lowest)
	.venv-lowest/bin/python $(PIP) -c constraints-lowest.txt -e '.[test]'
	@touch $@

# A new environment, or the one that is there; a half-made one (no pip in it) is made again.
define make-venv
	test -n "$(PYTHON)" || { echo "error: this needs Python 3.11 or newer with the venv module" >&2; \
		echo "hint: apt-get install python3.11 python3.11-venv, or make PYTHON=/path/to/python3.11" >&2; exit 2; }; \
	$(1)/bin/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(1)
endef
