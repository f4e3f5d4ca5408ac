"""What is said at the end of a quantization, of real records."""

import re

import pytest

from smi_hf import QuantizationConfig, load_image_set, load_sparse_dataset, quantize
from smi_hf.cli.quantize_summary import closing, show_quantized


@pytest.fixture
def config(tmp_path):
    return QuantizationConfig(output_dir=str(tmp_path / "my model"), backend="simulated", disable_tqdm=True)


@pytest.fixture
def record_of(teacher, sparse_folder, config, photographs):
    def make(*, judged: bool):
        images = load_image_set(str(photographs), teacher.label_names) if judged else None
        return quantize(teacher, load_sparse_dataset(sparse_folder, teacher=teacher), config, images=images)

    return make


def test_commands_that_may_come_next_are_commands_of_this_package(record_of, config, parse_command, tmp_path):
    steps = str(closing(record_of(judged=False), config))
    (evaluate,) = re.findall(r"smi-hf evaluate.*", steps)
    model, _ = parse_command(evaluate)
    assert model.model_name_or_path == str(tmp_path / "my model")
    (push,) = re.findall(r"smi-hf push.*", steps)
    parse_command(push)
    assert "not measured: --eval_dataset names photographs" in steps


def test_a_model_that_was_judged_has_a_table_and_is_not_to_be_judged_again(record_of, config, capsys):
    record = record_of(judged=True)
    show_quantized(record, config)
    said = " ".join(capsys.readouterr().out.split())
    assert "simulated, weights 8 bits, activations 8, judged on 20 images" in said
    assert "calibrated on 6 images" in said and "smi-hf push" in said
    assert "smi-hf evaluate" not in said
