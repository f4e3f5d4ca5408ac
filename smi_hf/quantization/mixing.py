"""Mixed precision that is found: which layers get activations of 16 bits, and which stay in floating point.

Each layer is quantized alone, as for a sensitivity report. A layer whose divergence 16 bits at least halve is to get
them; another one, whose weights are what is lost or whose back end has no 16 bits, is to stay in floating point. Then
as few of these changes as the limit takes are made, largest divergence first, found by bisection: the mixture is
measured, not added up from single layers.
"""

import json
from bisect import bisect_left
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import yaml

from smi_hf import progress
from smi_hf.errors import RunError, UsageError
from smi_hf.files import replaced_atomically
from smi_hf.images.kept import KeptImages
from smi_hf.progress import Bar
from smi_hf.quantization.config import DEFAULT_MAX_LOSS, WIDE_BITS, QuantizationConfig
from smi_hf.quantization.costs import Cost, CostMeter, largest
from smi_hf.quantization.quantizer import Quantizer

RECIPE_FILE = "recipe.yaml"
REPORT_FILE = "mixed.json"
WIDE, FLOAT = "wide", "float"
# Layers that make up this share of the summed divergence are tried in 16 bits; what is left is noise.
_SHARE_TO_TRY = 0.95
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Mixture:
    """Which layers differ from the rest, and what that is worth.

    Args:
        wide: names of the layers whose activations get 16 bits.
        float: names of the layers that stay in floating point.
        before: cost of quantizing all layers alike.
        after: cost of the mixture.
        num_images: that the answers were compared on.
    """

    wide: list[str]
    float: list[str]
    before: Cost
    after: Cost
    num_images: int

    def settings(self, config: QuantizationConfig) -> QuantizationConfig:
        """Settings with these layers named in them, which need no search."""
        return config.with_layers(exclude=[*config.exclude, *self.float], wide_layers=self.wide)


@dataclass(frozen=True)
class _Change:
    """One layer treated better than the rest.

    Args:
        name: of the layer.
        kind: `WIDE` or `FLOAT`.
        growth_mb: what it adds on disk.
    """

    name: str
    kind: str
    growth_mb: float


def find_mixture(
    quantizer: Quantizer,
    calibration: KeptImages | None,
    pixels: Sequence[np.ndarray],
    *,
    disable_tqdm: bool = False,
) -> Mixture:
    """The smallest mixture within the limits of a quantizer's settings (`max_loss`, `max_size_mb`).

    Args:
        quantizer: entered; its layers are those to choose among.
        pixels: batches of preprocessed images to compare answers on, float32 (B, C, H, W).

    Raises:
        UsageError: the model is larger than `max_size_mb` even with every layer quantized.
        RunError: no mixture keeps `max_loss`; says which comes nearest.
    """
    config = quantizer.config
    needed = 1 - _allowed_loss(config) / 100 - _ROUNDING
    with progress.bar("Mixed precision", unit="model", disable=disable_tqdm) as bar:
        search = _Search(quantizer, CostMeter(quantizer, calibration, pixels), bar)
        before = search.measured([])
        if config.max_size_mb is not None and before.size_mb > config.max_size_mb:
            raise UsageError(
                f"with every layer quantized the model has {before.size_mb:.1f} MB, but max_size_mb is "
                f"{config.max_size_mb:g}; allow that many, or choose fewer bits for the weights or a smaller model"
            )
        changes: list[_Change] = []
        if before.agreement < needed:
            changes = _affordable(search.changes(), before.size_mb, config.max_size_mb)
            changes = _fewest(search, changes, needed)
        # What single layers grow by was added up; the mixture is measured.
        while config.max_size_mb is not None and search.measured(changes).size_mb > config.max_size_mb:
            changes = changes[:-1]
        after = search.measured(changes)
    wide, floating = _by_kind(changes)
    is_limit = config.max_loss is not None or config.max_size_mb is None
    if is_limit and after.agreement < needed:
        raise RunError(
            f"no mixture of layers was found that changes the first choice of at most {_allowed_loss(config):g} % of "
            f"{search.meter.num_images} images{_size_words(config)}: with {len(wide)} layers in {WIDE_BITS} bits and "
            f"{len(floating)} in floating point it is {100 * (1 - after.agreement):.1f} %; allow more with max_loss"
        )
    return Mixture(wide, floating, before, after, search.meter.num_images)


def _allowed_loss(config: QuantizationConfig) -> float:
    """Percent of the images whose first choice may change."""
    if config.max_loss is not None:
        return config.max_loss
    return DEFAULT_MAX_LOSS if config.max_size_mb is None else 0.0


def _size_words(config: QuantizationConfig) -> str:
    return "" if config.max_size_mb is None else f" within {config.max_size_mb:g} MB"


class _Search:
    """Measures mixtures, each once."""

    def __init__(self, quantizer: Quantizer, meter: CostMeter, bar: Bar) -> None:
        self.meter = meter
        self._quantizer = quantizer
        self._bar = bar
        self._seen: dict[tuple[frozenset[str], frozenset[str]], Cost] = {}

    def measured(self, changes: Sequence[_Change]) -> Cost:
        """The cost of all layers together, some of them changed."""
        wide, floating = map(frozenset, _by_kind(changes))
        if (wide, floating) not in self._seen:
            layers = [name for name in self._quantizer.layers if name not in floating]
            self._seen[wide, floating] = self._cost("all of them", layers, wide)
        return self._seen[wide, floating]

    def changes(self) -> list[_Change]:
        """What can be done for the layers, in the order in which it is to be done.

        First each layer's own remedy; then floating point for those whose remedy was 16 bits. One layer is always
        left to quantize.
        """
        alone = [self._cost(name, [name]) for name in self._quantizer.layers]
        in_16 = {}
        if self._can_be_wide():
            in_16 = {cost.name: self._cost(cost.name, [cost.name], [cost.name]) for cost in self._worst(alone)}
        own, later = [], []
        for cost in sorted(alone, key=lambda cost: -cost.divergence):
            growth_mb = self.meter.float_size_mb - cost.size_mb
            # What was not tried loses next to nothing, and 16 bits cost no megabyte.
            rest = in_16[cost.name].divergence if cost.name in in_16 else 0.0
            if self._can_be_wide() and rest <= cost.divergence / 2:
                own.append(_Change(cost.name, WIDE, 0.0))
                later.append((rest, _Change(cost.name, FLOAT, growth_mb)))
            else:
                own.append(_Change(cost.name, FLOAT, growth_mb))
        later.sort(key=lambda found: -found[0])
        return _one_left([*own, *(change for _, change in later)], len(alone))

    def _worst(self, costs: Sequence[Cost]) -> list[Cost]:
        return largest(costs, _SHARE_TO_TRY)

    def _can_be_wide(self) -> bool:
        return self._quantizer.backend.has_wide_layers and self._quantizer.config.activations < WIDE_BITS

    def _cost(self, name: str, layers: Sequence[str], wide: Collection[str] = ()) -> Cost:
        self._bar.update()
        return self.meter.cost(name, layers, wide=[layer for layer in layers if layer in wide])


def _by_kind(changes: Sequence[_Change]) -> tuple[list[str], list[str]]:
    """Names of the layers in 16 bits, and of those in floating point; the last change of a layer counts."""
    kinds = {change.name: change.kind for change in changes}
    return tuple([name for name, kind in kinds.items() if kind == wanted] for wanted in (WIDE, FLOAT))


def _one_left(changes: Sequence[_Change], num_layers: int) -> list[_Change]:
    """The changes without that which would leave nothing to quantize."""
    floating = [change for change in changes if change.kind == FLOAT]
    dropped = floating[-1] if len(floating) == num_layers else None
    return [change for change in changes if change is not dropped]


def _affordable(changes: Sequence[_Change], size_mb: float, limit_mb: float | None) -> list[_Change]:
    """The changes without those that a limit of the size has no room for, first come, first served."""
    kept = []
    for change in changes:
        if limit_mb is None or size_mb + change.growth_mb <= limit_mb:
            size_mb += change.growth_mb
            kept.append(change)
    return kept


def _fewest(search: _Search, changes: Sequence[_Change], needed: float) -> list[_Change]:
    """The first so many changes that reach an agreement, by bisection; all of them if they do not."""

    def is_enough(count: int) -> bool:
        return search.measured(changes[:count]).agreement >= needed

    if not changes or not is_enough(len(changes)):
        return list(changes)
    return list(changes[: 1 + bisect_left(range(1, len(changes) + 1), True, key=is_enough)])


def save_mixture(mixture: Mixture, config: QuantizationConfig, folder: Path) -> None:
    """Writes `recipe.yaml`, which `smi-hf quantize --config` reads, and `mixed.json`, what was measured.

    Args:
        config: the settings of the search.
    """
    chosen = mixture.settings(config)
    options = chosen.model_settings() | {"calibration_patches": chosen.calibration_patches}
    recipe = yaml.safe_dump({name: value for name, value in options.items() if value}, sort_keys=False)
    with replaced_atomically(folder / RECIPE_FILE) as temporary:
        temporary.write_text(f"# smi-hf quantize --mixed auto: {describe(mixture)}\n{recipe}", encoding="utf-8")
    with replaced_atomically(folder / REPORT_FILE) as temporary:
        temporary.write_text(json.dumps(asdict(mixture), indent=2) + "\n")


def load_mixture(folder: Path) -> Mixture:
    """What `save_mixture` wrote into a folder."""
    values = json.loads((folder / REPORT_FILE).read_text(encoding="utf-8"))
    return Mixture(**{**values, "before": Cost(**values["before"]), "after": Cost(**values["after"])})


def describe(mixture: Mixture) -> str:
    """A mixture in words, in one line."""
    before, after = (f"{100 * cost.agreement:.1f} %" for cost in (mixture.before, mixture.after))
    if not (mixture.wide or mixture.float):
        return f"every layer alike, agreement with float32 {after} of {mixture.num_images} images"
    return (
        f"{len(mixture.wide)} layers with activations in {WIDE_BITS} bits, {len(mixture.float)} in floating point; "
        f"agreement with float32 {after} of {mixture.num_images} images, {before} without"
    )
