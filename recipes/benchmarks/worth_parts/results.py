"""What was measured: a file that a second run continues, a table and a plot."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

from rich.markup import escape
from rich.table import Table

from smi_hf.environment import Environment
from smi_hf.evaluation.worth import Spread, worth
from smi_hf.files import replaced_atomically
from smi_hf.json_record import JsonRecord, checked


@checked
@dataclass(frozen=True)
class Cell:
    """One model: a task on one run of a set.

    Args:
        task, settings: its name, and what else decides the result.
        images_sha256, teacher_sha256, judge_sha256: of images, weights, and photographs that judged it.
        run: number of the run, the seed of what the task draws.
        top1: in [0, 1].
        seconds: that it took to make the model and judge it.
    """

    task: str
    settings: str
    images_sha256: str
    teacher_sha256: str
    judge_sha256: str
    run: int
    top1: float
    seconds: float

    @property
    def key(self) -> tuple[str, str, str, str, str, int]:
        """What must be the same for it not to be measured again."""
        return self.task, self.settings, self.images_sha256, self.teacher_sha256, self.judge_sha256, self.run


@checked
@dataclass(frozen=True)
class Line:
    """A set at a task.

    Args:
        task, images: names.
        num_patches: of an image.
        synthesis_seconds: for the images of a run, None of photographs.
        top1: of each run, in [0, 1].
        worth, worth_spread: mean and standard deviation over runs; None where photographs are no better than noise,
            and of a single run.
    """

    task: str
    images: str
    num_patches: int
    synthesis_seconds: float | None
    top1: tuple[float, ...]
    worth: float | None
    worth_spread: float | None


@checked
@dataclass(frozen=True)
class WorthRecord(JsonRecord):
    """The file.

    Args:
        about: teacher, judge, numbers of images and patches, seeds; and how judge and photographs are kept apart.
        environment: of the machine.
        lines: of the last run.
        cells: of all runs that wrote to this file, other teachers' and sets' among them.
    """

    file_name = "worth.json"
    version = 1
    noun = "measurement"
    described = "a measurement of worth"
    made_with = "recipes/benchmarks/worth.py"

    about: dict[str, Any]
    environment: Environment
    lines: tuple[Line, ...] = ()
    cells: tuple[Cell, ...] = ()
    schema_version: int = 1


def read_cells(path: Path) -> tuple[Cell, ...]:
    """What earlier runs measured; nothing if there is no such file.

    Raises:
        UsageError: the file is something else.
    """
    if not path.exists():
        return ()
    return WorthRecord.from_json(path.read_text(encoding="utf-8", errors="replace"), str(path)).cells


def save(record: WorthRecord, path: Path) -> None:
    with replaced_atomically(path) as temporary:
        temporary.write_text(record.to_json(), encoding="utf-8")


def make_lines(
    top1: Mapping[str, Mapping[str, Sequence[float]]],
    num_patches: Mapping[str, int],
    seconds: Mapping[str, float | None],
    *,
    noise: str,
    photographs: str,
) -> list[Line]:
    """The lines of the table.

    Args:
        top1: accuracies of the runs, by task and by set; sets that are not finished may be missing.
        num_patches, seconds: by set.
        noise, photographs: the sets that are worth 0 and 1.
    """
    lines = []
    for task, sets in top1.items():
        for name, runs in sets.items():
            found: Spread | None = None
            if sets.get(noise) and sets.get(photographs):
                found = worth(runs, sets[noise], sets[photographs])
            value, spread = (found.mean, found.deviation) if found else (None, None)
            lines.append(Line(task, name, num_patches[name], seconds[name], tuple(runs), value, spread))
    return lines


def make_table(lines: Sequence[Line], title: str) -> Table:
    """A section for each task."""
    table = Table(title=escape(title), title_justify="left")
    for heading in ("task", "images"):
        table.add_column(heading, no_wrap=True)
    for heading in ("patches", "seconds", "runs", "top-1 %", "worth"):
        table.add_column(heading, justify="right", no_wrap=True)
    before = None
    for line in lines:
        if before not in (None, line.task):
            table.add_section()
        spread = Spread.of([100 * value for value in line.top1])
        table.add_row(
            "" if line.task == before else line.task,
            escape(line.images),
            str(line.num_patches),
            "" if line.synthesis_seconds is None else f"{line.synthesis_seconds:.1f}",
            str(spread.count),
            _cell(spread.mean, spread.deviation, 1),
            _cell(line.worth, line.worth_spread, 2),
        )
        before = line.task
    table.caption = (
        "worth: 0 is Gaussian noise, 1 photographs of as many patches; seconds: synthesis of the images of a run; "
        "nothing stands where photographs are no better than noise"
    )
    return table


def _cell(value: float | None, spread: float | None, digits: int) -> str:
    if value is None:
        return ""
    return f"{value:.{digits}f}" + ("" if spread is None else f" ± {spread:.{digits}f}")


def save_plot(lines: Sequence[Line], path: Path) -> None:
    """Worth by task, and its mean over tasks against the seconds of synthesis."""
    from matplotlib.figure import Figure

    told = [line for line in lines if line.worth is not None]
    tasks = list(dict.fromkeys(line.task for line in told))
    sets = list(dict.fromkeys(line.images for line in told))
    figure = Figure(figsize=(12, 4.5), layout="constrained")
    bars, costs = figure.subplots(1, 2, width_ratios=[2, 1])
    for number, name in enumerate(sets):
        mine = [line for line in told if line.images == name]
        places = [tasks.index(line.task) + (number - len(sets) / 2 + 0.5) * 0.8 / len(sets) for line in mine]
        spreads = [line.worth_spread or 0.0 for line in mine]
        drawn = bars.bar(places, [line.worth for line in mine], 0.8 / len(sets), yerr=spreads, label=name)
        if mine[0].synthesis_seconds:
            point = mine[0].synthesis_seconds, mean(line.worth for line in mine)
            costs.plot(*point, "o", color=drawn.patches[0].get_facecolor())
            costs.annotate(name, point, textcoords="offset points", xytext=(4, 4), fontsize=8)
    for axes in (bars, costs):
        axes.axhline(1, color="grey", linestyle="--", linewidth=1)
        axes.axhline(0, color="grey", linewidth=1)
        axes.set_ylabel("worth (0 noise, 1 photographs)")
    bars.set_xticks(range(len(tasks)), tasks, fontsize=8)
    if sets:
        bars.legend(fontsize=8)
    costs.set(xscale="log", xlabel="seconds of synthesis", title="mean over the tasks")
    with replaced_atomically(path) as temporary:
        figure.savefig(temporary, format="png", dpi=120)
