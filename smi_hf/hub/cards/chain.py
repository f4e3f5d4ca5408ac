"""What a card tells of the steps before the last: names, licenses and base model of the whole way, and its table."""

from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from smi_hf.evaluation.record import ModelRecord, Step
from smi_hf.evaluation.steps import step_words, way_cells
from smi_hf.hub.cards.markdown import checkpoint, code, inline, is_on_hub, settings_list
from smi_hf.models import License

_DONE = {"pruned": "pruned", "distilled": "taught", "quantized": "quantized"}
# Settings that say most about a step; all of the last one stand below.
_NOTED = {
    "pruned": ("max_parameters", "max_gmacs", "max_ms", "compensation", "ridge", "num_epochs", "num_scenes"),
    "distilled": ("loss", "temperature", "learning_rate", "num_train_epochs", "freeze_backbone", "rounds", "seed"),
    "quantized": ("operators", "quantize_outputs", "calibration_patches"),
}


def made_from(record: ModelRecord) -> list[tuple[str, License | None]]:
    """Names and licenses of the checkpoints that went into a model.

    What a step left in a local folder is not among them, as what that was made from is.
    """
    found: dict[str, License | None] = {}
    for number, step in enumerate(record.steps):
        if step.student is not None or _is_named(step, number):
            found[step.teacher.name] = step.teacher.license
        if step.student is not None and not step.student.from_scratch and _is_named(step, number):
            found[step.student.name or "the student's start"] = step.student.license
    return list(found.items())


def base_model(record: ModelRecord) -> str | None:
    """The checkpoint on the Hub that a model's weights come from, the nearest of the way; None if there is none."""
    for step in reversed(record.steps):
        if step.is_from_scratch:
            return None
        if is_on_hub(step.source.name, step.source.revision):
            return step.source.name
    return None


def name_parts(record: ModelRecord) -> list[str]:
    """What a model began as and what was done to it before the last step: "deit-tiny", "pruned", "taught"."""
    name = record.steps[0].source.name
    return [name.rpartition("/")[2] if name else "student", *(_DONE[step.kind] for step in record.history)]


def way_table(record: ModelRecord) -> list[Sequence[Any]]:
    """The way to a model as rows of a Markdown table, its head included; empty of a model of one step."""
    if not record.history:
        return []
    head, *lines, own = way_cells(record)
    bold = [Markup(f"**{inline(cell)}**") if cell else cell for cell in own]
    return [head, ["---", *("---:" for _ in head[1:])], *lines, bold]


def way_notes(record: ModelRecord) -> list[Markup]:
    """How each step was done, a line of Markdown each; empty of a model of one step."""
    return [_note(step, number) for number, step in enumerate(record.steps)] if record.history else []


def _note(step: Step, number: int) -> Markup:
    sentences = [Markup(f"{inline(step_words(step))}. From {_source(step, number)}")]
    sentences += [Markup(f"the teacher is {checkpoint(step.teacher)}")] if step.student is not None else []
    images = ", ".join(f"{code(each.name)} ({each.num_images} images)" for each in step.datasets)
    sentences += [Markup(f"on {images}")]
    noted = {name: step.settings[name] for name in _NOTED[step.kind] if name in step.settings}
    sentences += [Markup(f"with {words}")] if (words := settings_list(noted)) else []
    if step.measured is not None:
        sentences += [Markup(f"judged on {step.measured.num_images} images of {code(step.measured.dataset)}")]
    if step.rows and all("latency_ms_1" in row.figures for row in step.rows[:2]):
        before, own = (row.figures["latency_ms_1"] for row in step.rows[:2])
        sentences += [Markup(f"{own:.1f} ms for one image where {inline(step.rows[0].label)} took {before:.1f}")]
    return Markup(f"{Markup('; ').join(sentences)}; on {inline(step.environment.device)}.")


def _source(step: Step, number: int) -> Markup:
    if not _is_named(step, number):
        return Markup(f"what step {number} made")
    named = checkpoint(step.source)
    return Markup(f"the architecture of {named}") if step.is_from_scratch else named


def _is_named(step: Step, number: int) -> bool:
    """Whether the source of a step is known by its name, and not only as what the step before left in a folder."""
    return number == 0 or is_on_hub(step.source.name, step.source.revision)
