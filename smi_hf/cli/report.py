"""`smi-hf report`: results as one HTML page."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from smi_hf.cli.arguments import ArgumentParser
from smi_hf.errors import printable

_EPILOG = """examples:
  smi-hf report out/deit-tiny
  smi-hf report out/deit-tiny out/deit-tiny-int8 out/pruned --output report.html
  smi-hf report out/demo --output demo.html

Nothing is computed again: the page shows what records and folders hold. It is one file, loads nothing from the
network, and opens in any browser.
"""


@dataclass
class ReportFolders:
    """What is shown."""

    folders: list[str] = field(
        metadata={
            "help": "Folders that smi-hf invert, quantize, prune or distill wrote, or a folder of such folders.",
            "nargs": "+",
        }
    )


@dataclass
class ReportArguments:
    """Where the page is written."""

    output: str | None = field(
        default=None,
        metadata={
            "help": "The page, a file. Default: report.html in the folder; of several, in the current one. A file of "
            "that name that is no report stays as it is."
        },
    )


def make_parser() -> ArgumentParser:
    """The parser of this command; tests and documentation read it too."""
    return ArgumentParser(
        ReportArguments,
        positionals=ReportFolders,
        prog="smi-hf report",
        description="Show images and models in one HTML page: how they were made, what they are worth, what is next.",
        epilog=_EPILOG,
    )


def run(arguments: Sequence[str] | None = None) -> None:
    """Parses the arguments and writes the page.

    Raises:
        UsageError: as `smi_hf.reports.page.write_report` does.
    """
    given, options = make_parser().parse(arguments)

    from smi_hf.reports.page import write_report

    path = write_report(given.folders, options.output)
    print(f"Report: {printable(str(path))} ({path.stat().st_size / 1e6:.1f} MB); open it in a browser")
