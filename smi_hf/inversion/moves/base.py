"""What a move is told, where it is registered, and how its options are read.

Legend: `B` images, `K` kept patches, `M` kept patches after a prune, `C` channels, `P Q` patch pixels.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from smi_hf.errors import UsageError
from smi_hf.registry import Registry, suggest

if TYPE_CHECKING:  # not at run time: --help lists the moves, and must not wait for torch
    from torch import Tensor

    from smi_hf.patches.grid import PatchGrid


@dataclass(frozen=True)
class MoveSettings:
    """What a move is told when a trajectory begins.

    Args:
        grid: the patch grid.
        num_steps: steps that the trajectory will take.
        betas: decays of Adam's moments, each in [0, 1).
        options: the move's own, each with a value (`read_options`).
    """

    grid: "PatchGrid"
    num_steps: int = 400
    betas: tuple[float, float] = (0.5, 0.99)
    options: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class MoveInputs:
    """One step as a move sees it.

    Args:
        patches_BKCPQ: kept patches in normalized units, float32; the move changes them in place.
        kept_BK: their places on the grid, int64 (B, K).
        gradient_BKCPQ: of each image's loss, with respect to its kept patches.
        learning_rate: of this step, in normalized units.
        step: steps taken before this one, in [0, num_steps).
    """

    patches_BKCPQ: "Tensor"
    kept_BK: "Tensor"
    gradient_BKCPQ: "Tensor"
    learning_rate: float
    step: int


class Move(Protocol):
    """The update rule of one trajectory, with whatever it remembers of earlier steps.

    An image's pixels must not depend on the others in its batch. Bounds are not its concern: the step clamps pixels
    afterwards. Both methods are called without gradients being recorded.
    """

    def update(self, inputs: MoveInputs) -> None:
        """Changes the kept pixels of every image, in place."""
        ...

    def keep(self, slots_BM: "Tensor", kept_BM: "Tensor") -> None:
        """Forgets every patch but those in the given slots, which lie at the given places: both int64 (B, M)."""
        ...


@dataclass(frozen=True)
class MoveOption:
    """A number that a move can be given.

    Args:
        default: its value where none is given.
        low, high: the smallest and the largest that is accepted.
    """

    default: float
    low: float
    high: float


@dataclass(frozen=True)
class MoveKind:
    """A registered move: what makes one, and the options that it takes."""

    make: Callable[[MoveSettings], Move]
    options: Mapping[str, MoveOption]


MOVES: Registry[MoveKind] = Registry("move", "smi_hf.inversion.moves")


def register_move(
    name: str, **options: MoveOption
) -> Callable[[Callable[[MoveSettings], Move]], Callable[[MoveSettings], Move]]:
    """Decorator that files a class of moves under `name`, with the options that `MoveSettings` will hold for it."""

    def add(make: Callable[[MoveSettings], Move]) -> Callable[[MoveSettings], Move]:
        MOVES.register(name)(MoveKind(make, options))
        return make

    return add


def read_options(name: str, words: Iterable[str]) -> dict[str, float]:
    """Every option of a move, from words such as `strength=0.1` and the defaults of those that are not given.

    Raises:
        UsageError: there is no such move or option, or a value is out of range.
    """
    known = MOVES.get(name).options
    values = {option: known[option].default for option in known}
    for word in words:
        option, _, text = word.partition("=")
        if option not in known:
            accepted = f"takes {', '.join(known)}" if known else "takes no options"
            hint = suggest(option, list(known))
            raise UsageError(f"move_options: the move {name!r} has no option {option!r}{hint}; it {accepted}")
        values[option] = _in_range(option, text, known[option])
    return values


def _in_range(name: str, text: str, option: MoveOption) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not option.low <= value <= option.high:
        raise UsageError(
            f"move_options: {name} must be a number from {option.low:g} to {option.high:g}, given as {name}="
            f"{option.default:g}, but {text!r} was given"
        )
    return value
