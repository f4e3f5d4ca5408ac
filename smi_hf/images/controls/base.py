"""What a control is, where it is registered, and how a user writes one: `gaussian`, `real=DATASET`.

The files of this package import nothing heavy at their tops: `--help` lists every control with its purpose.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from smi_hf.errors import UsageError
from smi_hf.registry import Registry, suggest

if TYPE_CHECKING:
    from smi_hf.images.kept import KeptImages
    from smi_hf.models import Teacher


@dataclass(frozen=True)
class ControlInputs:
    """What a control may look at.

    Args:
        teacher: the model that will be shown the images.
        sparse: the sparse sets that it stands in for, one a run; it shows as many images as the first has.
        seeds: of noise and of choices, one run each.
        argument: what was written behind `=`, empty if nothing.
    """

    teacher: "Teacher"
    sparse: "Sequence[KeptImages]"
    seeds: Sequence[int]
    argument: str = ""

    @property
    def num_images(self) -> int:
        return len(self.sparse[0])

    @property
    def dataset(self) -> str:
        """The dataset that it was given, as a table may show it."""
        return _without_path(self.argument)


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


CONTROLS: Registry[Control] = Registry("control", "smi_hf.images.controls")


def register_control(
    name: str, purpose: str, *, argument: str | None = None
) -> "Callable[[Callable[[ControlInputs], list[KeptImages]]], Control]":
    """Decorator that files a function under `name`; see `Control`."""

    def add(make: "Callable[[ControlInputs], list[KeptImages]]") -> Control:
        return CONTROLS.register(name)(Control(purpose, argument, make))

    return add


@dataclass(frozen=True)
class ControlSpec:
    """A control as a user wrote it.

    Args:
        name: of the control.
        argument: what stands behind `=`, empty if nothing.
    """

    name: str
    argument: str = ""

    @property
    def key(self) -> str:
        """The control as a record may hold it: with the name of its dataset, never a path of this machine."""
        return f"{self.name}={_without_path(self.argument)}" if self.argument else self.name

    @classmethod
    def parse(cls, text: str, *, also: Sequence[str] = ()) -> Self:
        """Reads `NAME` or `NAME=ARGUMENT`.

        Args:
            also: names that the caller serves itself, for the message.

        Raises:
            UsageError: there is no such control, or it lacks its argument, or has one that it does not take.
        """
        name, _, argument = text.partition("=")
        if name not in CONTROLS:
            names = [*CONTROLS.names(), *also]
            raise UsageError(f"there is no control {name!r}{suggest(name, names)}; available: {', '.join(names)}")
        wanted = CONTROLS.get(name).argument
        if (wanted is not None) != bool(argument):
            written = name if wanted is None else f"{name}={wanted}"
            raise UsageError(f"control {text!r} must be written {written}")
        return cls(name, argument)

    def make(self, teacher: "Teacher", sparse: "Sequence[KeptImages]", seeds: Sequence[int]) -> "list[KeptImages]":
        """The images of each run.

        Raises:
            UsageError: its dataset cannot be loaded, does not fit the model, or is too small.
        """
        return CONTROLS.get(self.name).make(ControlInputs(teacher, sparse, seeds, self.argument))


def _without_path(argument: str) -> str:
    """A dataset as it was written, a path by its last part alone; `:split` stays."""
    is_hub_id = argument.count(os.sep) < 2 and not argument.startswith((os.sep, "."))
    is_there = any(os.path.exists(path) for path in (argument, argument.rpartition(":")[0]) if path)
    return argument if is_hub_id and not is_there else os.path.basename(os.path.abspath(argument))


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


def control_help() -> str:
    """One line per control, for the end of --help."""
    lines = []
    for name in CONTROLS.names():
        control = CONTROLS.get(name)
        written = name if control.argument is None else f"{name}={control.argument}"
        lines.append(f"  {written:<15} {control.purpose}")
    return "\n".join(lines)
