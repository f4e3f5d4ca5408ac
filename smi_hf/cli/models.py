"""Options that more than one command has: which model, and which images judge it."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from smi_hf import progress
from smi_hf.errors import UsageError
from smi_hf.images.controls.base import CONTROLS

if TYPE_CHECKING:
    from smi_hf.images.real import ImageSet
    from smi_hf.models import Teacher


@dataclass
class ModelArguments:
    """Which checkpoint."""

    model_name_or_path: str = field(metadata={"help": "Image classifier: a Hub id, or a folder of save_pretrained."})
    revision: str | None = field(
        default=None, metadata={"help": "Branch, tag or commit of the checkpoint on the Hub."}
    )
    image_size: list[int] | None = field(
        default=None,
        metadata={
            "help": "Side, or height and width, of the images in pixels; other than the model's own, its positions "
            "are interpolated. Default: what the image processor makes."
        },
    )
    allow_pickle: bool = field(
        default=False,
        metadata={"help": "Load weights from a pickle if there are no safetensors. A pickle can run any code."},
    )

    def load_teacher(self) -> "Teacher":
        """The model in floating point; errors as of `smi_hf.load_teacher`."""
        with progress.bar(f"Loading {self.model_name_or_path}"):
            # Torch is most of what is to be waited for.
            from smi_hf.models import load_teacher
            from smi_hf.quantization.loading import check_not_quantized

            check_not_quantized(self.model_name_or_path)
            return load_teacher(
                self.model_name_or_path,
                revision=self.revision,
                image_size=self.image_size,
                allow_pickle=self.allow_pickle,
            )


@dataclass
class ImagesArguments:
    """Which synthetic images a smaller model is made on, and what they are compared with."""

    dataset: list[str] = field(
        metadata={
            "help": "Sparse dataset of the whole model, the teacher: a folder, or a dataset on the Hub. More, "
            "inverted with other seeds, are further runs of the table's row; the first makes what is written."
        }
    )
    controls: list[str] = field(
        default_factory=list,
        metadata={"help": f"Rows to compare with: {', '.join(CONTROLS.names())}. Need --eval_dataset."},
    )


@dataclass
class JudgeArguments:
    """Which real images judge a model."""

    eval_dataset: str | None = field(
        default=None, metadata={"help": "Labeled images to judge on: Hub id, folder or parquet file."}
    )
    eval_split: str | None = field(default=None, metadata={"help": "Split of eval_dataset."})
    max_images: int | None = field(default=None, metadata={"help": "Judge on that many images. Default: all."})

    def __post_init__(self) -> None:
        if self.max_images is not None and self.max_images < 1:
            raise UsageError(f"max_images must be at least 1, but {self.max_images} was given")
        for option in ("eval_split", "max_images"):
            if getattr(self, option) is not None and self.eval_dataset is None:
                raise UsageError(f"{option} says which images of eval_dataset, which was not given; give both")

    def load_images(self, teacher: "Teacher") -> "ImageSet | None":
        """The images with the teacher's labels, None where none were asked for."""
        from smi_hf.images.real import load_image_set

        if self.eval_dataset is None:
            return None
        return load_image_set(
            self.eval_dataset, teacher.label_names, split=self.eval_split, max_images=self.max_images
        )
