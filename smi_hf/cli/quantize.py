"""`smi-hf quantize`: a checkpoint and a sparse dataset in, a model that stock Optimum loads out."""

import logging
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from smi_hf.cli.arguments import ArgumentParser
from smi_hf.errors import UsageError
from smi_hf.quantization.backends.base import BACKENDS
from smi_hf.registry import suggest

if TYPE_CHECKING:
    from smi_hf.evaluation.image_sets import ImageSet
    from smi_hf.models import Teacher
    from smi_hf.quantization.calibration import CalibrationSet

logger = logging.getLogger(__name__)

CONTROLS = ("gaussian", "dynamic", "real=DATASET", "dense=DATASET", "random=DATASET")

_EPILOG = """examples:
  smi-hf quantize --model_name_or_path facebook/deit-tiny-patch16-224 --dataset out/deit-tiny --backend onnx \\
      --output_dir out/deit-tiny-int8
  ... --eval_dataset imagenet-1k --eval_split validation --controls gaussian dynamic real=imagenet-1k

Calibration sees the kept patches and nothing else. Controls calibrate the same quantizer on something else, with as
many images: gaussian noise, real=DATASET, dense=DATASET (a dense inversion of this model), random=DATASET (random
patches of a dense inversion), or dynamic (no calibration).

Then, with none of our code:
  ORTModelForImageClassification.from_pretrained("out/deit-tiny-int8")
"""


@dataclass
class QuantizeArguments:
    """What is quantized, how, and what it is compared with."""

    model_name_or_path: str = field(metadata={"help": "Image classifier: a Hub id, or a folder of save_pretrained."})
    dataset: str = field(metadata={"help": "Sparse dataset of that model: a folder, or a dataset on the Hub."})
    output_dir: str = field(metadata={"help": "Folder for the quantized model; must not exist."})
    revision: str | None = field(default=None, metadata={"help": "Branch, tag or commit of the checkpoint."})
    backend: str = field(default="onnx", metadata={"help": "Who quantizes.", "choices": BACKENDS.names()})
    operators: list[str] = field(
        default_factory=lambda: ["MatMul", "Gemm"],
        metadata={"help": "Operator types of the graph to quantize, or 'all'."},
    )
    exclude: list[str] = field(default_factory=list, metadata={"help": "Names of nodes that stay in floating point."})
    target: str = field(
        default="avx512_vnni",
        metadata={"help": "Instruction set of the preset: avx512_vnni, avx2, arm64 or tensorrt."},
    )
    num_images: int | None = field(default=None, metadata={"help": "Images to calibrate on. Default: all."})
    controls: list[str] = field(
        default_factory=list, metadata={"help": f"Rows to compare with: {', '.join(CONTROLS)}. Need --eval_dataset."}
    )
    eval_dataset: str | None = field(
        default=None, metadata={"help": "Labelled images to judge the models on: Hub id, folder or parquet file."}
    )
    eval_split: str | None = field(default=None, metadata={"help": "Split of eval_dataset."})
    max_images: int | None = field(default=None, metadata={"help": "Judge on that many images. Default: all."})
    batch_size: int = field(default=32, metadata={"help": "Images evaluated at a time."})
    seed: int = field(default=0, metadata={"help": "Seed of Gaussian noise and of the choice of real images."})

    def __post_init__(self) -> None:
        BACKENDS.get(self.backend)
        names = [control.partition("=")[0] for control in CONTROLS]
        for control in self.controls:
            name, _, argument = control.partition("=")
            if name not in names:
                raise UsageError(
                    f"there is no control {name!r}{suggest(name, names)}; available: {', '.join(CONTROLS)}"
                )
            if (name in ("real", "dense", "random")) != bool(argument):
                raise UsageError(f"control {control!r} must be written {CONTROLS[names.index(name)]}")
        if self.controls and not self.eval_dataset:
            raise UsageError("controls are rows of a table of accuracies; give --eval_dataset as well")
        if Path(self.output_dir).exists():
            raise UsageError(f"output_dir {self.output_dir} exists; choose another folder, or remove it")


def run(arguments: Sequence[str] | None = None) -> None:
    """Parses the arguments, quantizes, and compares if asked."""
    (given,) = ArgumentParser(
        QuantizeArguments,
        prog="smi-hf quantize",
        description="Quantize a Vision Transformer statically, calibrated on the kept patches of synthetic images.",
        epilog=_EPILOG,
    ).parse(arguments)

    from smi_hf.data import load
    from smi_hf.evaluation.image_sets import load_image_set
    from smi_hf.models import load_teacher
    from smi_hf.models.preprocessing import load_image_processor
    from smi_hf.quantization.backends.base import QuantizationSettings
    from smi_hf.quantization.calibration import sparse_images

    teacher = load_teacher(given.model_name_or_path, revision=given.revision)
    image_processor = load_image_processor(given.model_name_or_path, revision=given.revision)
    calibration = sparse_images(load(given.dataset, for_model=teacher.model), given.num_images)
    images = None
    if given.eval_dataset:
        images = load_image_set(
            given.eval_dataset, teacher.label_names, split=given.eval_split, max_images=given.max_images
        )
    controls = _controls(given, teacher, image_processor, calibration)

    backend = BACKENDS.get(given.backend)
    settings = QuantizationSettings(tuple(given.operators), tuple(given.exclude), given.target)
    output_dir = Path(given.output_dir)
    backend.quantize(teacher, image_processor, calibration, settings, output_dir)
    print(f"{given.backend} model in {output_dir}, calibrated on {len(calibration)} images ({calibration.source})")
    if images is None:
        return
    with tempfile.TemporaryDirectory() as work:
        folders = {calibration.source: output_dir}
        for number, (name, control) in enumerate(controls.items()):
            folders[name] = Path(work) / f"control-{number}"
            backend.quantize(teacher, image_processor, control, settings, folders[name])
        _compare(given, teacher, image_processor, images, folders, Path(work))


def _controls(
    given: QuantizeArguments,
    teacher: "Teacher",
    image_processor: Any,
    calibration: "CalibrationSet",
) -> "dict[str, CalibrationSet | None]":
    """Calibration set of each control, None for dynamic; all loaded before anything is computed."""
    from smi_hf.data import load
    from smi_hf.evaluation.image_sets import load_image_set
    from smi_hf.quantization.calibration import gaussian_noise, random_patches, real_images, sparse_images

    count, controls = len(calibration), {}
    for control in given.controls:
        name, _, argument = control.partition("=")
        if name == "gaussian":
            made = gaussian_noise(teacher.model, count, seed=given.seed)
        elif name == "real":
            real = load_image_set(argument, teacher.label_names)
            made = real_images(real, teacher.model, image_processor, count, seed=given.seed)
        elif name == "dynamic":
            controls["dynamic"] = None
            continue
        else:
            made = sparse_images(load(argument, for_model=teacher.model), count)
            if name == "random":
                num_kept = calibration.kept_BK.shape[1]
                made = random_patches(made, teacher.model, num_kept, seed=given.seed)
        controls[made.source] = made
    return controls


def _compare(
    given: QuantizeArguments,
    teacher: "Teacher",
    image_processor: Any,
    images: "ImageSet",
    folders: dict[str, Path],
    work: Path,
) -> None:
    from rich.console import Console

    from smi_hf.cli.tables import quantization_table
    from smi_hf.environment import describe_device, package_versions
    from smi_hf.quantization.report import measure, save_results

    backend = BACKENDS.get(given.backend)
    reference, reference_folder = backend.reference(teacher, image_processor, work / "float32")
    models = {"float32": (reference, reference_folder)}
    models |= {name: (backend.load(folder), folder) for name, folder in folders.items()}
    grid = teacher.model.grid
    shape = (teacher.model.num_channels, *grid.image_size)
    rows = measure(models, images, image_processor, shape, batch_size=given.batch_size)
    about = {
        "teacher": teacher.name,
        "backend": given.backend,
        "operators": given.operators,
        "exclude": given.exclude,
        "target": given.target,
        "num_calibration_images": given.num_images,
        "eval_dataset": Path(given.eval_dataset or "").name,
        "num_eval_images": len(images),
        "seed": given.seed,
        "device": describe_device("cpu"),
        "packages": package_versions(),
    }
    save_results(rows, about, Path(given.output_dir))
    Console().print(
        quantization_table(rows, f"{given.backend}, {', '.join(given.operators)}, judged on {len(images)} images")
    )
