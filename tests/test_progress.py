"""Stages: what is counted, who draws it, and what is left of it when a run fails."""

import pytest

from smi_hf import progress


class Written:
    """A display that writes down what it is told."""

    def __init__(self):
        self.lines = []

    def begin(self, bar):
        self.lines.append(("begin", bar.description, bar.total))

    def refresh(self, bar):
        self.lines.append((bar.done, bar.note))

    def end(self, bar):
        self.lines.append(("end", bar.done, bar.has_failed))


@pytest.fixture
def written():
    display = Written()
    with progress.drawn_by(display):
        yield display


def test_a_display_is_told_of_all_that_is_done(written):
    with progress.bar("Pruning", total=3, unit="block") as bar:
        bar.update()
        bar.advance_to(2.5, "loss 1")
        bar.update(0.5)
    assert written.lines == [
        ("begin", "Pruning", 3), (1, ""), (2.5, "loss 1"), (3.0, "loss 1"), ("end", 3.0, False)
    ]  # fmt: skip


def test_items_are_counted_as_they_are_done(written):
    assert list(progress.each("ab", "Reading", unit="letter")) == ["a", "b"]
    assert written.lines == [("begin", "Reading", 2), (1, ""), (2, ""), ("end", 2, False)]
    list(progress.each(iter("ab"), "Reading", unit="letter"))
    assert ("begin", "Reading", None) in written.lines


def test_what_is_disabled_is_counted_and_not_drawn(written):
    with progress.bar("Pruning", disable=True) as bar:
        bar.update()
        assert not bar.is_shown
    assert (bar.done, written.lines) == (1, [])
    with progress.drawn_by(None):
        assert not progress.bar("Pruning").is_shown


def test_a_stage_that_fails_ends_and_says_so(written):
    with pytest.raises(KeyError), progress.bar("Pruning"):
        raise KeyError
    assert written.lines[-1] == ("end", 0.0, True)


def test_a_stage_ends_once(written):
    bar = progress.bar("Pruning")
    bar.close()
    bar.close()
    bar.update()
    assert written.lines == [("begin", "Pruning", None), ("end", 0.0, False)]


def test_outside_a_command_bars_are_those_of_tqdm(capsys):
    with progress.bar("Inverting", total=4, unit="image") as bar:
        bar.advance_to(1.25, "loss=2")
        bar.advance_to(4)
    shown = capsys.readouterr().err
    assert "Inverting: 100%|" in shown and "4/4 [" in shown and "loss=2" in shown
    with progress.bar("Loading"):  # nothing is counted
        pass
    assert capsys.readouterr().err == ""
