"""What a `Trainer` iterates over: views of images with kept patches, answers to them that were computed once, and
real images to judge on.

Legend: `n` images, `V` views, `B` images in a batch, `S` summary tokens, `D` hidden size, `L` labels.
"""

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils.data import Dataset

from smi_hf.data import SparseDataset
from smi_hf.errors import UsageError
from smi_hf.images.kept import KeptImages
from smi_hf.images.real import ImageSet
from smi_hf.models.preprocessing import preprocess


class Images(Protocol):
    """Images with kept patches, by number; a `KeptImages` is one."""

    def __len__(self) -> int: ...

    def batch(self, numbers: list[int]) -> dict[str, Tensor]:
        """`pixel_values` normalized float32 (B, C, H, W), `kept_patches` int64 (B, K), `labels` int64 (B,)."""


@dataclass(frozen=True)
class DatasetSlice:
    """Images `first` to `last - 1` of a sparse dataset, decoded when they are asked for."""

    dataset: SparseDataset
    first: int
    last: int

    def __len__(self) -> int:
        return self.last - self.first

    def batch(self, numbers: list[int]) -> dict[str, Tensor]:
        return self.dataset.batch([self.first + number for number in numbers])


def split(given: SparseDataset | KeptImages, held_out: float) -> tuple[Images, Images]:
    """Images to train on, and the last ones, of that share but at least one, to judge on."""
    count = max(1, round(held_out * len(given))) if held_out else 0
    if count >= len(given):
        raise UsageError(f"the dataset has {len(given)} images, too few to hold {count} out for judging")
    cut = len(given) - count
    if isinstance(given, SparseDataset):
        return DatasetSlice(given, 0, cut), DatasetSlice(given, cut, len(given))
    return given.part(0, cut), given.part(cut, len(given))


@dataclass(frozen=True)
class Answers:
    """What was computed once for every view of every image.

    Args:
        teacher_nVL: the teacher's logits.
        labels_n: the images' labels.
        summary_nVSD: what the head of a student with frozen backbone reads; None if the backbone learns.
    """

    teacher_nVL: Tensor
    labels_n: Tensor
    summary_nVSD: Tensor | None


class Views(Dataset):
    """Each view of each image once; with `num_views` 0 each image once, to be seen anew each epoch."""

    def __init__(self, images: Images, num_views: int) -> None:
        self.images = images
        self.num_views = num_views
        self.answers: Answers | None = None

    def __len__(self) -> int:
        return len(self.images) * max(1, self.num_views)

    def __getitem__(self, item: int) -> int:
        return item

    def collate(self, items: list[int]) -> dict[str, Tensor]:
        """A batch: `image_index` and `view` int64 (B,), `labels`, what was computed once, and the images if needed."""
        numbers, views = torch.tensor([divmod(item, max(1, self.num_views)) for item in items]).T
        batch = {"image_index": numbers, "view": views}
        if self.answers is not None:
            batch |= {"teacher_logits": self.answers.teacher_nVL[numbers, views]}
            if self.answers.summary_nVSD is not None:
                return batch | {
                    "summary": self.answers.summary_nVSD[numbers, views],
                    "labels": self.answers.labels_n[numbers],
                }
        return batch | self.images.batch(numbers.tolist())


class RealImages(Dataset):
    """Labelled images for judging a student.

    Args:
        images: with the teacher's labels.
        image_processor: the student's.

    Attributes:
        summaries: by the image's number, what the head of a student with frozen backbone reads of it, (S, D), and its
            label; an image of which it is known is not decoded again.
    """

    def __init__(self, images: ImageSet, image_processor: Any) -> None:
        self.images = images
        self.image_processor = image_processor
        self.summaries: dict[int, tuple[Tensor, int]] = {}

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, item: int) -> int:
        return item

    def collate(self, items: list[int]) -> dict[str, Tensor]:
        """A batch: `image_index` and `labels` int64 (B,), `summary` if known, else `pixel_values` (B, C, H, W)."""
        numbers = torch.tensor(items)
        if all(item in self.summaries for item in items):
            known = [self.summaries[item] for item in items]
            summary_BSD = torch.stack([summary for summary, _ in known])
            return {
                "image_index": numbers,
                "summary": summary_BSD,
                "labels": torch.tensor([each for _, each in known]),
            }
        pictures, labels_B = self.images.batch(items)
        pixels_BCHW = preprocess(pictures, self.image_processor)
        return {
            "image_index": numbers,
            "pixel_values": torch.from_numpy(pixels_BCHW),
            "labels": torch.from_numpy(labels_B),
        }

    def remember(self, batch: dict[str, Tensor], summary_BSD: Tensor) -> None:
        """Keeps what was computed for a batch, in main memory."""
        for number, summary_SD, label in zip(
            batch["image_index"].tolist(), summary_BSD.cpu(), batch["labels"].tolist()
        ):
            self.summaries[number] = (summary_SD, label)
