"""`prune`: a teacher and its sparse images in, a smaller model of the same kind with its record out."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from smi_hf import progress
from smi_hf.data import SparseDataset
from smi_hf.data.validation import check_made_from
from smi_hf.environment import describe_environment
from smi_hf.errors import UsageError
from smi_hf.evaluation.accuracy import check_judges
from smi_hf.evaluation.comparison import compare
from smi_hf.evaluation.cost import size_figures
from smi_hf.evaluation.history import find_history
from smi_hf.evaluation.latency import speed_figures
from smi_hf.evaluation.predictors import predictor_of, pytorch_predictor
from smi_hf.evaluation.record import DatasetReference, ModelRecord
from smi_hf.evaluation.table import Row
from smi_hf.files import folder_made_whole
from smi_hf.hub.cards.model import save_model_record
from smi_hf.images.controls.base import check_controls_judged, control_sets, parse_controls
from smi_hf.images.kept import KeptImages, sparse_images
from smi_hf.images.real import ImageSet
from smi_hf.images.starts import start_images
from smi_hf.models import SparseClassifier, Teacher
from smi_hf.models.blocks import find_blocks
from smi_hf.models.dense import require_sparse
from smi_hf.models.depth import check_layers, check_num_layers, with_layers
from smi_hf.pruning.budget import within_budget
from smi_hf.pruning.config import PruningConfig
from smi_hf.pruning.depth import choose_layers
from smi_hf.pruning.mlps import has_plain_mlps
from smi_hf.pruning.width import check_stock_width, prune_mlps
from smi_hf.reports.page import add_report
from smi_hf.starts.base import StartSpec

# Far from the seeds that people give to inversions.
_SCENES_SEED = 1_000_000
# Keys of the rows that are no controls of `smi_hf.images.controls`.
WHOLE_KEY = "whole"
SPARSE_KEY = "sparse"


def prune(
    teacher: Teacher,
    datasets: SparseDataset | Sequence[SparseDataset],
    config: PruningConfig | None = None,
    *,
    images: ImageSet | None = None,
    controls: Sequence[str] = (),
) -> ModelRecord:
    """Makes a teacher smaller: layers go, then hidden units, and what is left is refitted, one MLP after the other.

    `config.output_dir` appears when all is done, or not at all: a checkpoint that stock transformers reads, its image
    processor, its record (`results.json`) and its card. It is a student that `distill` can teach, and a model that
    `quantize` can quantize.

    Args:
        teacher: in float32.
        datasets: sparse datasets of the teacher. The first makes the model; more, inverted with other seeds, are
            further runs of its row in the table.
        config: the defaults if None.
        images: labeled images to judge on; without them there is no table.
        controls: rows to compare with, as `smi_hf.images.controls` names them ("gaussian", "real=DATASET").

    Returns:
        The record, with the table if there are images.

    Raises:
        UsageError: a setting does not fit the teacher, a budget cannot be met or prunes nothing, a dataset is not
            its own, or `output_dir` cannot be used.
    """
    config = config or PruningConfig()
    datasets = [datasets] if isinstance(datasets, SparseDataset) else list(datasets)
    check_controls(controls, has_images=images is not None)
    if not datasets:
        raise UsageError("there is no dataset to prune on; give at least one")
    for dataset in datasets:
        check_made_from(dataset.record, teacher, other_teacher=config.other_teacher)
    check_judges(images, teacher)
    require_sparse(teacher.model, "to prune")
    budget = config.budget()
    config = _fitted(teacher.model, config)
    output_dir = Path(config.output_dir)
    with folder_made_whole(output_dir) as folder:
        # All that can be wrong with the input is found before anything is computed.
        datasets = [dataset.first(config.num_images) for dataset in datasets]
        sets = {SPARSE_KEY: [sparse_images(dataset) for dataset in datasets]}
        sets |= control_sets(controls, teacher, sets[SPARSE_KEY], config.control_seeds, judged_on=images)
        more = _more_images(teacher, config)
        history = find_history(teacher.source, revision=teacher.revision)
        pruned, layers = prune_model(teacher.model, sets[SPARSE_KEY][0], config, more)
        pruned.model.save_pretrained(folder)
        teacher.image_processor.save_pretrained(folder)
        if teacher.head is not None:
            teacher.head.save(folder)
        references = [DatasetReference.of(dataset, teacher) for dataset in datasets]
        record = replace(_record(teacher, pruned, layers, references, config, budget), history=history)
        if images is not None:
            record = record.judged(_judge(teacher, pruned, sets, more, images, config), images)
        save_model_record(record, folder)
        if config.report:
            add_report(folder)
    return ModelRecord.load(output_dir)


def prune_model(
    model: SparseClassifier, images: KeptImages, config: PruningConfig, more: Sequence[KeptImages] = ()
) -> tuple[SparseClassifier, tuple[int, ...]]:
    """A smaller copy of a classifier, and the numbers of the layers that stayed.

    Args:
        more: images that MLPs are refitted to as well.

    Raises:
        UsageError: the model has not so many layers, or no plain MLPs, or no width meets the budget.
    """
    layers = tuple(config.layers) or tuple(range(len(find_blocks(model))))
    if config.num_layers is not None:
        layers = choose_layers(model, images, config.num_layers, disable_tqdm=config.disable_tqdm)
    config = within_budget(model, config)
    if config.keep_mlp == 1 and not has_plain_mlps(model):
        return with_layers(model, layers).freeze(), layers
    pruned = prune_mlps(
        model,
        [images, *more],
        keep=config.keep_mlp,
        layers=layers,
        ridge=config.ridge,
        num_epochs=config.num_epochs,
        seed=config.seed,
        disable_tqdm=config.disable_tqdm,
    )
    return pruned.freeze(), layers


def check_controls(controls: Sequence[str], *, has_images: bool) -> None:
    """Checks how controls are written, and that they can be judged; reads nothing.

    Raises:
        UsageError: one does not exist, comes twice, or there is nothing to judge it on.
    """
    parse_controls(controls)
    check_controls_judged(controls, has_images=has_images)


def _fitted(model: SparseClassifier, config: PruningConfig) -> PruningConfig:
    """The settings with what a budget leaves of the model; what it has not is refused before a file is written."""
    if config.num_layers is not None:
        check_num_layers(model, config.num_layers)
    if config.layers:
        check_layers(model, config.layers)
    config = within_budget(model, config)
    if config.keep_mlp < 1:
        check_stock_width(model, config.keep_mlp)
    return config


def _more_images(teacher: Teacher, config: PruningConfig) -> list[KeptImages]:
    """Procedural pictures, other ones than a run of `smi-hf invert` begins with."""
    if not config.num_scenes:
        return []
    return [start_images(StartSpec("scenes"), teacher, config.num_scenes, seed=_SCENES_SEED + config.seed)]


def _record(
    teacher: Teacher,
    pruned: SparseClassifier,
    layers: Sequence[int],
    datasets: Sequence[DatasetReference],
    config: PruningConfig,
    budget: dict[str, float],
) -> ModelRecord:
    settings = {
        **budget,
        **config.model_settings(),
        "layers": list(layers),
        "layers_before": teacher.model.shape.num_layers,
        "parameters": pruned.model.num_parameters(),
        "parameters_before": teacher.model.model.num_parameters(),
        "control_seeds": list(config.control_seeds),
    }
    return ModelRecord(
        "pruned",
        teacher.reference(),
        tuple(datasets),
        settings,
        describe_environment("cpu"),
        num_labels=len(teacher.label_names),
    )


def _judge(
    teacher: Teacher,
    pruned: SparseClassifier,
    sets: dict[str, list[KeptImages]],
    more: Sequence[KeptImages],
    images: ImageSet,
    config: PruningConfig,
) -> list[Row]:
    """The table: the whole model, this one, then models that are pruned as it is on other images."""
    own = sets[SPARSE_KEY][0]
    models = {WHOLE_KEY: [predictor_of(teacher)]}
    for key, runs in sets.items():
        made = (pruned if each is own else prune_model(teacher.model, each, config, more)[0] for each in runs)
        models[key] = [pytorch_predictor(each, teacher.image_processor) for each in made]
    labels = {WHOLE_KEY: "whole model"} | {key: runs[0].source for key, runs in sets.items()}
    shape = (teacher.model.num_channels, *teacher.model.grid.image_size)
    both = {WHOLE_KEY: teacher.model, SPARSE_KEY: pruned}
    with progress.bar("Measuring speed", disable=config.disable_tqdm):
        figures = speed_figures({key: models[key][0] for key in both}, shape)
    for key, model in both.items():
        figures[key] |= size_figures(model)
    return compare(
        models, images, labels, figures=figures, batch_size=config.batch_size, disable_tqdm=config.disable_tqdm
    )
