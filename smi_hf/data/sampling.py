"""Batches of images that keep equally many patches, drawn from a dataset in which not all do."""

from collections.abc import Iterator, Sequence

import numpy as np
from torch.utils.data import Sampler

from smi_hf.errors import UsageError


class SameCountSampler(Sampler[int]):
    """Yields image numbers in blocks of images that keep equally many patches.

    An ordinary sampler: cut into batches, also of several processes, its blocks give batches without padding. Every
    image comes at least once an epoch. Where the images of a count do not fill their last block, some of them come
    twice; only if all images keep equally many is the last block short instead. The same arguments and epoch give the
    same order in every process.

    Args:
        counts: kept patches of each image (`SparseDataset.kept_counts`).
        block_size: images that must match: those of a batch, times processes.
        shuffle: draw images and blocks in a new order each epoch.
        seed: of the order.

    Raises:
        UsageError: there is no image, or `block_size` is less than 1.
    """

    def __init__(
        self, counts: Sequence[int] | np.ndarray, block_size: int, *, shuffle: bool = False, seed: int = 0
    ) -> None:
        counts = np.asarray(counts)
        if counts.ndim != 1 or not len(counts):
            raise UsageError(f"counts must be one number an image, but has shape {counts.shape}")
        if block_size < 1:
            raise UsageError(f"block_size is {block_size}, but a block has at least one image")
        self.block_size = block_size
        self.shuffle = shuffle
        self.seed = seed
        self.epoch = 0
        self._buckets = [np.flatnonzero(counts == count) for count in np.unique(counts)]

    def set_epoch(self, epoch: int) -> None:
        """Which epoch comes next; accelerate's data loaders call it."""
        self.epoch = epoch

    def __len__(self) -> int:
        return sum(self._num_drawn(len(bucket)) for bucket in self._buckets)

    def __iter__(self) -> Iterator[int]:
        generator = np.random.default_rng((self.seed, self.epoch))
        blocks: list[np.ndarray] = []
        for bucket in self._buckets:
            order = generator.permutation(bucket) if self.shuffle else bucket
            drawn = np.resize(order, self._num_drawn(len(order)))
            blocks += [drawn[start : start + self.block_size] for start in range(0, len(drawn), self.block_size)]
        # A short block is the only bucket's, and stays the last.
        num_full = sum(len(block) == self.block_size for block in blocks)
        if self.shuffle:
            blocks = [blocks[place] for place in generator.permutation(num_full)] + blocks[num_full:]
        for block in blocks:
            yield from block.tolist()

    def _num_drawn(self, num_images: int) -> int:
        """How often images of a bucket come in an epoch."""
        if len(self._buckets) == 1:
            return num_images
        return -(-num_images // self.block_size) * self.block_size
