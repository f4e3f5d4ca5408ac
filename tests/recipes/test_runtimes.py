"""The page about other runtimes: what it tells to give to a tool is there after its own commands."""

import re
import shlex
from pathlib import Path

import pytest

from smi_hf.cli.main import main
from smi_hf.environment import missing_packages
from smi_hf.images.formats.base import FORMATS

PAGE = Path(__file__).resolve().parents[2] / "recipes" / "runtimes" / "README.md"
# Packages of others that the page imports and that are in no lane, or not in each.
OF_OTHERS = {"rknn", "litert_quantizer", "tensorflow", "quark", "onnxruntime"}


def sections() -> dict[str, str]:
    """Text of every heading that shows an export."""
    parts = re.split(r"^#{2,3} (.*)$", PAGE.read_text(), flags=re.MULTILINE)
    return {title: text for title, text in zip(parts[1::2], parts[2::2]) if "smi-hf export-images out" in text}


def blocks(text: str) -> list[tuple[str, str]]:
    return re.findall(r"^```(\w+)\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)


@pytest.fixture
def here(tmp_path, sparse_folder, monkeypatch):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "deit-tiny").symlink_to(sparse_folder)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_page_has_an_example_of_every_format():
    shown = set(re.findall(r"smi-hf export-images \S+ \S+ --format ([a-z]+)", PAGE.read_text()))
    assert shown == set(FORMATS.names())
    listed = re.findall(r"^\| `(\w+)` \| `", PAGE.read_text(), flags=re.MULTILINE)
    assert sorted(listed) == FORMATS.names()


@pytest.mark.parametrize("title", sections())
def test_what_a_tool_is_given_is_there_after_the_export(title, here, capsys):
    written: list[Path] = []
    for language, text in blocks(sections()[title]):
        if language == "bash":
            words = shlex.split(text.replace("\\\n", " "))
            if "tfrecord" in words and missing_packages("tfrecord"):
                pytest.skip("needs the extra tfrecord")
            assert main([*words[1:], "--disable_tqdm"]) == 0, capsys.readouterr().err
            written.append(here / words[3])
            continue
        # What stands in a folder's own list is named without the folder: the tool is started in it.
        for path in re.findall(r"out/[\w/.-]+", text):
            assert (here / path).exists(), f"{path} is shown to a tool, but is not there"
        for name in re.findall(r"\b(?:input_list|dataset)\.txt", text):
            assert (written[-1] / name).is_file(), f"{name} is shown to a tool, but is not there"
        if language == "python":
            run_as_far_as_it_goes(text)
    assert written


def run_as_far_as_it_goes(text: str) -> None:
    """Runs code until it imports what is not installed here."""
    try:
        exec(compile(text, "a block of the page", "exec"), {"config": None})
    except ModuleNotFoundError as error:
        if not {error.name, error.name.split(".")[0]} & OF_OTHERS:
            raise


def test_quantizers_in_python_take_what_the_page_gives_them(here, capsys):
    text = PAGE.read_text()
    _, _, part = text.partition("## Quantizers in Python")
    names: dict[str, object] = {}
    ran = 0
    for language, code in blocks(part.partition("\n## ")[0]):
        assert language == "python"
        try:
            exec(compile(code, "a block of the page", "exec"), names)
            ran += 1
        except ModuleNotFoundError as error:
            if error.name not in ("transformers.exporters", "nncf"):
                raise
    assert ran >= 1 and len(names["samples"]) == 3
