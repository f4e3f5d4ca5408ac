"""Whether the labels of a dataset are those of a model, and which is which."""

import logging
import re
from collections.abc import Sequence
from typing import Literal

from smi_hf.data.schema import distinct_names
from smi_hf.errors import UsageError
from smi_hf.registry import suggest

logger = logging.getLogger(__name__)

MatchedBy = Literal["name", "number"]

_NUM_SHOWN = 4
# "crane (517)", "crane2": how datasets tell two labels of one name apart.
_NUMBERED = re.compile(r"(.+?) ?\(?\d+\)?")


def same_names(some: Sequence[str], others: Sequence[str]) -> bool:
    """Whether two lists name the same labels in the same order; case and underscores do not count."""
    return [_normal(name) for name in some] == [_normal(name) for name in others]


def match_names(names: Sequence[str], label_names: Sequence[str], dataset: str) -> tuple[list[int], MatchedBy]:
    """The model's label for each of a dataset's, and how they were matched.

    By name where every name of the dataset is one of the model's: as a whole, or as one of the synonyms in a list
    such as "tench, Tinca tinca". By number where no name is, and both have equally many labels, or the dataset's names
    are numbers.

    Args:
        names: the dataset's, by number.
        label_names: the model's, by number.
        dataset: in the words of a message.

    Raises:
        UsageError: some names match and others do not, or none does and the numbers differ.
    """
    if same_names(names, label_names) or same_names(names, distinct_names(label_names)):
        return list(range(len(names))), "name"
    candidates = _Candidates(label_names)
    found = [candidates.of(name, number) for number, name in enumerate(names)]
    if all(len(numbers) == 1 for numbers in found):
        return [numbers[0] for numbers in found], "name"
    if any(found):
        raise UsageError(_partial_match(names, label_names, found, dataset))
    if all(name.isdecimal() for name in names):
        numbers = list(map(int, names))
        if max(numbers) < len(label_names):
            return numbers, "number"
    elif len(names) == len(label_names):
        pairs = ", ".join(f"{name!r} as {label_names[number]!r}" for number, name in enumerate(names[:_NUM_SHOWN]))
        logger.warning(
            "no label name of dataset %s is one of the model's, so its labels are taken by number (%s%s); if that is "
            "wrong, so is the accuracy",
            dataset,
            pairs,
            ", ..." if len(names) > _NUM_SHOWN else "",
        )
        return list(range(len(names))), "number"
    raise UsageError(
        f"dataset {dataset} has {len(names)} labels (such as {names[0]!r}), none of which is a name of the model's "
        f"{len(label_names)} (such as {label_names[0]!r}); rename its labels to the model's"
    )


class _Candidates:
    """Which labels of a model a name may mean."""

    def __init__(self, label_names: Sequence[str]) -> None:
        self._whole: dict[str, list[int]] = {}
        self._parts: dict[str, list[int]] = {}
        for number, name in enumerate(label_names):
            self._whole.setdefault(_normal(name), []).append(number)
            for part in set(_parts(name)):
                self._parts.setdefault(part, []).append(number)
        for number, name in enumerate(distinct_names(label_names)):
            self._whole.setdefault(_normal(name), [number])

    def of(self, name: str, number: int) -> list[int]:
        """Labels that a name may mean, one if it is clear; `number` is its own, which decides between equal names."""
        meant = self._whole.get(_normal(name)) or self._by_part(name) or self._of_several(name)
        return [number] if number in meant else meant

    def _by_part(self, name: str) -> list[int]:
        meant = (self._whole.get(part) or self._parts.get(part) or [] for part in _parts(name))
        return sorted({number for numbers in meant for number in numbers})

    def _of_several(self, name: str) -> list[int]:
        numbered = _NUMBERED.fullmatch(_normal(name))
        meant = self._whole.get(numbered[1], []) if numbered else []
        return meant if len(meant) > 1 else []


def _normal(name: str) -> str:
    return " ".join(name.replace("_", " ").casefold().split())


def _parts(name: str) -> list[str]:
    return [part for part in map(_normal, name.split(",")) if part]


def _partial_match(
    names: Sequence[str], label_names: Sequence[str], found: Sequence[Sequence[int]], dataset: str
) -> str:
    """The refusal of a dataset of which some names are clear and others are not."""
    unclear = [(name, numbers) for name, numbers in zip(names, found) if len(numbers) != 1]
    shown = []
    for name, numbers in unclear[:_NUM_SHOWN]:
        meant = f" (the model's labels {', '.join(map(str, numbers[:_NUM_SHOWN]))})" if numbers else ""
        shown.append(f"{name!r}{meant or suggest(name, list(label_names))}")
    return (
        f"dataset {dataset} has {len(names)} label names, {len(names) - len(unclear)} of which are names of the "
        f"model's labels and {len(unclear)} are not clear: {', '.join(shown)}"
        f"{', ...' if len(unclear) > _NUM_SHOWN else ''}; rename those to the model's"
    )
