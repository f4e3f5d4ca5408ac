"""`evaluate`: how good one model is on real images."""

from dataclasses import dataclass

from smi_hf.errors import UsageError
from smi_hf.evaluation.accuracy import rank_labels
from smi_hf.evaluation.comparison import scores_of
from smi_hf.evaluation.intervals import wilson_interval
from smi_hf.evaluation.predictors import Predictor, predictor_of
from smi_hf.evaluation.table import has_top5
from smi_hf.images.real import ImageSet
from smi_hf.models import Classifier, Teacher
from smi_hf.notebook import facts, panel


@dataclass(frozen=True)
class Evaluation:
    """What a model is worth on a set of real images.

    Args:
        top1: share of images whose label is its first choice, in [0, 1]; None of a model whose labels mean nothing.
        top5: the same of its first five choices; None with ten classes or fewer, where it says little.
        num_images: that it was shown.
        interval: Wilson's 95 % interval of `top1`, (low, high).
        latency_ms: time in the model, per image.
        backend: what computes it, in a word.
        agreement, cosine, neighbors: beside a reference, as of `smi_hf.evaluation.table.Scores`; None without one.
    """

    top1: float | None
    top5: float | None
    num_images: int
    interval: tuple[float, float] | None
    latency_ms: float
    backend: str
    agreement: float | None = None
    cosine: float | None = None
    neighbors: float | None = None

    def words(self) -> dict[str, str]:
        """What was measured, in words, by what it is."""
        found = {}
        if self.top1 is not None:
            low, high = self.interval
            found["top-1"] = f"{100 * self.top1:.2f} % (95 % interval {100 * low:.1f} to {100 * high:.1f} %)"
        shares = {"top-5": self.top5, "agreement with the reference": self.agreement}
        shares["same nearest neighbor as by the reference"] = self.neighbors
        found |= {name: f"{100 * share:.2f} %" for name, share in shares.items() if share is not None}
        if self.cosine is not None:
            found["cosine with the reference's embeddings"] = f"{self.cosine:.4f}"
        return found

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        return panel(
            f"Judged on {self.num_images} images",
            facts({**self.words(), "time per image": f"{self.latency_ms:.1f} ms, {self.backend}"}),
        )


def evaluate(
    model: Predictor | Teacher | Classifier,
    images: ImageSet,
    *,
    reference: Predictor | Teacher | Classifier | None = None,
    batch_size: int = 32,
    disable_tqdm: bool = False,
) -> Evaluation:
    """Measures a model on real images, which it is shown as its own image processor makes them.

    Args:
        images: loaded with the labels of this model (`load_image_set`).
        reference: what its answers are compared with, such as the model in floating point that it was made from. A
            model whose labels mean nothing needs one.
        batch_size: images at a time.

    Raises:
        UsageError: the labels are not the model's, an image cannot be decoded, the image processor does not fit the
            model, or there is nothing to measure: no labels, and no reference.
    """
    predictors = {"model": predictor_of(model)}
    if reference is not None:
        predictors["reference"] = predictor_of(reference)
    elif not predictors["model"].has_labels or images.label_column is None:
        raise UsageError(
            "the model gives embeddings and tells no labels apart, so it is judged by how near they are to another "
            "model's; give a reference, the model in floating point (--reference)"
        )
    predictor = predictors["model"]
    found = rank_labels(images, predictors, batch_size=batch_size, disable_tqdm=disable_tqdm)
    seen = found["model"]
    scores = scores_of(seen, found.get("reference", seen))
    has_reference = "reference" in found
    compared = (scores.agreement, scores.cosine, scores.neighbors)
    if scores.top1 is None and all(score is None for score in compared):
        raise UsageError(
            "the model and its reference have neither labels nor embeddings of one size, so that nothing can be "
            "compared; give the model in floating point that it was made from"
        )
    return Evaluation(
        top1=scores.top1,
        top5=scores.top5 if has_top5(len(predictor.label_names)) else None,
        num_images=len(images),
        interval=None if scores.top1 is None else wilson_interval(scores.top1, len(images)),
        latency_ms=1000 * seen.seconds / len(images),
        backend=predictor.backend,
        agreement=scores.agreement if has_reference else None,
        cosine=scores.cosine if has_reference else None,
        neighbors=scores.neighbors if has_reference else None,
    )
