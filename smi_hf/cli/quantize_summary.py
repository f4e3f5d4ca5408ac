"""What `smi-hf quantize` says at its end: table, findings, where the model lies, and what can be done with it."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from smi_hf.cli.closing import Closing, measuring_step, model_closing
from smi_hf.cli.tables import comparison_table, make_console, sensitivity_table, show_tables
from smi_hf.quantization.config import WIDE_BITS, QuantizationConfig

if TYPE_CHECKING:
    from smi_hf.evaluation.record import ModelRecord


def show_quantized(record: "ModelRecord", config: QuantizationConfig) -> None:
    """Prints what came of a quantization."""
    from smi_hf.quantization.backend_comparison import BackendComparison
    from smi_hf.quantization.mixing import RECIPE_FILE, describe, load_mixture
    from smi_hf.quantization.sensitivity import EXCLUDE_FILE, load_sensitivity

    console, folder, settings = make_console(), Path(config.output_dir), record.settings
    backend = settings["backend"]
    if config.compare:
        comparison = BackendComparison.load(folder)
        console.print(comparison_table(comparison))
        for name, reason in comparison.left_out.items():
            print(f"{name} is left out: {reason}")
        print(f"Recommended: {comparison.reason}.\n")
    widths = f"weights {config.weights} bits, activations {config.activations}"
    widths += f", {WIDE_BITS} in {len(settings['wide_layers'])} layers" if settings["wide_layers"] else ""
    show_tables(record, f"{backend}, {widths}", console)
    if config.sensitivity:
        report = load_sensitivity(folder)
        console.print(sensitivity_table(report, f"{report.num_images} images"))
        console.print(
            f"To leave out the worst ({folder / EXCLUDE_FILE}):\n--exclude {' '.join(report.exclude)}",
            highlight=False,
            markup=False,
            soft_wrap=True,
        )
    if config.mixed:
        recipe = shlex.join(["--config", str(folder / RECIPE_FILE)])
        print(f"Mixed precision: {describe(load_mixture(folder))}. To make it again without the search: {recipe}")
    print(closing(record, config))


def closing(record: "ModelRecord", config: QuantizationConfig) -> Closing:
    """The end of the command: the model, and what a user can do with it."""
    folder, settings = Path(config.output_dir), record.settings
    made = (
        f"{settings['backend']} model, {settings['quantized_layers']} of {settings['layers']} layers quantized, "
        f"calibrated on {record.datasets[0].num_images} images"
    )
    steps = measuring_step(folder, record) if record.measured is None else {}
    return model_closing(made, record, folder, steps)
