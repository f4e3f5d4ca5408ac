import shutil

import pytest


@pytest.fixture
def folder(sparse_folder, tmp_path):
    return shutil.copytree(sparse_folder, tmp_path / "set")


def test_the_command_writes_a_page_and_says_where(folder, tmp_path, smi):
    answer = smi("report", folder, folder, "--output", tmp_path / "page.html")
    assert answer.code == 0
    assert f"Report: {tmp_path / 'page.html'}" in answer.out
    assert (tmp_path / "page.html").read_text().count("<article") == 2


def test_a_folder_without_results_is_one_sentence(tmp_path, smi):
    answer = smi("report", tmp_path)
    assert answer.code == 2
    assert answer.sentence.startswith("smi-hf: error:") and "holds nothing to report" in answer.sentence
