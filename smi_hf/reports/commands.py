"""Commands that repeat a result, from the settings in its record, and commands that go on from it.

A record holds names and no paths: of what lay in a local folder, the folder's name stands in the command.
"""

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from smi_hf.data.record import DatasetRecord
from smi_hf.evaluation.record import ModelRecord, Step
from smi_hf.evaluation.table import FIRST_CONTROL
from smi_hf.reports.parts import Section, Subject

PHOTOGRAPHS = "photographs.parquet"
# Settings of a record that no option sets by that name.
_NO_OPTIONS = {
    "invert": {"start_sha256"},
    "quantize": {"quantized_layers", "layers", "mixed", "max_loss", "max_size_mb", "compare"},
    "prune": {"compensation", "layers", "layers_before", "parameters", "parameters_before"},
    "distill": {
        "has_new_head", "num_processes", "student_layers", "rounds", "resumed_from", "quantization", "control_seeds",
        # Of a quantized student, and not of its training.
        "backend", "weights", "activations", "operators", "exclude", "wide_layers", "target", "quantize_outputs",
    },
}  # fmt: skip
_COMMANDS = {"quantized": "quantize", "pruned": "prune", "distilled": "distill"}
# Rows of a table that are there without being asked for.
_NO_CONTROLS = ("untrained", "quantizer alone")
# Layers that stay, in the example; how many a teacher has, a record of images does not say.
_FEW_LAYERS = "3"
_MOST_LABELS = 20


def section(subject: Subject) -> Section:
    """Commands for a result."""
    record = subject.record
    is_dataset = isinstance(record, DatasetRecord)
    repeat = [invert_command(record, subject.name)] if is_dataset else model_commands(record, subject.name)
    following = after_dataset(record, subject.name) if is_dataset else after_model(record, subject.name)
    return Section(
        title="Do it again, and go on",
        template="commands.html.jinja",
        values={
            "repeat": [broken(command) for command in repeat],
            "following": [(words, broken(command)) for words, command in following],
            "has_rounds": not is_dataset and any(step.settings.get("rounds") for step in record.steps),
        },
    )


def invert_command(record: DatasetRecord, name: str) -> list[str]:
    """The command that makes a dataset's images."""
    settings = {
        option: value["name"] if isinstance(value, dict) and "name" in value else value
        for option, value in record.full_settings.items()
        if option not in _NO_OPTIONS["invert"]
    }
    # Where these decide nothing, they are refused.
    if settings["num_steps"] == 0 or settings["policy"] in ("dense", "pri"):
        settings |= {"prune_steps": None, "prune_ratios": None}
    if settings["num_steps"] == 0:
        settings["policy"] = None
    model = _model(record.teacher.name, record.teacher.revision)
    return ["smi-hf", "invert", *model, *_told_apart(record), *_words(settings, name)]


def _told_apart(record: DatasetRecord) -> list[str]:
    """What makes a classifier of an image tower or a backbone; long lists of labels are a file of the reader's."""
    head, names = record.teacher.head, record.label_names
    if head is None:
        return []
    if not head.has_labels:
        return ["--directions", str(len(names)), "--directions_from", head.kind]
    return ["--labels", *(names if len(names) <= _MOST_LABELS else ["labels.txt"])]


def model_commands(record: ModelRecord, name: str) -> list[list[str]]:
    """The commands of all steps on the way to a model, first step first."""
    names = [step.source.name or "student" for step in record.steps[1:]]
    return [step_command(step, output) for step, output in zip(record.steps, [*names, name])]


def step_command(step: Step, name: str) -> list[str]:
    """The command that takes a step.

    Args:
        name: of the folder that it writes.
    """
    command = "distill" if step.student is not None else _COMMANDS[step.kind]
    settings = {key: value for key, value in step.settings.items() if key not in _NO_OPTIONS[command]}
    if command == "distill":
        words = ["--teacher", step.teacher.name]
        words += ["--teacher_revision", step.teacher.revision] if step.teacher.revision else []
        words += _student(step)
        settings |= _rounding(step)
        settings["augmentations"] = settings.get("augmentations") or ["none"]
    else:
        words = _model(step.teacher.name, step.teacher.revision)
        layers, before = step.settings.get("layers"), step.settings.get("layers_before")
        if command == "prune" and isinstance(layers, list) and len(layers) != before:
            settings["layers"] = layers
    words += ["--dataset", *(each.name for each in step.datasets)]
    if not all(each.is_from_teacher for each in step.datasets):
        settings["other_teacher"] = True
    return ["smi-hf", command, *words, *_words(settings, name), *_judged(step)]


def after_dataset(record: DatasetRecord, name: str) -> list[tuple[str, list[str]]]:
    """What to do with images: words, and a command."""
    model, data = _model(record.teacher.name, record.teacher.revision), ["--dataset", name]
    judged = ["--eval_dataset", PHOTOGRAPHS, "--controls", "gaussian"]
    taught = ["--teacher", record.teacher.name, "--student_layers", _FEW_LAYERS]
    return [
        (
            "Make an int8 model, and see if noise would do",
            _making("quantize", model, data, f"{name}-int8", judged),
        ),
        ("Make a smaller model", _making("prune", model, data, f"{name}-pruned", judged)),
        ("Teach a student of some of the teacher's layers", _making("distill", taught, data, f"{name}-student")),
        ("Publish the images", ["smi-hf", "push", name, f"NAMESPACE/{name}"]),
    ]


def after_model(record: ModelRecord, name: str) -> list[tuple[str, list[str]]]:
    """What to do with a model: words, and a command."""
    model, data = ["--model_name_or_path", name], ["--dataset", record.datasets[0].name]
    found: list[tuple[str, list[str]]] = []
    if record.measured is None:
        command = ["smi-hf", "evaluate", *model, "--dataset", PHOTOGRAPHS]
        if record.head is not None and not record.head.has_labels:
            found.append(("Compare it with its teacher", [*command, "--reference", record.teacher.name]))
        else:
            found.append(("Measure its accuracy", command))
    if record.kind == "pruned":
        taught = ["--teacher", record.teacher.name, "--student", name]
        found.append(("Teach it what it lost", _making("distill", taught, data, f"{name}-recovered")))
    if record.kind != "quantized":
        found.append(("Make integers of it", ["smi-hf", "quantize", *model, "--output_dir", f"{name}-int8"]))
    return [*found, ("Publish it", ["smi-hf", "push", name, f"NAMESPACE/{name}"])]


def broken(command: Sequence[str]) -> str:
    """A command as a shell takes it, an option a line."""
    lines: list[str] = []
    for word in command:
        text = shlex.quote(word)
        if not lines or word.startswith("--"):
            lines.append(text)
        else:
            lines[-1] += f" {text}"
    return " \\\n  ".join(lines)


def _making(verb: str, model: Sequence[str], data: Sequence[str], output: str, more: Sequence[str] = ()) -> list[str]:
    return ["smi-hf", verb, *model, *data, "--output_dir", output, *more]


def _model(name: str, revision: str | None) -> list[str]:
    return ["--model_name_or_path", name, *(["--revision", revision] if revision else [])]


def _student(step: Step) -> list[str]:
    assert step.student is not None, "a step of this kind has a student"
    layers = step.settings.get("student_layers")
    if step.student.name == step.teacher.name and isinstance(layers, list):
        return ["--student_layers", ",".join(map(str, layers)) + ("," if len(layers) == 1 else "")]
    words = ["--student", step.student.name or "path/to/student"]
    words += ["--student_revision", step.student.revision] if step.student.revision else []
    return [*words, *(["--from_scratch"] if step.student.from_scratch else [])]


def _rounding(step: Step) -> Mapping[str, Any]:
    """Options of a student that was rounded while it learned."""
    rounding = step.settings.get("quantization", step.settings if step.kind == "quantized" else None)
    if not isinstance(rounding, dict):
        return {}
    return {
        "quantize_weights": rounding.get("weights"),
        "quantize_activations": rounding.get("activations"),
        "exclude": rounding.get("exclude"),
    }


def _judged(step: Step) -> list[str]:
    """What a step was judged on, and its controls."""
    if step.measured is None:
        return []
    words = ["--eval_dataset", step.measured.dataset]
    words += ["--eval_split", step.measured.split] if step.measured.split else []
    words += ["--max_images", str(step.measured.num_images)]
    controls = [row.key for row in step.rows[FIRST_CONTROL:] if row.key not in _NO_CONTROLS]
    words += ["--controls", *controls] if controls else []
    seeds = step.settings.get("control_seeds")
    if controls and step.student is not None and isinstance(seeds, list):
        words += ["--control_seeds", *map(str, seeds)]
    return words


def _words(settings: Mapping[str, Any], name: str) -> list[str]:
    """Settings as words of a command, where they write to last."""
    words: list[str] = []
    for option, value in settings.items():
        if value is None or value is False or value == [] or isinstance(value, dict):
            continue
        if value is True:
            words += [f"--{option}", "true"]
        elif isinstance(value, list | tuple):
            words += [f"--{option}", *map(str, value)]
        else:
            # A number below 0 would be taken for an option.
            words += [f"--{option}={value}"] if str(value).startswith("-") else [f"--{option}", str(value)]
    return [*words, "--output_dir", name]
