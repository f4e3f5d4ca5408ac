"""What is fastest on this machine: a model in floating point and in integers under several back ends, side by side.

Legend: `n` images, `B` images in a batch, `C H W` image pixels.
"""

import json
import logging
import math
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from smi_hf.errors import RunError, UsageError
from smi_hf.evaluation.accuracy import rank_labels
from smi_hf.evaluation.latency import speed_figures
from smi_hf.evaluation.predictors import Predictor, predictor_of
from smi_hf.files import replaced_atomically
from smi_hf.images.kept import KeptImages
from smi_hf.images.real import ImageSet
from smi_hf.models import Teacher
from smi_hf.quantization.backends import BACKENDS
from smi_hf.quantization.backends.base import check_settings
from smi_hf.quantization.config import ALL_BACKENDS, QuantizationConfig
from smi_hf.quantization.costs import folder_size
from smi_hf.quantization.quantizer import Quantizer

logger = logging.getLogger(__name__)

COMPARISON_FILE = "comparison.json"
# Points of accuracy or agreement that a model may lose and still be recommended for its speed.
MAX_LOSS = 1.0
_BATCH = 32


@dataclass(frozen=True)
class ModelFigures:
    """One model under one back end.

    Args:
        backend: its name.
        is_float: whether it is in floating point.
        top1: accuracy on real images, in [0, 1]; None without any.
        agreement: share of images with the first choice of the teacher in PyTorch, in [0, 1].
        size_mb: weights on disk, in 10^6 bytes.
        latency_ms_1, latency_ms_32: median of a batch of 1 and of 32 images.
    """

    backend: str
    is_float: bool
    top1: float | None
    agreement: float
    size_mb: float
    latency_ms_1: float
    latency_ms_32: float

    @property
    def images_per_second(self) -> float:
        """In batches of 32."""
        return 1000 * _BATCH / self.latency_ms_32

    @property
    def score(self) -> float:
        """Accuracy where it was measured, or else agreement."""
        return self.agreement if self.top1 is None else self.top1

    @property
    def pace_ms(self) -> float:
        """Geometric mean of the milliseconds per image at batch 1 and at batch 32: neither use counts more."""
        return math.sqrt(self.latency_ms_1 * self.latency_ms_32 / _BATCH)


@dataclass(frozen=True)
class BackendComparison:
    """Several back ends, measured in one run.

    Args:
        models: of each back end the one in floating point, then the one in integers.
        num_images: that they were judged on.
        is_real: whether those were real images; else the synthetic ones.
        recommended: name of a back end.
        reason: why, in a sentence.
        left_out: back ends that could not convert the model, and what they said.
    """

    models: tuple[ModelFigures, ...]
    num_images: int
    is_real: bool
    recommended: str
    reason: str
    left_out: Mapping[str, str]

    def save(self, folder: Path) -> None:
        """Writes `comparison.json` into a folder."""
        with replaced_atomically(folder / COMPARISON_FILE) as temporary:
            temporary.write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> "BackendComparison":
        """What `save` wrote into a folder."""
        values = json.loads((folder / COMPARISON_FILE).read_text(encoding="utf-8"))
        return cls(**{**values, "models": tuple(ModelFigures(**model) for model in values["models"])})


def compared_backends(config: QuantizationConfig) -> dict[str, QuantizationConfig]:
    """The settings of each back end that is to be compared, by its name.

    Raises:
        UsageError: one is not installed, lacks the widths, or only simulates; or none is installed.
    """
    if tuple(config.compare) == ALL_BACKENDS:
        return _usable(config)
    found = {name: replace(config, backend=name, compare=[]) for name in config.compare}
    for name, settings in found.items():
        if BACKENDS.get(name).is_simulation:
            raise UsageError(
                f"back end {name!r} simulates, so its size and speed mean nothing; leave it out of compare"
            )
        check_settings(name, settings)
    return found


def _usable(config: QuantizationConfig) -> dict[str, QuantizationConfig]:
    """Settings of every back end that is here and has the widths."""
    found, refusals = {}, []
    for name in BACKENDS.names():
        try:
            if BACKENDS.get(name).is_simulation:
                continue
            settings = replace(config, backend=name, compare=[])
            check_settings(name, settings)
        except UsageError as error:  # a plug-in's import, too
            refusals.append(str(error))
        else:
            found[name] = settings
    if not found:
        raise UsageError(f"there is no back end to compare: {'; '.join(refusals)}")
    return found


def compare_backends(
    teacher: Teacher,
    calibration: KeptImages,
    config: QuantizationConfig,
    *,
    images: ImageSet | None = None,
) -> BackendComparison:
    """Quantizes a teacher by several back ends and measures every model, in integers and in floating point.

    Models take turns while they are timed, on a machine that should do nothing else.

    Args:
        calibration: what activations are calibrated on.
        config: names the back ends (`compare`) and the widths that all of them have.
        images: labelled images to judge on; None judges agreement with the teacher on the synthetic ones.

    Raises:
        UsageError: as of `compared_backends`.
        RunError: no back end can convert this model.
    """
    with ExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="smi-hf-")))
        models: dict[tuple[str, bool], Predictor] = {}
        sizes: dict[tuple[str, bool], float] = {}
        left_out: dict[str, str] = {}
        for name, settings in compared_backends(config).items():
            try:
                quantizer = stack.enter_context(Quantizer(teacher, settings))
                quantizer.quantize(calibration, work / name)
            except RunError as error:
                logger.warning("back end %s is left out: %s", name, error)
                left_out[name] = str(error)
                continue
            folders = {True: quantizer.float_model.folder, False: work / name}
            models[name, True], models[name, False] = quantizer.float_predictor(), quantizer.load(work / name)
            sizes |= {(name, is_float): folder_size(folder) / 1e6 for is_float, folder in folders.items()}
        if not models:
            raise RunError(f"no back end could convert this model: {'; '.join(left_out.values())}")
        scores, num_images = _scores(teacher, models, calibration, config, images)
        speeds = speed_figures(models, (teacher.model.num_channels, *teacher.model.grid.image_size))
    figures = tuple(
        ModelFigures(*key, *scores[key], sizes[key], speeds[key]["latency_ms_1"], speeds[key]["latency_ms_32"])
        for key in models
    )
    recommended, reason = recommend(figures)
    return BackendComparison(figures, num_images, images is not None, recommended, reason, left_out)


def _scores(
    teacher: Teacher,
    models: Mapping[tuple[str, bool], Predictor],
    calibration: KeptImages,
    config: QuantizationConfig,
    images: ImageSet | None,
) -> tuple[dict[tuple[str, bool], tuple[float | None, float]], int]:
    """Accuracy, if there are real images, and agreement with the teacher, of each model; and how many images."""
    reference = predictor_of(teacher)
    if images is not None:
        seen = rank_labels(
            images, {None: reference, **models}, batch_size=config.batch_size, disable_tqdm=config.disable_tqdm
        )
        found = {key: (seen[key].accuracy()["top1"], seen[key].agreement(seen[None])) for key in models}
        return found, len(images)
    pixels = [pixels_BCHW.numpy() for pixels_BCHW in calibration.filled_images(teacher.model.grid)]
    expected_n = _choices(reference, pixels)
    agreements = {key: float((_choices(model, pixels) == expected_n).mean()) for key, model in models.items()}
    return {key: (None, agreement) for key, agreement in agreements.items()}, len(expected_n)


def _choices(predictor: Predictor, pixels: Sequence[np.ndarray]) -> np.ndarray:
    return np.concatenate([predictor(pixels_BCHW).argmax(axis=1) for pixels_BCHW in pixels])


def recommend(models: Sequence[ModelFigures]) -> tuple[str, str]:
    """The back end whose model in integers is fastest of those that lose little, and why, in a sentence.

    Args:
        models: of each back end one in floating point and one in integers.
    """
    in_float = {model.backend: model for model in models if model.is_float}
    in_integers = [model for model in models if not model.is_float]
    losses = {model.backend: 100 * (in_float[model.backend].score - model.score) for model in in_integers}
    good = [model for model in in_integers if losses[model.backend] <= MAX_LOSS]
    if good:
        best = min(good, key=lambda model: model.pace_ms)
    else:
        best = min(in_integers, key=lambda model: losses[model.backend])
    before, kind = in_float[best.backend], "agreement" if best.top1 is None else "top-1"
    loss = losses[best.backend]
    changed = f"{abs(loss):.1f} points of {kind} {'lost' if loss >= 0 else 'won'}"
    reason = (
        f"{best.backend}: {best.latency_ms_1:.1f} ms at batch 1 and {best.latency_ms_32:.0f} ms at {_BATCH}, "
        f"{before.latency_ms_1 / best.latency_ms_1:.1f} and {before.latency_ms_32 / best.latency_ms_32:.1f} times as "
        f"fast as its float32, {best.size_mb:.1f} MB instead of {before.size_mb:.1f}, {changed}"
    )
    if not good:
        return best.backend, f"{reason}; every back end loses more than {MAX_LOSS:g} point, and this one least"
    others = sorted((model for model in good if model is not best), key=lambda model: model.pace_ms)
    if others:
        reason += f"; {others[0].backend}, the next, takes {others[0].pace_ms / best.pace_ms:.1f} times as long"
    if refused := [model.backend for model in in_integers if model not in good]:
        reason += f"; {' and '.join(refused)} lost more than {MAX_LOSS:g} point"
    quickest = min(in_float.values(), key=lambda model: model.pace_ms)
    if quickest.pace_ms < best.pace_ms:
        reason += f"; but float32 of {quickest.backend} is faster here, so this is for its size"
    return best.backend, reason
