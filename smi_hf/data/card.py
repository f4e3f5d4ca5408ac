"""The dataset card `README.md`, rendered from the run record alone."""

from pathlib import Path

from huggingface_hub import DatasetCard, DatasetCardData

from smi_hf.data.files import replaced_atomically
from smi_hf.data.record import DatasetRecord
from smi_hf.data.schema import CARD_FILE, DATA_FOLDER, PREVIEW_FILE

_TEMPLATE = Path(__file__).parent / "templates" / "dataset_card.md.jinja"
_SIZES = (("n<1K", 1_000), ("1K<n<10K", 10_000), ("10K<n<100K", 100_000), ("100K<n<1M", 1_000_000))


def render_card(record: DatasetRecord, *, repo_id: str | None = None) -> DatasetCard:
    """The card of a complete dataset; its YAML tells `load_dataset` where the shards are.

    Args:
        repo_id: name on the Hub, for the example; a local path stands in if None.
    """
    num_images = record.settings["num_images"]
    # `datasets` caches a local folder under its name and its card's YAML, not its files: without the digest, another
    # dataset in a folder of that name would be read from the cache of this one.
    config = {
        "config_name": "default",
        "data_files": [{"split": "train", "path": f"{DATA_FOLDER}/*.parquet"}],
        "description": f"sha256 of the shards: {record.results['content_sha256']}",
    }
    data = DatasetCardData(
        pretty_name=f"Sparse model inversion of {record.teacher['name']}",
        task_categories=["image-classification"],
        tags=["synthetic", "data-free", "model-inversion", "sparse-model-inversion", "smi_hf"],
        size_categories=next((name for name, bound in _SIZES if num_images < bound), "1M<n<10M"),
        configs=[config],
    )
    return DatasetCard.from_template(
        data,
        template_path=str(_TEMPLATE),
        repo_id=repo_id,
        preview_file=PREVIEW_FILE,
        **{
            name: getattr(record, name)
            for name in ("teacher", "settings", "label_names", "image_size", "patch_size", "keep_counts", "results")
        },
    )


def save_card(record: DatasetRecord, folder: Path) -> None:
    """Writes the card into a dataset folder."""
    with replaced_atomically(folder / CARD_FILE) as temporary:
        temporary.write_text(str(render_card(record)), encoding="utf-8")
