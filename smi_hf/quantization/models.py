"""Which back end made the model of a folder, if any."""

from pathlib import Path

from smi_hf.errors import UsageError
from smi_hf.quantization.backends.base import BACKENDS


def saved_backend(folder: Path) -> str | None:
    """Name of the back end whose model a folder holds, None for a PyTorch checkpoint."""
    return next((name for name in BACKENDS.names() if BACKENDS.get(name).is_saved_in(folder)), None)


def check_not_quantized(model_name_or_path: str) -> None:
    """Checks that a folder holds no quantized model, whose weights are rounded already.

    Raises:
        UsageError: it does.
    """
    folder = Path(model_name_or_path)
    if folder.is_dir() and (backend := saved_backend(folder)):
        raise UsageError(
            f"model {model_name_or_path!r} is quantized already (back end {backend}); give the checkpoint in floating "
            f"point that it was made from"
        )
