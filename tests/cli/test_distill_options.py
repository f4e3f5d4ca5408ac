"""What becomes of the options of `smi-hf distill`: a file for rounds, and options that belong together."""

import pytest

from smi_hf import UsageError
from smi_hf.cli.distill_options import RoundsArguments, TeacherArguments


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("num_step: 4", "unknown option 'num_step' (did you mean 'num_steps'?)"),
        (
            "model_name_or_path: somebody/else",
            "says model_name_or_path 'somebody/else', but rounds invert",
        ),
        ("image_size: 64", "says image_size [64]"),
        ("overwrite_output_dir: true", "says overwrite_output_dir, which rounds cannot do"),
        ("learning_rate: -1", "learning_rate must be"),
    ],
)
def test_a_file_for_rounds_that_cannot_be_is_refused_before_anything_is_loaded(text, message, tmp_path, capsys):
    (tmp_path / "inversion.yaml").write_text(text + "\n")
    arguments = RoundsArguments(rounds=2, inversion_config=str(tmp_path / "inversion.yaml"))
    with pytest.raises((UsageError, SystemExit)) as error:
        arguments.read_inversion(TeacherArguments("me/vit"), "pool")
    assert message in str(error.value) + capsys.readouterr().err
