"""What a quantization can be told. Every option is described once, in its help."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

from smi_hf.data.report_file import REPORT_OPTION
from smi_hf.errors import UsageError
from smi_hf.files import check_folder_name
from smi_hf.images.controls.base import check_control_seeds
from smi_hf.quantization.backends import BACKENDS

# Instead of bits: floating point.
FLOAT_BITS = 32
# Activations of integer accelerators where 8 bits are too few.
WIDE_BITS = 16
ALL_OPERATORS = ("all",)
# In place of names: every back end that is installed and has the widths.
ALL_BACKENDS = ("all",)
# What is said in names and choices of one back end, or makes a report of one.
_OF_ONE_BACKEND = ("operators", "exclude", "wide_layers", "target", "quantize_outputs", "sensitivity", "mixed")
MIXTURES = ("auto",)
DEFAULT_MAX_LOSS = 1.0
CALIBRATION_PATCHES = ("kept", "tiled", "all")


@dataclass
class QuantizationConfig:
    """Settings of `quantize`; `HfArgumentParser` makes command line options of them.

    Whether a back end has the widths and the target that are asked for is checked by `check_settings`, which needs
    the back end's own file.

    Raises:
        UsageError: a value is out of range.
    """

    weights: int = field(
        default=8,
        metadata={
            "help": "Bits of the weights, of those that the back end has. All have 8; quanto 4 and 2 as well, torchao "
            "4, simulated 2 to 8; 32 is floating point."
        },
    )
    activations: int = field(
        default=8,
        metadata={
            "help": "Bits of the activations; 32 quantizes the weights alone. Back ends that quantize them have 8; "
            "onnx 16 as well, for accelerators (no faster on CPUs), simulated 2 to 16."
        },
    )
    operators: list[str] = field(
        default_factory=list,
        metadata={"help": "Types of layers to quantize, or 'all'. Default: the back end's (onnx: MatMul Gemm)."},
    )
    exclude: list[str] = field(
        default_factory=list,
        metadata={"help": "Names of layers that stay in floating point; * and ? are wildcards. See --sensitivity."},
    )
    wide_layers: list[str] = field(
        default_factory=list,
        metadata={
            "help": "Names of layers whose activations get 16 bits (onnx, simulated); * and ? are wildcards. In onnx, "
            "what else reads such a tensor reads 16 bits, too."
        },
    )
    target: str | None = field(
        default=None,
        metadata={
            "help": "Preset of onnx: avx512_vnni (default), avx2, arm64 or tensorrt; of torch: one of the first two."
        },
    )
    quantize_outputs: bool = field(
        default=False,
        metadata={
            "help": "onnx: write results of layers in 8 bits too, as integer-only accelerators need. Slower on CPUs, "
            "and useless unless calibrated on images."
        },
    )
    backend: str = field(
        default="onnx",
        metadata={
            "help": "Who quantizes. onnx (ONNX Runtime), openvino (NNCF), torch (programs, by torchao), torchao "
            "(weights alone), executorch (XNNPACK), quanto (PyTorch), or simulated, which measures any width as "
            "papers do and makes no smaller model. torch, torchao and executorch need transformers 5.",
            "choices": BACKENDS.names(),
        },
    )
    compare: list[str] = field(
        default_factory=list,
        metadata={
            "help": "Back ends to measure beside each other, or 'all' that are installed. Size, accuracy or "
            "agreement, and speed on this machine, in floating point and in integers (comparison.json). The model is "
            "made by the one that is recommended."
        },
    )
    output_dir: str = field(
        default="smi-quantized",
        metadata={"help": "Folder for the quantized model. It must not exist; it appears when all is done."},
    )
    num_images: int | None = field(default=None, metadata={"help": "Images to calibrate on. Default: all."})
    calibration_patches: str = field(
        default="kept",
        metadata={
            "help": "Patches that calibration sees: those kept; all, pruned ones black (loses accuracy); or tiled, "
            "several images to a whole one, where shapes are fixed.",
            "choices": CALIBRATION_PATCHES,
        },
    )
    other_teacher: bool = field(
        default=False, metadata={"help": "Accept images that were inverted from another model than this one."}
    )
    control_seeds: list[int] = field(
        default_factory=lambda: [0],
        metadata={"help": "Seeds of noise, of the choice of real images and of random patches: one run each."},
    )
    sensitivity: bool = field(
        default=False,
        metadata={
            "help": "Report what each layer and operator costs when quantized alone. Writes sensitivity.json and "
            ".png, and a list to --exclude. Judged on real images if there are any, or else on the synthetic images."
        },
    )
    sensitivity_images: int = field(
        default=128, metadata={"help": "Real images that --sensitivity and --mixed are judged on, at most."}
    )
    mixed: str | None = field(
        default=None,
        metadata={
            "help": "'auto' gives the layers that cost most activations of 16 bits, or leaves them in floating point. "
            "16 bits where those mend a layer; no more layers than it takes for --max_loss, and as many as "
            "--max_size_mb allows. Writes recipe.yaml, for --config of later runs.",
            "choices": MIXTURES,
        },
    )
    max_loss: float | None = field(
        default=None,
        metadata={
            "help": "With --mixed auto: percent of the images whose first choice may differ from float32's, of real "
            f"images if there are any, or else of the synthetic ones. Default: {DEFAULT_MAX_LOSS:g}; 0 with "
            "--max_size_mb, which may fall short of it."
        },
    )
    max_size_mb: float | None = field(
        default=None, metadata={"help": "With --mixed auto: MB (10^6 bytes) of weights on disk, at most."}
    )
    batch_size: int = field(default=32, metadata={"help": "Images that are judged at a time."})
    report: bool = field(default=True, metadata=REPORT_OPTION)
    disable_tqdm: bool = field(default=False, metadata={"help": "Show no progress bars."})

    def __post_init__(self) -> None:
        check_folder_name(self.output_dir)
        if self.backend not in BACKENDS:
            BACKENDS.get(self.backend)  # raises, and names those that there are
        for option in ("num_images", "sensitivity_images", "batch_size"):
            value = getattr(self, option)
            if value is not None and value < 1:
                raise UsageError(f"{option} must be at least 1, but {value} was given")
        self._check_mixture()
        self._check_comparison()
        if self.calibration_patches not in CALIBRATION_PATCHES:
            raise UsageError(
                f"calibration_patches is {self.calibration_patches!r}, but can be {' or '.join(CALIBRATION_PATCHES)}"
            )
        check_control_seeds(self.control_seeds)

    def _check_mixture(self) -> None:
        if self.mixed is not None and self.mixed not in MIXTURES:
            raise UsageError(f"mixed is {self.mixed!r}, but can be {' or '.join(MIXTURES)}; or leave it out")
        for option in ("max_loss", "max_size_mb"):
            value = getattr(self, option)
            if value is None:
                continue
            if self.mixed is None:
                raise UsageError(f"{option} is a limit for mixed, which was not given; give both, for instance auto")
            least, most = (0, 100) if option == "max_loss" else (1e-6, 1e9)
            if not least <= value <= most:
                raise UsageError(f"{option} must be from {least:g} to {most:g}, but {value} was given")
        if self.mixed is not None and self.wide_layers:
            raise UsageError("mixed chooses wide_layers by itself, but wide_layers was given, too; leave out one")

    def _check_comparison(self) -> None:
        if not self.compare:
            return
        if tuple(self.compare) != ALL_BACKENDS:
            for name in self.compare:
                if name not in BACKENDS:
                    BACKENDS.get(name)  # raises, and names those that there are
        if len(set(self.compare)) < len(self.compare):
            raise UsageError(f"compare names a back end twice ({', '.join(self.compare)}); name each once")
        if self.backend != QuantizationConfig.backend:
            raise UsageError(
                f"compare chooses the back end, but backend {self.backend!r} was given, too; leave out one"
            )
        for option in _OF_ONE_BACKEND:
            if getattr(self, option):
                raise UsageError(
                    f"compare measures each back end with its own defaults, but {option} was given, which is for one; "
                    f"leave out one of the two"
                )

    def with_layers(self, **named: Sequence[str]) -> Self:
        """These settings with `exclude` or `wide_layers` as given, and nothing left to search for."""
        lists = {name: list(names) for name, names in named.items()}
        return replace(self, mixed=None, max_loss=None, max_size_mb=None, **lists)

    def model_settings(self) -> dict[str, Any]:
        """The options that decide what the model is; the back end's own operators and target where none are given."""
        backend = BACKENDS.get(self.backend)
        return {
            "backend": self.backend,
            "weights": self.weights,
            "activations": self.activations,
            "operators": list(self.operators or backend.operators),
            "exclude": list(self.exclude),
            "wide_layers": list(self.wide_layers),
            "target": self.target or next(iter(backend.targets), None),
            "quantize_outputs": self.quantize_outputs,
        }
