"""The dataset card `README.md`, rendered from the run record alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import DatasetCard, DatasetCardData, hf_hub_url
from markupsafe import Markup

from smi_hf.data.record import DatasetRecord
from smi_hf.data.schema import CARD_FILE, DATA_FOLDER, PREVIEW_FILE, STAGES_FILE
from smi_hf.files import replaced_atomically
from smi_hf.hub.cards.licenses import describe_license, license_metadata
from smi_hf.hub.cards.markdown import (
    NO_REPOSITORY,
    describe_versions,
    is_on_hub,
    plain,
    reference_path,
    settings_table,
    template_environment,
)
from smi_hf.models.embeddings import HEAD_FILE
from smi_hf.models.references import HeadReference, License
from smi_hf.starts.base import STARTS, start_label

_SIZES = (("n<1K", 1_000), ("1K<n<10K", 10_000), ("10K<n<100K", 100_000), ("100K<n<1M", 1_000_000))
_CAPTIONS = {
    PREVIEW_FILE: "The first images: label, the teacher's probability of it, and share of patches kept",
    STAGES_FILE: "How images come about: a row each, from its start over what each prune leaves to its end",
}
_STAGES_CAPTION = (
    "How images come about: a row per trajectory, its start, then its images in the order in which they left"
)
# After what patches are ranked, by what the teacher reads its answer from.
_ATTENTION = {
    "cls": "CLS attention in the last block",
    "patches": "attention received in the last block",
    "query": "attention of the query that pools",
}

# What images depend on that were not optimized.
_START_SETTINGS = ("num_images", "num_steps", "start", "start_sha256", "seed", "classes")


def render_card(record: DatasetRecord, *, repo_id: str | None = None) -> DatasetCard:
    """The card of a complete dataset; its YAML tells `load_dataset` where the shards are, and their types and sizes.

    Args:
        repo_id: name on the Hub, for the examples; a local path stands in if None.
    """
    num_images = record.num_images
    # `datasets` caches a local folder under its name and its card's YAML, not its files: without the digest, another
    # dataset in a folder of that name would be read from the cache of this one.
    config = {
        "config_name": "default",
        "data_files": [{"split": "train", "path": f"{DATA_FOLDER}/*.parquet"}],
        "description": f"sha256 of the shards: {plain(record.results['content_sha256'])}",
    }
    pictures = shown_pictures(record)
    # A link preview needs an address, and a local folder has none.
    thumbnail = hf_hub_url(repo_id, pictures[0], repo_type="dataset") if repo_id and pictures else None
    # DatasetCardData knows no base_model, which the Hub reads on models alone.
    is_teacher_on_hub = is_on_hub(record.teacher.name, record.teacher.revision)
    on_hub = [f"base_model:{record.teacher.name}"] if is_teacher_on_hub else []
    license = record.teacher.license
    attention, head = _ATTENTION[record.results.get("patches_ranked_by") or "cls"], record.teacher.head
    policies = {"smi": f"those with the lowest {attention}", "random": "chosen at random"}
    num_steps, start = record.settings["num_steps"], describe_start(record.full_settings["start"])
    data = DatasetCardData(
        pretty_name=plain(dataset_title(record)),
        **license_metadata(license, *(borrowed for _, borrowed in _borrowed(record))),
        annotations_creators=["machine-generated"],
        source_datasets=["extended" if start.is_dataset else "original"],
        task_categories=["image-classification" if head is None else "image-feature-extraction"],
        tags=[*_tags(start, num_steps), "smi_hf", *on_hub],
        size_categories=[next((name for name, bound in _SIZES if num_images < bound), "1M<n<10M")],
        thumbnail=thumbnail,
        configs=[config],
    )
    _add_dataset_info(data, record)
    text = (
        template_environment()
        .get_template("dataset_card.md.jinja")
        .render(
            metadata=Markup(data.to_yaml()),
            teacher=record.teacher,
            is_teacher_on_hub=is_teacher_on_hub,
            image_size=record.image_size,
            image_mean=record.image_mean,
            image_std=record.image_std,
            is_bgr=record.normalization.is_bgr,
            keep_counts=record.keep_counts,
            num_images=num_images,
            num_steps=num_steps,
            start=start,
            num_labels=len(record.label_names),
            is_sparse=record.keep_counts[-1] < record.keep_counts[0],
            num_stages=record.num_stages,
            target_top1=record.results["target_top1"],
            preview=PREVIEW_FILE,
            pictures=[(name, _caption(record, name)) for name in pictures],
            figures=_figures(record),
            results={"device": record.environment.device if record.environment else None},
            prunes=_prunes(record),
            terms=_terms(record),
            attention_words=attention,
            policy_words=policies.get(record.settings["policy"], f"by the policy {record.settings['policy']}"),
            head=head,
            head_file=HEAD_FILE,
            kind_words=_kind_words(head),
            saw_words="saw a chosen label in" if head is None or head.has_labels else "gave a chosen direction to",
            settings=settings_table(_shown_settings(record)),
            versions=describe_versions(record.environment),
            repo=repo_id or NO_REPOSITORY,
            teacher_path=reference_path(record.teacher),
            licenses=[
                (name, describe_license(each)) for name, each in ((record.teacher.name, license), *_borrowed(record))
            ],
            what="dataset",
        )
    )
    return DatasetCard(text)


def _kind_words(head: HeadReference | None) -> str:
    if head is None:
        return "an image classifier"
    return "an image tower" if head.has_labels else "a backbone"


def dataset_title(record: DatasetRecord) -> str:
    """What a dataset is, in a line."""
    return f"{'Sparse model inversion of' if record.settings['num_steps'] else 'Images for'} {record.teacher.name}"


def images_sentence(record: DatasetRecord) -> str:
    """What the images of a dataset are and how well the teacher knows them, as plain text."""
    start, kept = describe_start(record.full_settings["start"]), record.keep_counts
    if record.settings["num_steps"]:
        made = f"synthetic images, optimized from {start.label} until {record.teacher.name} saw a chosen label in each"
    else:
        made = f"images for {record.teacher.name}: {start.label}, not optimized"
    share = f"{100 * record.results['target_top1']:.1f} %"
    return (
        f"{record.num_images:,} {made}. {kept[-1]} of {kept[0]} patches of each are kept. For {share} of them the "
        f"label is its first choice."
    )


@dataclass(frozen=True)
class StartInWords:
    """What a card says of what images began as.

    Args:
        label, purpose, sources: as of `Start`; the label alone where this smi_hf has no such start.
        dataset: name of the dataset that the pictures are of, None if there is none.
    """

    label: str
    purpose: str
    sources: str = ""
    dataset: str | None = None

    @property
    def is_dataset(self) -> bool:
        return self.dataset is not None


def describe_start(key: str) -> StartInWords:
    """The start of a record (`dataset=photos`) in words."""
    name, _, argument = key.partition("=")
    if name not in STARTS:
        return StartInWords(key, key)
    start = STARTS.get(name)
    if start.argument is None:
        return StartInWords(start.label, start.purpose, start.sources)
    label = start_label(key)
    return StartInWords(label, label, start.sources, argument or start.label)


def shown_pictures(record: DatasetRecord) -> list[str]:
    """Names of the pictures that a record lists for its card."""
    # The first records had a preview and did not say so.
    pictures = record.results.get("pictures", [PREVIEW_FILE])
    return [name for name in _CAPTIONS if isinstance(pictures, list) and name in pictures]


def _caption(record: DatasetRecord, name: str) -> str:
    return _STAGES_CAPTION if name == STAGES_FILE and record.num_stages > 1 else _CAPTIONS[name]


def save_card(record: DatasetRecord, folder: Path) -> None:
    """Writes the card into a dataset folder."""
    with replaced_atomically(folder / CARD_FILE) as temporary:
        temporary.write_text(str(render_card(record)), encoding="utf-8")


def _tags(start: StartInWords, num_steps: int) -> list[str]:
    """What the Hub may list such images under."""
    tags = [] if start.is_dataset and not num_steps else ["synthetic"]
    tags += [] if start.is_dataset else ["data-free"]
    return tags + (["model-inversion", "sparse-model-inversion"] if num_steps else [])


def _shown_settings(record: DatasetRecord) -> dict[str, Any]:
    """All settings; of images that were not optimized, those that they depend on."""
    settings = record.full_settings
    return settings if settings["num_steps"] else {name: settings.get(name) for name in _START_SETTINGS}


def _add_dataset_info(data: DatasetCardData, record: DatasetRecord) -> None:
    """`dataset_info` as `datasets` writes it. Records without sizes get none: `load_dataset` believes what it says."""
    from datasets import DatasetInfo
    from datasets.info import DatasetInfosDict
    from datasets.splits import SplitDict, SplitInfo

    if "num_bytes" not in record.results:
        return
    num_bytes = record.results["num_bytes"]
    info = DatasetInfo(
        features=record.features,
        splits=SplitDict({"train": SplitInfo("train", num_bytes=num_bytes, num_examples=record.num_images)}),
        download_size=record.results["download_size"],
        dataset_size=num_bytes,
    )
    DatasetInfosDict({"default": info}).to_dataset_card_data(data)


def _figures(record: DatasetRecord) -> list[Sequence[str]]:
    results = record.results
    rows: list[Sequence[str]] = [
        ("figure", "value"),
        ("---", "---:"),
        ("images", str(record.num_images)),
        ("labels", str(len(record.label_names))),
        ("patches kept of each image", f"{record.keep_counts[-1]} of {record.keep_counts[0]}"),
        (
            "the teacher's first choice is the chosen label, for the kept patches as read from the PNGs",
            f"{100 * results['target_top1']:.1f} %",
        ),
        ("the teacher's mean probability of that label", f"{results['mean_target_probability']:.3f}"),
    ]
    if record.num_stages > 1:
        rows.append(("images that each trajectory gave", str(record.num_stages)))
    if results.get("num_images_this_session") == record.num_images:
        rows.append(("seconds for all images", f"{results['seconds_this_session']:.1f}"))
    if "download_size" in results:
        rows.append(("size of the files", f"{results['download_size'] / 1e6:.1f} MB"))
    return rows


def _borrowed(record: DatasetRecord) -> list[tuple[str, License | None]]:
    """Name and license of each model that loss terms borrowed."""
    models = [record.settings.get(option) for option in ("batch_norm_model", "student_model")]
    return [
        (str(model.get("name")), License(model["license"]) if isinstance(model.get("license"), str) else None)
        for model in models
        if isinstance(model, dict)
    ]


def _terms(record: DatasetRecord) -> list[Sequence[str]]:
    # The first records did not say where their terms are from.
    terms = record.results.get("loss_terms", [])
    head = [("loss term", "weight", "from"), ("---", "---:", "---")] if terms else []
    return [*head, *((term["name"], f"{term['weight']:.6g}", term["source"] or "") for term in terms)]


def _prunes(record: DatasetRecord) -> list[Sequence[str]]:
    steps = record.settings["prune_steps"]
    if not steps or len(steps) + 1 != len(record.keep_counts):
        return []
    heading = "patches kept" if record.num_stages == 1 else "patches that go on"
    head = [("after step", heading), ("---:", "---:"), ("0", str(record.keep_counts[0]))]
    return [*head, *((str(step), str(count)) for step, count in zip(steps, record.keep_counts[1:]))]
