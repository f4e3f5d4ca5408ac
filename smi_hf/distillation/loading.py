"""Students: loaded or made from scratch, with their image processor and with what is known of where they come from."""

import copy
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import nn
from transformers import AutoModelForImageClassification, PretrainedConfig, PreTrainedModel

from smi_hf.distillation.layer_maps import recorded_layers
from smi_hf.errors import UsageError
from smi_hf.evaluation.history import find_history
from smi_hf.evaluation.record import Step
from smi_hf.files import one_line
from smi_hf.models import License, Teacher
from smi_hf.models.bare import load_bare, model_from_config
from smi_hf.models.classification import is_classifier, label_names_of
from smi_hf.models.licenses import read_license
from smi_hf.models.loading import find_checkpoint, load_config
from smi_hf.models.preprocessing import load_image_processor
from smi_hf.models.references import recorded_name

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class StudentOrigin:
    """Where a student comes from, for records and cards; the default says that it is not known.

    Args:
        name: Hub id, or the folder's name, never its path; None if it is not known.
        revision: commit on the Hub, None for a folder.
        license: of the checkpoint, None if it is unknown.
        from_scratch: whether its architecture alone comes from there.
        has_new_head: whether its head was made for the teacher's labels and has learned nothing yet.
        history: the steps that made its weights, first step first, if they are of smi_hf.
        layers: numbers from 0 of the teacher's layers that its own began as; None if that is not known.
    """

    name: str | None = None
    revision: str | None = None
    license: License | None = None
    from_scratch: bool = False
    has_new_head: bool = False
    history: tuple[Step, ...] = ()
    layers: tuple[int, ...] | None = None


@dataclass(frozen=True)
class StudentModel:
    """A classifier that is to learn. `load_student` and `student_of_layers` make one; a model that was made in
    Python can be put into one.

    Args:
        model: a Hugging Face image classifier in float32 with the teacher's labels.
        image_processor: the model's own; decides its image size and normalization.
        origin: where it comes from.
        seed: that its new weights, if it has any, were drawn with.
    """

    model: PreTrainedModel
    image_processor: Any
    origin: StudentOrigin = StudentOrigin()
    seed: int = 0

    def another(self, run: int = 0) -> "StudentModel":
        """A student of the same kind for another run: what it loaded is the same, what it drew is drawn anew.

        Args:
            run: added to the seed; 0 gives a copy.

        Raises:
            UsageError: its layers are no longer those of its configuration, so that no other one can be made.
        """
        seed = self.seed + run
        if run and self.origin.from_scratch:
            model = _new_model(self.model.config, seed)
            if _shapes(model) != _shapes(self.model):
                raise UsageError(
                    "the student's layers were changed after load_student, so another one cannot be made from its "
                    "configuration for further runs and controls; change config.json and load it, or leave them out"
                )
        else:
            model = copy.deepcopy(self.model)
            if run and self.origin.has_new_head:
                draw_head(model, seed)
        return replace(self, model=model, seed=seed)


def load_student(
    model_name_or_path: str,
    teacher: Teacher,
    *,
    revision: str | None = None,
    replace_head: bool = True,
    from_scratch: bool = False,
    seed: int = 0,
) -> StudentModel:
    """An image classifier with the teacher's labels, in float32.

    Its own Python code, if it has any, is not run, and weights are read from safetensors alone.

    Args:
        model_name_or_path: Hub id or folder; its configuration alone is used if `from_scratch`.
        revision: branch, tag or commit on the Hub.
        replace_head: whether a head of other labels may be replaced by a new one. Labels that differ in upper and
            lower case alone are the same.
        from_scratch: whether weights are drawn anew. A folder that then has no image processor gets the teacher's.
        seed: of new weights.

    Raises:
        UsageError: it is not there, or no image classifier, or its weights do not load; or it has other labels and
            its head may not be replaced.
    """
    config = load_config(model_name_or_path, revision=revision)
    # What is loaded next is of the commit that the configuration is of.
    commit = getattr(config, "_commit_hash", None)
    revision = commit or revision
    if not is_classifier(config):
        return _load_bare_student(model_name_or_path, revision, config, teacher, from_scratch=from_scratch, seed=seed)
    ours, theirs = teacher.label_names, label_names_of(config)
    is_same = _folded(ours) == _folded(theirs)
    if not (is_same or replace_head or from_scratch):
        raise UsageError(
            f"student {model_name_or_path!r} has {len(theirs)} labels ({theirs[0]!r}, ...), its teacher {len(ours)} "
            f"({ours[0]!r}, ...), and its head may not be replaced; allow it with --replace_head true, or give a "
            f"student of the teacher's labels"
        )
    config.id2label = dict(enumerate(ours))
    config.label2id = {name: label for label, name in enumerate(ours)}
    image_processor = _image_processor(model_name_or_path, revision, teacher if from_scratch else None)
    with _in_a_sentence(model_name_or_path):
        if from_scratch:
            model, has_new_head = _new_model(config, seed), True
        else:
            model, has_new_head = _load_weights(model_name_or_path, revision, config)
    if not (is_same or from_scratch):
        differing = len(theirs) - sum(map(str.__eq__, _folded(ours), _folded(theirs)))
        logger.info(
            "the head of student %s is replaced by a new one: %d of its %d labels are not the teacher's %d",
            model_name_or_path, max(differing, 0), len(theirs), len(ours),
        )  # fmt: skip
        has_new_head = True
    if has_new_head and not from_scratch:
        draw_head(model, seed)
    origin = _origin(model_name_or_path, commit, teacher, from_scratch=from_scratch, has_new_head=has_new_head)
    return StudentModel(model, image_processor, origin, seed)


def _load_bare_student(
    model_name_or_path: str,
    revision: str | None,
    config: PretrainedConfig,
    teacher: Teacher,
    *,
    from_scratch: bool,
    seed: int,
) -> StudentModel:
    """An image tower or backbone that learns the embeddings of one, as its embedding head reads them."""
    if teacher.head is None:
        raise UsageError(
            f"student {model_name_or_path!r} has no classification head ({(config.architectures or ['?'])[0]}), but "
            f"its teacher is a classifier; give an image classifier"
        )
    image_processor = _image_processor(model_name_or_path, revision, teacher if from_scratch else None)
    if from_scratch:
        with _in_a_sentence(model_name_or_path):
            model = _new_model(config, seed)
    else:
        model = load_bare(find_checkpoint(model_name_or_path, revision=revision), config)
    model.requires_grad_(True)
    commit = getattr(config, "_commit_hash", None)
    origin = _origin(model_name_or_path, commit, teacher, from_scratch=from_scratch)
    return StudentModel(model, image_processor, origin, seed)


def _origin(
    model_name_or_path: str, commit: str | None, teacher: Teacher, *, from_scratch: bool, **changes: bool
) -> StudentOrigin:
    """Where a student comes from, as its record will say."""
    history = () if from_scratch else find_history(model_name_or_path, revision=commit)
    return StudentOrigin(
        name=recorded_name(model_name_or_path),
        revision=commit,
        license=read_license(model_name_or_path, revision=commit),
        from_scratch=from_scratch,
        history=history,
        layers=recorded_layers(history, teacher),
        **changes,
    )


def head_modules(model: PreTrainedModel) -> list[nn.Module]:
    """The layers of a classifier outside its backbone that have weights.

    Raises:
        UsageError: there are none.
    """
    inside = {id(module) for module in model.base_model.modules()}
    modules = [
        module
        for module in model.modules()
        if module is not model and id(module) not in inside and list(module.parameters(recurse=False))
    ]
    if not modules:
        raise UsageError(
            f"{type(model).__name__} has no layer outside its backbone, so its head can be neither replaced nor "
            f"taught alone; give a student of the teacher's labels, and leave out freeze_backbone"
        )
    return modules


def draw_head(model: PreTrainedModel, seed: int) -> None:
    """Draws the head's weights anew, in place; the caller's random state is left as it is."""
    with _seeded(seed):
        for module in head_modules(model):
            for parameter in module.parameters(recurse=False):
                # transformers 5 marks what came from a checkpoint, and initializes nothing so marked.
                parameter._is_hf_initialized = False
            model._init_weights(module)


def _new_model(config: PretrainedConfig, seed: int) -> PreTrainedModel:
    """A model of a configuration with new weights; float32 even if the configuration says otherwise."""
    with _seeded(seed):
        # A copy: the model keeps the configuration that it is given.
        model = model_from_config(copy.deepcopy(config))
    return model.float()


def _load_weights(
    model_name_or_path: str, revision: str | None, config: PretrainedConfig
) -> tuple[PreTrainedModel, bool]:
    """A checkpoint's classifier, and whether its head has yet to be drawn."""
    # transformers draws what is missing before it is drawn here from the seed.
    with _seeded(0):
        model, report = AutoModelForImageClassification.from_pretrained(
            model_name_or_path,
            revision=revision,
            config=config,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
            dtype=torch.float32,
            trust_remote_code=False,
            use_safetensors=True,
        )
    mismatched = {name if isinstance(name, str) else name[0] for name in report["mismatched_keys"]}
    absent = {*report["missing_keys"], *mismatched}
    if not absent:
        return model, False
    heads = {id(module) for module in head_modules(model)}
    of_head = {
        f"{prefix}.{name}"
        for prefix, module in model.named_modules()
        if id(module) in heads
        for name in module.state_dict()
    }
    if beyond := sorted(absent - of_head):
        raise UsageError(
            f"it has no weights that fit {', '.join(beyond[:4])}{', ...' if len(beyond) > 4 else ''}; give an intact "
            f"checkpoint, or take its architecture alone with --from_scratch"
        )
    return model, True


def _image_processor(model_name_or_path: str, revision: str | None, teacher: Teacher | None) -> Any:
    """A student's image processor; that of a given teacher for a folder that has none."""
    folder = Path(model_name_or_path)
    names = ("preprocessor_config.json", "processor_config.json")
    if teacher is not None and folder.is_dir() and not any((folder / name).is_file() for name in names):
        logger.info("student %s has no image processor and gets the teacher's", model_name_or_path)
        return copy.deepcopy(teacher.image_processor)
    with _in_a_sentence(model_name_or_path):
        return load_image_processor(model_name_or_path, revision=revision)


@contextmanager
def _in_a_sentence(model_name_or_path: str) -> Iterator[None]:
    """Makes one sentence of whatever transformers raises for a checkpoint that it cannot load."""
    try:
        yield
    # OSError: no network, no such file; the others: files that are damaged, or of something else.
    except (OSError, ValueError, RuntimeError, KeyError, EOFError, ImportError, SafetensorError) as error:
        raise UsageError(f"student {model_name_or_path!r} cannot be loaded: {one_line(error)}") from error


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """While it lasts, random numbers on the CPU come from the seed; the caller's random state is left as it is."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def _folded(names: list[str]) -> list[str]:
    return [name.casefold() for name in names]


def _shapes(model: nn.Module) -> dict[str, torch.Size]:
    return {name: value.shape for name, value in model.state_dict().items()}
