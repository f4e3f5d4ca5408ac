"""Any image classifier of transformers, with the image processor that belongs to it."""

import hashlib
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from smi_hf.models.classification import check_head, label_names_of
from smi_hf.models.licenses import read_license
from smi_hf.models.loading import check_in_floating_point, find_checkpoint, read_config, read_weights
from smi_hf.models.preprocessing import read_image_processor
from smi_hf.models.references import CheckpointReference, License, recorded_name


@dataclass(frozen=True)
class Classifier:
    """An image classifier of any family (ResNet, ConvNeXt, Swin, ViT, ...).

    Args:
        model: in float32 and evaluation mode.
        image_processor: the checkpoint's own, in the variant that needs no torchvision.
        name: Hub id, or the folder's name for a local checkpoint (never a path of this machine).
        revision: commit on the Hub, None for a local checkpoint.
        license: None if it is unknown.
    """

    model: PreTrainedModel
    image_processor: Any
    name: str
    revision: str | None = None
    license: License | None = None

    @property
    def label_names(self) -> list[str]:
        """Name of each label, by label."""
        return label_names_of(self.model.config)

    def reference(self) -> CheckpointReference:
        """What a record says of it."""
        return CheckpointReference(
            name=self.name,
            revision=self.revision,
            model_type=self.model.config.model_type,
            weights_sha256=weights_sha256(self.model),
            license=self.license,
        )


def weights_sha256(model: nn.Module) -> str:
    """A digest of all weights of a model, the same under every version of transformers.

    Versions name modules differently, and order them differently: `vit.encoder.layer.0.attention.attention.query.bias`
    is `vit.layers.0.attention.q_proj.bias` under transformers 5. So of a name only numbers and the last part count.
    """
    digests = []
    for name, tensor in model.state_dict().items():
        *path, last = name.split(".")
        place = ".".join([*filter(str.isdigit, path), last])
        digest = hashlib.sha256(f"{place} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
        digests.append(digest.digest())
    return hashlib.sha256(b"".join(sorted(digests))).hexdigest()


def load_classifier(
    name_or_path: str,
    *,
    revision: str | None = None,
    allow_pickle: bool = False,
    pickle_option: str = "--allow_pickle",
) -> Classifier:
    """Loads an image classifier and its image processor from the Hub or from a folder.

    Args:
        name_or_path: Hub id or path.
        revision: branch, tag or commit on the Hub.
        allow_pickle: whether to load weights from a pickle, which can run any code, if there are no safetensors.
        pickle_option: the option that allows it, for messages.

    Raises:
        UsageError: not found, no network, broken, quantized or headless checkpoint, one that needs Python code of its
            own, pickle-only weights, or no image processor.
    """
    source = find_checkpoint(name_or_path, revision=revision)
    config = read_config(source)
    check_in_floating_point(source, config)
    image_processor = read_image_processor(source)
    model = read_weights(source, allow_pickle=allow_pickle, pickle_option=pickle_option)
    check_head(model)
    label_names_of(model.config)
    commit = getattr(config, "_commit_hash", None)
    return Classifier(
        model=model.eval(),
        image_processor=image_processor,
        name=recorded_name(name_or_path),
        revision=commit,
        license=read_license(name_or_path, revision=commit),
    )
