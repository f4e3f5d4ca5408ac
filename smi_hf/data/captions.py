"""What people are told of an image and of a dataset, in words; pictures, notebooks and reports say the same."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from smi_hf.data.record import DatasetRecord


def in_percent(share: float) -> str:
    """A share in [0, 1] in whole percent, which claims all or nothing only where it is so: "> 99 %"."""
    percent = round(100 * share)
    if percent == 100 and share < 1:
        return "> 99 %"
    return "< 1 %" if percent == 0 and share > 0 else f"{percent} %"


def label_words(name: str) -> str:
    """The name of a label, in words where it is a number."""
    return f"label {name}" if name.isdecimal() else name


def image_words(record: "DatasetRecord", row: Mapping[str, Any]) -> list[str]:
    """Label, the teacher's probability of it, and share of patches kept of a row of a dataset; a line each."""
    return [
        label_words(record.label_names[row["label"]]),
        f"teacher: {in_percent(row['target_probability'])}",
        f"kept: {in_percent(len(row['kept_patches']) / record.grid.num_patches)}",
    ]


def record_words(record: "DatasetRecord") -> dict[str, str]:
    """What a dataset was made from and how, and what it is worth; a line each, by its name. Empty if not known."""
    height, width = record.image_size
    num_kept, num_patches = record.keep_counts[-1], record.grid.num_patches
    share = "all" if num_kept == num_patches else in_percent(num_kept / num_patches)
    results = record.results
    seen = [f"{in_percent(results['target_top1'])} of the images"] if "target_top1" in results else []
    if "mean_target_probability" in results:
        seen.append(f"mean probability {results['mean_target_probability']:.2f}")
    return {
        "made from": " ".join(filter(None, (record.teacher.name, record.teacher.revision))),
        "images": f"{record.num_images} of {height} x {width} px, {len(record.label_names)} labels",
        "patches kept": f"{num_kept} of {num_patches} ({share})",
        "the teacher sees the label in": ", ".join(seen),
        "made how": ", ".join(_how(record)),
        "files": _size_words(results["download_size"]) if "download_size" in results else "",
        "state": "" if record.status == "complete" else "not complete: the run was interrupted, or is not over",
    }


def _size_words(num_bytes: int) -> str:
    return f"{num_bytes / 1e6:.1f} MB" if num_bytes >= 1e6 else f"{num_bytes / 1e3:.0f} kB"


def _how(record: "DatasetRecord") -> list[str]:
    """The settings that matter most; of concatenated datasets those that they share."""
    settings = record.settings
    num_steps = settings.get("num_steps")
    words = [] if num_steps is None else ["not optimized" if num_steps == 0 else f"{num_steps} steps"]
    names = ("start", "seed") if num_steps == 0 else ("policy", "start", "move", "seed")
    return words + [f"{name} {settings[name]}" for name in names if name in settings]
