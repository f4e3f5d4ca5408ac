"""Folders that are pushed, made without an engine where a test does not need one."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from smi_hf.environment import Environment
from smi_hf.evaluation.record import DatasetReference, ModelRecord, StudentReference
from smi_hf.hub import retries, save_model_record
from smi_hf.models import CheckpointReference


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch):
    monkeypatch.setattr(retries, "_BACK_OFF", lambda state: 0.01)


@pytest.fixture
def folder(sparse_folder, tmp_path):
    """A copy of a finished dataset."""
    return Path(shutil.copytree(sparse_folder, tmp_path / "set"))


@pytest.fixture
def model_record():
    """Of a student of the tiny checkpoint."""
    return ModelRecord(
        "distilled",
        CheckpointReference("tiny-vit", None, "vit", "1" * 64),
        (DatasetReference("set", None, "2" * 64, 6, 7, True),),
        {"loss": "kl", "seed": 0},
        Environment("full", "cpu", {"python": "3.11"}),
        student=StudentReference("tiny-vit", None, "vit", None, True, 24_000, "kept patches"),
    )


@pytest.fixture
def model_folder(tiny_checkpoint, model_record, tmp_path):
    """A student with its record, and a picture on its card."""
    folder = Path(shutil.copytree(tiny_checkpoint, tmp_path / "student"))
    (folder / "curves.png").write_bytes(b"\x89PNG curves")
    save_model_record(replace(model_record, pictures=("curves.png",)), folder)
    return folder
