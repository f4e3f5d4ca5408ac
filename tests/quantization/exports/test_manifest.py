"""Graphs of other makers in folders that transformers 5 reads."""

import json

import pytest
import torch

from smi_hf.environment import dependency_lane

if dependency_lane() != "latest":
    pytest.skip("transformers 4 has no exporters", allow_module_level=True)

from transformers.exporters import DynamoConfig, DynamoExporter, ExportedModel, ExportFormat

from smi_hf.quantization.exports.manifest import exported_model


@torch.no_grad()
def test_what_it_says_is_what_the_exporter_says_of_the_same_graph(teacher, tmp_path):
    pixels = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    theirs = DynamoExporter().export(teacher.model.model, {"pixel_values": pixels}, DynamoConfig())
    ours = exported_model(teacher, theirs.program, ExportFormat.DYNAMO, ("torch",))
    for model, name in ((theirs, "theirs"), (ours, "ours")):
        model.save_pretrained(tmp_path / name)
    said, expected = (
        json.loads((tmp_path / name / "export.json").read_text())["components"]["model"]["metadata"]
        for name in ("ours", "theirs")
    )
    expected.pop("export_config")
    said.pop("export_config")
    assert said == expected
    logits = ExportedModel.from_pretrained(tmp_path / "ours")(pixel_values=pixels).logits
    assert torch.allclose(logits, teacher.model.model(pixel_values=pixels).logits, atol=1e-5)
