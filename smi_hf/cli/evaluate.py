"""`smi-hf evaluate`: what any image model, quantized or not, is worth on real images."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from smi_hf.cli.arguments import ArgumentParser
from smi_hf.cli.closing import Closing
from smi_hf.cli.models import ModelArguments
from smi_hf.errors import UsageError

if TYPE_CHECKING:
    from smi_hf.evaluation.run import Evaluation
    from smi_hf.images.real import ImageSet

# What --help shows.
OPTIONS = {
    "what goes in": ("model_name_or_path", "dataset", "split", "max_images", "image_column", "label_column"),
    "what it is compared with": ("reference", "labels", "directions"),
    "what comes out": ("json",),
    "how fast": ("batch_size",),
}

_EPILOG = """examples:
  smi-hf evaluate --model_name_or_path out/deit-tiny-int8 \\
      --dataset imagenet-1k --split validation
  smi-hf evaluate --model_name_or_path microsoft/resnet-50 \\
      --dataset photographs.parquet --json out.json
  smi-hf evaluate --model_name_or_path out/dinov2-int8 \\
      --reference facebook/dinov2-small --dataset photographs.parquet

The model is a checkpoint of any family, or a folder of smi-hf quantize. Labels are matched by name, or by number where
the dataset has no names. An image tower without labels and a backbone are judged by how near their embeddings are to
those of a reference, and whether each image has the same nearest neighbor.
"""


@dataclass
class ImageArguments:
    """Which images, and where the figures go."""

    dataset: str = field(
        metadata={"help": "Images, labeled where the model has labels: Hub id, folder or parquet file."}
    )
    reference: str | None = field(
        default=None,
        metadata={
            "help": "Model whose answers are compared with, such as the one that was quantized: Hub id, folder."
        },
    )
    split: str | None = field(
        default=None, metadata={"help": "Split. Default: the first of validation, val, test, train."}
    )
    image_column: str | None = field(default=None, metadata={"help": "Column of the images. Default: found by type."})
    label_column: str | None = field(default=None, metadata={"help": "Column of the labels. Default: found."})
    batch_size: int = field(default=32, metadata={"help": "Images at a time."})
    max_images: int | None = field(default=None, metadata={"help": "Use that many, spread evenly. Default: all."})
    json: str | None = field(default=None, metadata={"help": "File for the figures: new, or of an earlier run."})
    disable_tqdm: bool = field(default=False, metadata={"help": "Show no progress bar."})

    def __post_init__(self) -> None:
        for option in ("batch_size", "max_images"):
            value = getattr(self, option)
            if value is not None and value < 1:
                raise UsageError(f"{option} must be at least 1, but {value} was given")


def make_parser() -> ArgumentParser:
    """The parser of this command; tests and documentation read it too."""
    return ArgumentParser(
        (ModelArguments, ImageArguments),
        prog="smi-hf evaluate",
        description="Measure what a model is worth on real images: its accuracy, or how near it is to another.",
        options=OPTIONS,
        epilog=_EPILOG,
    )


def run(arguments: Sequence[str] | None = None) -> None:
    """Prints what was measured, number of images, how labels were matched and the time per image."""
    model, given = make_parser().parse(arguments)

    from smi_hf.evaluation.report import check_report_file, save_report
    from smi_hf.evaluation.run import evaluate
    from smi_hf.images.real import load_image_set
    from smi_hf.models.references import recorded_name

    report = Path(given.json) if given.json is not None else None
    if report is not None:
        check_report_file(report)
    predictor, reference = model.load_predictors(given.reference)
    images = load_image_set(
        given.dataset,
        predictor.label_names if predictor.has_labels else None,
        split=given.split,
        max_images=given.max_images,
        image_column=given.image_column,
        label_column=given.label_column,
    )
    found = evaluate(
        predictor, images, reference=reference, batch_size=given.batch_size, disable_tqdm=given.disable_tqdm
    )
    print(_closing(found, images, given, model))
    if report is not None:
        save_report(report, found, images, model=recorded_name(model.model_name_or_path))


def _closing(found: "Evaluation", images: "ImageSet", given: ImageArguments, model: ModelArguments) -> Closing:
    figures = ", ".join(f"{name} {value}" for name, value in found.words().items())
    matched = "" if found.top1 is None else f"; labels matched by {images.matched_by}"
    return Closing(
        made=f"figures of {model.model_name_or_path}, back end {found.backend}, {found.latency_ms:.1f} ms per image "
        f"in batches of {given.batch_size}",
        quality=f"{figures} of {found.num_images} images{matched}",
        where=given.json or "",
    )
