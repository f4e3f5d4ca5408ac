"""Models side by side: every row of a table measured on the same images in one run."""

from collections.abc import Mapping, Sequence

from smi_hf.evaluation.accuracy import RankedLabels, rank_labels
from smi_hf.evaluation.predictors import Predictor
from smi_hf.evaluation.table import Row, Scores
from smi_hf.images.real import ImageSet


def compare(
    models: Mapping[str, Sequence[Predictor]],
    images: ImageSet,
    labels: Mapping[str, str],
    *,
    figures: Mapping[str, Mapping[str, float]] | None = None,
    batch_size: int = 32,
    disable_tqdm: bool = False,
) -> list[Row]:
    """The rows of a table.

    Args:
        models: models of each row by its key, one a run; the first model of the first row is the reference, whose
            first choices the others' are compared with.
        images: to judge on, labeled unless the models' labels mean nothing to people; each is shown to every model as
            that model's preprocessing makes it.
        labels: what a reader is shown of a row, by its key.
        figures: other figures of a row, by its key.
    """
    predictors = {(key, run): model for key, runs in models.items() for run, model in enumerate(runs)}
    seen = rank_labels(images, predictors, batch_size=batch_size, disable_tqdm=disable_tqdm)
    reference = next(iter(seen.values()))
    scores = {place: scores_of(ranked, reference) for place, ranked in seen.items()}
    return [
        Row(key, labels[key], tuple(scores[key, run] for run in range(len(runs))), dict((figures or {}).get(key, {})))
        for key, runs in models.items()
    ]


def scores_of(seen: RankedLabels, reference: RankedLabels) -> Scores:
    """What a model is worth beside a reference that saw the same images."""
    accuracy = seen.accuracy()
    return Scores(
        accuracy["top1"],
        accuracy["top5"],
        seen.agreement(reference) if seen.has_labels else None,
        seen.cosine(reference),
        seen.same_neighbors(reference),
    )
