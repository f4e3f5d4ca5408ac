# make install | demo | test | test-latest | test-slow | lint | clean
# Two dependency lanes (CONTRIBUTING.md, "Dependency lanes"): .venv has `full`, .venv-latest has `latest`.
PYTHON ?= python3
FULL_EXTRAS = onnx-full,openvino-full,quanto,tfrecord,plots,demo,test
LATEST_EXTRAS = onnx,openvino,torch,executorch,quanto,tfrecord,plots,demo,test
PYTEST_FLAGS ?= -n 2

.PHONY: install install-latest demo test test-latest test-timm test-slow lint format clean

install: .venv/installed
install-latest: .venv-latest/installed

# pip is upgraded first: pip 23 takes ten minutes to resolve what a current one resolves in seconds.
.venv/installed: pyproject.toml constraints-full.txt
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --upgrade pip
	.venv/bin/python -m pip install --quiet --constraint constraints-full.txt --editable ".[$(FULL_EXTRAS)]"
	touch $@

.venv-latest/installed: pyproject.toml constraints-latest.txt
	$(PYTHON) -m venv .venv-latest
	.venv-latest/bin/python -m pip install --quiet --upgrade pip
	.venv-latest/bin/python -m pip install --quiet --constraint constraints-latest.txt --editable ".[$(LATEST_EXTRAS)]"
	touch $@

# make demo WITH_HUB=1 also publishes what it made, on a Hub that the tests bring along.
demo: install
	$(if $(WITH_HUB),PYTHONPATH=tests/hub .venv/bin/python -m loopback) .venv/bin/smi-hf demo --output_dir out/demo \
		$(if $(WITH_HUB),--with_hub)

test: install
	.venv/bin/python -m pytest $(PYTEST_FLAGS) -m "not slow"

test-latest: install-latest
	.venv-latest/bin/python -m pytest $(PYTEST_FLAGS) -m "not slow"

# timm wants torchvision, which nothing else may need: both lie beside the environments, for these tests alone.
.timm/installed: install
	rm -rf .timm
	.venv/bin/python -m pip install --quiet --no-deps --target .timm "timm==1.0.31" "torchvision==0.28.0"
	touch $@

test-timm: .timm/installed install-latest
	for lane in .venv .venv-latest; do \
		PYTHONPATH=.timm $$lane/bin/python -m pytest $(PYTEST_FLAGS) -m "not slow" tests/families/test_table.py tests/models/families \
			tests/models/test_sparse.py tests/models/test_timm_processor.py || exit 1; \
	done

# Real checkpoints and photographs; what is absent is skipped with a reason.
test-slow: install
	.venv/bin/python -m pytest -m slow

lint: install
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .

format: install
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .

clean:
	rm -rf .venv .venv-latest .timm out
