"""The parser of `smi-hf distill`, whole and as its short help needs it."""

from smi_hf.cli.distill_parser import OPTIONS, make_parser
from smi_hf.cli.help_text import brief_help, shown_actions


def test_the_short_help_is_the_same_without_what_needs_torch():
    short, whole = make_parser(is_short=True), make_parser()
    assert short.format_help() == whole.format_help()
    names = [{action.dest for action in shown_actions(parser)} for parser in (short, whole)]
    assert names[0] < names[1]
    assert "warmup_steps" in names[1] - names[0]


def test_options_of_trainer_come_last_in_the_full_help():
    text = make_parser().format_full_help()
    headings = [line for line in text.splitlines() if line.endswith(":") and not line.startswith(" ")]
    assert headings[: len(OPTIONS)] == [f"{heading}:" for heading in OPTIONS]
    theirs = headings.index("taken over from transformers.TrainingArguments:")
    assert headings[theirs + 1] == "everywhere:"
    section = text[text.index(headings[theirs]) : text.index("everywhere:")]
    assert "--warmup_steps" in section and "--temperature" not in section and "--hard_label_weight" not in section


def test_what_a_preset_fills_in_says_so():
    actions = {action.dest: action for action in shown_actions(make_parser())}
    assert brief_help(actions["num_train_epochs"]).endswith("Default: as preset chooses.")
