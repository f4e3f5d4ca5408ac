"""`smi-hf quantize`: a checkpoint and a sparse dataset in, a model that stock Optimum loads out."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from smi_hf.cli.arguments import ArgumentParser
from smi_hf.cli.controls import CONTROLS, check_controls, control_help, make_control
from smi_hf.environment import check_extra
from smi_hf.errors import UsageError
from smi_hf.files import check_new_folder
from smi_hf.quantization.backends.base import BACKENDS

if TYPE_CHECKING:
    import numpy as np

    from smi_hf.data import SparseDataset
    from smi_hf.evaluation.record import ModelRecord
    from smi_hf.images.kept import KeptImages
    from smi_hf.images.real import ImageSet
    from smi_hf.models import Teacher
    from smi_hf.quantization.quantizer import Quantizer

# A control that a quantizer has and nothing else.
_DYNAMIC = {"dynamic": "nothing: activation ranges are taken at run time"}

_EPILOG = """examples:
  smi-hf quantize --model_name_or_path facebook/deit-tiny-patch16-224 --dataset out/deit-tiny --backend onnx \\
      --output_dir out/deit-tiny-int8
  ... --eval_dataset imagenet-1k --eval_split validation --controls gaussian dynamic real=imagenet-1k --seeds 0 1 2
  ... --backend quanto --weights 4 --activations 8
  ... --backend simulated --sensitivity

Calibration sees the kept patches and nothing else. Controls calibrate the same quantizer, with as many images, on
""" + control_help(_DYNAMIC) + """

Then, with none of our code:
  ORTModelForImageClassification.from_pretrained("out/deit-tiny-int8")
"""  # fmt: skip


@dataclass
class QuantizeArguments:
    """What is quantized, how, and what it is compared with."""

    model_name_or_path: str = field(metadata={"help": "Image classifier: a Hub id, or a folder of save_pretrained."})
    dataset: list[str] = field(
        metadata={
            "help": "Sparse dataset of that model: a folder, or a dataset on the Hub. More, inverted with other "
            "seeds, become further runs of the table's row; the first makes the model."
        }
    )
    output_dir: str = field(metadata={"help": "Folder for the quantized model; must not exist."})
    revision: str | None = field(default=None, metadata={"help": "Branch, tag or commit of the checkpoint."})
    backend: str = field(
        default="onnx",
        metadata={
            "help": "Who quantizes: onnx (ONNX Runtime), openvino (NNCF), quanto (PyTorch), or simulated, which "
            "measures any width as papers do and makes no smaller model.",
            "choices": BACKENDS.names(),
        },
    )
    weights: int = field(
        default=8, metadata={"help": "Bits of the weights: 8; quanto 8, 4, 2; simulated 2 to 8; 32 is floating point."}
    )
    activations: int = field(
        default=8, metadata={"help": "Bits of the activations: 8; simulated 2 to 8; 32 quantizes the weights alone."}
    )
    operators: list[str] = field(
        default_factory=list,
        metadata={"help": "Types of layers to quantize, or 'all'. Default: the back end's (onnx: MatMul Gemm)."},
    )
    exclude: list[str] = field(
        default_factory=list,
        metadata={"help": "Names of layers that stay in floating point; * and ? are wildcards. See --sensitivity."},
    )
    target: str | None = field(
        default=None,
        metadata={"help": "Preset of onnx: avx512_vnni (default), avx2, arm64 or tensorrt."},
    )
    quantize_outputs: bool = field(
        default=False,
        metadata={
            "help": "onnx: write results of layers in 8 bits too, as integer-only accelerators need. Slower on CPUs, "
            "and useless unless calibrated on images."
        },
    )
    num_images: int | None = field(default=None, metadata={"help": "Images to calibrate on. Default: all."})
    calibration_patches: str = field(
        default="kept",
        metadata={
            "help": "Patches that calibration sees: those kept, or all, pruned ones black (loses accuracy).",
            "choices": ["kept", "all"],
        },
    )
    controls: list[str] = field(
        default_factory=list,
        metadata={"help": f"Rows to compare with: {', '.join([*CONTROLS, *_DYNAMIC])}. Need --eval_dataset."},
    )
    seeds: list[int] = field(
        default_factory=lambda: [0],
        metadata={"help": "Seeds of noise, of the choice of real images and of random patches: one run each."},
    )
    eval_dataset: str | None = field(
        default=None, metadata={"help": "Labelled images to judge the models on: Hub id, folder or parquet file."}
    )
    eval_split: str | None = field(default=None, metadata={"help": "Split of eval_dataset."})
    max_images: int | None = field(default=None, metadata={"help": "Judge on that many images. Default: all."})
    sensitivity: bool = field(
        default=False,
        metadata={
            "help": "Report what each layer and operator costs when quantized alone (sensitivity.json and .png), and "
            "a list to --exclude. Judged on eval_dataset, or else on the synthetic images."
        },
    )
    sensitivity_images: int = field(default=128, metadata={"help": "Images that --sensitivity is judged on, at most."})
    batch_size: int = field(default=32, metadata={"help": "Images evaluated at a time."})
    disable_tqdm: bool = field(default=False, metadata={"help": "Show no progress bars."})

    def __post_init__(self) -> None:
        check_controls(self.controls, tuple(_DYNAMIC))
        if self.controls and not self.eval_dataset:
            raise UsageError("controls are rows of a table of accuracies; give --eval_dataset as well")
        for option in ("num_images", "max_images", "sensitivity_images", "batch_size"):
            value = getattr(self, option)
            if value is not None and value < 1:
                raise UsageError(f"{option} must be at least 1, but {value} was given")
        check_new_folder(Path(self.output_dir))


def run(arguments: Sequence[str] | None = None) -> None:
    """Parses the arguments, quantizes, and compares if asked."""
    (given,) = ArgumentParser(
        QuantizeArguments,
        prog="smi-hf quantize",
        description="Quantize a Vision Transformer statically, calibrated on the kept patches of synthetic images.",
        epilog=_EPILOG,
    ).parse(arguments)

    from smi_hf.data import load_sparse_dataset
    from smi_hf.evaluation.record import dataset_reference
    from smi_hf.hub.cards.model import save_model_record
    from smi_hf.images.real import load_image_set
    from smi_hf.models import load_teacher
    from smi_hf.models.preprocessing import load_image_processor
    from smi_hf.quantization.backends.base import QuantizationSettings, check_settings
    from smi_hf.quantization.models import check_not_quantized
    from smi_hf.quantization.quantizer import Quantizer
    from smi_hf.quantization.records import quantization_record

    settings = QuantizationSettings(
        given.weights,
        given.activations,
        tuple(given.operators),
        tuple(given.exclude),
        given.target,
        given.quantize_outputs,
    )
    check_settings(given.backend, settings)
    if given.sensitivity:
        check_extra("plots", "--sensitivity")
    check_not_quantized(given.model_name_or_path)
    teacher = load_teacher(given.model_name_or_path, revision=given.revision)
    image_processor = load_image_processor(given.model_name_or_path, revision=given.revision)
    images = None
    if given.eval_dataset:
        images = load_image_set(
            given.eval_dataset, teacher.label_names, split=given.eval_split, max_images=given.max_images
        )
    # All that can be wrong with the input is found before anything is computed.
    datasets = {
        path: load_sparse_dataset(path, for_model=teacher.model).first(given.num_images) for path in given.dataset
    }
    sparse = [datasets[path] for path in given.dataset]
    references = [dataset_reference(dataset, teacher) for dataset in sparse]
    calibrations = _calibrations(given, sparse, teacher, image_processor)
    calibration = next(iter(calibrations.values()))[0]
    assert calibration is not None, "the first row is the sparse dataset"

    output_dir = Path(given.output_dir)
    with Quantizer(teacher, image_processor, backend=given.backend, settings=settings) as quantizer:
        quantizer.quantize(calibration, output_dir)
        print(
            f"{given.backend} model in {output_dir}: {len(quantizer.layers)} of {len(quantizer.float_model.layers)} "
            f"layers quantized, calibrated on {len(calibration)} images ({calibration.source})"
        )
        record = quantization_record(
            quantizer, references, calibration_patches=given.calibration_patches, seeds=given.seeds
        )
        save_model_record(record, output_dir)
        if images is not None:
            _compare(given, quantizer, calibrations, images, record)
        if given.sensitivity:
            _sensitivity(given, quantizer, calibration, images)


def _calibrations(
    given: QuantizeArguments, datasets: "Sequence[SparseDataset]", teacher: "Teacher", image_processor: Any
) -> "dict[str, list[KeptImages | None]]":
    """Calibration sets of each row, one a run, the sparse datasets first; None is dynamic quantization."""
    from smi_hf.images.kept import all_patches, sparse_images

    model = teacher.model
    sparse = [sparse_images(dataset) for dataset in datasets]
    if given.calibration_patches == "all":
        sparse = [all_patches(images, model) for images in sparse]
    rows: dict[str, list[KeptImages | None]] = {sparse[0].source: list(sparse)}
    for control in given.controls:
        if control in _DYNAMIC:
            rows[control] = [None]
            continue
        made = make_control(control, sparse, teacher, image_processor, given.seeds)
        rows.setdefault(made[0].source, []).extend(made)
    return rows


def _compare(
    given: QuantizeArguments,
    quantizer: "Quantizer",
    calibrations: "dict[str, list[KeptImages | None]]",
    images: "ImageSet",
    record: "ModelRecord",
) -> None:
    """Prints the table, and writes it into the model's record and card."""
    from smi_hf.cli.tables import make_console, quantization_table
    from smi_hf.hub.cards.model import save_model_record
    from smi_hf.quantization.comparison import compare

    rows = compare(
        quantizer,
        calibrations,
        images,
        written=Path(given.output_dir),
        batch_size=given.batch_size,
        disable_tqdm=given.disable_tqdm,
    )
    save_model_record(record.judged(rows, images), Path(given.output_dir))
    widths = f"weights {given.weights} bits, activations {given.activations}"
    title = f"{given.backend}, {widths}, judged on {len(images)} images"
    make_console().print(quantization_table(rows, title))


def _sensitivity(
    given: QuantizeArguments, quantizer: "Quantizer", calibration: "KeptImages", images: "ImageSet | None"
) -> None:
    from smi_hf.cli.tables import make_console, sensitivity_table
    from smi_hf.quantization.sensitivity import EXCLUDE_FILE, measure_sensitivity, save_sensitivity

    pixels = _images_to_judge_on(given, quantizer, calibration, images)
    report = measure_sensitivity(quantizer, calibration, pixels, disable_tqdm=given.disable_tqdm)
    save_sensitivity(report, Path(given.output_dir))
    console = make_console()
    console.print(sensitivity_table(report, f"{sum(map(len, pixels))} images"))
    console.print(
        f"To leave out the worst ({Path(given.output_dir) / EXCLUDE_FILE}):\n--exclude {' '.join(report.exclude)}",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )


def _images_to_judge_on(
    given: QuantizeArguments, quantizer: "Quantizer", calibration: "KeptImages", images: "ImageSet | None"
) -> "list[np.ndarray]":
    """Batches of preprocessed images: the evaluation set's, else the synthetic ones, their gaps filled."""
    if images is None:
        grid = quantizer.teacher.model.grid
        return [pixels_BCHW.numpy() for pixels_BCHW in calibration.filled_images(grid)]
    few = images.spread(given.sensitivity_images)
    return [pixels_BCHW for pixels_BCHW, _ in few.batches(quantizer.image_processor, given.batch_size)]
