"""Models by the name of their folder: of a back end, or a PyTorch checkpoint."""

from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from smi_hf.errors import UsageError
from smi_hf.evaluation.predictors import Predictor, predictor_of, pytorch_predictor
from smi_hf.evaluation.record import ModelRecord
from smi_hf.files import one_line
from smi_hf.models.bare import HeadRequest, refuse_head
from smi_hf.models.classification import is_classifier, label_names_of
from smi_hf.models.classifier import load_classifier
from smi_hf.models.embeddings import EmbeddingHead, as_head, head_in
from smi_hf.models.loading import find_checkpoint, load_config, read_config
from smi_hf.models.preprocessing import load_image_processor
from smi_hf.models.teacher import load_asked
from smi_hf.quantization.backends import BACKENDS


def load_predictor(
    model_name_or_path: str,
    *,
    revision: str | None = None,
    allow_pickle: bool = False,
    head: EmbeddingHead | str | Path | None = None,
    labels: Sequence[str] = (),
    prompts: Sequence[str] = (),
    directions: int | None = None,
    directions_from: str | None = None,
) -> Predictor:
    """Any image model: a folder of `quantize`, a folder of `save_pretrained`, or a model on the Hub.

    A quantized model is shown a black picture, to see that it works.

    Args:
        revision: branch, tag or commit on the Hub.
        allow_pickle: whether to load weights from a pickle, which can run any code, if there are no safetensors.
        head, labels, prompts, directions, directions_from: of an image tower or a backbone, as for `load_teacher`;
            what lies beside the model if none is given.

    Raises:
        UsageError: it cannot be loaded, or needs a back end that is not installed.
    """
    request = HeadRequest(head, labels, prompts, directions, directions_from)
    folder = Path(model_name_or_path)
    backend = saved_backend(folder) if folder.is_dir() else None
    if backend is None:
        return _load_checkpoint(model_name_or_path, request, revision=revision, allow_pickle=allow_pickle)
    made = _saved_head(folder, request)
    image_processor = load_image_processor(model_name_or_path)
    label_names = label_names_of(load_config(model_name_or_path)) if made is None else list(made.names)
    try:
        predictor = Predictor(BACKENDS.get(backend).load(folder), image_processor, label_names, backend, made)
        logits_1L = predictor(predictor.preprocess([Image.new("RGB", (64, 64))]))
    except UsageError:
        raise
    except Exception as error:  # each runtime raises its own for files that it cannot read
        raise UsageError(
            f"the {backend} model in {model_name_or_path!r} cannot be read; a file is missing, damaged or of another "
            f"model, so quantize again or fetch it again. {type(error).__name__} says: {one_line(error)}"
        ) from error
    if logits_1L.shape != (1, len(label_names)):
        raise UsageError(
            f"the {backend} model in {model_name_or_path!r} gives {logits_1L.shape[-1]} logits, but its config.json "
            f"names {len(label_names)} labels; one of the two is of another model"
        )
    return predictor


def _load_checkpoint(name: str, request: HeadRequest, *, revision: str | None, allow_pickle: bool) -> Predictor:
    source = find_checkpoint(name, revision=revision)
    if is_classifier(read_config(source)):
        refuse_head(request, source)
        classifier = load_classifier(name, revision=revision, allow_pickle=allow_pickle)
        return pytorch_predictor(classifier.model, classifier.image_processor)
    return predictor_of(load_asked(name, request, revision=revision, allow_pickle=allow_pickle))


def _saved_head(folder: Path, request: HeadRequest) -> EmbeddingHead | None:
    """What makes a classifier of a quantized tower or backbone; None of a classifier."""
    if request.labels or request.directions is not None:
        raise UsageError(
            f"{str(folder)!r} is a quantized model, whose labels or directions lie beside it; to compare others, name "
            f"the model that it was made from (--reference), which has what they are made with"
        )
    return head_in(folder) if request.head is None else as_head(request.head)


def saved_backend(folder: Path) -> str | None:
    """Name of the back end whose model a folder holds, None for a PyTorch checkpoint."""
    here = [name for name in BACKENDS.names() if not BACKENDS.not_imported_from(name)]
    return next((name for name in [*here, *_recorded(folder)] if BACKENDS.get(name).is_saved_in(folder)), None)


def _recorded(folder: Path) -> list[str]:
    """The plug-in that the record beside a model names, if it is installed; others are not imported to be asked."""
    try:
        name = str(ModelRecord.load(folder).settings.get("backend"))
    except (UsageError, OSError):
        return []
    return [name] if BACKENDS.not_imported_from(name) else []


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
