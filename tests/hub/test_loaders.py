"""Stock loaders of models: by the record, and as lines of Python that are right."""

import ast
import importlib
from dataclasses import replace

import pytest

from smi_hf.environment import dependency_lane, missing_packages
from smi_hf.evaluation.record import ModelRecord, Runtime
from smi_hf.hub.loaders import LOADERS, loader_name
from smi_hf.quantization.backends import BACKENDS


def test_a_student_in_floating_point_is_loaded_by_transformers_alone(model_record):
    assert loader_name(model_record) == "transformers"
    rounded = replace(model_record, settings=model_record.settings | {"quantization": {"backend": "onnx"}})
    assert loader_name(rounded) is None


@pytest.mark.parametrize("backend", BACKENDS.names())
def test_every_back_end_is_loaded_by_stock_libraries_but_for_those_that_need_smi_hf(model_record, backend):
    runtime = BACKENDS.get(backend).runtime
    record = of_back_end(model_record, backend, runtime)
    assert loader_name(record) == (None if backend in ("quanto", "simulated") else f"{runtime.library} {backend}")
    assert loader_name(replace(record, runtime=None)) is None
    assert loader_name(of_back_end(record, backend, Runtime("its own", "its-own"))) is None


@pytest.mark.parametrize("name", LOADERS)
def test_what_a_loader_imports_is_there(name):
    library, _, backend = name.partition(" ")
    if library == "optimum" and dependency_lane() != "full":
        pytest.skip("Optimum's loaders are those of the full lane")
    if library == "transformers" and backend and dependency_lane() != "latest":
        pytest.skip("transformers exports in the latest lane alone")
    if backend and (missing := missing_packages("torch" if backend == "torchao" else backend)):
        pytest.skip(f"{missing[0]} is absent")
    loader = LOADERS[name]
    for line in loader.imports:
        ast.parse(line)
    assert callable(getattr(importlib.import_module(loader.package), loader.class_name).from_pretrained)


def of_back_end(record: ModelRecord, backend: str, runtime: Runtime) -> ModelRecord:
    settings = {"backend": backend, "weights": 8, "activations": 8}
    return replace(record, kind="quantized", student=None, settings=settings, runtime=runtime)
