"""The record `space.json` of a Space: what it shows, and with which versions. All its files are rendered from it."""

from collections.abc import Mapping
from dataclasses import dataclass

from smi_hf.data.record import DatasetRecord
from smi_hf.environment import CORE_PACKAGES
from smi_hf.errors import UsageError
from smi_hf.evaluation.record import ModelRecord
from smi_hf.hub.cards.dataset import dataset_title, images_sentence
from smi_hf.hub.cards.markdown import is_on_hub
from smi_hf.hub.cards.model import model_sentences, model_title
from smi_hf.hub.loaders import LOADERS, loader_name
from smi_hf.json_record import JsonRecord, checked

SPACE_FILE = "space.json"
APP_FILE = "app.py"
REQUIREMENTS_FILE = "requirements.txt"
_NO_EXTRAS = ("python", "smi-hf", *CORE_PACKAGES)


@checked
@dataclass(frozen=True)
class Shown:
    """A repository on the Hub; `revision` is a branch or commit, None for the newest."""

    repo_id: str
    revision: str | None = None


@checked
@dataclass(frozen=True)
class SpaceRecord(JsonRecord):
    """What a Space shows.

    Args:
        title: of the page.
        sentences: what it shows and how good that is, as plain text.
        model: that answers; None if there is none on the Hub.
        loader: how it is loaded, a key of `LOADERS`; None without a model.
        dataset: whose images are shown; None if it is not on the Hub.
        packages: versions that made what is shown, of those packages that the app needs; None of an unknown one.
        python: version of Python there, None if it is not known.
    """

    file_name = SPACE_FILE
    version = 1
    noun = "Space"
    described = "a Space of smi_hf"
    made_with = "smi-hf push --space"

    title: str
    sentences: tuple[str, ...]
    model: Shown | None
    loader: str | None
    dataset: Shown | None
    packages: dict[str, str | None]
    python: str | None
    schema_version: int = 1

    def check(self) -> None:
        if (self.model is None) != (self.loader is None) or self.loader not in (None, *LOADERS):
            raise ValueError(f"loader is {self.loader!r}, which loads no model of a Space")
        if self.model is None and self.dataset is None:
            raise ValueError("it shows neither a model nor a dataset")


def describe_space(
    record: DatasetRecord | ModelRecord, repo_id: str, *, revision: str | None = None, space_dataset: str | None = None
) -> SpaceRecord:
    """The Space of what is published in a repository.

    Beside a model it shows the synthetic images that made it, if they are on the Hub; beside a dataset its teacher.

    Args:
        repo_id: where it is, or will be: "namespace/name".
        revision: branch there.
        space_dataset: repository of the images of a model, where the record names none.

    Raises:
        UsageError: no stock library loads the model, or a dataset was given beside a dataset.
    """
    own = Shown(repo_id, revision)
    if isinstance(record, ModelRecord):
        return _of_model(record, own, space_dataset)
    if space_dataset is not None:
        raise UsageError(
            f"space_dataset is {space_dataset!r}, but what is published is itself a dataset, and its Space shows its "
            f"images; leave space_dataset out"
        )
    return _of_dataset(record, own)


def _of_model(record: ModelRecord, own: Shown, space_dataset: str | None) -> SpaceRecord:
    if record.head is not None:
        raise UsageError(
            "no Space can be made of this model: a Space shows labels, and this is an image tower or a backbone, "
            "which gives embeddings; publish it without a Space"
        )
    known = [Shown(each.name, each.revision) for each in record.datasets if is_on_hub(each.name, each.revision)]
    dataset = Shown(space_dataset) if space_dataset else next(iter(known), None)
    loader = loader_name(record)
    if loader is None:
        raise UsageError(
            "no Space can be made of this model: a Space loads it with stock libraries, but this needs smi_hf or a "
            "package that is not known here. A Space shows models in floating point, and those of the back ends "
            f"{', '.join(sorted({name.partition(' ')[2] for name in LOADERS} - {''}))}"
        )
    return SpaceRecord(
        title=model_title(record),
        sentences=tuple(model_sentences(record)),
        model=own,
        loader=loader,
        dataset=dataset,
        packages=_needed(record.environment.packages, loader, has_images=dataset is not None),
        python=record.environment.packages.get("python"),
    )


def _of_dataset(record: DatasetRecord, own: Shown) -> SpaceRecord:
    teacher = record.teacher
    # A tower or a backbone has no labels to show for a picture.
    is_there = is_on_hub(teacher.name, teacher.revision) and teacher.head is None
    loader = "transformers" if is_there else None
    packages = record.environment.packages if record.environment else {}
    return SpaceRecord(
        title=dataset_title(record),
        sentences=(images_sentence(record),),
        model=Shown(teacher.name, teacher.revision) if is_there else None,
        loader=loader,
        dataset=own,
        packages=_needed(packages, loader, has_images=True),
        python=packages.get("python"),
    )


def _needed(packages: Mapping[str, str | None], loader: str | None, *, has_images: bool) -> dict[str, str | None]:
    """The versions of what an app imports; beside the core, a record names what brings its model's class."""
    names = ["datasets"] if has_images else []
    if loader is not None:
        names += ["torch", "transformers", *(name for name in packages if name not in _NO_EXTRAS)]
        names += ["optimum"] if loader.startswith("optimum ") else []
    return {name: packages.get(name) for name in sorted(names)}
