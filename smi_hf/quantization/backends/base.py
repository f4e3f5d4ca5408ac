"""What a quantization back end does, and where it is registered.

A back end prepares a teacher once and quantizes it any number of times: each calibration set and each control of a
table, each layer of a sensitivity report. What to quantize reaches it as a list of layer names, whatever the mixture
of operator types, exclusions and single layers that a user asked for.
"""

from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Protocol, TypeVar

from smi_hf.environment import check_extra
from smi_hf.errors import UsageError
from smi_hf.quantization.backends import BACKENDS
from smi_hf.quantization.config import ALL_OPERATORS, FLOAT_BITS, WIDE_BITS, QuantizationConfig
from smi_hf.registry import suggest

if TYPE_CHECKING:  # not at run time: --help lists the back ends, and must not wait for torch
    from smi_hf.evaluation.predictors import Answer
    from smi_hf.evaluation.record import Runtime
    from smi_hf.images.kept import KeptImages
    from smi_hf.models import Teacher


class FloatModel(Protocol):
    """A teacher in floating point under a back end's runtime, ready to be quantized any number of times.

    Args:
        folder: where its weights lie, for their size on disk.
        layers: type of each layer that can be quantized, by name, in the order of the forward pass.
    """

    folder: Path
    layers: Mapping[str, str]

    def load(self) -> "Answer":
        """Its forward pass in floating point."""

    def quantize(
        self,
        calibration: "KeptImages | None",
        settings: QuantizationConfig,
        layers: Sequence[str],
        folder: Path,
    ) -> None:
        """Writes a quantized model that the library's own loader reads.

        Args:
            calibration: what activations are calibrated on, kept patches alone; None quantizes dynamically.
            settings: widths and target; operators and exclusions are resolved already, `wide_layers` are names.
            layers: names of the layers to quantize; all others stay in floating point.
            folder: does not exist yet.
        """


class QuantizationBackend(Protocol):
    """A way to a quantized model on disk and back.

    Args:
        extra: extra of smi-hf that it needs, None if none.
        widths: (weights, activations) in bits that it has, None for weights of any from 2 to 8, activations of any
            from 2 to 16, and 32.
        operators: types of layers that it quantizes unless told otherwise.
        dense_operators: the same of models that are shown whole images, which convolve; `operators` where a back end
            has no such attribute.
        targets: presets, the default first; empty if it has none.
        has_quantized_outputs: whether it can quantize what a layer writes.
        has_wide_layers: whether single layers can have activations of 16 bits.
        is_dynamic_possible: whether it can quantize activations at run time, without calibration.
        is_simulation: whether its models compute in floating point, so that their size and speed mean nothing.
        runtime: what runs its models, for records and cards.
    """

    extra: ClassVar[str | None]
    widths: ClassVar[tuple[tuple[int, int], ...] | None]
    operators: ClassVar[tuple[str, ...]]
    targets: ClassVar[tuple[str, ...]]
    has_quantized_outputs: ClassVar[bool]
    has_wide_layers: ClassVar[bool]
    is_dynamic_possible: ClassVar[bool]
    is_simulation: ClassVar[bool]
    runtime: "ClassVar[Runtime]"

    def prepare(self, teacher: "Teacher", work: Path) -> FloatModel:
        """The teacher in floating point; `work` is an empty folder that outlives the result."""

    def is_saved_in(self, folder: Path) -> bool:
        """Whether a folder holds a model of this back end."""

    def load(self, folder: Path) -> "Answer":
        """The model of a folder, as a function from images to what it gives: logits, or what embeddings are read off.

        A folder of an image tower or backbone has an embedding head (`smi_hf.models.embeddings.HEAD_FILE`).
        """


BackendClass = TypeVar("BackendClass", bound=type)


def register_backend(name: str) -> Callable[[BackendClass], BackendClass]:
    """Class decorator: files an instance of the class under `name`."""

    def add(backend: BackendClass) -> BackendClass:
        BACKENDS.register(name)(backend())
        return backend

    return add


def check_settings(name: str, settings: QuantizationConfig) -> None:
    """Checks what can be checked before a model is loaded.

    Raises:
        UsageError: the back end's extra is absent, or it lacks the widths or the target.
    """
    backend = BACKENDS.get(name)
    if backend.extra is not None:
        check_extra(backend.extra, f"back end {name!r}")
    widths = (settings.weights, settings.activations)
    if backend.widths is None:
        if any(bits != FLOAT_BITS and not 2 <= bits <= most for bits, most in zip(widths, (8, WIDE_BITS))):
            raise UsageError(
                f"weights {widths[0]} and activations {widths[1]} are not widths of back end {name!r}: it has weights "
                f"of 2 to 8 bits, activations of 2 to {WIDE_BITS}, and {FLOAT_BITS} for floating point"
            )
    elif widths not in backend.widths:
        accepted = ", ".join(f"{weights}/{activations}" for weights, activations in backend.widths)
        raise UsageError(
            f"back end {name!r} has no weights of {widths[0]} bits with activations of {widths[1]}; it has "
            f"(weights/activations) {accepted}, where {FLOAT_BITS} is floating point"
        )
    if settings.wide_layers and not backend.has_wide_layers:
        raise UsageError(f"back end {name!r} has no layers of {WIDE_BITS} bits among others; leave out wide_layers")
    if settings.wide_layers and settings.activations >= WIDE_BITS:
        raise UsageError(
            f"wide_layers names layers whose activations get {WIDE_BITS} bits, but all have {settings.activations}; "
            f"leave out one of the two"
        )
    if settings.max_size_mb is not None and backend.is_simulation:
        raise UsageError(f"back end {name!r} makes no smaller models, so max_size_mb means nothing; leave it out")
    if settings.quantize_outputs and not backend.has_quantized_outputs:
        raise UsageError(f"back end {name!r} has no choice about outputs; leave out quantize_outputs")
    if settings.target is not None and settings.target not in backend.targets:
        if not backend.targets:
            raise UsageError(
                f"back end {name!r} has no targets, but target {settings.target!r} was given; leave it out"
            )
        raise UsageError(
            f"there is no target {settings.target!r}{suggest(settings.target, list(backend.targets))}; back end "
            f"{name!r} has {', '.join(backend.targets)}"
        )


def choose_layers(
    layers: Mapping[str, str],
    backend: QuantizationBackend,
    settings: QuantizationConfig,
    *,
    is_dense: bool = False,
) -> list[str]:
    """Names of the layers that settings ask to quantize.

    Args:
        layers: type by name, as of `FloatModel`.
        is_dense: whether the model is shown whole images.

    Raises:
        UsageError: a type or a name does not exist, or nothing is left to quantize.
    """
    usual = getattr(backend, "dense_operators", backend.operators) if is_dense else backend.operators
    operators = settings.operators or usual
    types = sorted(set(layers.values()))
    for operator in operators:
        if settings.operators and operator not in (*ALL_OPERATORS, *types):
            raise UsageError(
                f"the model has no operator {operator!r}{suggest(operator, types)}; it has {', '.join(types)}; 'all' "
                f"takes every one"
            )
    for pattern in settings.exclude:
        _check_pattern(pattern, layers, "exclude")
    chosen = [
        name
        for name, kind in layers.items()
        if (tuple(operators) == ALL_OPERATORS or kind in operators)
        and not any(fnmatchcase(name, pattern) for pattern in settings.exclude)
    ]
    if not chosen:
        raise UsageError(
            f"nothing is left to quantize: the model has no layer of {', '.join(operators)} that is not excluded"
        )
    return chosen


def choose_wide(layers: Mapping[str, str], chosen: Sequence[str], settings: QuantizationConfig) -> list[str]:
    """Names of the layers, of those that are quantized, whose activations settings ask to have in 16 bits.

    Args:
        layers: all there are, as of `FloatModel`.
        chosen: those that are quantized.

    Raises:
        UsageError: a name does not exist.
    """
    for pattern in settings.wide_layers:
        _check_pattern(pattern, layers, "widen")
    return [name for name in chosen if any(fnmatchcase(name, pattern) for pattern in settings.wide_layers)]


def _check_pattern(pattern: str, layers: Mapping[str, str], what_for: str) -> None:
    if not any(fnmatchcase(name, pattern) for name in layers):
        names = list(layers)
        raise UsageError(
            f"the model has no layer {pattern!r}{suggest(pattern, names)} to {what_for}; it has "
            f"{', '.join(names[:20])}{', ...' if len(names) > 20 else ''}"
        )
