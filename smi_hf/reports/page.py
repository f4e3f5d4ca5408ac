"""The page: sections about each result, one after the other, in one HTML file that needs no network.

It is written whole or not at all. A file that is no report is never replaced.
"""

import base64
import hashlib
import logging
import os
from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from smi_hf.data.record import DatasetRecord
from smi_hf.data.report_file import MARK, REPORT_FILE, is_report
from smi_hf.errors import UsageError, printable
from smi_hf.files import one_line, replaced_atomically
from smi_hf.reports import back_ends, chain, commands, curves, gallery, mixture, scatter, sensitivity, table
from smi_hf.reports.javascript import vega_bundle
from smi_hf.reports.parts import Section, Subject, find_subjects

logger = logging.getLogger(__name__)

TEMPLATES = Path(__file__).parent / "templates"


def write_report(folders: Sequence[str | Path], output: str | Path | None = None) -> Path:
    """Writes a report of results as one HTML file; nothing is computed again.

    Args:
        folders: of results, or of folders of results; at least one.
        output: the file; `report.html` in the folder of a single one, and in the current folder for several, if None.

    Returns:
        The file.

    Raises:
        UsageError: a folder holds no complete result, or the file is there and no report, or cannot be written.
    """
    if not folders or not all(map(str, folders)):
        raise UsageError("there is nothing to report; give at least one folder, by its name")
    path = Path(output) if output is not None else (Path(folders[0]) if len(folders) == 1 else Path()) / REPORT_FILE
    subjects = [subject for folder in folders for subject in find_subjects(Path(folder))]
    check_report_file(path)
    text = render(subjects)
    try:
        with replaced_atomically(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"the report {path} cannot be written: {one_line(error)}; give another --output") from error
    return path


def add_report(folder: Path, *, renew: bool = True) -> None:
    """Writes `report.html` beside a result, as the last step of a run; what goes wrong is a warning.

    Args:
        renew: write it anew where there is one.
    """
    try:
        if renew or not is_report(folder / REPORT_FILE):
            write_report([folder])
    # The run has succeeded, and a report can be made at any time: whatever it was, it must not fail the run.
    except Exception as error:
        logger.warning(
            "no report was written: %s; the rest is whole, and smi-hf report makes it later",
            printable(one_line(error)),
        )


def check_report_file(path: Path) -> None:
    """Checks, before the work, that a report can be written there.

    Raises:
        UsageError: its folder is not there, or the file is there and is no report.
    """
    if not path.name or "\0" in str(path):
        raise UsageError(f"output must name a file, but {str(path)!r} was given")
    try:
        if os.path.lexists(path) and not is_report(path):
            raise UsageError(f"{path} exists and is no report of smi_hf, and stays as it is; give another --output")
        if not path.parent.is_dir():
            raise UsageError(f"the report {path} cannot be written: there is no folder {path.parent}; make it first")
    except OSError as error:
        raise UsageError(f"the report {path} cannot be written: {one_line(error)}; give another --output") from error


def render(subjects: Sequence[Subject]) -> str:
    """The page.

    Args:
        subjects: at least one.

    Raises:
        UsageError: the images of a dataset cannot be read.
    """
    num_datasets = sum(isinstance(subject.record, DatasetRecord) for subject in subjects)
    max_images = gallery.MAX_IMAGES // max(1, num_datasets)
    together = [found] if (found := scatter.section(subjects)) else []
    parts = [(subject, sections_of(subject, max_images=max_images)) for subject in subjects]
    has_charts = any(section.has_charts for section in together) or any(
        section.has_charts for _, sections in parts for section in sections
    )
    scripts = [*([vega_bundle()] if has_charts else []), (TEMPLATES / "report.js").read_text(encoding="utf-8")]
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        undefined=StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    names = [subject.name for subject in subjects]
    return environment.get_template("report.html.jinja").render(
        title=names[0] if len(names) == 1 else f"{len(names)} results",
        together=together,
        parts=parts,
        lead_of=lead,
        mark=Markup(MARK),
        style=(TEMPLATES / "report.css").read_text(encoding="utf-8"),
        scripts=scripts,
        script_hashes=[_hash_source(script) for script in scripts],
    )


def sections_of(subject: Subject, *, max_images: int = gallery.MAX_IMAGES) -> list[Section]:
    """The sections about a result, in the order in which they are read.

    Args:
        max_images: that the gallery shows at most.
    """
    found = [
        chain.section(subject),
        table.section(subject),
        gallery.section(subject, max_images=max_images),
        curves.section(subject),
        back_ends.section(subject),
        mixture.section(subject),
        sensitivity.section(subject),
        commands.section(subject),
    ]
    return [section for section in found if section is not None]


def lead(subject: Subject) -> str:
    """What a result is and how good, in a sentence or two."""
    record = subject.record
    if isinstance(record, DatasetRecord):
        share = 100 * record.keep_counts[-1] / record.keep_counts[0]
        told = f"{record.num_images} images for {record.teacher.name}, with {share:.0f} % of the patches kept."
        if not record.settings["num_steps"]:
            return f"{told} They were not optimized, and their labels are only numbers."
        return (
            f"{told} The model sees the target label in {100 * record.results['target_top1']:.1f} % of them; blind "
            f"choice among {len(record.label_names)} labels would in {100 / len(record.label_names):.2g} %."
        )
    if record.rows:
        return " ".join(table.findings(record))
    if record.held_out is not None:
        return (
            f"Not judged on real images. It agrees with its teacher in {100 * record.held_out.agreement:.1f} % of "
            f"{record.held_out.num_images} synthetic images that taught nothing."
        )
    return "Not judged on any image yet: smi-hf evaluate measures its accuracy."


def _hash_source(script: str) -> str:
    """A script as the page's security policy names it: no other script runs."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
