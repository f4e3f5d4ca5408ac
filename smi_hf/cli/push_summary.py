"""What `smi-hf push` says at its end."""

from pathlib import Path
from urllib.parse import urlsplit

from smi_hf.cli.closing import Closing, measuring_step
from smi_hf.data.record import DatasetRecord
from smi_hf.evaluation.record import ModelRecord
from smi_hf.evaluation.verdict import controls_words, quality_words, share_words


def closing_of(folder: Path, url: str) -> Closing:
    """What was published, how good it is, and how to use it from there.

    Args:
        folder: that was pushed.
        url: of its commit.
    """
    parts = urlsplit(url).path.strip("/").split("/")
    if parts[0] == "datasets":
        record, repo_id = DatasetRecord.load(folder), "/".join(parts[1:3])
        made, controls = f"dataset {repo_id} on the Hub", ""
        num_images, top1 = record.settings["num_images"], record.results["target_top1"]
        quality = f"the teacher sees the target label in {share_words(top1, num_images)}"
        words = ["smi-hf", "quantize", "--model_name_or_path", record.teacher.name, "--dataset", repo_id]
        steps = {"calibrate an int8 model on it": [*words, "--output_dir", "out/int8"]}
    else:
        record, repo_id = ModelRecord.load(folder), "/".join(parts[:2])
        made, quality, controls = f"model {repo_id} on the Hub", quality_words(record), controls_words(record)
        steps = measuring_step(repo_id, record)
    return Closing(made, quality, f"{url} with its card, made of {folder}", controls, steps)
