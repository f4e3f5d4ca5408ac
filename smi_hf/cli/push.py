"""`smi-hf push`: a dataset or model that smi_hf made, published on the Hub with a card."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from smi_hf.cli.arguments import ArgumentParser
from smi_hf.cli.screen import is_quiet
from smi_hf.errors import UsageError

_EPILOG = """examples:
  smi-hf push out/deit-tiny me/deit-tiny-smi
  smi-hf push out/deit-tiny me/deit-tiny-smi --private --revision v2
  smi-hf push out/deit-tiny someone/deit-tiny-smi --create_pr
  smi-hf push out/deit-tiny-int8 me/deit-tiny-int8 --space me/deit-tiny-demo \\
      --space_dataset me/deit-tiny-smi
  smi-hf push out/deit-tiny-int8 me/deit-tiny-int8 --space me/deit-tiny-demo \\
      --dry_run look

Only the files of the run are published, with a card that is rendered from its record. A push that was cut off is
continued by the same command. A Space is a page for a browser: it shows the images, and what the model sees in a
picture that a visitor gives it. The token is that of `hf auth login`, or HF_TOKEN.
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
    space: str | None = field(
        default=None, metadata={"help": "Publish a Gradio Space, too, that shows it: namespace/name."}
    )
    space_dataset: str | None = field(
        default=None,
        metadata={"help": "Dataset on the Hub with a model's images, shown in its Space where its record names none."},
    )
    dry_run: str | None = field(
        default=None,
        metadata={"help": "Publish nothing: write what would be published into this new folder, without the Hub."},
    )

    def __post_init__(self) -> None:
        if self.space is None and self.space_dataset is not None:
            raise UsageError(f"space_dataset is {self.space_dataset!r}, but there is no Space: give --space, too")
        if self.create_pr and self.space is not None:
            raise UsageError("a Space cannot show what a pull request would bring; leave out create_pr or space")
        if self.dry_run is not None and (self.create_pr or self.private):
            raise UsageError("dry_run publishes nothing, so create_pr and private say nothing; leave them out")


def make_parser() -> ArgumentParser:
    """The parser of this command; tests and documentation read it too."""
    return ArgumentParser(
        PushArguments,
        positionals=PushTarget,
        prog="smi-hf push",
        options={
            "what goes where": ("folder", "repo_id"),
            "how": ("private", "revision", "create_pr"),
            "a page to try it on": ("space", "space_dataset", "dry_run"),
        },
        description="Publish a sparse dataset, or a model made with one, on the Hugging Face Hub.",
        epilog=_EPILOG,
    )


def run(arguments: Sequence[str] | None = None) -> None:
    """Parses the arguments and pushes.

    Raises:
        UsageError, RunError: as `smi_hf.hub.push` does.
    """
    target, options = make_parser().parse(arguments)

    from smi_hf.cli.push_summary import closing_of
    from smi_hf.hub import push, push_with_space, write_publication

    place, of_space = (target.folder, target.repo_id), {"space_dataset": options.space_dataset}
    if options.dry_run is not None:
        addresses = write_publication(
            *place, options.dry_run, space_id=options.space, revision=options.revision, **of_space
        )
    elif options.space is not None:
        addresses = push_with_space(
            *place, options.space, private=options.private, revision=options.revision, **of_space
        )
    else:
        addresses = [push(*place, private=options.private, revision=options.revision, create_pr=options.create_pr)]
    if options.dry_run is None and not is_quiet():
        first, *addresses = addresses
        print(closing_of(Path(target.folder), first))
    for address in addresses:
        print(address)
