"""`smi-hf push`: a dataset or model that smi_hf made, published on the Hub with a card."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from smi_hf.cli.arguments import ArgumentParser
from smi_hf.cli.screen import is_quiet

if TYPE_CHECKING:
    from smi_hf.cli.closing import Closing

_EPILOG = """examples:
  smi-hf push out/deit-tiny me/deit-tiny-smi
  smi-hf push out/deit-tiny me/deit-tiny-smi --private --revision v2
  smi-hf push out/deit-tiny someone/deit-tiny-smi --create_pr

Only the files of the run are published, with a card that is rendered from its record. A push that was cut off is
continued by the same command. The token is that of `hf auth login`, or HF_TOKEN.
"""


@dataclass
class PushTarget:
    """What goes where."""

    folder: str = field(metadata={"help": "Folder that smi-hf invert, quantize or distill wrote."})
    repo_id: str = field(metadata={"help": "Repository: namespace/name, or a name in your own namespace."})


@dataclass
class PushArguments:
    """How it is published."""

    private: bool = field(default=False, metadata={"help": "Make the repository a private one, if it is made."})
    revision: str | None = field(default=None, metadata={"help": "Branch to commit to; made if it does not exist."})
    create_pr: bool = field(default=False, metadata={"help": "Open a pull request instead of committing."})


def make_parser() -> ArgumentParser:
    """The parser of this command; tests and documentation read it too."""
    return ArgumentParser(
        PushArguments,
        positionals=PushTarget,
        prog="smi-hf push",
        options={"what goes where": ("folder", "repo_id"), "how": ("private", "revision", "create_pr")},
        description="Publish a sparse dataset, or a model made with one, on the Hugging Face Hub.",
        epilog=_EPILOG,
    )


def run(arguments: Sequence[str] | None = None) -> None:
    """Parses the arguments and pushes.

    Raises:
        UsageError, RunError: as `smi_hf.hub.push` does.
    """
    target, options = make_parser().parse(arguments)

    from smi_hf.hub import push

    url = push(
        target.folder,
        target.repo_id,
        private=options.private,
        revision=options.revision,
        create_pr=options.create_pr,
    )
    print(url if is_quiet() else _closing(Path(target.folder), url))


def _closing(folder: Path, url: str) -> "Closing":
    """What was published, and how to use it from there."""
    from smi_hf.cli.closing import Closing, evaluate_words
    from smi_hf.data.record import DatasetRecord
    from smi_hf.evaluation.record import ModelRecord
    from smi_hf.evaluation.verdict import controls_words, quality_words, share_words

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
        steps = {"measure it on labeled images of yours": evaluate_words(repo_id)}
    return Closing(made, quality, f"{url} with its card, made of {folder}", controls, steps)
