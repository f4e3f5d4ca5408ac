"""Model folders: written whole or not at all. By the simulated back end, which both lanes have."""

import os
from dataclasses import replace

import pytest

from smi_hf import UsageError
from smi_hf.quantization.config import QuantizationConfig
from smi_hf.quantization.loading import check_not_quantized
from smi_hf.quantization.quantizer import Quantizer


@pytest.fixture
def quantizer(teacher):
    with Quantizer(teacher, QuantizationConfig(backend="simulated")) as entered:
        yield entered


def test_a_folder_that_exists_is_not_touched(quantizer, calibration, tmp_path):
    (tmp_path / "int8").mkdir()
    with pytest.raises(UsageError, match="exists; choose another folder"):
        quantizer.quantize(calibration, tmp_path / "int8")
    assert list((tmp_path / "int8").iterdir()) == []


def test_a_file_where_a_folder_should_be_is_named(quantizer, calibration, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="file is a file, not a folder"):
        quantizer.quantize(calibration, tmp_path / "file" / "int8")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission_is_named(quantizer, calibration, tmp_path):
    (tmp_path / "locked").mkdir(mode=0o500)
    with pytest.raises(UsageError, match=r"no permission to write in .*locked"):
        quantizer.quantize(calibration, tmp_path / "locked" / "int8")


def test_a_failure_leaves_nothing_behind(quantizer, calibration, tmp_path, monkeypatch):
    def fail(calibration, settings, layers, folder):
        folder.mkdir()
        (folder / "half").write_text("")
        raise OSError("no space left on device")

    monkeypatch.setattr(quantizer.float_model, "quantize", fail)
    with pytest.raises(OSError, match="no space"):
        quantizer.quantize(calibration, tmp_path / "int8")
    assert list(tmp_path.iterdir()) == []


def test_dynamic_quantization_is_refused_where_there_is_none(quantizer, tmp_path):
    with pytest.raises(UsageError, match="back end 'simulated' has no dynamic quantization; give calibration images"):
        quantizer.quantize(None, tmp_path / "int8")


def test_a_wrong_layer_name_leaves_no_float_model_behind(teacher, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    settings = QuantizationConfig(exclude=("nowhere",))
    with (
        pytest.raises(UsageError, match="no layer 'nowhere'"),
        Quantizer(teacher, replace(settings, backend="simulated")),
    ):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_quantized_model_is_recognised_and_a_checkpoint_is_not(
    quantizer, calibration, tmp_path, tiny_checkpoint, capsys
):
    from smi_hf.cli.main import main

    check_not_quantized(str(tiny_checkpoint))
    quantizer.quantize(calibration, tmp_path / "int8")
    for command in ("invert", "quantize"):
        options = [] if command == "invert" else ["--dataset", "any", "--backend", "simulated"]
        given = [command, "--model_name_or_path", tmp_path / "int8", "--output_dir", tmp_path / "out", *options]
        assert main(list(map(str, given))) == 2
        assert "is quantized already (back end simulated)" in capsys.readouterr().err
