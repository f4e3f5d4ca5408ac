import json

import pytest

from smi_hf.errors import UsageError
from smi_hf.reports.parts import Subject, find_subjects


def test_a_folder_of_results_stands_for_all_that_are_complete(folder, model_folder, tmp_path):
    assert [subject.name for subject in find_subjects(tmp_path)] == ["int8", "set"]
    record = json.loads((folder / "smi.json").read_text())
    (folder / "smi.json").write_text(json.dumps(record | {"status": "running", "results": {}}))
    assert [subject.name for subject in find_subjects(tmp_path)] == ["int8"]
    with pytest.raises(UsageError, match="is not complete"):
        Subject.of(folder)


def test_a_folder_without_results_is_refused(tmp_path):
    with pytest.raises(UsageError, match="holds nothing to report"):
        find_subjects(tmp_path)
    with pytest.raises(UsageError, match="is no folder"):
        find_subjects(tmp_path / "missing")
