"""Whether a model tells classes apart, and what they are called."""

from transformers import PretrainedConfig, PreTrainedModel

from smi_hf.errors import UsageError

# How classes end that tell classes apart.
_CLASSIFIERS = ("ForImageClassification", "ForImageClassificationWithTeacher")


def is_classifier(config: PretrainedConfig) -> bool:
    """Whether a checkpoint says that it is an image classifier, or does not say what it is."""
    # A model of timm is named after its architecture; without labels it has no head.
    if config.model_type == "timm_wrapper":
        return config.num_labels > 0
    architectures = config.architectures or ()
    return not architectures or any(name.endswith(_CLASSIFIERS) for name in architectures)


def is_headless(model: PreTrainedModel) -> bool:
    """Whether a model has no classification head."""
    return not type(model).__name__.endswith(_CLASSIFIERS)


def check_head(model: PreTrainedModel) -> None:
    """Checks that a model tells classes apart.

    Raises:
        UsageError: it has no classification head, or one that does not choose one of several labels.
    """
    if is_headless(model):
        raise UsageError(
            f"{type(model).__name__} has no classification head, so it tells no classes apart; load the checkpoint "
            f"with AutoModelForImageClassification"
        )
    if model.config.num_labels < 2:
        raise UsageError(
            f"the model has {model.config.num_labels} label, but a classifier chooses among at least 2; a regression "
            f"head cannot be used"
        )
    problem = getattr(model.config, "problem_type", None)
    if problem not in (None, "single_label_classification"):
        raise UsageError(
            f"the model's config.json says problem_type {problem!r}, but only a classifier that chooses one label "
            f"(single_label_classification) can be used"
        )


def label_names_of(config: PretrainedConfig) -> list[str]:
    """Name of each label of a classifier, by number.

    Raises:
        UsageError: the numbers are not 0 to their count - 1.
    """
    numbers = sorted(config.id2label)
    if numbers != list(range(config.num_labels)):
        raise UsageError(
            f"id2label in the model's config.json names labels {', '.join(map(str, numbers[:8]))}"
            f"{', ...' if len(numbers) > 8 else ''}, but a model of {config.num_labels} labels has 0 to "
            f"{config.num_labels - 1}; mend config.json"
        )
    return [str(config.id2label[number]) for number in numbers]


def answer_by_name(model: PreTrainedModel) -> None:
    """Lets a model return an output with `logits` and not a tuple, whatever its configuration asked for."""
    for name, value in (("return_dict", True), ("torchscript", False)):
        if getattr(model.config, name, value) != value:
            setattr(model.config, name, value)
