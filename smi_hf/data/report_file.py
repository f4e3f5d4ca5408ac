"""The report beside a result, for people on this machine: ours to replace, and never published."""

from pathlib import Path

REPORT_FILE = "report.html"
# In the head of every report, within the first bytes.
MARK = '<meta name="generator" content="smi_hf report">'
_MARK_WITHIN = 1024
# Metadata of the option `report`, which every engine has.
REPORT_OPTION = {"help": f"Write {REPORT_FILE} beside the result: one page that shows it in a browser."}


def is_report(path: Path) -> bool:
    """Whether a file is a report of ours, and no link to one.

    Raises:
        OSError: it cannot be read.
    """
    if path.is_symlink() or not path.is_file():
        return False
    with open(path, "rb") as file:
        return MARK.encode() in file.read(_MARK_WITHIN)


def remove_report(folder: Path) -> None:
    """Removes the report of a result that is about to change; a file of that name that is none stays.

    Raises:
        OSError: it cannot be read or removed.
    """
    if is_report(folder / REPORT_FILE):
        (folder / REPORT_FILE).unlink()
