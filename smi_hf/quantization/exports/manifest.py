"""What transformers 5 writes beside an exported graph, for graphs that its exporters did not make."""

from collections.abc import Sequence
from typing import Any

import torch
from transformers.modeling_outputs import ImageClassifierOutput

from smi_hf.environment import package_version
from smi_hf.models import Teacher


def exported_classifier(teacher: Teacher, program: Any, export_format: str, packages: Sequence[str]) -> Any:
    """A graph from `pixel_values` to `logits` as an `ExportedModel`, which transformers 5 saves and reads.

    Args:
        program: as the exporter of that format gives it.
        export_format: one of transformers' `ExportFormat`.
        packages: distributions that made it, noted with their versions.
    """
    from torch.utils import _pytree
    from transformers.exporters import ExportedComponent, ExportedModel, ExportMetadata

    model = teacher.model
    answer = ImageClassifierOutput(logits=torch.zeros(()))
    metadata = ExportMetadata(
        architecture=type(model.model).__name__,
        packages={name: package_version(name) for name in ("transformers", *packages)},
        export_dtype="float32",
        export_device="cpu",
        kwargs={
            "pixel_values": {"rank": 4, "shape": [1, model.num_channels, *model.grid.image_size], "dtype": "float32"}
        },
        in_spec=_pytree.treespec_dumps(_pytree.tree_structure(((), {"pixel_values": 0}))),
        out_spec=_pytree.treespec_dumps(_pytree.tree_structure(answer)),
    )
    component = ExportedComponent(program, metadata)
    return ExportedModel({"model": component}, export_format, config=model.config)
