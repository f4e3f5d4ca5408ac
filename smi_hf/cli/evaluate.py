"""`smi-hf evaluate`: accuracy of a PyTorch or quantized model on real images."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from smi_hf.cli.arguments import ArgumentParser

_EPILOG = """examples:
  smi-hf evaluate --model_name_or_path out/deit-tiny-int8 --dataset imagenet-1k --split validation
  smi-hf evaluate --model_name_or_path facebook/deit-tiny-patch16-224 --dataset photographs.parquet --json out.json
"""


@dataclass
class EvaluateArguments:
    """Which model, on which images."""

    model_name_or_path: str = field(
        metadata={"help": "Classifier: a Hub id, or a folder of save_pretrained or of smi-hf quantize."}
    )
    dataset: str = field(metadata={"help": "Labelled images: Hub id, folder or parquet file."})
    split: str | None = field(
        default=None, metadata={"help": "Split. Default: the first of validation, val, test, train."}
    )
    image_column: str | None = field(default=None, metadata={"help": "Column of the images. Default: found by type."})
    label_column: str | None = field(default=None, metadata={"help": "Column of the labels. Default: found."})
    batch_size: int = field(default=32, metadata={"help": "Images at a time."})
    max_images: int | None = field(default=None, metadata={"help": "Use that many, spread evenly. Default: all."})
    json: str | None = field(default=None, metadata={"help": "File for the figures."})
    disable_tqdm: bool = field(default=False, metadata={"help": "Show no progress bar."})


def run(arguments: Sequence[str] | None = None) -> None:
    """Prints top-1, top-5, number of images and milliseconds an image."""
    (given,) = ArgumentParser(
        EvaluateArguments,
        prog="smi-hf evaluate",
        description="Measure a classifier's accuracy on real labelled images.",
        epilog=_EPILOG,
    ).parse(arguments)

    from smi_hf.evaluation.accuracy import pytorch_predictor, rank_labels
    from smi_hf.images.real import load_image_set
    from smi_hf.models import load_teacher
    from smi_hf.models.loading import load_config
    from smi_hf.models.preprocessing import load_image_processor
    from smi_hf.quantization.backends.base import BACKENDS
    from smi_hf.quantization.models import saved_backend

    folder = Path(given.model_name_or_path)
    backend = saved_backend(folder) if folder.is_dir() else None
    if backend is None:
        teacher = load_teacher(given.model_name_or_path)
        predictor, config = pytorch_predictor(teacher.model), teacher.model.config
    else:
        predictor, config = BACKENDS.get(backend).load(folder), load_config(given.model_name_or_path)
    images = load_image_set(
        given.dataset,
        [str(config.id2label[label]) for label in range(config.num_labels)],
        split=given.split,
        max_images=given.max_images,
        image_column=given.image_column,
        label_column=given.label_column,
    )
    image_processor = load_image_processor(given.model_name_or_path)
    seen = rank_labels(
        images, {"model": predictor}, image_processor, batch_size=given.batch_size, disable_tqdm=given.disable_tqdm
    )["model"]
    figures = {**seen.accuracy(), "n": len(images), "latency_ms": round(1000 * seen.seconds / len(images), 3)}
    print(
        f"top-1 {100 * figures['top1']:.2f} %, top-5 {100 * figures['top5']:.2f} % of {figures['n']} images; "
        f"{figures['latency_ms']:.1f} ms an image in batches of {given.batch_size}, back end {backend or 'pytorch'}"
    )
    if given.json:
        Path(given.json).write_text(json.dumps({"backend": backend or "pytorch", **figures}, indent=2) + "\n")
