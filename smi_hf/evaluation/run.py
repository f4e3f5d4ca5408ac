"""`evaluate`: how good one classifier is on real images."""

from dataclasses import dataclass

from smi_hf.evaluation.accuracy import rank_labels
from smi_hf.evaluation.intervals import wilson_interval
from smi_hf.evaluation.predictors import Predictor, predictor_of
from smi_hf.evaluation.table import has_top5
from smi_hf.images.real import ImageSet
from smi_hf.models import Classifier, Teacher
from smi_hf.notebook import facts, panel


@dataclass(frozen=True)
class Evaluation:
    """What a classifier is worth on a set of real images.

    Args:
        top1: share of images whose label is its first choice, in [0, 1].
        top5: the same of its first five choices; None with ten classes or fewer, where it says little.
        num_images: that it was shown.
        interval: Wilson's 95 % interval of `top1`, (low, high).
        latency_ms: time in the model, per image.
        backend: what computes it, in a word.
    """

    top1: float
    top5: float | None
    num_images: int
    interval: tuple[float, float]
    latency_ms: float
    backend: str

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        low, high = self.interval
        return panel(
            f"Judged on {self.num_images} images",
            facts(
                {
                    "top-1": f"{100 * self.top1:.1f} % (95 % interval {100 * low:.1f} to {100 * high:.1f})",
                    "top-5": "" if self.top5 is None else f"{100 * self.top5:.1f} %",
                    "time per image": f"{self.latency_ms:.1f} ms, {self.backend}",
                }
            ),
        )


def evaluate(
    model: Predictor | Teacher | Classifier,
    images: ImageSet,
    *,
    batch_size: int = 32,
    disable_tqdm: bool = False,
) -> Evaluation:
    """Measures a classifier on real images, which it is shown as its own image processor makes them.

    Args:
        images: loaded with the labels of this model (`load_image_set`).
        batch_size: images at a time.

    Raises:
        UsageError: the labels are not the model's, an image cannot be decoded, or the image processor does not fit
            the model.
    """
    predictor = predictor_of(model)
    seen = rank_labels(images, {"model": predictor}, batch_size=batch_size, disable_tqdm=disable_tqdm)["model"]
    accuracy = seen.accuracy()
    return Evaluation(
        top1=accuracy["top1"],
        top5=accuracy["top5"] if has_top5(len(predictor.label_names)) else None,
        num_images=len(images),
        interval=wilson_interval(accuracy["top1"], len(images)),
        latency_ms=1000 * seen.seconds / len(images),
        backend=predictor.backend,
    )
