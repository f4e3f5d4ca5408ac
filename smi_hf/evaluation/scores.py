"""How well models do in a table: scores of each run, their mean and spread."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import mean, stdev
from typing import Any, TypeVar

from smi_hf.evaluation.accuracy import Choices

Key = TypeVar("Key")


@dataclass(frozen=True)
class Scores:
    """One model: top-1 and top-5 accuracy, and share of images with a reference's first choice; in [0, 1]."""

    top1: float
    top5: float
    agreement: float


SCORES = ("top1", "top5", "agreement")


def score(seen: Mapping[Key, Choices], reference: Key) -> dict[Key, Scores]:
    """Scores of every model, agreement being with the model of key `reference`."""
    return {
        key: Scores(**choices.accuracy(), agreement=choices.agreement(seen[reference]))
        for key, choices in seen.items()
    }


def mean_score(runs: Sequence[Scores], name: str) -> float:
    """Mean of a score over runs."""
    return mean(getattr(run, name) for run in runs)


def score_spread(runs: Sequence[Scores], name: str) -> float | None:
    """Standard deviation of a score over runs, None for a single one."""
    return stdev(getattr(run, name) for run in runs) if len(runs) > 1 else None


def summary(runs: Sequence[Scores]) -> dict[str, Any]:
    """Every run, and mean (`top1`, ...) and spread (`top1_std`, ...) over them, as plain values."""
    values: dict[str, Any] = {"runs": [asdict(run) for run in runs]}
    values |= {name: mean_score(runs, name) for name in SCORES}
    return values | {f"{name}_std": score_spread(runs, name) for name in SCORES}
