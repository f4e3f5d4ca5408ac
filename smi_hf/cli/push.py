"""`smi-hf push`: a dataset or model that smi_hf made, published on the Hub with a card."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from smi_hf.cli.arguments import ArgumentParser

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
    print(url)
