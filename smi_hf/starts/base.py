"""What a start sees, where it is registered, and how a user writes one: `pink`, `dataset=DATASET`.

The files of this package import nothing heavier than NumPy at their tops: `--help` lists every start.

Legend: `C` channels, `H W` image pixels.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from smi_hf.registry import Choice, Registry

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import Tensor

    from smi_hf.patches.pixels import Normalization


class Pictures(Protocol):
    """The pictures of a dataset as a model takes them."""

    def __len__(self) -> int: ...

    def __getitem__(self, number: int) -> "Tensor":
        """Picture `number`, normalized, float32 (C, H, W)."""

    @property
    def sha256(self) -> str:
        """A digest that tells the dataset from others, 64 hexadecimal digits."""


@dataclass(frozen=True)
class StartInputs:
    """One image that is about to begin.

    Args:
        generator: the image's own random stream, on the CPU; the only randomness allowed.
        index: number of the image in its run.
        image_size: (height, width) in pixels.
        normalization: of the model; images are RGB.
        pictures: of the dataset that was written behind `=`, None if the start takes none.
    """

    generator: "torch.Generator"
    index: int
    image_size: tuple[int, int]
    normalization: "Normalization"
    pictures: Pictures | None = None

    def numpy_generator(self) -> "np.random.Generator":
        """A random stream of NumPy's, seeded from the next draw of `generator`."""
        import numpy as np
        import torch

        return np.random.default_rng(torch.randint(2**63 - 1, (2,), generator=self.generator).tolist())

    def from_rgb(self, rgb_CHW: "np.ndarray") -> "Tensor":
        """Colors in [0, 1], which are clamped to it, in normalized units, float32 (C, H, W)."""
        return self.in_range((self.ordered(rgb_CHW) - self._channels("mean")) / self._channels("std"))

    def ordered(self, rgb_CHW: "np.ndarray") -> "np.ndarray":
        """RGB channels in the model's order."""
        return rgb_CHW[::-1] if self.normalization.is_bgr else rgb_CHW

    def in_range(self, pixels_CHW: "np.ndarray") -> "Tensor":
        """Normalized pixels, clamped to what an image file can hold, float32 (C, H, W)."""
        import numpy as np
        import torch

        pixels = torch.from_numpy(np.ascontiguousarray(pixels_CHW, dtype=np.float32))
        return pixels.clamp_(*self.normalization.bounds(pixels))

    def _channels(self, name: str) -> "np.ndarray":
        import numpy as np

        return np.asarray(getattr(self.normalization, name), dtype=np.float32)[:, None, None]


@dataclass(frozen=True)
class Start:
    """A registered start.

    Args:
        label: what such images are, in a few words, for tables ("1/f noise").
        purpose: the same in a line that says what they look like.
        sources: papers, in words; empty if there is none.
        argument: what must be written behind `=` ("DATASET"), None if nothing may be.
        make: an image in normalized units, float32 (C, H, W), within what an image file can hold.
    """

    label: str
    purpose: str
    sources: str
    argument: str | None
    make: "Callable[[StartInputs], Tensor]"


STARTS: Registry[Start] = Registry("start", "smi_hf.starts")


def register_start(
    name: str, label: str, purpose: str, *, sources: str = "", argument: str | None = None
) -> "Callable[[Callable[[StartInputs], Tensor]], Start]":
    """Decorator that files a function under `name`; see `Start`."""

    def add(make: "Callable[[StartInputs], Tensor]") -> Start:
        return STARTS.register(name)(Start(label, purpose, sources, argument, make))

    return add


class StartSpec(Choice):
    """A start as a user wrote it: `pink`, `dataset=DATASET`."""

    registry = STARTS

    @property
    def label(self) -> str:
        """What such images are, in a few words; with the name of the dataset."""
        label = STARTS.get(self.name).label
        return f"{label} ({self.key.partition('=')[2]})" if self.argument else label


def start_label(key: str) -> str:
    """What images are that began so, in a few words; `key` itself if it names no start that is known here."""
    name, _, argument = key.partition("=")
    return StartSpec(name, argument).label if name in STARTS else key


@dataclass(frozen=True)
class OpenStart:
    """A start made ready for one model.

    Args:
        spec: which start.
        image_size, normalization: of the model.
        pictures: of the dataset that `spec` names, None if it takes none.
    """

    spec: StartSpec
    image_size: tuple[int, int]
    normalization: "Normalization"
    pictures: Pictures | None = None

    def draw(self, generator: "torch.Generator", index: int) -> "Tensor":
        """Image `index` of a run, normalized, float32 (C, H, W).

        Args:
            generator: the image's random stream; it advances.
        """
        return STARTS.get(self.spec.name).make(
            StartInputs(generator, index, self.image_size, self.normalization, self.pictures)
        )

    def settings(self) -> dict[str, str]:
        """What a record says of it: no path of this machine, and the digest of a dataset."""
        digest = {} if self.pictures is None else {"start_sha256": self.pictures.sha256}
        return {"start": self.spec.key, **digest}
