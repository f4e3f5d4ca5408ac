"""The run record `smi.json`: what belongs to a dataset as a whole. Cards and reports read it and invent nothing."""

import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from smi_hf.data.captions import record_words
from smi_hf.data.record_checks import check_results, check_settings
from smi_hf.data.schema import MAX_PATCHES, RECORD_FILE, SCHEMA_VERSION, dataset_features
from smi_hf.environment import Environment
from smi_hf.json_record import JsonRecord, checked
from smi_hf.models.references import CheckpointReference
from smi_hf.notebook import facts, panel
from smi_hf.patches import Normalization, PatchGrid

if TYPE_CHECKING:
    from datasets import Features

# Settings that the first records lack, and what they were then: such a dataset is continued by a run that says so.
_EARLIER_SETTINGS = {
    "start": "noise",
    "move": "pixels",
    "move_options": None,
    "lr_schedule": "constant",
    "num_views": 1,
}


@checked
@dataclass(frozen=True)
class DatasetRecord(JsonRecord):
    """What a sparse dataset was made from and how.

    Args:
        teacher: the checkpoint that was inverted.
        label_names: the teacher's labels, by number.
        image_size, patch_size: (height, width) in pixels.
        image_mean, image_std: normalization, one value per channel in the model's order, for pixels in [0, 1].
        channel_order: of the model; images are written in RGB in any case.
        settings: every option that decides what the images are (`SparseInversionConfig.image_settings`).
        keep_counts: patches that were optimized at the start and after each prune; the last number is how many each
            image keeps, also where images left at prunes (policy `pri`), with as many patches each.
        environment: of the machine that made the images; None of a concatenated dataset whose parts differ.
        status: "running" or "complete".
        results: measured figures of a complete run.
    """

    file_name = RECORD_FILE
    version = SCHEMA_VERSION
    noun = "dataset"
    described = "a sparse dataset"
    made_with = "smi-hf invert"

    teacher: CheckpointReference
    label_names: list[str]
    image_size: tuple[int, int]
    patch_size: tuple[int, int]
    image_mean: tuple[float, ...]
    image_std: tuple[float, ...]
    settings: dict[str, Any]
    keep_counts: tuple[int, ...]
    environment: Environment | None = None
    status: str = "running"
    results: dict[str, Any] = field(default_factory=dict)
    channel_order: Literal["RGB", "BGR"] = "RGB"
    schema_version: int = SCHEMA_VERSION

    @property
    def grid(self) -> PatchGrid:
        return PatchGrid(*self.image_size, *self.patch_size)

    @property
    def num_images(self) -> int:
        return self.settings["num_images"]

    @property
    def full_settings(self) -> dict[str, Any]:
        """The settings, with what an older record left unsaid; not of concatenated datasets that differ in it."""
        return _EARLIER_SETTINGS | self.settings

    @property
    def num_stages(self) -> int:
        """Images that each trajectory gave."""
        return self.settings.get("images_per_trajectory", 1)

    @property
    def features(self) -> "Features":
        """Columns and types of its rows."""
        return dataset_features(self.label_names, has_trajectories=self.num_stages > 1)

    @property
    def normalization(self) -> Normalization:
        return Normalization(tuple(self.image_mean), tuple(self.image_std), self.channel_order == "BGR")

    def completed(self, results: dict[str, Any]) -> "DatasetRecord":
        """This record at the end of its run."""
        return replace(self, status="complete", results=results)

    def check(self) -> None:
        """Checks what types cannot say, and the settings and results that are read; raises ValueError."""
        if self.status not in ("running", "complete"):
            raise ValueError(f"status is {self.status!r}, and neither 'running' nor 'complete'")
        num_patches = self.grid.num_patches
        if num_patches > MAX_PATCHES:
            raise ValueError(f"the grid has {num_patches} patches, but a dataset can number {MAX_PATCHES} at most")
        if len(self.image_mean) != 3 or len(self.image_std) != 3 or min(self.image_std) <= 0:
            raise ValueError("image_mean and image_std must have 3 values, and those of image_std be positive")
        if not self.label_names or not all(self.label_names):
            raise ValueError("label_names must be at least one name, and none of them empty")
        counts = self.keep_counts
        if not counts or counts[0] != num_patches or counts[-1] < 1 or list(counts) != sorted(counts, reverse=True):
            raise ValueError(f"keep_counts is {counts}, but must decrease from {num_patches} patches to at least 1")
        check_settings(self.settings)
        if self.num_stages > 1 and counts[-1] != num_patches // self.num_stages:
            raise ValueError(
                f"keep_counts ends with {counts[-1]}, but {num_patches} patches are for {self.num_stages} images "
                f"of a trajectory"
            )
        if self.status == "complete":
            check_results(self.results)

    def differences(self, before: "DatasetRecord") -> list[str]:
        """Why this run would not continue another, one line each; empty if it does.

        More images continue it: those that are there stay as they are. Images do not depend on the batch that they
        were made in.
        """
        mine, theirs = self._identity(), before._identity()
        if self.num_images > before.num_images:
            theirs["num_images"] = mine["num_images"]
        return [
            f"{name} was {theirs.get(name)!r} and is now {mine.get(name)!r}"
            for name in sorted(mine.keys() | theirs.keys())
            if mine.get(name) != theirs.get(name)
        ]

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        return panel("Record of a sparse dataset", facts(record_words(self)))

    def _identity(self) -> dict[str, Any]:
        plain = json.loads(self.to_json())
        return {
            "teacher weights (sha256)": plain["teacher"]["weights_sha256"],
            "embedding head (sha256)": self.teacher.head_sha256,
            **{name: plain[name] for name in ("image_size", "patch_size", "image_mean", "image_std", "channel_order")},
            **_EARLIER_SETTINGS,
            **{name: _what_counts(value) for name, value in plain["settings"].items() if name != "batch_size"},
        }


def _what_counts(setting: Any) -> Any:
    """Of a checkpoint or dataset that was borrowed the digest of what is in it; else the setting."""
    return f"sha256 {setting['sha256']}" if isinstance(setting, dict) and "sha256" in setting else setting
