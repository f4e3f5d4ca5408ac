"""What a quantized model is worth: every row of the table measured on the same images in the same run."""

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from smi_hf.data.files import replaced_atomically
from smi_hf.evaluation.accuracy import Choices, Predictor, latencies_ms, look_at
from smi_hf.evaluation.image_sets import ImageSet
from smi_hf.quantization.calibration import CalibrationSet
from smi_hf.quantization.quantizer import Quantizer

RESULTS_FILE = "results.json"
FLOAT_NAME = "float32"


@dataclass(frozen=True)
class Scores:
    """How well one model does: top-1 and top-5 accuracy, and share of images with float32's first choice; [0, 1]."""

    top1: float
    top5: float
    agreement: float


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Args:
        name: what the model was calibrated on, or "float32".
        runs: scores of each run, one a seed or dataset.
        size_mb: weights on disk, in units of 10^6 bytes; None, like all that follows, for a simulation.
        latency_ms_1, latency_ms_32: median milliseconds of a batch of that size, for the first run's model.
        images_per_second: at batch 32.
    """

    name: str
    runs: tuple[Scores, ...]
    size_mb: float | None = None
    latency_ms_1: float | None = None
    latency_ms_32: float | None = None
    images_per_second: float | None = None

    def mean(self, score: str) -> float:
        """Mean of a score over the runs."""
        return mean(getattr(run, score) for run in self.runs)

    def spread(self, score: str) -> float | None:
        """Standard deviation of a score over the runs, None for a single run."""
        return stdev(getattr(run, score) for run in self.runs) if len(self.runs) > 1 else None


def compare(
    quantizer: Quantizer,
    calibrations: Mapping[str, Sequence[CalibrationSet | None]],
    images: ImageSet,
    *,
    written: Path | None = None,
    batch_size: int = 32,
    disable_tqdm: bool = False,
) -> list[Row]:
    """Quantizes on every calibration set and measures the models beside float32.

    Args:
        calibrations: calibration sets by the row that they belong to, None for dynamic quantization; several are
            several runs of one row.
        images: labelled images to judge on.
        written: folder of the model that is calibrated on the very first set, if it exists already.
    """
    with tempfile.TemporaryDirectory(prefix="smi-hf-") as work:
        folders: dict[tuple[str, int], Path] = {}
        for name, sets in calibrations.items():
            for run, calibration in enumerate(sets):
                folder = Path(work) / f"model-{len(folders)}"
                if written is not None and not folders:
                    folder = written
                else:
                    quantizer.quantize(calibration, folder)
                folders[name, run] = folder
        models: dict[tuple[str, int], Predictor] = {(FLOAT_NAME, 0): quantizer.float_model.predictor()}
        models |= {key: quantizer.backend.load(folder) for key, folder in folders.items()}
        folders = {(FLOAT_NAME, 0): quantizer.float_model.folder} | folders
        seen = look_at(images, models, quantizer.image_processor, batch_size=batch_size, disable_tqdm=disable_tqdm)
        firsts = {name: models[name, 0] for name in (FLOAT_NAME, *calibrations)}
        cost = {} if quantizer.backend.is_simulation else _cost(quantizer, firsts, folders)
        return [Row(name, _scores(seen, name), **cost.get(name, {})) for name in firsts]


def _scores(seen: Mapping[tuple[str, int], Choices], name: str) -> tuple[Scores, ...]:
    reference = seen[FLOAT_NAME, 0]
    return tuple(
        Scores(**choices.accuracy(), agreement=choices.agreement(reference))
        for (row, _), choices in seen.items()
        if row == name
    )


def _cost(
    quantizer: Quantizer, models: Mapping[str, Predictor], folders: Mapping[tuple[str, int], Path]
) -> dict[str, dict[str, float]]:
    """Size and speed of one model a row."""
    model = quantizer.teacher.model
    shape = (model.num_channels, *model.grid.image_size)
    single, batch = (
        latencies_ms(models, shape, batch_size=size, repeats=repeats) for size, repeats in ((1, 30), (32, 5))
    )
    return {
        name: {
            "size_mb": folder_size(folders[name, 0]) / 1e6,
            "latency_ms_1": single[name],
            "latency_ms_32": batch[name],
            "images_per_second": 32_000 / batch[name],
        }
        for name in models
    }


def folder_size(folder: Path) -> int:
    """Bytes of the weights in a folder."""
    weights = (".onnx", ".onnx_data", ".safetensors", ".bin", ".xml")
    return sum(path.stat().st_size for path in folder.iterdir() if path.suffix in weights)


def save_results(rows: Sequence[Row], about: Mapping[str, Any], folder: Path) -> None:
    """Writes `results.json`: the rows, with means and spreads, and what they were measured on."""
    listed = []
    for row in rows:
        summary = {score: row.mean(score) for score in ("top1", "top5", "agreement")}
        summary |= {f"{score}_std": row.spread(score) for score in ("top1", "top5", "agreement")}
        listed.append({**asdict(row), **summary})
    with replaced_atomically(folder / RESULTS_FILE) as temporary:
        temporary.write_text(json.dumps({**about, "rows": listed}, indent=2) + "\n")
