"""What the two open parts of a dataset's record, its settings and its results, must hold for us to read them."""

import json
import math
import re
from collections.abc import Mapping
from typing import Any

from smi_hf.data.schema import MAX_IMAGES, PREVIEW_FILE, STAGES_FILE
from smi_hf.patches import PruneSchedule

# Seeds are int64 columns.
MAX_SEED = 2**63 - 1
_SHA256 = re.compile("[0-9a-f]{64}")


def check_settings(settings: Mapping[str, Any]) -> None:
    """Checks the settings that every dataset has; raises ValueError with the first that cannot be."""
    json.dumps(settings, allow_nan=False)
    _check_integer(settings, "num_images", 1, MAX_IMAGES)
    _check_integer(settings, "num_steps", 0)
    _check_integer(settings, "seed", 0, MAX_SEED)
    if "num_views" in settings:  # earlier records lack it
        _check_integer(settings, "num_views", 1)
    if not isinstance(settings.get("policy"), str) or not settings["policy"]:
        raise ValueError(f"settings.policy must be the name of a policy, not {settings.get('policy')!r}")
    for name in {"start", "start_sha256"} & settings.keys():
        if not isinstance(settings[name], str) or not settings[name]:
            raise ValueError(f"settings.{name} must be text, not {settings[name]!r}")
    steps, ratios = settings.get("prune_steps"), settings.get("prune_ratios")
    if not isinstance(steps, list) or not all(type(step) is int for step in steps):
        raise ValueError(f"settings.prune_steps must be a list of integers, not {steps!r}")
    if not isinstance(ratios, list) or not all(type(ratio) in (int, float) for ratio in ratios):
        raise ValueError(f"settings.prune_ratios must be a list of numbers, not {ratios!r}")
    PruneSchedule(tuple(steps), tuple(ratios))
    if settings["policy"] == "pri" or "images_per_trajectory" in settings:
        _check_integer(settings, "images_per_trajectory", 2, settings["num_steps"])
        if settings["num_images"] % settings["images_per_trajectory"]:
            raise ValueError(
                f"settings.num_images must be a multiple of images_per_trajectory "
                f"{settings['images_per_trajectory']}, not {settings['num_images']}"
            )


def check_results(results: Mapping[str, Any]) -> None:
    """Checks the results of a complete dataset; raises ValueError with the first that cannot be."""
    json.dumps(results, allow_nan=False)
    digest = results.get("content_sha256")
    if not isinstance(digest, str) or not _SHA256.fullmatch(digest):
        raise ValueError(f"results.content_sha256 must be 64 hexadecimal digits, not {digest!r}")
    for name in ("target_top1", "mean_target_probability"):
        _check_number(results, name, 1)
    # Records of earlier versions lack these.
    for name in {"num_bytes", "download_size"} if {"num_bytes", "download_size"} & results.keys() else ():
        _check_integer(results, name, 0)
    if "num_images_this_session" in results:
        _check_integer(results, "num_images_this_session", 0)
        _check_number(results, "seconds_this_session", math.inf)
    terms = results.get("loss_terms", [])
    if not isinstance(terms, list) or not all(map(_is_term, terms)):
        raise ValueError(f"results.loss_terms must be a list of names, weights and sources, not {terms!r}")
    curve = results.get("loss_curve")
    if curve is not None and not _is_curve(curve):
        raise ValueError("results.loss_curve must be num_images, steps, and for each term as many numbers")
    if results.get("patches_ranked_by") not in (None, "cls", "patches", "query"):
        raise ValueError(
            f"results.patches_ranked_by must be cls, patches or query, not {results['patches_ranked_by']!r}"
        )
    pictures = results.get("pictures", [])
    if not isinstance(pictures, list) or any(name not in (PREVIEW_FILE, STAGES_FILE) for name in pictures):
        raise ValueError(f"results.pictures must be among {PREVIEW_FILE} and {STAGES_FILE}, not {pictures!r}")


def _is_term(term: Any) -> bool:
    return (
        isinstance(term, dict)
        and isinstance(term.get("name"), str)
        and type(term.get("weight")) in (int, float)
        and isinstance(term.get("source"), str | None)
    )


def _is_curve(curve: Any) -> bool:
    if not isinstance(curve, dict) or type(curve.get("num_images")) is not int:
        return False
    steps, terms = curve.get("steps"), curve.get("terms")
    if not isinstance(steps, list) or not isinstance(terms, dict) or not all(type(step) is int for step in steps):
        return False
    return all(
        isinstance(losses, list) and len(losses) == len(steps) and all(type(loss) in (int, float) for loss in losses)
        for losses in terms.values()
    )


def _check_integer(values: Mapping[str, Any], name: str, low: int, high: float = math.inf) -> None:
    value = values.get(name)
    if type(value) is not int or not low <= value <= high:
        bound = f"of at least {low}" if high == math.inf else f"from {low} to {high}"
        raise ValueError(f"{name} must be an integer {bound}, not {value!r}")


def _check_number(values: Mapping[str, Any], name: str, high: float) -> None:
    value = values.get(name)
    if type(value) not in (int, float) or not 0 <= value <= high:
        raise ValueError(f"{name} must be a number from 0 to {high}, not {value!r}")
