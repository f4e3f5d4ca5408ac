"""What a second process changes: real processes. This file is also the script that they run."""

import json
import logging
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import transformers  # its classes when they are used: smi_hf first, so that torchao's remarks are not heard

NUM_EPOCHS = 2
# Settings by name; a DINOv2 has a mask token that no loss reaches.
CASES = {
    "the whole student": {"hard_label_weight": 0.1},
    "a frozen backbone": {"freeze_backbone": True, "num_views": 3},
    "fixed views": {"num_views": 2},
    "matched parts": {"feature_weight": 1.0, "attention_weight": 1.0},
    "an unused weight": {},
    # 64 images are whole batches for one process and for two.
    "early stopping": {
        "early_stopping_patience": 1,
        "held_out": 1 / 9,
        "eval_strategy": "steps",
        "eval_steps": 4,
        "save_strategy": "steps",
        "save_steps": 4,
    },
}


def teach(case: str, folder: Path, teacher: str, photographs: str, output_dir: Path, batch_size: int) -> int:
    """Teaches a student on noise and writes it and its log, whatever the number of processes; returns that number."""
    from smi_hf import load_teacher
    from smi_hf.distillation import SparseDistillationConfig, SparseDistillationTrainer, load_student
    from smi_hf.images.kept import KeptImages
    from smi_hf.images.real import load_image_set
    from smi_hf.models.preprocessing import load_image_processor

    # 72: their views are more than one batch of answers, the last of which is not full.
    generator = torch.Generator().manual_seed(0)
    kept = torch.rand(72, 16, generator=generator).topk(6, dim=1).indices.sort(dim=1).values
    labels = torch.randint(0, 5, (72,), generator=generator)
    images = KeptImages(torch.randn(72, 3, 32, 32, generator=generator), kept, "noise", labels)
    teacher = load_teacher(teacher)
    student = str(folder / ("dinov2" if case == "an unused weight" else "vit"))
    args = SparseDistillationConfig(
        output_dir=str(output_dir / case),
        use_cpu=True,
        report_to="none",
        disable_tqdm=True,
        logging_steps=1,
        preset="trainer",
        num_train_epochs=NUM_EPOCHS,
        per_device_train_batch_size=batch_size,
        optim="sgd",
        learning_rate=0.01,
        temperature=2.0,
        **{"save_strategy": "no", "eval_strategy": "epoch"} | CASES[case],
    )
    trainer = SparseDistillationTrainer(
        load_student(student, teacher),
        teacher,
        args,
        images,
        load_image_set(photographs, teacher.label_names),
        load_image_processor(student),
    )
    trainer.train()
    trainer.save_model()
    if trainer.is_world_process_zero():
        (output_dir / case / "log.json").write_text(json.dumps(trainer.state.log_history))
    return args.world_size


def distill_in_rounds(student: str, dataset: str, output_dir: Path) -> None:
    """The verb with rounds, on images that are there."""
    from smi_hf import load_sparse_dataset, load_student, load_teacher
    from smi_hf.distillation import Rounds, SparseDistillationConfig, distill

    teacher = load_teacher(student)
    pool = load_sparse_dataset(dataset)
    config = SparseDistillationConfig(
        preset="trainer", output_dir=str(output_dir), use_cpu=True, disable_tqdm=True, num_train_epochs=1, held_out=0.4
    )
    rounds = Rounds(2, 3, pool.first)
    distill(teacher, load_student(student, teacher, from_scratch=True), config=config, rounds=rounds)


@pytest.fixture(scope="module")
def students(make_vit, tiny_checkpoint, tmp_path_factory):
    from smi_hf.models.preprocessing import load_image_processor

    folder = tmp_path_factory.mktemp("students")
    sizes = {"image_size": 32, "patch_size": 8, "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3}
    torch.manual_seed(0)
    config = transformers.Dinov2Config(mlp_ratio=2, num_labels=5, **sizes)
    dinov2 = transformers.Dinov2ForImageClassification(config)
    for name, model in (("vit", make_vit()), ("dinov2", dinov2)):
        model.save_pretrained(folder / name)
        load_image_processor(str(tiny_checkpoint)).save_pretrained(folder / name)
    return folder


@pytest.fixture(scope="module")
def of_two(
    students, tiny_checkpoint, photographs, sparse_folder, tmp_path_factory, repository, subprocess_environment
):
    """Every case taught by two processes with batches of 4: the folder, and what they said."""
    folder = tmp_path_factory.mktemp("two")
    launched = subprocess.run(
        ["accelerate", "launch", "--config_file", "recipes/accelerate/multi_cpu.yaml", str(Path(__file__))]
        + [str(path) for path in (students, tiny_checkpoint, photographs, sparse_folder, folder)],
        cwd=repository,
        env=subprocess_environment,
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert launched.returncode == 0, launched.stderr
    assert launched.stdout.count("2 processes") == 2 * len(CASES)
    return folder, launched.stderr


@pytest.mark.parametrize("case", CASES)
def test_two_processes_teach_what_one_does(case, of_two, students, tiny_checkpoint, photographs, tmp_path):
    assert teach(case, students, str(tiny_checkpoint), str(photographs), tmp_path, batch_size=8) == 1
    two, one = (json.loads((folder / case / "log.json").read_text()) for folder in (of_two[0], tmp_path))
    assert len(one) == len(two) >= 10 * NUM_EPOCHS
    for entry_of_two, entry_of_one in zip(two, one):
        for name, value in entry_of_one.items():
            if "loss" in name or name.startswith("eval_top"):
                # Sums in another order, and Trainer rounds what it logs to 4 digits.
                assert entry_of_two[name] == pytest.approx(value, abs=2e-4), name
    stock = transformers.AutoModelForImageClassification
    students_of = (stock.from_pretrained(folder / case) for folder in (of_two[0], tmp_path))
    weights_of_two, weights_of_one = (student.state_dict() for student in students_of)
    for name, value in weights_of_one.items():
        assert torch.allclose(weights_of_two[name], value, atol=1e-5), name


def test_two_processes_say_nothing_that_a_user_cannot_act_on(of_two):
    lines = [line for line in of_two[1].splitlines() if re.search("[Ww]arning|[Ee]rror", line)]
    assert lines == []


def test_two_processes_distill_into_one_folder_and_speak_once(of_two):
    from smi_hf.evaluation.record import ModelRecord

    record = ModelRecord.load(of_two[0] / "verb")
    assert record.settings["num_processes"] == 2 and record.changed_file(of_two[0] / "verb") is None
    assert record.held_out.num_images == 2
    assert of_two[1].count("round 2 of 2: 6 images") == 1


if __name__ == "__main__":
    logging.basicConfig(format="%(message)s")
    logging.getLogger("smi_hf").setLevel(logging.INFO)
    students_folder, teacher_folder, photographs_file, dataset_folder, output_folder = sys.argv[1:]
    for name in CASES:
        num_processes = teach(
            name, Path(students_folder), teacher_folder, photographs_file, Path(output_folder), batch_size=4
        )
        print(f"{num_processes} processes")
    distill_in_rounds(teacher_folder, dataset_folder, Path(output_folder) / "verb")
