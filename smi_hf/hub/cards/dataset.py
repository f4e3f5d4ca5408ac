"""The dataset card `README.md`, rendered from the run record alone."""

from collections.abc import Sequence
from pathlib import Path

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

_SIZES = (("n<1K", 1_000), ("1K<n<10K", 10_000), ("10K<n<100K", 100_000), ("100K<n<1M", 1_000_000))
_CAPTIONS = {
    PREVIEW_FILE: "The first images of the dataset",
    STAGES_FILE: "How they were made: the first images at each prune, top to bottom, finished in the last row",
}
_STAGES_CAPTION = (
    "How they were made: one trajectory a column, its images top to bottom in the order in which they left"
)
_POLICIES = {
    "smi": "those with the lowest CLS attention in the last block",
    "random": "chosen at random",
}


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
    data = DatasetCardData(
        pretty_name=f"Sparse model inversion of {plain(record.teacher.name)}",
        **license_metadata(license),
        annotations_creators=["machine-generated"],
        source_datasets=["original"],
        task_categories=["image-classification"],
        tags=["synthetic", "data-free", "model-inversion", "sparse-model-inversion", "smi_hf", *on_hub],
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
            keep_counts=record.keep_counts,
            num_images=num_images,
            num_labels=len(record.label_names),
            is_sparse=record.keep_counts[-1] < record.keep_counts[0],
            num_stages=record.num_stages,
            pictures=[(name, _caption(record, name)) for name in pictures],
            figures=_figures(record),
            results={"device": record.environment.device if record.environment else None},
            prunes=_prunes(record),
            policy_words=_POLICIES.get(record.settings["policy"], f"by the policy {record.settings['policy']}"),
            settings=settings_table(record.settings),
            versions=describe_versions(record.environment),
            repo=repo_id or NO_REPOSITORY,
            teacher_path=reference_path(record.teacher),
            licenses=[(record.teacher.name, describe_license(license))],
            what="dataset",
        )
    )
    return DatasetCard(text)


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
        ("", ""),
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


def _prunes(record: DatasetRecord) -> list[Sequence[str]]:
    steps = record.settings["prune_steps"]
    if not steps or len(steps) + 1 != len(record.keep_counts):
        return []
    heading = "patches kept" if record.num_stages == 1 else "patches that go on"
    head = [("after step", heading), ("---:", "---:"), ("0", str(record.keep_counts[0]))]
    return [*head, *((str(step), str(count)) for step, count in zip(steps, record.keep_counts[1:]))]
