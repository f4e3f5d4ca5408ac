"""`quantize`: a teacher and its sparse images in, a quantized model with its record out."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from smi_hf import progress
from smi_hf.data import SparseDataset
from smi_hf.data.validation import check_made_from
from smi_hf.environment import check_extra, describe_environment
from smi_hf.errors import UsageError
from smi_hf.evaluation.accuracy import check_judges
from smi_hf.evaluation.history import find_history
from smi_hf.evaluation.record import DatasetReference, ModelRecord
from smi_hf.files import folder_made_whole
from smi_hf.hub.cards.model import save_model_record
from smi_hf.images.controls.base import check_controls_judged, control_sets, parse_controls
from smi_hf.images.controls.filled import all_patches
from smi_hf.images.kept import KeptImages, sparse_images
from smi_hf.images.real import ImageSet
from smi_hf.images.tiles import tile_images
from smi_hf.models import Teacher
from smi_hf.models.preprocessing import preprocess
from smi_hf.quantization.backend_comparison import compare_backends, compared_backends
from smi_hf.quantization.backends import BACKENDS
from smi_hf.quantization.backends.base import check_settings
from smi_hf.quantization.comparison import compare_calibrations
from smi_hf.quantization.config import WIDE_BITS, QuantizationConfig
from smi_hf.quantization.mixing import find_mixture, save_mixture
from smi_hf.quantization.quantizer import Quantizer
from smi_hf.quantization.sensitivity import measure_sensitivity, save_sensitivity
from smi_hf.reports.page import add_report

logger = logging.getLogger(__name__)

# Keys of the rows that are no controls of `smi_hf.images.controls`.
SPARSE_KEY = "sparse"
DYNAMIC_KEY = "dynamic"
DYNAMIC_PURPOSE = "no images: ranges are taken at run time (onnx)"


def quantize(
    teacher: Teacher,
    datasets: SparseDataset | Sequence[SparseDataset],
    config: QuantizationConfig | None = None,
    *,
    images: ImageSet | None = None,
    controls: Sequence[str] = (),
) -> ModelRecord:
    """Quantizes a teacher, calibrated on the kept patches of synthetic images.

    `config.output_dir` appears when all is done, or not at all: the model, its image processor, its record
    (`results.json`) and its card. `push` publishes it.

    Args:
        teacher: the model in floating point.
        datasets: sparse datasets of the teacher. The first calibrates the model; more, inverted with other seeds, are
            further runs of its row in the table.
        config: the defaults if None.
        images: labelled images to judge the models on; without them there is no table.
        controls: rows to compare with, as `smi_hf.images.controls` names them ("gaussian", "real=DATASET"), and
            "dynamic".

    Returns:
        The record, with the table if there are images. `config.mixed` leaves `recipe.yaml` and `mixed.json` beside
        it, `config.sensitivity` its report, `config.compare` `comparison.json`.

    Raises:
        UsageError: a setting does not fit the back end, a dataset not the teacher, or `output_dir` cannot be used.
        RunError: the back end cannot convert this model.
    """
    config = config or QuantizationConfig()
    datasets = [datasets] if isinstance(datasets, SparseDataset) else list(datasets)
    check_controls(controls, config, has_images=images is not None)
    check_backends(config)
    if config.sensitivity:
        check_extra("plots", "--sensitivity")
    if not datasets:
        raise UsageError("there is no dataset to calibrate on; give at least one")
    check_judges(images, teacher)
    for dataset in datasets:
        check_made_from(dataset.record, teacher, other_teacher=config.other_teacher)
    output_dir = Path(config.output_dir)
    with folder_made_whole(output_dir) as folder:
        # All that can be wrong with the input is found before anything is computed.
        datasets = [dataset.first(config.num_images) for dataset in datasets]
        sparse = _sparse_sets(datasets, teacher, config)
        calibrations, labels = _calibrations(sparse, controls, teacher, config, images)
        history = find_history(teacher.source, revision=teacher.revision)
        comparison = compare_backends(teacher, sparse[0], config, images=images) if config.compare else None
        asked = config
        if comparison is not None:
            config = replace(config, backend=comparison.recommended, compare=[])
        with Quantizer(teacher, config) as quantizer:
            _write_model(quantizer, sparse[0], images, folder)
            references = [DatasetReference.of(dataset, teacher) for dataset in datasets]
            record = replace(_record(quantizer, references, asked=asked), history=history)
            if images is not None:
                rows = compare_calibrations(
                    quantizer,
                    calibrations,
                    images,
                    labels,
                    written=folder,
                    batch_size=config.batch_size,
                    disable_tqdm=config.disable_tqdm,
                )
                record = record.judged(rows, images)
            if config.sensitivity:
                pixels = _images_to_judge_on(quantizer, sparse[0], images)
                report = measure_sensitivity(quantizer, sparse[0], pixels, disable_tqdm=config.disable_tqdm)
                save_sensitivity(report, folder)
        if comparison is not None:
            comparison.save(folder)
        save_model_record(record, folder)
        if config.report:
            add_report(folder)
    return ModelRecord.load(output_dir)


def check_backends(config: QuantizationConfig) -> None:
    """Checks what can be checked of the back end, or of all that are compared, before a model is loaded.

    Raises:
        UsageError: as of `check_settings` and `compared_backends`.
    """
    if config.compare:
        compared_backends(config)
    else:
        check_settings(config.backend, config)


def check_controls(controls: Sequence[str], config: QuantizationConfig, *, has_images: bool) -> None:
    """Checks how controls are written, and that they can be measured; reads nothing.

    Raises:
        UsageError: one does not exist, comes twice, or needs what is not there.
    """
    if DYNAMIC_KEY in parse_controls(controls, also=(DYNAMIC_KEY,)):
        if not BACKENDS.get(config.backend).is_dynamic_possible:
            raise UsageError(
                f"back end {config.backend!r} has no dynamic quantization; leave out the control 'dynamic'"
            )
        if config.activations == WIDE_BITS or config.wide_layers or config.mixed:
            raise UsageError(
                f"dynamic quantization has activations of 8 bits and no others; leave out the control 'dynamic', or "
                f"what asks for {WIDE_BITS} bits"
            )
    if controls and config.compare:
        raise UsageError(
            "controls compare what one back end is calibrated on, and compare back ends; give one of the two"
        )
    check_controls_judged(controls, has_images=has_images)


def _write_model(quantizer: Quantizer, calibration: KeptImages, images: ImageSet | None, folder: Path) -> None:
    """The model of a folder, and what was found where a mixture was to be; the quantizer goes on with its settings."""
    config = quantizer.config
    if config.mixed is None:
        with progress.bar("Quantizing", total=1, unit="model", disable=config.disable_tqdm) as bar:
            quantizer.quantize(calibration, folder)
            bar.update()
        return
    pixels = _images_to_judge_on(quantizer, calibration, images)
    mixture = find_mixture(quantizer, calibration, pixels, disable_tqdm=config.disable_tqdm)
    quantizer.choose(mixture.settings(config))
    quantizer.quantize(calibration, folder)
    save_mixture(mixture, config, folder)


def _sparse_sets(datasets: Sequence[SparseDataset], teacher: Teacher, config: QuantizationConfig) -> list[KeptImages]:
    sparse = [sparse_images(dataset) for dataset in datasets]
    if config.calibration_patches == "all":
        return [all_patches(images, teacher.model) for images in sparse]
    if config.calibration_patches == "tiled":
        return [tile_images(images, teacher.model.grid) for images in sparse]
    return sparse


def _calibrations(
    sparse: Sequence[KeptImages],
    controls: Sequence[str],
    teacher: Teacher,
    config: QuantizationConfig,
    judged_on: ImageSet | None,
) -> tuple[dict[str, Sequence[KeptImages | None]], dict[str, str]]:
    """Calibration sets and label of each row by its key, the sparse datasets first; None is dynamic quantization."""
    rows: dict[str, Sequence[KeptImages | None]] = {SPARSE_KEY: sparse}
    labels = {SPARSE_KEY: sparse[0].source}
    made = control_sets(controls, teacher, sparse, config.control_seeds, judged_on=judged_on, also=(DYNAMIC_KEY,))
    for key, sets in made.items():
        rows[key], labels[key] = ([None], DYNAMIC_KEY) if sets is None else (sets, sets[0].source)
    return rows, labels


def _record(quantizer: Quantizer, datasets: Sequence[DatasetReference], *, asked: QuantizationConfig) -> ModelRecord:
    """What the model was made from and how; not judged yet.

    Args:
        asked: settings as they were given; those of the quantizer name what a search or a comparison found.
    """
    config = quantizer.config
    settings = {
        **config.model_settings(),
        "quantized_layers": len(quantizer.layers),
        "layers": len(quantizer.float_model.layers),
        "calibration_patches": config.calibration_patches,
        "control_seeds": list(config.control_seeds),
    }
    if asked.mixed is not None:
        settings |= {"mixed": asked.mixed, "max_loss": asked.max_loss, "max_size_mb": asked.max_size_mb}
    if asked.compare:
        settings |= {"compare": list(asked.compare)}
    return ModelRecord(
        "quantized",
        quantizer.teacher.reference(),
        tuple(datasets),
        settings,
        describe_environment("cpu", quantizer.backend.extra),
        runtime=quantizer.backend.runtime,
        num_labels=len(quantizer.teacher.label_names),
    )


def _images_to_judge_on(quantizer: Quantizer, calibration: KeptImages, images: ImageSet | None) -> list[np.ndarray]:
    """Batches of preprocessed images: real ones, else the synthetic ones, their gaps filled."""
    config, teacher = quantizer.config, quantizer.teacher
    if images is None:
        return [pixels_BCHW.numpy() for pixels_BCHW in calibration.filled_images(teacher.model.grid)]
    few = images.spread(config.sensitivity_images)
    return [preprocess(pictures, teacher.image_processor) for pictures, _ in few.batches(config.batch_size)]
