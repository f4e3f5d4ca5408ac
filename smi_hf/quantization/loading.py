"""Models by the name of their folder: of a back end, or a PyTorch checkpoint."""

from pathlib import Path

from smi_hf.errors import UsageError
from smi_hf.evaluation.predictors import Predictor, pytorch_predictor
from smi_hf.models.classifier import load_classifier
from smi_hf.models.loading import label_names_of, load_config
from smi_hf.models.preprocessing import load_image_processor
from smi_hf.quantization.backends import BACKENDS


def load_predictor(model_name_or_path: str, *, revision: str | None = None, allow_pickle: bool = False) -> Predictor:
    """Any image classifier: a folder of `quantize`, a folder of `save_pretrained`, or a model on the Hub.

    Args:
        revision: branch, tag or commit on the Hub.
        allow_pickle: whether to load weights from a pickle, which can run any code, if there are no safetensors.

    Raises:
        UsageError: it cannot be loaded, or needs a back end that is not installed.
    """
    folder = Path(model_name_or_path)
    backend = saved_backend(folder) if folder.is_dir() else None
    if backend is None:
        classifier = load_classifier(model_name_or_path, revision=revision, allow_pickle=allow_pickle)
        return pytorch_predictor(classifier.model, classifier.image_processor)
    image_processor = load_image_processor(model_name_or_path)
    label_names = label_names_of(load_config(model_name_or_path))
    return Predictor(BACKENDS.get(backend).load(folder), image_processor, label_names, backend)


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
