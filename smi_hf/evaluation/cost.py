"""What a forward pass costs in multiply-accumulates, from a model's shape.

Legend: `K` kept patches, `T` tokens, `D` hidden size.
"""

from transformers import PretrainedConfig

from smi_hf.data import DatasetRecord
from smi_hf.models import SparseClassifier
from smi_hf.patches import PruneSchedule, ShareSchedule


def forward_macs(model: SparseClassifier, num_kept: int) -> int:
    """Multiply-accumulates of one image's forward pass with `num_kept` patches: projections, attention, MLP, head.

    Norms, activations and softmax are left out, as is usual.
    """
    config: PretrainedConfig = model.config
    D, num_layers = config.hidden_size, config.num_hidden_layers
    hidden = getattr(config, "intermediate_size", None) or int(D * config.mlp_ratio)
    T = num_kept + model.num_prefix_tokens
    patch = model.num_channels * model.grid.patch_height * model.grid.patch_width
    # A gated MLP (SwiGLU) has a third matrix; its hidden size is two thirds, so the product is the same.
    layer = 4 * T * D * D + 2 * T * T * D + 2 * T * D * hidden
    return num_kept * patch * D + num_layers * layer + D * config.num_labels


def size_figures(model: SparseClassifier) -> dict[str, float]:
    """A model's size for one whole image, by the keys of a result table's columns: millions, and 10^9 MACs."""
    return {
        "parameters": model.model.num_parameters() / 1e6,
        "macs": forward_macs(model, model.grid.num_patches) / 1e9,
    }


def schedule_macs(model: SparseClassifier, schedule: PruneSchedule, num_steps: int) -> int:
    """Forward multiply-accumulates of one trajectory over a whole run; the backward pass scales alike."""
    stages = schedule.stages(num_steps, model.grid.num_patches)
    return sum(steps * forward_macs(model, kept) for steps, kept in stages)


def record_macs(model: SparseClassifier, record: DatasetRecord) -> int:
    """Forward multiply-accumulates that one image of a dataset took; of a trajectory its images take equal parts."""
    settings = record.settings
    if record.num_stages > 1:
        schedule = ShareSchedule.divide(settings["num_steps"], record.num_stages)
    else:
        schedule = PruneSchedule(tuple(settings["prune_steps"]), tuple(settings["prune_ratios"]))
    macs = schedule_macs(model, schedule, settings["num_steps"]) * settings.get("num_views", 1)
    return macs // record.num_stages
