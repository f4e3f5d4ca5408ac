"""What a quantization can be told. Every option is described once, in its help."""

from dataclasses import dataclass, field
from typing import Any

from smi_hf.errors import UsageError
from smi_hf.quantization.backends import BACKENDS

# Instead of bits: floating point.
FLOAT_BITS = 32
ALL_OPERATORS = ("all",)
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
        metadata={"help": "Bits of the weights: 8; quanto 8, 4, 2; simulated 2 to 8; 32 is floating point."},
    )
    activations: int = field(
        default=8,
        metadata={"help": "Bits of the activations: 8; simulated 2 to 8; 32 quantizes the weights alone."},
    )
    operators: list[str] = field(
        default_factory=list,
        metadata={"help": "Types of layers to quantize, or 'all'. Default: the back end's (onnx: MatMul Gemm)."},
    )
    exclude: list[str] = field(
        default_factory=list,
        metadata={"help": "Names of layers that stay in floating point; * and ? are wildcards. See --sensitivity."},
    )
    target: str | None = field(
        default=None,
        metadata={"help": "Preset of onnx: avx512_vnni (default), avx2, arm64 or tensorrt."},
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
            "help": "Who quantizes: onnx (ONNX Runtime), openvino (NNCF), quanto (PyTorch), or simulated, which "
            "measures any width as papers do and makes no smaller model.",
            "choices": BACKENDS.names(),
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
            "help": "Report what each layer and operator costs when quantized alone (sensitivity.json and .png), and "
            "a list to --exclude. Judged on real images if there are any, or else on the synthetic images."
        },
    )
    sensitivity_images: int = field(default=128, metadata={"help": "Images that --sensitivity is judged on, at most."})
    batch_size: int = field(default=32, metadata={"help": "Images that are judged at a time."})
    disable_tqdm: bool = field(default=False, metadata={"help": "Show no progress bars."})

    def __post_init__(self) -> None:
        if not self.output_dir or "\0" in self.output_dir:
            raise UsageError(f"output_dir must name a folder, but {self.output_dir!r} was given")
        if self.backend not in BACKENDS:
            BACKENDS.get(self.backend)  # raises, and names those that there are
        for option in ("num_images", "sensitivity_images", "batch_size"):
            value = getattr(self, option)
            if value is not None and value < 1:
                raise UsageError(f"{option} must be at least 1, but {value} was given")
        if self.calibration_patches not in CALIBRATION_PATCHES:
            raise UsageError(
                f"calibration_patches is {self.calibration_patches!r}, but can be {' or '.join(CALIBRATION_PATCHES)}"
            )
        if not self.control_seeds:
            raise UsageError("control_seeds is empty, but each control needs at least one; leave it out for seed 0")
        for seed in self.control_seeds:
            if not 0 <= seed < 2**63:
                raise UsageError(f"control_seeds must be from 0 to 2**63 - 1, but {seed} was given")

    def model_settings(self) -> dict[str, Any]:
        """The options that decide what the model is; the back end's own operators and target where none are given."""
        backend = BACKENDS.get(self.backend)
        return {
            "backend": self.backend,
            "weights": self.weights,
            "activations": self.activations,
            "operators": list(self.operators or backend.operators),
            "exclude": list(self.exclude),
            "target": self.target or next(iter(backend.targets), None),
            "quantize_outputs": self.quantize_outputs,
        }
