"""What transformers 5 writes beside an exported graph, for graphs that its exporters did not make."""

from collections.abc import Sequence
from typing import Any

import torch
from transformers.modeling_outputs import BaseModelOutputWithPooling, ImageClassifierOutput
from transformers.models.clip.modeling_clip import CLIPVisionModelOutput
from transformers.utils import ModelOutput

from smi_hf.environment import package_version
from smi_hf.models import Teacher

# What a graph returns, by the name of the one tensor in it.
_OUTPUTS = {
    "logits": ImageClassifierOutput,
    "image_embeds": CLIPVisionModelOutput,
    "pooler_output": BaseModelOutputWithPooling,
    "last_hidden_state": BaseModelOutputWithPooling,
}


def answer_of(name: str, value: torch.Tensor) -> ModelOutput:
    """One tensor as the output of a model, under its name."""
    return _OUTPUTS[name](**{name: value})


def output_structure(name: str) -> str:
    """How a manifest says that a graph gives one tensor of that name."""
    from torch.utils import _pytree

    return _pytree.treespec_dumps(_pytree.tree_structure(answer_of(name, torch.zeros(()))))


def exported_model(teacher: Teacher, program: Any, export_format: str, packages: Sequence[str]) -> Any:
    """A graph from `pixel_values` to the teacher's answer as an `ExportedModel`, which transformers 5 saves and reads.

    Args:
        program: as the exporter of that format gives it.
        export_format: one of transformers' `ExportFormat`.
        packages: distributions that made it, noted with their versions.
    """
    from torch.utils import _pytree
    from transformers.exporters import ExportedComponent, ExportedModel, ExportMetadata

    model = teacher.model
    metadata = ExportMetadata(
        architecture=type(model.model).__name__,
        packages={name: package_version(name) for name in ("transformers", *packages)},
        export_dtype="float32",
        export_device="cpu",
        kwargs={
            "pixel_values": {"rank": 4, "shape": [1, model.num_channels, *model.grid.image_size], "dtype": "float32"}
        },
        in_spec=_pytree.treespec_dumps(_pytree.tree_structure(((), {"pixel_values": 0}))),
        out_spec=output_structure(model.answer_name),
    )
    component = ExportedComponent(program, metadata)
    return ExportedModel({"model": component}, export_format, config=model.config)
