"""What a forward pass costs in multiply-accumulates.

Legend: `K` kept patches, `T` tokens, `D` hidden size.
"""

import torch
from torch.utils.flop_counter import FlopCounterMode

from smi_hf.data import DatasetRecord
from smi_hf.models import SparseClassifier, VisionClassifier
from smi_hf.models.attention import attention_implementation
from smi_hf.patches import PruneSchedule, ShareSchedule


def forward_macs(model: VisionClassifier, num_kept: int) -> int:
    """Multiply-accumulates of one image's forward pass with `num_kept` patches: projections, attention, MLP, head.

    Norms, activations and softmax are left out, as is usual. From the shape of a Vision Transformer with a head that
    is one Linear layer; of any other model they are counted while it runs.
    """
    if not isinstance(model, SparseClassifier) or model.head is not None:
        return _counted_macs(model, num_kept)
    D, num_layers, hidden = model.shape.hidden_size, model.shape.num_layers, model.shape.mlp_size
    T = num_kept + model.num_prefix_tokens
    patch = model.num_channels * model.grid.patch_height * model.grid.patch_width
    # A gated MLP (SwiGLU) has a third matrix; its hidden size is two thirds, so the product is the same.
    layer = 4 * T * D * D + 2 * T * T * D + 2 * T * D * hidden
    return num_kept * patch * D + num_layers * layer + D * model.num_labels


@torch.no_grad()
def _counted_macs(model: VisionClassifier, num_kept: int) -> int:
    """By PyTorch, of one image."""
    weight = next(model.parameters())
    patches = torch.zeros(1, num_kept, model.num_channels, *model.grid.patch_size).to(weight)
    kept = torch.arange(num_kept, device=weight.device)[None]
    # PyTorch counts no fused attention on a CPU.
    with attention_implementation(model.model, "eager"), FlopCounterMode(display=False) as counter:
        model.forward_patches(patches, kept)
    # Two operations each.
    return counter.get_total_flops() // 2


def size_figures(model: VisionClassifier) -> dict[str, float]:
    """A model's size for one whole image, by the keys of a result table's columns: millions, and 10^9 MACs."""
    return {
        "parameters": model.model.num_parameters() / 1e6,
        "macs": forward_macs(model, model.grid.num_patches) / 1e9,
    }


def schedule_macs(model: VisionClassifier, schedule: PruneSchedule, num_steps: int) -> int:
    """Forward multiply-accumulates of one trajectory over a whole run; the backward pass scales alike."""
    stages = schedule.stages(num_steps, model.grid.num_patches)
    return sum(steps * forward_macs(model, kept) for steps, kept in stages)


def record_macs(model: VisionClassifier, record: DatasetRecord) -> int:
    """Forward multiply-accumulates that one image of a dataset took; of a trajectory its images take equal parts."""
    settings = record.settings
    if record.num_stages > 1:
        schedule = ShareSchedule.divide(settings["num_steps"], record.num_stages)
    else:
        schedule = PruneSchedule(tuple(settings["prune_steps"]), tuple(settings["prune_ratios"]))
    macs = schedule_macs(model, schedule, settings["num_steps"]) * settings.get("num_views", 1)
    return macs // record.num_stages
