"""What a quantized model is worth: every row of the table measured on the same images in the same run."""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from smi_hf import progress
from smi_hf.evaluation.comparison import compare
from smi_hf.evaluation.latency import speed_figures
from smi_hf.evaluation.predictors import Predictor
from smi_hf.evaluation.table import Row
from smi_hf.images.kept import KeptImages
from smi_hf.images.real import ImageSet
from smi_hf.quantization.costs import folder_size
from smi_hf.quantization.quantizer import Quantizer

FLOAT_KEY = "float32"


def compare_calibrations(
    quantizer: Quantizer,
    calibrations: Mapping[str, Sequence[KeptImages | None]],
    images: ImageSet,
    labels: Mapping[str, str],
    *,
    written: Path | None = None,
    batch_size: int = 32,
    disable_tqdm: bool = False,
) -> list[Row]:
    """Quantizes on every calibration set and measures the models beside float32, which is the first row.

    Args:
        calibrations: calibration sets by the key of the row that they belong to, None for dynamic quantization;
            several are several runs of one row.
        images: labelled images to judge on.
        labels: what a reader is shown of a row, by its key.
        written: folder of the model that is calibrated on the very first set, if it exists already.
    """
    with tempfile.TemporaryDirectory(prefix="smi-hf-") as work:
        folders: dict[str, list[Path]] = {FLOAT_KEY: [quantizer.float_model.folder]}
        num_models = sum(map(len, calibrations.values())) - (written is not None)
        is_hidden = disable_tqdm or not num_models
        with progress.bar("Quantizing controls", total=num_models, unit="model", disable=is_hidden) as bar:
            for key, sets in calibrations.items():
                folders[key] = []
                for calibration in sets:
                    folder = Path(work) / f"model-{sum(map(len, folders.values()))}"
                    if written is not None and len(folders) == 2 and not folders[key]:
                        folder = written
                    else:
                        quantizer.quantize(calibration, folder)
                        bar.update()
                    folders[key].append(folder)
        models = {key: [quantizer.load(folder) for folder in folders[key]] for key in calibrations}
        models = {FLOAT_KEY: [quantizer.float_predictor()], **models}
        rows = compare(
            models, images, {FLOAT_KEY: "float32", **labels}, batch_size=batch_size, disable_tqdm=disable_tqdm
        )
        if quantizer.backend.is_simulation:
            return rows
        firsts = {key: runs[0] for key, runs in models.items()}
        # The other runs' models need not wait on the same cores while these are timed.
        models.clear()
        with progress.bar("Measuring speed", disable=disable_tqdm):
            costs = _costs(quantizer, firsts, {key: found[0] for key, found in folders.items()})
        return [Row(row.key, row.label, row.runs, row.figures | costs[row.key]) for row in rows]


def _costs(
    quantizer: Quantizer, models: Mapping[str, Predictor], folders: Mapping[str, Path]
) -> dict[str, dict[str, float]]:
    """Size and speed of one model a row, by the keys of columns."""
    model = quantizer.teacher.model
    speeds = speed_figures(models, (model.num_channels, *model.grid.image_size))
    return {key: {"size_mb": folder_size(folders[key]) / 1e6, **speeds[key]} for key in models}
