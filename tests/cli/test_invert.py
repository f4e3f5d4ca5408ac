"""`smi-hf invert`: what it writes, says and refuses."""

import json
import shlex
import sys

import pytest
from datasets import load_dataset

from smi_hf import SparseInversionConfig, invert, load_teacher
from smi_hf.cli import invert as command
from smi_hf.data import DatasetRecord
from smi_hf.losses import LOSSES

QUICK = ("--num_images", "2", "--num_steps", "4", "--disable_tqdm")


def test_invert_writes_a_dataset_and_says_where(smi, tiny_checkpoint, tmp_path):
    code, out, _ = smi("invert", "--model_name_or_path", tiny_checkpoint, "--output_dir", tmp_path / "out", *QUICK)
    assert code == 0
    assert "2 images in" in out and "preview.png" in out
    assert (tmp_path / "out" / "smi.json").is_file()


def test_a_users_mistake_is_one_message_and_exit_code_2(smi, tiny_checkpoint, tmp_path):
    mistakes = {
        ("--prune_ratios", "1.5"): "prune ratio 1.5 is outside [0, 1)",
        ("--classes", "zebra"): "class 'zebra' does not exist",
        ("--policy", "smj"): "invalid choice: 'smj'",
        ("--num_image", "3"): "unrecognized arguments: --num_image 3 (did you mean '--num_images'?)",
        ("--num_steps", "many"): "argument --num_steps: invalid int value: 'many'",
        ("--prune_steps", "1", "--prune_ratios", "0.99"): "prune_ratios (0.99,) leave 16 -> 0 of 16 patches",
    }
    for options, message in mistakes.items():
        code, out, err = smi(
            "invert", "--model_name_or_path", tiny_checkpoint, "--output_dir", tmp_path / "out", *QUICK, *options
        )
        assert (code, out) == (2, ""), (options, out, err)
        assert message in err
        assert "Traceback" not in err
        assert not (tmp_path / "out").exists()


def test_a_failure_is_one_message_and_exit_code_1(smi, tiny_checkpoint, tmp_path):
    # Finite itself, but not times a total variation of hundreds.
    options = ("--output_dir", tmp_path / "out", "--tv_weight", "1e38")
    code, _, err = smi("invert", "--model_name_or_path", tiny_checkpoint, *options, *QUICK)
    assert code == 1
    assert "the loss became non-finite at step 1 for images 0, 1" in err
    assert "Traceback" not in err


# What differs between two runs of the same settings.
TIMES = {"seconds_this_session"}


def test_the_command_writes_the_record_that_the_verb_writes(tiny_checkpoint, tmp_path, run_command):
    args = SparseInversionConfig(
        output_dir=str(tmp_path / "verb"),
        num_images=4,
        num_steps=8,
        batch_size=2,
        prune_steps=[2, 5],
        disable_tqdm=True,
    )
    sparse = invert(load_teacher(str(tiny_checkpoint)), args)
    assert len(sparse) == 4
    assert sparse.record == DatasetRecord.load(tmp_path / "verb")
    told = run_command(
        *(sys.executable, "-m", "smi_hf.cli.main", "invert", "--model_name_or_path", tiny_checkpoint),
        *("--output_dir", tmp_path / "command", "--num_images", 4, "--num_steps", 8, "--batch_size", 2),
        *("--prune_steps", 2, 5, "--disable_tqdm"),
    )
    assert told.returncode == 0, told.stderr
    records = [json.loads((tmp_path / name / "smi.json").read_text()) for name in ("verb", "command")]
    for record in records:
        for name in TIMES:
            del record["results"][name]
    assert records[0] == records[1]
    # What was made, where, whether it is any good, and what to do next.
    made, quality, where, following, command = told.stdout.splitlines()
    assert made.startswith("made      4 images in ") and "7 of 16 patches kept" in made
    assert "of 4 images (chance is 20.0 %)" in quality and "95 % interval" in quality
    assert str(tmp_path / "command" / "README.md") in where and "preview.png" in where
    assert following == "next, calibrate an int8 model on them:"
    assert command == (
        f"  smi-hf quantize --model_name_or_path {tiny_checkpoint} --dataset {tmp_path / 'command'} "
        f"--output_dir {tmp_path / 'command'}-int8"
    )


EVERY_TERM = (
    "tv_l1=1", "l2=1e-4", "batch_norm=0.1", "disagreement=1", "psaq_entropy=1", "psaq_gaussian=1", "contrast=0.8",
    "attention_prior=1", "soft_labels=1", "cross_entropy=0", "head_similarity=1", "patch_seams=0.1",
    "total_variation=1e-3",
)  # fmt: skip


@pytest.mark.parametrize(("policy", "precision"), [("smi", "no"), ("dense", "no"), ("random", "bf16")])
def test_every_term_at_once_makes_images_with_every_policy(
    smi, tiny_checkpoint, resnet_checkpoint, sparse_folder, tmp_path, policy, precision
):
    assert {term.partition("=")[0] for term in EVERY_TERM} == set(LOSSES.names())
    answer = smi(
        "invert", "--model_name_or_path", tiny_checkpoint, "--output_dir", tmp_path / "out", "--num_images", 3,
        "--num_steps", 4, "--batch_size", 2, "--policy", policy, "--mixed_precision", precision, "--disable_tqdm",
        "--loss_weights", *EVERY_TERM, "--batch_norm_model", resnet_checkpoint, "--student_model", tiny_checkpoint,
        "--memory_dataset", sparse_folder,
    )  # fmt: skip
    assert answer.code == 0, answer.err
    record = DatasetRecord.load(tmp_path / "out")
    terms = {term["name"]: term["source"] for term in record.results["loss_terms"]}
    assert set(terms) == set(LOSSES.names()) - {"cross_entropy"}
    card = (tmp_path / "out" / "README.md").read_text()
    assert all(source in card for source in terms.values())
    assert str(tmp_path) not in card + record.to_json() and str(resnet_checkpoint.parent) not in record.to_json()
    assert record.settings["batch_norm_model"]["name"] == "tiny-resnet"
    assert record.settings["memory_images"] == 6


def test_help_lists_the_terms(smi):
    assert all(name in smi("invert", "--help-all").out.replace("\n", " ") for name in LOSSES.names())


def test_the_next_command_is_one_that_a_shell_takes(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (model, _) = command.make_parser().parse(["--model_name_or_path", "a b", "--image_size", "32", "64"])
    assert shlex.join(command._next_command(model, "out [1]")) == (
        "smi-hf quantize --model_name_or_path 'a b' --image_size 32 64 --dataset 'out [1]' --output_dir 'out [1]-int8'"
    )
    assert command._next_command(model, ".")[-4:] == ["--dataset", ".", "--output_dir", f"{tmp_path}-int8"]


@pytest.mark.parametrize("start", ["noise", "pink", "dead_leaves", "fractal", "scenes", "dataset"])
def test_no_steps_write_what_images_begin_as(smi, tiny_checkpoint, photographs, tmp_path, start):
    written = f"dataset={photographs}" if start == "dataset" else start
    options = ("--num_images", 3, "--num_steps", 0, "--start", written, "--disable_tqdm")
    code, out, err = smi("invert", "--model_name_or_path", tiny_checkpoint, "--output_dir", tmp_path / "out", *options)
    assert code == 0, err
    assert "16 of 16 patches kept" in out and "with no steps, a label is only a number\n" in out
    dataset = load_dataset(str(tmp_path / "out"), split="train")
    assert dataset["steps"][:] == [0, 0, 0]
    assert dataset["kept_patches"][:] == [list(range(16))] * 3
    assert len({picture.tobytes() for picture in dataset["image"][:]}) == 3
    card = (tmp_path / "out" / "README.md").read_text()
    assert "**did not optimize them**" in card and "No optimization step was taken" in card
    record = DatasetRecord.load(tmp_path / "out")
    assert str(photographs.parent) not in record.to_json() + card
    # The same command finds it complete.
    assert smi("invert", "--model_name_or_path", tiny_checkpoint, "--output_dir", tmp_path / "out", *options).code == 0


def test_a_start_that_does_not_fit_is_one_message(smi, tiny_checkpoint, tmp_path):
    mistakes = {
        ("--start", "leaves"): "there is no start 'leaves' (did you mean 'dead_leaves'?); available: dataset, dead_",
        ("--start", "dataset"): "start 'dataset' must be written dataset=DATASET",
        ("--start", f"dataset={tmp_path}/none"): "cannot be loaded: there is no such file or folder",
        ("--num_steps", "0", "--prune_steps", "1"): "num_steps 0 keeps every patch",
    }
    for options, message in mistakes.items():
        answer = smi(
            "invert", "--model_name_or_path", tiny_checkpoint, "--output_dir", tmp_path / "out", *QUICK, *options
        )
        assert (answer.code, answer.out) == (2, ""), options
        assert message in answer.err and "Traceback" not in answer.err
        assert not (tmp_path / "out").exists()
