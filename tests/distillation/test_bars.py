"""A trainer's steps as stages of this package."""

import pytest
from transformers import PrinterCallback, ProgressCallback

from smi_hf import SparseDistillationConfig, SparseDistillationTrainer, load_student, progress
from smi_hf.distillation.bars import BarCallback


class Written:
    def __init__(self):
        self.bars = []

    def begin(self, bar):
        self.bars.append(bar)

    def refresh(self, bar):
        pass

    def end(self, bar):
        bar.ended = True


@pytest.fixture
def trainer(teacher, dataset, tiny_checkpoint, tmp_path, own_precision):
    def make(**options):
        args = SparseDistillationConfig(
            preset="trainer", output_dir=str(tmp_path), num_train_epochs=2, held_out=0.4, use_cpu=True,
            eval_strategy="epoch", logging_strategy="epoch", **options,
        )  # fmt: skip
        return SparseDistillationTrainer(load_student(str(tiny_checkpoint), teacher), teacher, args, dataset)

    return make


def test_training_is_a_bar_with_loss_and_score_and_each_judgement_is_one(trainer, capsys):
    display = Written()
    with progress.drawn_by(display):
        made = trainer()
        made.train()
    by_name = {}
    for bar in display.bars:
        by_name.setdefault(bar.description, []).append(bar)
        assert bar.ended
    (teaching,) = by_name["Teaching"]
    assert teaching.done == teaching.total == made.state.max_steps
    assert teaching.note.startswith("loss ") and ", agreement " in teaching.note and teaching.note.endswith("%")
    assert [bar.done for bar in by_name["Judging"]] == [bar.total for bar in by_name["Judging"]]
    assert len(by_name["Judging"]) == 2
    assert "{'" not in capsys.readouterr().out


def test_own_bars_and_dicts_are_gone_and_unwanted_bars_stay_away(trainer, capsys):
    display = Written()
    with progress.drawn_by(display):
        made = trainer(disable_tqdm=True)
        made.train()
    kinds = [type(callback) for callback in made.callback_handler.callbacks]
    assert BarCallback in kinds and not {ProgressCallback, PrinterCallback} & set(kinds)
    assert display.bars == [] and capsys.readouterr().out == ""
