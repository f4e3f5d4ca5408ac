"""The card `README.md` of a quantized or pruned model or a student, rendered from its record alone."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData
from markupsafe import Markup

from smi_hf.data.report_file import REPORT_FILE
from smi_hf.data.schema import CARD_FILE
from smi_hf.evaluation.intervals import wilson_interval
from smi_hf.evaluation.record import RESULTS_FILE, ModelRecord, Runtime
from smi_hf.evaluation.table import Scores, has_top5, main_column, table_cells
from smi_hf.evaluation.verdict import controls_words, quality_words, ratio_words, sentences
from smi_hf.files import replaced_atomically
from smi_hf.hub.cards.chain import base_model, made_from, name_parts, way_notes, way_table
from smi_hf.hub.cards.licenses import describe_license, license_metadata
from smi_hf.hub.cards.markdown import (
    NO_REPOSITORY,
    code,
    describe_versions,
    inline,
    is_on_hub,
    plain,
    settings_table,
    template_environment,
)
from smi_hf.hub.loaders import LOADERS, loader_name
from smi_hf.models.embeddings import HEAD_FILE
from smi_hf.models.references import HeadReference

_FLOAT_BITS = 32
# Of the Hub.
_LONGEST_TAG = 100

# Files of a model's folder that are the model. That of a quantized model was empty before; a Trainer's holds
# checkpoints, logs and a pickle of its arguments, too.
_FILES = {
    "quantized": ("*",),
    "distilled": ("*config.json", "model*.safetensors", "model.safetensors.index.json", HEAD_FILE),
    "pruned": ("*",),
}
# The Hub's words for what a model is to the one that it was made from. It has none for a pruned one.
_RELATIONS = {"quantized": "quantized", "distilled": "finetune", "pruned": "finetune"}


def render_model_card(record: ModelRecord, *, repo_id: str | None = None) -> ModelCard:
    """The card of a compressed model.

    Args:
        repo_id: name on the Hub, for the examples; a local path stands in if None.
    """
    name = repo_id.rpartition("/")[2] if repo_id else _model_name(record)
    base = base_model(record)
    licenses = made_from(record)
    loader, head, results = LOADERS.get(loader_name(record)), record.head, _eval_results(record)
    used = [dataset for step in record.steps for dataset in step.datasets]
    data = ModelCardData(
        **license_metadata(*(license for _, license in licenses)),
        library_name=_library(record),
        pipeline_tag="image-classification" if head is None else "image-feature-extraction",
        base_model=[base] if base else None,
        base_model_relation=_RELATIONS[record.kind] if base else None,
        datasets=_unique(each.name for each in used if is_on_hub(each.name, each.revision)) or None,
        tags=_tags(record),
        metrics=["accuracy"] if results else None,
        model_name=plain(name) if results else None,
        eval_results=results or None,
    )
    own_row = record.rows[1] if record.rows else None
    reference, of_reference = _reference(record)
    text = (
        template_environment()
        .get_template("model_card.md.jinja")
        .render(
            metadata=Markup(data.to_yaml()),
            title=model_title(record),
            sentences=model_sentences(record),
            loader=loader and loader.of(head),
            head=head,
            embedding=head and _embedding(head),
            model_class=_model_class(record),
            head_file=HEAD_FILE,
            repo=repo_id or NO_REPOSITORY,
            is_on_hub=repo_id is not None,
            **{key: getattr(record, key) for key in ("kind", "teacher", "student", "settings", "rows", "measured")},
            **{key: getattr(record, key) for key in ("held_out", "pictures")},
            widths=_widths(record.settings) if record.kind == "quantized" else None,
            is_from_teacher=all(each.is_from_teacher for each in record.datasets),
            table_rows=_table(record),
            num_runs=len(own_row.runs) if own_row else 0,
            own_figures=_own_figures(record) if own_row else None,
            own_main=_main_words(record) if own_row else None,
            reference_words=reference,
            reference_short=of_reference,
            has_speed=any("latency_ms_1" in row.figures for row in record.rows),
            device=record.environment.device,
            backend=record.settings.get("backend"),
            loading=_loading(record),
            library=_library(record),
            transformers_version=record.environment.packages.get("transformers"),
            dataset_rows=_dataset_table(record),
            settings_rows=settings_table(record.settings),
            versions=describe_versions(record.environment),
            licenses=[(each, describe_license(license)) for each, license in licenses],
            way_rows=way_table(record),
            way_notes=way_notes(record),
            is_judged_alike=len({step.measured for step in record.steps if step.measured}) < 2,
            what="model",
        )
    )
    return ModelCard(text)


def save_model_card(record: ModelRecord, folder: Path) -> None:
    """Writes the card into a model folder."""
    with replaced_atomically(folder / CARD_FILE) as temporary:
        temporary.write_text(str(render_model_card(record)), encoding="utf-8")


def save_model_record(record: ModelRecord, folder: Path) -> None:
    """Writes the record of a model, with digests of its files and pictures, and its card into its folder.

    Only what the record then lists is ever published.
    """
    patterns, beside = (*_FILES[record.kind], *record.pictures), (CARD_FILE, RESULTS_FILE, REPORT_FILE)
    found = {path for pattern in patterns for path in folder.glob(pattern) if path.is_file() and not path.is_symlink()}
    record = record.with_files(path for path in found if path.name not in beside)
    record.save(folder)
    save_model_card(record, folder)


def is_record_of(folder: Path) -> bool:
    """Whether a folder holds a record of the very files that lie there."""
    if not (folder / RESULTS_FILE).is_file():
        return False
    record = ModelRecord.load(folder)
    return bool(record.files) and record.changed_file(folder) is None


def _reference(record: ModelRecord) -> tuple[str, str]:
    """What the first row of the table is, and whose first choices others are compared with."""
    if record.student:
        return "the teacher", "the teacher's"
    if record.kind == "pruned":
        return "the whole model", "the whole model's"
    return "the model in floating point under the same runtime", "in floating point"


def _short(name: str) -> str:
    return name.rpartition("/")[2]


def _model_name(record: ModelRecord) -> str:
    start = "-".join(name_parts(record))
    if record.kind == "distilled":
        return f"{start}-taught-by-{_short(record.teacher.name)}"
    if record.kind == "pruned":
        return f"{start}-pruned"
    settings = record.settings
    return f"{start}-{settings['backend']}-w{settings['weights']}a{settings['activations']}"


def model_title(record: ModelRecord) -> str:
    """What a model is, in a line: "deit-tiny, W8/A8 (ONNX Runtime), made without data"."""
    # Where it comes from is the first thing to know of a model.
    name = ", ".join(name_parts(record)) if record.steps[0].source.name else "A student"
    if record.kind == "distilled":
        return f"{name}, taught by {record.teacher.name} without data"
    if record.kind == "pruned":
        return f"{name}, pruned without data"
    widths = f"W{record.settings['weights']}/A{record.settings['activations']}"
    return f"{name}, {widths} ({_runtime(record).words}), made without data"


def model_sentences(record: ModelRecord) -> list[str]:
    """How good a model is, what that costs, and whether images were needed; empty if nobody has measured it."""
    if not record.rows and record.held_out is None:
        return []
    return sentences(quality_words(record), ratio_words(record), controls_words(record))


def _runtime(record: ModelRecord) -> Runtime:
    """What runs a quantized model; records of version 1 do not say more than the name of the back end."""
    backend = record.settings["backend"]
    return record.runtime or Runtime(backend, "smi_hf", (backend,))


def _widths(settings: dict[str, Any]) -> str:
    def bits(width: int) -> str:
        return "floating point" if width == _FLOAT_BITS else f"{width} bits"

    wide = len(settings.get("wide_layers", ()))
    return f"weights in {bits(settings['weights'])} and activations in {bits(settings['activations'])}" + (
        f", in 16 bits in {wide} layer{'s' if wide > 1 else ''}" if wide else ""
    )


def _library(record: ModelRecord) -> str:
    if record.kind == "distilled":
        return "smi_hf" if "quantization" in record.settings else "transformers"
    if record.kind == "pruned":
        return "transformers"
    return _runtime(record).library


def _loading(record: ModelRecord) -> list[str]:
    """Templates that say how to load it, the first that exists."""
    if record.kind == "distilled":
        return [
            "loading/rounded_student.md.jinja" if "quantization" in record.settings else "loading/student.md.jinja"
        ]
    if record.kind == "pruned":
        return ["loading/student.md.jinja"]
    return [f"loading/{record.settings['backend']}.md.jinja", "loading/any.md.jinja"]


def _model_class(record: ModelRecord) -> str:
    """The class that loads it, where a template names one."""
    loader = LOADERS.get(loader_name(record))
    return loader.of(record.head).class_name if loader else ""


def _tags(record: ModelRecord) -> list[str]:
    tags = [record.source.model_type]
    kinds = {step.kind for step in record.steps}
    if record.kind == "quantized":
        weights = record.settings["weights"]
        tags += _runtime(record).tags
        tags += [f"int{weights}", f"{weights}-bit"] if weights != _FLOAT_BITS else []
    if "pruned" in kinds:
        tags += ["pruning"]
    if any(step.student is not None for step in record.steps):
        tags += ["knowledge-distillation"]
    if record.student is not None:
        tags += [f"teacher:{record.teacher.name}"] if is_on_hub(record.teacher.name, record.teacher.revision) else []
    tags = [plain(tag) for tag in tags if 0 < len(plain(tag)) < _LONGEST_TAG]
    return _unique([*tags, "data-free", "sparse-model-inversion", "smi_hf"])


def _eval_results(record: ModelRecord) -> list[EvalResult]:
    """Scores of the model itself, not of the mean over runs."""
    if not record.rows:
        return []
    own, measured = record.rows[1].runs[0], record.measured
    if own.top1 is None:
        return []
    task = "Image classification" if record.head is None else "Zero-shot image classification"
    return [
        EvalResult(
            task_type=task.lower().replace(" ", "-"),
            task_name=task,
            dataset_type=plain(measured.type),
            dataset_name=plain(measured.dataset),
            dataset_split=measured.split and plain(measured.split),
            metric_type="accuracy",
            metric_name=f"Top-{k} accuracy on {measured.num_images} images",
            metric_value=getattr(own, f"top{k}"),
        )
        for k in ((1, 5) if has_top5(record.num_labels) else (1,))
    ]


def _table(record: ModelRecord) -> list[Sequence[Any]]:
    if not record.rows:
        return []
    what = "calibrated on" if record.student is None else "taught on"
    head, *lines = table_cells(record.rows, what, num_labels=record.num_labels)
    own = [Markup(f"**{inline(cell)}**") if cell else cell for cell in lines[1]]
    return [head, ["---", *("---:" for _ in head[1:])], *lines[:1], own, *lines[2:]]


def _own_figures(record: ModelRecord) -> str:
    own: Scores = record.rows[1].runs[0]
    named = [
        ("top1", "top-1"),
        *([("top5", "top-5")] if has_top5(record.num_labels) else []),
        ("agreement", "agreement"),
        ("neighbors", "the same nearest neighbors"),
    ]
    known = [(words, getattr(own, key)) for key, words in named]
    return ", ".join(f"{words} {100 * value:.1f} %" for words, value in known if value is not None)


def _main_words(record: ModelRecord) -> str:
    """What this model itself was judged by, with its interval."""
    main, count = main_column(record.rows), record.measured.num_images
    share = getattr(record.rows[1].runs[0], main.key)
    low, high = wilson_interval(share, count)
    what = "top-1 accuracy" if main.key == "top1" else "share of images with the same nearest neighbor"
    return (
        f"{what} of this model is {100 * share:.1f} %, with a 95 % interval of {100 * low:.1f} to {100 * high:.1f} % "
        f"(Wilson, {count} images)"
    )


def _embedding(head: HeadReference) -> str:
    """Python that reads embeddings (B, D) off a model's answer to `inputs`."""
    reading = {"given": "", "first": "[:, 0]", "patches": f"[:, {head.num_prefix}:].mean(1)"}[head.pooling]
    return f"model(**inputs).{head.output}{reading}"


def _dataset_table(record: ModelRecord) -> list[Sequence[str]]:
    rows: list[Sequence[str]] = [
        ("synthetic dataset", "revision", "images used", "patches kept", "sha256 of the shards"),
        ("---", "---", "---:", "---:", "---"),
    ]
    for each in record.datasets:
        revision, digest = (code(value[:12]) if value else "" for value in (each.revision, each.content_sha256))
        rows.append((each.name, revision, str(each.num_images), str(each.num_kept), digest))
    return rows


def _unique(values: Any) -> list[str]:
    return list(dict.fromkeys(values))
