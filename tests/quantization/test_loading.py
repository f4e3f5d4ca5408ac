"""Models by the name of their folder, and what is said of a folder that is damaged."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from smi_hf import QuantizationConfig, UsageError, load_predictor, load_sparse_dataset, quantize
from smi_hf.environment import missing_packages
from smi_hf.quantization.backends import BACKENDS
from smi_hf.quantization.loading import saved_backend

DAMAGE = {
    "empty": lambda content: b"",
    "cut": lambda content: content[: len(content) // 2],
    "garbage": lambda content: b"\x00\xff garbage" * 10,
    "no mapping": lambda content: b"[1, 2]",
    "no keys": lambda content: b"{}",
    "null": lambda content: b"null",
    "other values": lambda content: other_values(content),
}


def other_values(content: bytes) -> bytes:
    """JSON of the same keys, each with a value of another type; anything else as it is."""
    try:
        values = json.loads(content)
    except ValueError:
        return content[::-1]
    return json.dumps({key: {"not": "this"} for key in values} if isinstance(values, dict) else []).encode()


@pytest.fixture(scope="module", params=["pytorch", *BACKENDS.names()])
def saved(request, tmp_path_factory, tiny_checkpoint, sparse_folder):
    """A folder of each back end that this lane has, and a PyTorch checkpoint."""
    from smi_hf import load_teacher

    folder = tmp_path_factory.mktemp("saved") / "model"
    if request.param == "pytorch":
        shutil.copytree(tiny_checkpoint, folder)
        return folder
    extra = BACKENDS.get(request.param).extra
    if extra is not None and missing_packages(extra):
        pytest.skip(f"the extra {extra} is absent")
    teacher = load_teacher(str(tiny_checkpoint))
    dataset = load_sparse_dataset(sparse_folder, teacher=teacher)
    weights, activations = (BACKENDS.get(request.param).widths or ((8, 8),))[0]
    config = QuantizationConfig(weights, activations, output_dir=str(folder), backend=request.param, disable_tqdm=True)
    quantize(teacher, dataset, config)
    return folder


def test_the_back_end_is_told_from_the_files(saved):
    predictor = load_predictor(str(saved))
    assert predictor.backend == (saved_backend(saved) or "pytorch")
    assert list(predictor.label_names) == [f"LABEL_{label}" for label in range(5)]


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_is_one_sentence_or_does_not_matter(saved, damage, tmp_path):
    for file in sorted(path for path in saved.iterdir() if path.name not in ("README.md", "results.json")):
        broken = tmp_path / file.name
        shutil.copytree(saved, broken)
        (broken / file.name).write_bytes(DAMAGE[damage](file.read_bytes()))
        refused_or_usable(broken, damage)


@pytest.mark.parametrize("kind", ["absent", "a folder", "a link to nothing"])
def test_a_file_that_is_none_is_one_sentence_or_does_not_matter(saved, kind, tmp_path):
    for file in sorted(saved.iterdir()):
        broken = tmp_path / file.name
        shutil.copytree(saved, broken)
        (broken / file.name).unlink()
        if kind == "a folder":
            (broken / file.name).mkdir()
        elif kind == "a link to nothing":
            (broken / file.name).symlink_to(tmp_path / "nowhere")
        refused_or_usable(broken, kind)


def refused_or_usable(folder, why) -> None:
    try:
        predictor = load_predictor(str(folder))
        pixels = predictor.preprocess([Image.new("RGB", (40, 36))])
        assert np.asarray(predictor(pixels)).shape == (1, len(predictor.label_names))
    except UsageError as error:
        message = str(error)
        assert "\n" not in message, (folder.name, why, message)
        assert len(message) < 1500, (folder.name, why, message)
