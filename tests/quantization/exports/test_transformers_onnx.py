"""Transformers' ONNX exporter on two halves: one graph, as transformers and ONNX Runtime read it."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch

import smi_hf
from smi_hf import RunError, load_teacher
from smi_hf.environment import dependency_lane, missing_packages

if dependency_lane() != "latest" or missing_packages("onnx"):
    pytest.skip("needs the latest lane with the extra onnx", allow_module_level=True)

import onnx
import onnxruntime
from transformers.exporters import ExportedModel, OnnxExporter

from smi_hf.quantization.exports.transformers_onnx import export, save_quantized
from smi_hf.quantization.qdq import QdqRequest


@pytest.fixture(scope="module")
def tiny(tiny_checkpoint):
    return load_teacher(str(tiny_checkpoint))


@pytest.fixture(scope="module")
def exported(tiny, tmp_path_factory) -> Path:
    return export(tiny, tmp_path_factory.mktemp("exported") / "float")


@pytest.fixture(scope="module")
def graph(exported):
    return onnx.load(str(exported)).graph


@torch.no_grad()
def test_it_gives_the_teachers_logits_for_any_number_of_images(tiny, exported):
    session = onnxruntime.InferenceSession(exported)
    model = ExportedModel.from_pretrained(exported.parent)
    for number in (1, 2, 5):
        pixels = torch.randn(number, 3, 32, 32, generator=torch.Generator().manual_seed(number))
        expected = tiny.model.model(pixel_values=pixels).logits
        assert np.allclose(session.run(["logits"], {"pixel_values": pixels.numpy()})[0], expected, atol=1e-5)
        assert torch.allclose(model(pixel_values=pixels).logits, expected, atol=1e-5)
    assert model.config.id2label == tiny.model.config.id2label


def test_the_teacher_attends_as_before(tiny, exported):
    assert tiny.model.config._attn_implementation == "sdpa"


def test_nodes_are_named_after_their_modules(tiny, graph):
    names = [node.name for node in graph.node]
    assert len(set(names)) == len(names)
    products = {name for name in names if re.search(r"/(MatMul|Gemm)(_\d+)?$", name)}
    layers = [f"/vit/layers.{number}" for number in range(2)]
    linear = ("attention/q_proj", "attention/k_proj", "attention/v_proj", "attention/o_proj", "mlp/fc1", "mlp/fc2")
    expected = {f"{layer}/{name}/MatMul" for layer in layers for name in linear}
    expected |= {f"{layer}/attention/MatMul{number}" for layer in layers for number in ("", "_1")}
    assert products == expected | {"/classifier/Gemm"}


def test_no_mask_is_added_to_the_scores(graph):
    readers = {name: node.op_type for node in graph.node for name in node.input}
    scaled = [node for node in graph.node if node.name.endswith("/attention/Mul")]
    assert [readers[node.output[0]] for node in scaled] == ["Softmax"] * 2
    assert not {"Where", "Not", "Less"} & {node.op_type for node in graph.node}


def test_a_saved_graph_holds_no_path_of_this_machine(exported):
    content = exported.read_bytes()
    for path in (Path(smi_hf.__file__).parents[1], Path(torch.__file__).parents[1]):
        assert str(path).encode() not in content


def test_a_quantized_graph_is_saved_as_the_first_one_was(tiny, exported, tmp_path):
    request = QdqRequest(exported, "avx2", ("/classifier/Gemm",), ("Gemm",), None, {})
    save_quantized(exported, request, tiny.model.config, tmp_path / "int8")
    assert {path.name for path in (tmp_path / "int8").iterdir()} == {
        "model.onnx", "model.onnx.data", "export.json", "config.json",
    }  # fmt: skip
    pixels = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = tiny.model(pixels).logits
    logits = ExportedModel.from_pretrained(tmp_path / "int8")(pixel_values=pixels).logits
    assert 0 < float((logits - expected).abs().max()) < 0.1 * float(expected.std())


def test_a_failure_of_the_exporter_is_one_sentence(tiny, tmp_path, monkeypatch):
    def fail(*_, **__):
        raise TypeError("no such\noperator")

    monkeypatch.setattr(OnnxExporter, "export_program", fail)
    with pytest.raises(RunError, match=r"^'vit' could not be exported to ONNX: TypeError: no such operator$"):
        export(tiny, tmp_path / "float")
    assert not (tmp_path / "float").exists()
