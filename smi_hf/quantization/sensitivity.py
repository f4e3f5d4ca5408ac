"""Which layers and operators cost how much when each is quantized alone, and which of them to leave out.

Legend: `B` images in a batch, `C H W` image pixels.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import yaml

from smi_hf import progress
from smi_hf.files import replaced_atomically
from smi_hf.images.kept import KeptImages
from smi_hf.quantization.costs import Cost, CostMeter, largest, worst_first
from smi_hf.quantization.quantizer import Quantizer
from smi_hf.quantization.sensitivity_chart import save_chart

REPORT_FILE = "sensitivity.json"
CHART_FILE = "sensitivity.png"
EXCLUDE_FILE = "exclude.yaml"
# The worst layers that together make up this share of the summed divergences are proposed for exclusion.
_SHARE_TO_EXCLUDE = 0.5


@dataclass(frozen=True)
class Sensitivity:
    """A sensitivity report.

    Args:
        layers, operators: cost of each alone, worst first.
        exclude: layers that are proposed to stay in floating point.
        everything, without_excluded: cost of all layers together, and of all but the excluded ones.
        num_images: how many the answers were compared on.
    """

    layers: list[Cost]
    operators: list[Cost]
    exclude: list[str]
    everything: Cost
    without_excluded: Cost
    num_images: int


def measure_sensitivity(
    quantizer: Quantizer,
    calibration: KeptImages | None,
    pixels: Sequence[np.ndarray],
    *,
    disable_tqdm: bool = False,
) -> Sensitivity:
    """Quantizes each layer and each operator type of a quantizer's choice alone, and compares answers with float32.

    Needs no labels, so any images do.

    Args:
        pixels: batches of preprocessed images, float32 (B, C, H, W).
    """
    types = quantizer.float_model.layers
    operators = sorted({types[name] for name in quantizer.layers})
    meter = CostMeter(quantizer, calibration, pixels)
    total = len(quantizer.layers) + len(operators) + 2
    with progress.bar("Sensitivity", total=total, unit="model", disable=disable_tqdm) as bar:

        def cost(name: str, layers: Sequence[str]) -> Cost:
            bar.update()
            return meter.cost(name, layers)

        layers = worst_first(cost(name, [name]) for name in quantizer.layers)
        by_operator = worst_first(
            cost(kind, [name for name in quantizer.layers if types[name] == kind]) for kind in operators
        )
        exclude = _proposal(layers)
        rest = [name for name in quantizer.layers if name not in exclude]
        everything = cost("all of them", quantizer.layers)
        # Nothing left to quantize is float32 itself.
        without = (
            cost("all but the excluded", rest)
            if rest
            else Cost("all but the excluded", 0, 1.0, 0.0, meter.float_size_mb)
        )
    return Sensitivity(layers, by_operator, exclude, everything, without, meter.num_images)


def _proposal(layers: Sequence[Cost]) -> list[str]:
    """The fewest layers, worst first by divergence, that make up the share of the summed divergence."""
    return [cost.name for cost in largest(layers, _SHARE_TO_EXCLUDE)]


def save_sensitivity(report: Sensitivity, folder: Path) -> None:
    """Writes `sensitivity.json`, `sensitivity.png`, and `exclude.yaml`, which a recipe or `--exclude` can take up."""
    with replaced_atomically(folder / REPORT_FILE) as temporary:
        temporary.write_text(json.dumps(asdict(report), indent=2) + "\n")
    with replaced_atomically(folder / EXCLUDE_FILE) as temporary:
        temporary.write_text(yaml.safe_dump({"exclude": report.exclude}))
    save_chart(report, folder / CHART_FILE)


def load_sensitivity(folder: Path) -> Sensitivity:
    """The report that `save_sensitivity` wrote into a folder."""
    values = json.loads((folder / REPORT_FILE).read_text(encoding="utf-8"))
    for name in ("layers", "operators"):
        values[name] = [Cost(**cost) for cost in values[name]]
    for name in ("everything", "without_excluded"):
        values[name] = Cost(**values[name])
    return Sensitivity(**values)
