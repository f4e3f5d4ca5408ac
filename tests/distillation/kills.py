"""Kills `distill` with rounds between file events, runs it again, and compares: a script for `test_rounds.py`.

kills.py TEACHER DATASET FOLDER COUNT: COUNT events spread over the run, or "all". Every run is a fork of this process,
which imports everything and computes nothing, so that no thread is lost.
"""

import json
import os
import shutil
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from smi_hf import load_sparse_dataset, load_student, load_teacher
from smi_hf.distillation import Rounds, SparseDistillationConfig, distill
from smi_hf.evaluation.record import ModelRecord

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
CHANGES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "shutil.rmtree", "os.replace", "os.link")


def watch(folder: Path, on_event: Callable[[int], None]) -> None:
    """Calls `on_event` with the number of each change of a file below a folder, before it happens."""
    count = 0

    def hook(event: str, arguments: tuple) -> None:
        nonlocal count
        if event == "open":
            path, _, flags = arguments
            is_change = bool((flags or 0) & WRITING)
        else:
            path, is_change = arguments[0] if arguments else None, event in CHANGES
        if is_change and isinstance(path, str | os.PathLike) and str(path).startswith(str(folder)):
            count += 1
            on_event(count)

    sys.addaudithook(hook)


def run(teacher_folder: str, dataset_folder: str, folder: Path) -> None:
    teacher = load_teacher(teacher_folder)
    dataset = load_sparse_dataset(dataset_folder)
    config = SparseDistillationConfig(
        output_dir=str(folder),
        num_train_epochs=2,
        per_device_train_batch_size=2,
        save_strategy="epoch",
        held_out=0.4,
        use_cpu=True,
        disable_tqdm=True,
        report_to="none",
    )
    student = load_student(teacher_folder, teacher, from_scratch=True)
    distill(teacher, student, config=config, rounds=Rounds(2, 3, dataset.first))


def forked(call: Callable[[], object]) -> int:
    """Calls something in a process of its own; returns its exit code, negative if a signal ended it."""
    child = os.fork()
    if child == 0:
        try:
            os.dup2(2, 1)
            call()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def outcome(folder: Path) -> tuple:
    """What a run leaves that a user would look at."""
    record = ModelRecord.load(folder)
    return record.files, record.held_out, record.settings, record.student, record.datasets


def killed_at(number: int, arguments: tuple[str, str], folder: Path, expected: tuple) -> str | None:
    """What went wrong with a run that was killed at an event, None if nothing."""

    def killed() -> None:
        watch(folder, lambda count: os.kill(os.getpid(), signal.SIGKILL) if count == number else None)
        run(*arguments, folder)

    if (code := forked(killed)) != -signal.SIGKILL:
        return f"was not killed, but ended with {code}"
    if code := forked(lambda: run(*arguments, folder)):
        return f"cannot be continued: {code}"
    return None if outcome(folder) == expected else "ended otherwise"


def main() -> None:
    *arguments, work, count = sys.argv[1:]
    whole, counted = Path(work) / "whole", Path(work) / "counted.json"

    def counting() -> None:
        events = []
        watch(whole, events.append)
        run(*arguments, whole)
        counted.write_text(json.dumps(len(events)))

    assert forked(counting) == 0
    num_events, expected = json.loads(counted.read_text()), outcome(whole)
    chosen = range(1, num_events + 1)
    if count != "all":
        chosen = [1 + round(step * (num_events - 1) / (int(count) - 1)) for step in range(int(count))]
    wrong = {}
    for number in chosen:
        folder = Path(work) / "killed"
        if reason := killed_at(number, tuple(arguments), folder, expected):
            wrong[number] = reason
        shutil.rmtree(folder, ignore_errors=True)
    print(json.dumps({"num_events": num_events, "killed": list(chosen), "wrong": wrong}))


if __name__ == "__main__":
    main()
