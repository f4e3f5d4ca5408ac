"""Options of a distillation that can be said without torch."""

import sys
from dataclasses import fields

from smi_hf.distillation.config import SparseDistillationConfig
from smi_hf.distillation.options import DistillationOptions, by_preset
from smi_hf.distillation.presets import DEFAULTS


def test_they_are_options_of_the_config_with_the_same_help_and_default():
    whole = {each.name: each for each in fields(SparseDistillationConfig)}
    for option in fields(DistillationOptions):
        assert whole[option.name].metadata["help"] == option.metadata["help"]
        assert whole[option.name].default == option.default


def test_what_a_preset_fills_in_is_open_and_says_so():
    told = by_preset("")["help"].strip()
    by_name = {each.name: each for each in fields(SparseDistillationConfig)}
    assert {name for name, each in by_name.items() if told in each.metadata.get("help", "")} == DEFAULTS.keys()
    assert all(by_name[name].default is None for name in DEFAULTS)


def test_they_are_read_without_torch(run_command):
    code = "import sys, smi_hf.distillation.options; print('torch' in sys.modules)"
    assert run_command(sys.executable, "-c", code).stdout == "False\n"
