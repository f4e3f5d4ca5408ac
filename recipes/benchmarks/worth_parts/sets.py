"""The images that are compared: as many of each set, of equally many patches; and photographs that nobody judges on.

Legend: `B` images, `K` kept patches.
"""

import hashlib
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from PIL import Image

from smi_hf import SparseDataset, Teacher, UsageError, load_image_set, load_sparse_dataset
from smi_hf.evaluation.predictors import Answer
from smi_hf.images.controls.base import CONTROLS, ControlSpec
from smi_hf.images.controls.gaussian import gaussian_noise
from smi_hf.images.controls.real import real_images
from smi_hf.images.kept import KeptImages, sparse_images
from smi_hf.images.real import ImageSet
from smi_hf.models.preprocessing import preprocess
from smi_hf.patches import take_slots
from smi_hf.patches.randomness import image_generator

NOISE, PHOTOGRAPHS, WHOLE = "gaussian", "photographs", "photographs, whole"
_BATCH_SIZE = 32


@dataclass(frozen=True)
class Row:
    """A set of images.

    Args:
        name: of the set.
        runs: its images, one a run; all of one number and of one number of patches.
        seconds: that the images of a run took to make, None where none were made.
    """

    name: str
    runs: tuple[KeptImages, ...]
    seconds: float | None

    @property
    def num_patches(self) -> int:
        return self.runs[0].kept_BK.shape[1]


class Judge:
    """Photographs that models are judged on: the first of a dataset, preprocessed once.

    Raises:
        UsageError: the dataset has fewer, or cannot be loaded.
    """

    def __init__(self, dataset: str, teacher: Teacher, num_images: int) -> None:
        whole = load_image_set(dataset, teacher.label_names)
        if whole.is_synthetic:
            raise UsageError(f"judge {dataset} is a sparse dataset of synthetic images; give labeled photographs")
        if len(whole) < num_images:
            raise UsageError(f"judge_images is {num_images}, but dataset {dataset} has {len(whole)} images")
        self.images: ImageSet = whole.select(range(num_images))
        self.pictures: set[str] = set()
        self._batches: list[tuple[np.ndarray, np.ndarray]] = []
        for pictures, labels_B in self.images.batches(_BATCH_SIZE):
            self.pictures.update(map(picture_digest, pictures))
            self._batches.append((preprocess(pictures, teacher.image_processor), labels_B))
        self.sha256 = _digest(array for batch in self._batches for array in batch)

    def top1(self, model: Answer) -> float:
        """Share of the photographs whose label is the model's first choice, in [0, 1]."""
        hits = [model(pixels_BCHW).argmax(axis=1) == labels_B for pixels_BCHW, labels_B in self._batches]
        return float(np.concatenate(hits).mean())


class Sets:
    """What sets are made with.

    Args:
        teacher: the model that is shown them.
        judge: photographs that are in none of them.
        num_images: of every run.
        seeds: of noise, of controls, and of the choice of photographs: one run each.
    """

    def __init__(self, teacher: Teacher, judge: Judge, num_images: int, seeds: Sequence[int]) -> None:
        self.teacher, self.judge = teacher, judge
        self.num_images, self.seeds = num_images, tuple(seeds)

    def rows(self, given: Sequence[str], photographs: str, num_patches: int | None) -> list[Row]:
        """Noise, photographs, whole photographs where sets are sparse, and what was given, all at equal tokens.

        Args:
            given: `NAME=SPEC` each; a name that comes again has more runs.
            photographs: dataset of the photographs.
            num_patches: of every image; those of the given dataset that keeps fewest if None, or all.

        Raises:
            UsageError: a set cannot be loaded or made, does not fit the teacher, or is too small.
        """
        specs = [parse_set(text) for text in given]
        datasets = {spec: load_sparse_dataset(spec, teacher=self.teacher) for _, spec in specs if not is_control(spec)}
        kept = [dataset.record.keep_counts[-1] for dataset in datasets.values()]
        all_of_them = self.teacher.model.grid.num_patches
        num_patches = num_patches or min(kept, default=all_of_them)
        if num_patches > min(kept, default=all_of_them):
            raise UsageError(
                f"num_patches is {num_patches}, but images here have {min(kept, default=all_of_them)} patches at "
                f"least; give at most that"
            )
        # Refused before noise is made and photographs are decoded.
        for name, _ in specs:
            if name in (NOISE, PHOTOGRAPHS, WHOLE):
                raise UsageError(f"set {name!r} is measured always; leave it out, or give the set another name")
        whole = self._photographs(photographs)
        rows = {NOISE: self._made(NOISE), PHOTOGRAPHS: Row(PHOTOGRAPHS, whole.runs, None)}
        if num_patches < all_of_them:
            rows[WHOLE] = whole
        for name, spec in specs:
            row = self._from_dataset(spec, datasets[spec]) if spec in datasets else self._made(spec)
            before = rows.get(name, Row(name, (), row.seconds))
            rows[name] = Row(name, before.runs + row.runs, before.seconds)
        return [
            replace(row, name=name) if name == WHOLE else self._cut(row, num_patches) for name, row in rows.items()
        ]

    def _cut(self, row: Row, num_patches: int) -> Row:
        runs = tuple(cut_to(images, num_patches, seed=run) for run, images in enumerate(row.runs))
        return replace(row, runs=runs)

    def _from_dataset(self, spec: str, dataset: SparseDataset) -> Row:
        """As many runs of different images as there are, at most one for each seed."""
        count = min(len(self.seeds), len(dataset) // self.num_images)
        if not count:
            raise UsageError(
                f"dataset {spec} has {len(dataset)} images, but num_images is {self.num_images}; make more, or give a "
                f"smaller num_images"
            )
        images = sparse_images(dataset, count * self.num_images)
        runs = tuple(images.part(run * self.num_images, (run + 1) * self.num_images) for run in range(count))
        seconds = dataset.record.results.get("seconds_this_session")
        return Row(spec, runs, None if seconds is None else seconds * self.num_images / len(dataset))

    def _made(self, spec: str) -> Row:
        """A control of smi_hf."""
        control = ControlSpec.parse(spec)
        if control.name == "real":
            return self._photographs(control.argument)
        if control.name in ("filled", "random"):
            raise UsageError(
                f"control {control.name!r} changes other sets and is none of its own; give a dataset, or another "
                f"control"
            )
        # Says how many images are wanted; controls look at no more of it.
        stand_in = gaussian_noise(self.teacher.model, self.num_images)
        started = time.perf_counter()
        runs = control.make(self.teacher, [stand_in], self.seeds)
        return Row(spec, tuple(runs), (time.perf_counter() - started) / len(runs))

    def _photographs(self, dataset: str) -> Row:
        """Drawn at random among those that nobody judges on, whole."""
        images = load_image_set(dataset, self.teacher.label_names)
        if images.is_synthetic:
            raise UsageError(f"dataset {dataset} is a sparse dataset of synthetic images, but photographs are needed")
        runs = []
        for seed in self.seeds:
            order = np.random.default_rng(seed).permutation(len(images))
            drawn = []
            for number in order:
                if len(drawn) == self.num_images:
                    break
                (picture,), _ = images.batch([number])
                if picture_digest(picture) not in self.judge.pictures:
                    drawn.append(number)
            if len(drawn) < self.num_images:
                raise UsageError(
                    f"dataset {dataset} has {len(drawn)} photographs that are not among those of the judge, but "
                    f"num_images is {self.num_images}; give --photographs another dataset, or fewer --judge_images"
                )
            runs.append(real_images(images.select(drawn), self.teacher, self.num_images, seed=seed))
        return Row(PHOTOGRAPHS, tuple(runs), None)


def parse_set(text: str) -> tuple[str, str]:
    """Name and source of a set as a user wrote it: `NAME=SPEC`, or a control alone, whose name is the set's then.

    Raises:
        UsageError: it is neither.
    """
    name, _, spec = text.partition("=")
    if name in CONTROLS and bool(spec) == (CONTROLS.get(name).argument is not None):
        return name, text
    if not name or not spec:
        raise UsageError(
            f"set {text!r} must be written NAME=SPEC, where SPEC is a sparse dataset (a folder or a Hub id) or a "
            f"control ({', '.join(CONTROLS.names())})"
        )
    return name, spec


def is_control(spec: str) -> bool:
    return spec.partition("=")[0] in CONTROLS


def cut_to(images: KeptImages, num_patches: int, *, seed: int) -> KeptImages:
    """The same images with that many of their patches, drawn at random, each image by itself."""
    num_kept = images.kept_BK.shape[1]
    if num_kept == num_patches:
        return images
    slots = [
        torch.randperm(num_kept, generator=image_generator(seed, index))[:num_patches] for index in range(len(images))
    ]
    slots_BK = torch.stack(slots).sort(dim=1).values
    return replace(images, kept_BK=take_slots(images.kept_BK, slots_BK))


def images_sha256(images: KeptImages) -> str:
    """A digest of pixels and kept patches: what a model is shown."""
    return _digest([images.pixels_BCHW.numpy(), images.kept_BK.numpy()])


def picture_digest(picture: Image.Image) -> str:
    """A digest of a picture's pixels, whatever file it came from."""
    return hashlib.sha256(f"{picture.size}".encode() + picture.convert("RGB").tobytes()).hexdigest()


def _digest(arrays: Iterable[np.ndarray]) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array))
    return digest.hexdigest()
