"""The files of a Space, rendered from its record alone: the app, what it requires, and the card."""

from pathlib import Path

from huggingface_hub import SpaceCard, SpaceCardData
from huggingface_hub.constants import ENDPOINT
from markupsafe import Markup
from packaging.version import InvalidVersion, Version

from smi_hf.hub.cards.markdown import inline, link, plain, template_environment
from smi_hf.hub.loaders import LOADERS
from smi_hf.hub.spaces.record import APP_FILE, REQUIREMENTS_FILE, SpaceRecord

_TEMPLATES = Path(__file__).parent / "templates"
# Each of the huggingface_hub that this transformers takes: 4 wants one before 1.0, which gradio 6 does not.
_GRADIO_OF_TRANSFORMERS_4 = "5.50.0"
_GRADIO = "6.31.0"
# The first that smi_hf runs on.
_PYTHON = "3.11"


def render_app(record: SpaceRecord) -> str:
    """The source of `app.py`."""
    repositories = [_address(record.model.repo_id)] if record.model else []
    repositories += [_address(f"datasets/{record.dataset.repo_id}")] if record.dataset else []
    return (
        template_environment(_TEMPLATES)
        .get_template("app.py.jinja")
        .render(
            space=record,
            introduction=[f"# {inline(record.title)}", *map(inline, record.sentences), " · ".join(repositories)],
            loader=LOADERS[record.loader] if record.loader else None,
        )
    )


def render_requirements(record: SpaceRecord) -> str:
    """The text of `requirements.txt`; gradio is in the card, where the Hub looks for it."""
    return "".join(f"{name}{_pin(version)}\n" for name, version in record.packages.items())


def render_space_card(record: SpaceRecord, *, repo_id: str | None = None) -> SpaceCard:
    """The card of a Space, whose YAML the Hub builds it by.

    Args:
        repo_id: name on the Hub; nothing in the card depends on it.
    """
    models, datasets = ([each.repo_id] if each else [] for each in (record.model, record.dataset))
    has_old = (_release(record.packages.get("transformers")) or (5,))[0] < 5
    data = SpaceCardData(
        title=plain(record.title),
        emoji="🧩",
        colorFrom="indigo",
        colorTo="yellow",
        sdk="gradio",
        sdk_version=_GRADIO_OF_TRANSFORMERS_4 if has_old else _GRADIO,
        python_version=".".join(map(str, (_release(record.python) or ())[:2])) or _PYTHON,
        app_file=APP_FILE,
        short_description="A Vision Transformer's own images and answers",
        models=models or None,
        datasets=datasets or None,
        tags=["data-free", "sparse-model-inversion", "smi_hf"],
    )
    text = (
        template_environment(_TEMPLATES)
        .get_template("README.md.jinja")
        .render(
            metadata=Markup(data.to_yaml()),
            space=record,
            gradio=data.sdk_version,
            model=record.model and _address(record.model.repo_id),
            dataset=record.dataset and _address(f"datasets/{record.dataset.repo_id}"),
            files=(APP_FILE, REQUIREMENTS_FILE),
        )
    )
    return SpaceCard(text)


def _address(path: str) -> Markup:
    """A link to a repository on the Hub, in Markdown."""
    return link(path.removeprefix("datasets/"), f"{ENDPOINT}/{path}")


def _pin(version: str | None) -> str:
    """What stands behind a package's name; nothing if its version is unknown.

    The builds of one version for different hardware (2.13.0+cpu) are not all in the public index.
    """
    try:
        return f"=={Version(version).public}" if version else ""
    except InvalidVersion:
        return ""


def _release(version: str | None) -> tuple[int, ...] | None:
    try:
        return Version(version).release if version else None
    except InvalidVersion:
        return None
