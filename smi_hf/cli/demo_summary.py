"""What `smi-hf demo` says at its end: a screen of results, where they lie, and what to type next."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.bar import Bar
from rich.console import Group
from rich.markup import escape
from rich.table import Table

from smi_hf.demo.run import DENSE, SPARSE
from smi_hf.evaluation.table import Row

if TYPE_CHECKING:
    from smi_hf.demo.run import Inversion
    from smi_hf.evaluation.record import ModelRecord

_BAR_WIDTH = 30
# On the embedded teacher no quantizer tells images from noise. Of recipes/deit_tiny_imagenet/README.md.
_ON_A_REAL_MODEL = (
    "On this small teacher any images calibrate int8 as well. DeiT-Tiny with all results in 8 bits has 85.4 % on "
    "inverted images and 6.0 % on noise (recipes/deit_tiny_imagenet/README.md)."
)


@dataclass
class Results:
    """What the demonstration made; None where an extra is missing.

    Args:
        inversions: dense and sparse, by name.
        quantized, pruned, taught: records of models.
    """

    inversions: "Mapping[str, Inversion]"
    quantized: "ModelRecord | None" = None
    pruned: "ModelRecord | None" = None
    taught: "ModelRecord | None" = None


def summary(results: Results, output_dir: Path, report: Path) -> Group:
    """The last screen.

    Args:
        report: the page that shows everything.
    """
    lines = [f"[bold]{head:<10}[/]{words}" for head, words in _lines(results)]
    steps = (
        "smi-hf invert --model_name_or_path YOUR/VIT --preset default --output_dir out/images",
        "smi-hf quantize --model_name_or_path YOUR/VIT --dataset out/images --output_dir out/int8",
        "smi-hf push out/int8 YOUR/VIT-INT8",
    )
    return Group(
        "",
        _time_bars(results.inversions),
        "",
        *lines,
        _ON_A_REAL_MODEL,
        "",
        f"[bold]{'report':<10}[/]{escape(str(report))}: open it in a browser",
        f"[bold]{'folders':<10}[/]{escape(str(output_dir))}: a card in each of them",
        f"[bold]{'next':<10}[/]with a model of yours:",
        *(f"  {step}" for step in steps),
    )


def _time_bars(inversions: "Mapping[str, Inversion]") -> Table:
    """Seconds of each inversion as bars."""
    longest = max(each.seconds for each in inversions.values()) or 1.0
    table = Table.grid(padding=(0, 1))
    for name, each in inversions.items():
        table.add_row(f"{name:<9}", Bar(longest, 0, each.seconds, width=_BAR_WIDTH), f"{each.seconds:.1f} s")
    return table


def _lines(results: Results) -> list[tuple[str, str]]:
    """What was found, a line each."""
    dense, sparse = (results.inversions[name] for name in (DENSE, SPARSE))
    found = [
        ("inverted", f"sparse inversion is {dense.seconds / max(sparse.seconds, 1e-9):.1f} times as fast as dense")
    ]
    if results.quantized is not None:
        before, own = results.quantized.rows[:2]
        size = own.value("size_mb") / before.value("size_mb")
        found.append(("int8", f"{_percent(own)} of {_percent(before)}, {size:.2f} of the size"))
    if results.pruned is not None:
        before, own = results.pruned.rows[:2]
        share = own.value("parameters") / before.value("parameters")
        found.append(("pruned", f"{_beside_controls(results.pruned)}; {share:.2f} of the parameters"))
    if results.taught is not None:
        found.append(("taught", _beside_controls(results.taught)))
    return found


def _percent(row: Row) -> str:
    return f"{100 * row.value('top1'):.1f} %"


def _beside_controls(record: "ModelRecord") -> str:
    """The accuracy by what a model was pruned or taught on; the rows stand in the order of `demo.run.CONTROLS`."""
    _, own, noise, scenes = map(_percent, record.rows)
    return f"{own} on the images, {scenes} on procedural pictures, {noise} on noise"
