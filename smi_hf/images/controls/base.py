"""What a control is, where it is registered, and how a user writes one: `gaussian`, `real=DATASET`.

The files of this package import nothing heavy at their tops: `--help` lists every control with its purpose.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from smi_hf.errors import UsageError
from smi_hf.registry import Choice, Registry, without_path
from smi_hf.starts.base import STARTS, StartSpec

if TYPE_CHECKING:
    from smi_hf.images.kept import KeptImages
    from smi_hf.images.real import ImageSet
    from smi_hf.models import Teacher


@dataclass(frozen=True)
class ControlInputs:
    """What a control may look at.

    Args:
        teacher: the model that will be shown the images.
        sparse: the sparse sets that it stands in for, one a run; it shows as many images as the first has.
        seeds: of noise and of choices, one run each.
        argument: what was written behind `=`, empty if nothing.
        judged_on: real images that the rows are judged on, if they are.
    """

    teacher: "Teacher"
    sparse: "Sequence[KeptImages]"
    seeds: Sequence[int]
    argument: str = ""
    judged_on: "ImageSet | None" = None

    @property
    def num_images(self) -> int:
        return len(self.sparse[0])

    @property
    def dataset(self) -> str:
        """The dataset that it was given, as a table may show it."""
        return without_path(self.argument)


@dataclass(frozen=True)
class Control:
    """A registered control.

    Args:
        purpose: what is shown instead, in words.
        argument: what must be written behind `=` ("DATASET"), None if nothing may be.
        make: the images of each run.
    """

    purpose: str
    argument: str | None
    make: "Callable[[ControlInputs], list[KeptImages]]"


class _Controls(Registry[Control]):
    """The controls of this package, and every start: what images begin as is compared with what they become."""

    def names(self) -> list[str]:
        return sorted({*super().names(), *self._starts()})

    def get(self, name: str) -> Control:
        if name not in self._starts():
            return super().get(name)
        self._warn_of_others(name)
        return _start_control(name)

    def not_imported_from(self, name: str) -> str | None:
        return STARTS.not_imported_from(name) if name in self._starts() else super().not_imported_from(name)

    def _reserved(self) -> set[str]:
        return super()._reserved() | set(STARTS.own_names())

    def _starts(self) -> set[str]:
        # Noise is a control under its own name, `gaussian`.
        return set(STARTS.names()) - {"noise", *super().names()}


CONTROLS: Registry[Control] = _Controls("control", "smi_hf.images.controls")


def _start_control(name: str) -> Control:
    """A start as a control: as many images as the sparse set has, every patch kept, one run a seed."""
    start = STARTS.get(name)

    def make(inputs: ControlInputs) -> "list[KeptImages]":
        from smi_hf.images.starts import start_images

        # A dataset gives the same pictures whatever the seed.
        seeds = inputs.seeds if start.argument is None else inputs.seeds[:1]
        spec = StartSpec(name, inputs.argument)
        return [start_images(spec, inputs.teacher, inputs.num_images, seed=seed) for seed in seeds]

    return Control(start.purpose, start.argument, make)


def register_control(
    name: str, purpose: str, *, argument: str | None = None
) -> "Callable[[Callable[[ControlInputs], list[KeptImages]]], Control]":
    """Decorator that files a function under `name`; see `Control`."""

    def add(make: "Callable[[ControlInputs], list[KeptImages]]") -> Control:
        return CONTROLS.register(name)(Control(purpose, argument, make))

    return add


class ControlSpec(Choice):
    """A control as a user wrote it: `gaussian`, `real=DATASET`."""

    registry = CONTROLS

    def make(
        self,
        teacher: "Teacher",
        sparse: "Sequence[KeptImages]",
        seeds: Sequence[int],
        judged_on: "ImageSet | None" = None,
    ) -> "list[KeptImages]":
        """The images of each run.

        Raises:
            UsageError: its dataset cannot be loaded, does not fit the model, or is too small.
        """
        return CONTROLS.get(self.name).make(ControlInputs(teacher, sparse, seeds, self.argument, judged_on))


def parse_controls(texts: Sequence[str], *, also: Sequence[str] = ()) -> dict[str, ControlSpec | None]:
    """Controls as a user wrote them, by the key of their row in a table; two datasets of one name are two rows.

    Args:
        also: names that the caller serves itself; their value is None.

    Raises:
        UsageError: as `ControlSpec.parse`, or one is given twice.
    """
    rows: dict[str, ControlSpec | None] = {}
    for number, text in enumerate(texts):
        if text in texts[:number]:
            raise UsageError(f"control {text!r} is given twice; give it once")
        spec = None if text in also else ControlSpec.parse(text, also=also)
        key = text if spec is None else spec.key
        same = sum(key == other or other.startswith(f"{key} (") for other in rows)
        rows[f"{key} ({same + 1})" if same else key] = spec
    return rows


def control_sets(
    controls: Sequence[str],
    teacher: "Teacher",
    sparse: "Sequence[KeptImages]",
    seeds: Sequence[int],
    *,
    judged_on: "ImageSet | None" = None,
    also: Sequence[str] = (),
) -> "dict[str, list[KeptImages] | None]":
    """The images of each run of each control, by the key of its row; None for what the caller serves itself.

    Args:
        judged_on: real images that the rows are judged on, if they are.

    Raises:
        UsageError: as `parse_controls` and `ControlSpec.make`.
    """
    rows = parse_controls(controls, also=also)
    return {key: spec and spec.make(teacher, sparse, seeds, judged_on) for key, spec in rows.items()}


def check_controls_judged(controls: Sequence[str], *, has_images: bool) -> None:
    """Checks that there are images to judge controls on, if there are controls.

    Raises:
        UsageError: there are none.
    """
    if controls and not has_images:
        raise UsageError("controls are rows of a result table; give --eval_dataset as well (images in Python)")


def check_control_seeds(seeds: Sequence[int]) -> None:
    """Checks the option `control_seeds`.

    Raises:
        UsageError: there is none, or one is out of range.
    """
    if not seeds:
        raise UsageError("control_seeds is empty, but each control needs at least one; leave it out for seed 0")
    for seed in seeds:
        if not 0 <= seed < 2**63:
            raise UsageError(f"control_seeds must be from 0 to 2**63 - 1, but {seed} was given")
