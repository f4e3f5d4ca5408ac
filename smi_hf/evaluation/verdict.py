"""What a result comes to, in sentences: how good a model is, how sure that is, and whether its images were needed."""

from smi_hf.evaluation.intervals import wilson_interval
from smi_hf.evaluation.record import ModelRecord
from smi_hf.evaluation.table import FIRST_CONTROL, Row, main_column
from smi_hf.starts.base import STARTS

# Rows of a table that need no images of the model, beside those of what images begin as.
_WITHOUT_IMAGES = ("gaussian", "dynamic")
# With fewer images two models are seldom told apart.
_ENOUGH_IMAGES = 100


def share_words(share: float, count: int) -> str:
    """A share in [0, 1] of so many images: "97.0 % (95 % interval 91.5 to 99.0 %) of 100 images"."""
    low, high = wilson_interval(share, count)
    noun = "image" if count == 1 else "images"
    return f"{100 * share:.1f} % (95 % interval {100 * low:.1f} to {100 * high:.1f} %) of {count:,} {noun}"


def quality_words(record: ModelRecord) -> str:
    """How good the model is that lies beside a record, and what it is compared with."""
    if record.rows and record.measured is not None:
        reference, own = record.rows[:2]
        main = main_column(record.rows)
        judged = share_words(getattr(own.runs[0], main.key), record.measured.num_images)
        if main.key == "neighbors":
            return f"{main.words} as by {reference.label} for {judged}{_cosine_words(own)}"
        return (
            f"{main.words} {judged}; {reference.label} has {100 * reference.value(main.key):.1f} %{_cosine_words(own)}"
        )
    if record.held_out is not None:
        judged = share_words(record.held_out.agreement, record.held_out.num_images)
        return f"agreement with the teacher {judged}, synthetic ones that were held out"
    return "not measured: --eval_dataset names photographs to measure it on"


def controls_words(record: ModelRecord) -> str:
    """Whether images were needed: whether the best control that has none does as well. Means over runs are compared.

    Empty where the model was not judged on real images.
    """
    if not record.rows or record.measured is None:
        return ""
    controls = [row for row in record.rows[FIRST_CONTROL:] if needs_no_images(row)]
    if not controls:
        return "not measured: --controls gaussian tells whether noise would do as well"
    key = main_column(record.rows).key
    best = max(controls, key=lambda row: row.value(key))
    own, other = record.rows[1].value(key), best.value(key)
    found = f"{best.label} has {100 * other:.1f} %"
    num_images = record.measured.num_images
    if other >= wilson_interval(own, num_images)[0] and num_images < _ENOUGH_IMAGES:
        return f"{found}; {num_images} images are too few to tell the two apart"
    if other >= own:
        return f"{found}, which is as good: images were not needed here"
    if other >= wilson_interval(own, num_images)[0]:
        return f"{found}, as good as far as {num_images:,} images can tell: images were not needed here"
    return f"{found}: the images are worth {100 * (own - other):.1f} points"


def _cosine_words(row: Row) -> str:
    cosine = row.value("cosine")
    return "" if cosine is None else f"; cosine of embeddings {cosine:.4f}"


def sentences(*words: str) -> list[str]:
    """Words of this module as sentences; what is empty is left out."""
    return [f"{each[0].upper()}{each[1:]}." for each in words if each]


def needs_no_images(row: Row) -> bool:
    """Whether a control has neither photographs nor images that were made of the model."""
    name, _, argument = row.key.partition("=")
    return name in _WITHOUT_IMAGES or (name in STARTS.names() and not argument)


def ratio_words(record: ModelRecord) -> str:
    """Size and speed beside those of the reference, where they were measured: "1.9 MB, 0.31 of float32's"."""
    if not record.rows:
        return ""
    reference, own = record.rows[:2]
    found = []
    size, whole = own.value("size_mb"), reference.value("size_mb")
    if size and whole:
        found.append(f"{size:.1f} MB, {size / whole:.2f} of {reference.label}'s")
    speed, before = own.value("images_per_second"), reference.value("images_per_second")
    if speed and before:
        found.append(f"{speed / before:.1f} times as fast in batches of 32")
    return ", ".join(found)
