"""Which label each image is to have."""

from collections.abc import Sequence

import numpy as np

from smi_hf.errors import UsageError
from smi_hf.registry import suggest

# Keeps the stream of labels apart from the streams of images, which are seeded by (seed, image index).
_TARGET_STREAM = 0x7A26E7


def choose_targets(
    num_images: int, classes: Sequence[str | int], label_names: Sequence[str], *, seed: int
) -> list[int]:
    """Target label of each image of a run.

    Args:
        classes: `["random"]`, `["balanced"]` (each class once before any comes twice, in random order), or label
            numbers and names, repeated in turn.
        label_names: the model's labels, by number.

    Returns:
        `num_images` labels; the first ones do not depend on how many there are.

    Raises:
        UsageError: a class does not exist, or a keyword stands among others.
    """
    num_labels = len(label_names)
    generator = np.random.default_rng([seed, _TARGET_STREAM])
    keywords = {"random", "balanced"} & set(map(str, classes))
    if keywords and len(classes) > 1:
        raise UsageError(
            f"classes takes {' or '.join(repr(word) for word in sorted(keywords))} alone, not {list(classes)}"
        )
    if "random" in keywords:
        return generator.integers(num_labels, size=num_images).tolist()
    if "balanced" in keywords:
        rounds = -(-num_images // num_labels)
        return np.concatenate([generator.permutation(num_labels) for _ in range(rounds)])[:num_images].tolist()
    labels = [_label_number(entry, label_names) for entry in classes]
    return [labels[index % len(labels)] for index in range(num_images)]


def _label_number(entry: str | int, label_names: Sequence[str]) -> int:
    if str(entry).lstrip("-").isdigit():
        if 0 <= int(entry) < len(label_names):
            return int(entry)
        raise UsageError(f"class {entry} does not exist: the model has labels 0 to {len(label_names) - 1}")
    if entry in label_names:
        return list(label_names).index(str(entry))
    raise UsageError(
        f"class {entry!r} does not exist{suggest(str(entry), list(label_names))}; give label numbers from 0 to "
        f"{len(label_names) - 1}, names such as {label_names[0]!r}, 'random' or 'balanced'"
    )
