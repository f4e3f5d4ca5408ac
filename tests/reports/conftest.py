"""Results of the tiny checkpoint, made without an engine where a test does not need one, and a browser."""

import base64
import hashlib
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from smi_hf.environment import Environment
from smi_hf.evaluation.record import DatasetReference, ModelRecord, StudentReference
from smi_hf.evaluation.table import Row, Scores
from smi_hf.hub import save_model_record
from smi_hf.images.real import ImageSetReference
from smi_hf.models import CheckpointReference
from smi_hf.reports.parts import Subject

ENVIRONMENT = Environment("full", "cpu", {"python": "3.11"})
SETTINGS = {
    "backend": "onnx", "weights": 8, "activations": 8, "operators": ["MatMul", "Gemm"], "exclude": [],
    "wide_layers": [], "target": "avx2", "quantize_outputs": False, "quantized_layers": 3, "layers": 5,
    "calibration_patches": "kept", "control_seeds": [0],
}  # fmt: skip


@pytest.fixture
def folder(sparse_folder, tmp_path):
    """A copy of a finished dataset, without its report."""
    folder = Path(shutil.copytree(sparse_folder, tmp_path / "set"))
    (folder / "report.html").unlink(missing_ok=True)
    return folder


@pytest.fixture
def images_subject(folder):
    return Subject.of(folder)


@pytest.fixture
def quantized_record():
    """Of the tiny checkpoint, with a reference and two controls, one of them in two runs."""
    rows = (
        Row("float32", "float32", (Scores(0.9, 1.0, 1.0),), {"size_mb": 4.0, "latency_ms_1": 8.0}),
        Row("sparse", "inverted, kept patches", (Scores(0.8, 1.0, 0.9),), {"size_mb": 1.0, "latency_ms_1": 2.0}),
        Row("gaussian", "Gaussian noise", (Scores(0.2, 0.6, 0.3), Scores(0.4, 0.6, 0.3))),
        Row("real=a", "real images", (Scores(0.5, 0.9, 0.6),)),
    )
    return ModelRecord(
        "quantized",
        CheckpointReference("tiny-vit", None, "vit", "1" * 64),
        (DatasetReference("set", None, "2" * 64, 6, 7, True),),
        SETTINGS,
        ENVIRONMENT,
        num_labels=5,
        measured=ImageSetReference("photographs.parquet", "parquet", "test", 100),
        rows=rows,
    )


@pytest.fixture
def chain_record(quantized_record):
    """A model that was pruned, taught and then quantized, each in a local folder."""
    pruned = replace(
        quantized_record,
        kind="pruned",
        settings={
            "compensation": "ridge regression", "keep_mlp": 0.5, "ridge": 0.001, "num_epochs": 5, "num_scenes": 200,
            "seed": 0, "layers": [0, 1], "layers_before": 3, "parameters": 10, "parameters_before": 20,
            "control_seeds": [0],
        },
    )  # fmt: skip
    taught = replace(
        quantized_record,
        kind="distilled",
        settings={"loss": "kl", "seed": 0, "num_train_epochs": 1.0, "max_steps": -1, "augmentations": []},
        student=StudentReference("pruned", None, "vit", None, False, 10, "kept patches"),
        curves={"sparse": ((1.0, 0.5), (2.0, 0.8)), "gaussian": ((1.0, 0.2), (2.0, 0.3))},
        history=pruned.continued(),
    )
    recovered = replace(quantized_record.teacher, name="recovered")
    return replace(quantized_record, teacher=recovered, history=taught.continued())


@pytest.fixture
def model_folder(quantized_record, tmp_path):
    return save(quantized_record, tmp_path / "int8")


def save(record: ModelRecord, folder: Path) -> Path:
    folder.mkdir()
    (folder / "model.onnx").write_bytes(b"a model")
    save_model_record(record, folder)
    return folder


@pytest.fixture
def save_model():
    """Writes a record with a model of a few bytes into a new folder, and returns the folder."""
    return save


class _Opened(HTMLParser):
    """What a page is made of: elements with their attributes, and text."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture
def parse():
    """Elements and text of a page."""

    def read(text: str) -> _Opened:
        page = _Opened()
        page.feed(text)
        return page

    return read


@pytest.fixture
def browse(tmp_path):
    """Opens a page from disk in Chromium, runs a script when it is ready, and gives its document and console."""
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if browser is None:
        pytest.skip("needs Chromium, which is not installed here")

    def look(page: Path, script: str = "") -> tuple[str, list[str]]:
        text = page.read_text()
        if script:
            # The page's own policy runs no script but its own, so that the test's is named there, too.
            digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
            text = text.replace("script-src ", f"script-src 'sha256-{digest}' ", 1)
            page_text, _, end = text.rpartition("</body>")
            text = f"{page_text}<script>{script}</script></body>{end}"
        opened = tmp_path / "opened.html"
        opened.write_text(text)
        command = [
            browser, "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=10000",
            f"--user-data-dir={tmp_path / 'profile'}", "--enable-logging=stderr", "--dump-dom", opened.as_uri(),
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        return done.stdout, re.findall(r"CONSOLE.*", done.stderr)

    return look
