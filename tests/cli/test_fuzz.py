"""Every option of every command, given what it should not be: one sentence and exit code 2, or success. Never a
traceback, a hang, or a file of somebody else changed."""

import hashlib
import os
import shutil
from pathlib import Path

import pytest

from smi_hf.environment import missing_packages
from smi_hf.quantization.config import QuantizationConfig

# What is written for an option by the type of its value. Strings as a shell hands them over.
NUMBERS = ("0", "-1", "1e400", "nan", "-inf", "99999999999999999999", "many", "", "0x10", "٣")
WORDS = ("", " ", "no-such-thing", "a\nb", "\x1b[31m", "*", "[", "::", "'", '"', "%s", "../..", "\udcff")
PATHS = (
    *WORDS,
    "{empty}",
    "{file}",
    "{link}",
    "{foreign}",
    "{text}",
    "{read_only}",
    "{missing}/a/b",
    "{brackets}",
    "{colons}",
    "/dev/null",
    "/proc/self/mem",
    "~nobody",
    "x" * 300,
    "a//b/c/d",
)
# Where a path is one of many that all commands treat alike.
FEW_PATHS = ("", "a\nb", "{file}", "{link}", "{foreign}", "{brackets}", "{colons}", "/dev/null", "x" * 300)
FLAGS = ("maybe", "")

# Options that name what a loss term borrows, with that term.
BORROWERS = {
    "--batch_norm_model": ("--loss_weights", "batch_norm=1"),
    "--student_model": ("--loss_weights", "disagreement=1"),
    "--memory_dataset": ("--loss_weights", "contrast=1"),
    "--memory_images": ("--loss_weights", "contrast=1"),
}

QUICK_INVERT = ("--num_images", "2", "--num_steps", "4", "--disable_tqdm")
QUICK_DISTILL = (
    "--num_train_epochs", "1", "--per_device_train_batch_size", "4", "--use_cpu", "true", "--disable_tqdm", "true",
    "--save_strategy", "no",
)  # fmt: skip


@pytest.fixture
def world(tmp_path, tiny_checkpoint, sparse_folder, photographs, monkeypatch):
    """Folders and files of all kinds, of which nothing may change; and a folder to work in."""
    kept = tmp_path / "kept"
    for name in ("foreign", "foreign/data", "read_only", "brackets[1]", "colons::x"):
        (kept / name).mkdir(parents=True)
    shutil.copytree(sparse_folder, kept / "set")
    (kept / "foreign" / "README.md").write_text("mine")
    (kept / "foreign" / "results.json").write_text('{"accuracy": 0.5}')
    (kept / "foreign" / "config.json").write_text("{}")
    (kept / "foreign" / "data" / "train-5-3.parquet").write_bytes(b"not yet")
    (kept / "brackets[1]" / "note.txt").write_text("mine")
    (kept / "colons::x" / "note.txt").write_text("mine")
    (kept / "file").write_bytes(b"\x00\xff")
    (kept / "text.yaml").write_text("- a\n- b\n")
    (kept / "link").symlink_to(kept / "foreign")
    (kept / "read_only" / "note.txt").write_text("mine")
    (kept / "read_only").chmod(0o555)
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    places = {
        "empty": work / "empty", "file": kept / "file", "link": kept / "link", "foreign": kept / "foreign",
        "text": kept / "text.yaml", "read_only": kept / "read_only", "missing": work / "missing",
        "brackets": kept / "brackets[1]", "colons": kept / "colons::x",
    }  # fmt: skip
    return {
        "kept": kept, "work": work, "places": places,
        "teacher": tiny_checkpoint, "set": kept / "set", "photographs": photographs,
    }  # fmt: skip


def base(command: str, option: str, world) -> list[object]:
    """A call of each command that works, and is quick."""
    teacher, work = world["teacher"], world["work"]
    judged = ("--eval_dataset", world["photographs"], "--max_images", "4")
    limits = ("--mixed", "auto") if option in ("--max_loss", "--max_size_mb") else ()
    needs_images = option in ("--controls", "--control_seeds", "--eval_split", "--max_images", "--batch_size")
    return {
        "invert": [
            "--model_name_or_path", teacher, "--output_dir", work / "out", *QUICK_INVERT,
            *BORROWERS.get(option, ()), *(("--memory_dataset", world["set"]) if option == "--memory_images" else ()),
            *(("--policy", "pri") if option == "--images_per_trajectory" else ()),
        ],
        "quantize": [
            "--model_name_or_path", teacher, "--dataset", world["set"], "--output_dir", work / "out",
            "--backend", "simulated", *(judged if needs_images else ()), "--disable_tqdm", *limits,
        ],
        "distill": [
            "--teacher", teacher, *(() if option == "--student_layers" else ("--student", teacher)),
            "--dataset", world["set"], "--output_dir", work / "out",
            *(judged if needs_images and option != "--batch_size" else ()), *QUICK_DISTILL,
        ],
        "prune": [
            "--model_name_or_path", teacher, "--dataset", world["set"], "--output_dir", work / "out",
            *(judged if needs_images else ()), "--disable_tqdm",
        ],
        "evaluate": [
            "--model_name_or_path", teacher, "--dataset", world["photographs"], "--max_images", "4", "--disable_tqdm",
        ],
        "export-images": [world["set"], work / "out", "--format", "raw", "--disable_tqdm"],
        "demo": [
            "--output_dir", work / "out", "--num_images", "2", "--num_steps", "4", "--num_distillation_images", "4",
            "--num_epochs", "1",
        ],
        "report": [world["set"], "--output", work / "page.html"],
        "push": [world["set"], "me/x"],
        "doctor": [],
    }[command]  # fmt: skip


def positional(command: str, path: str, world) -> list[object]:
    """A call of a command that takes a folder, or a word, without a name; of one that takes two, the second."""
    if command == "completion":
        return [path]
    if command == "report":
        return [path, "--output", world["work"] / "page.html"]
    return [path, "me/x"] if command == "push" else [world["set"], path, "--format", "npy", "--disable_tqdm"]


# Option -> what it is given. Those of TrainingArguments that a user of this package is likely to touch are here too.
OPTIONS: dict[str, dict[str, tuple[str, ...]]] = {
    "invert": {
        "--model_name_or_path": PATHS, "--revision": ("", "a b"), "--image_size": ("0", "-32", "33", "32 32 32", "x"),
        "--output_dir": PATHS, "--num_images": NUMBERS, "--num_steps": NUMBERS, "--batch_size": NUMBERS,
        "--start": (*WORDS, "pinc", "pink=", "pink=1", "noise=x", "base", "dataset", "dataset=", "dataset=no/such",
                    "dataset={file}", "dataset={foreign}", "dataset={empty}", "dataset={set}:nope",
                    "dataset={brackets}", "dataset={set}", "dataset=a\nb", "dataset=::", "pink pink"),
        "--seed": (*NUMBERS, str(2**63), str(2**64)), "--classes": (*WORDS, "-1", "5", "random 1", "1.5"),
        "--policy": WORDS, "--prune_steps": (*NUMBERS, "3 2", "1 1", "4"),
        "--prune_ratios": (*NUMBERS, "1", "0.5 0.5"), "--images_per_trajectory": (*NUMBERS, "1", "2"),
        "--move": WORDS, "--lr_schedule": (*WORDS, "Cosine"), "--num_views": NUMBERS,
        "--move_options": (*WORDS, "strength=0.1", "=", "strength", "fine_from=2"),
        "--learning_rate": NUMBERS, "--adam_beta1": (*NUMBERS, "1"), "--adam_beta2": (*NUMBERS, "1"),
        "--tv_weight": NUMBERS, "--l2_weight": NUMBERS,
        "--loss_weights": (*WORDS, "l2", "l2=", "l2=x", "=1", "l2=nan", "l2=-1", "cross_entropy=0", "l2=1=2",
                           "batch_norm=1", "contrast=1", "disagreement=1", "psaq_entropy=1e30"),
        "--batch_norm_model": PATHS, "--student_model": (*FEW_PATHS, "{set}"), "--memory_dataset": (*PATHS, "{set}"),
        "--memory_images": NUMBERS, "--helper_allow_pickle": ("true", "maybe"),
        "--max_shift": (*NUMBERS, "1"), "--flip_probability": (*NUMBERS, "2"), "--mixed_precision": WORDS,
        "--report": FLAGS,
        "--report_to": WORDS, "--logging_steps": NUMBERS, "--num_preview_images": NUMBERS, "--disable_tqdm": FLAGS,
        "--hub_dataset_id": ("me/x", ""), "--hub_revision": ("x",), "--config": PATHS, "--preset": WORDS,
        "--no_such_option": ("1",), "--quiet": ("x", "--verbose"), "--verbose": ("0",),
    },
    "quantize": {
        "--model_name_or_path": FEW_PATHS, "--dataset": PATHS, "--output_dir": FEW_PATHS, "--backend": WORDS,
        "--weights": NUMBERS, "--activations": NUMBERS, "--operators": WORDS, "--exclude": WORDS, "--target": WORDS,
        "--num_images": NUMBERS, "--calibration_patches": WORDS,
        "--controls": (*WORDS, "gaussian=1", "real", "real=", "dense={foreign}", "random={set}", "dynamic",
                       "real={missing}", "real={file}", "gaussian gaussian", "noise", "dead_leaves=1", "dataset",
                       "dataset={file}", "pink pink"),
        "--control_seeds": NUMBERS, "--eval_dataset": FEW_PATHS, "--eval_split": WORDS[:3], "--max_images": NUMBERS,
        "--sensitivity_images": NUMBERS, "--batch_size": NUMBERS, "--image_size": ("0", "33", "-1", "x"),
        "--config": PATHS, "--quantize_outputs": FLAGS, "--wide_layers": WORDS, "--mixed": (*WORDS[:4], "Auto"),
        "--compare": (*WORDS, "simulated", "quanto simulated", "all all"),
        "--report": FLAGS, "--max_loss": (*NUMBERS, "101"), "--max_size_mb": (*NUMBERS, "1e-9", "1"),
    },
    "distill": {
        "--teacher": FEW_PATHS, "--student": FEW_PATHS, "--dataset": FEW_PATHS, "--output_dir": FEW_PATHS,
        "--student_layers": (*NUMBERS, ",", "0,1,2", "1,0", "0,x", "0,,1"),
        "--num_images": NUMBERS, "--controls": ("gaussian", "gausian", "real="), "--control_seeds": NUMBERS,
        "--quantize_weights": ("0", "3", "x", "-1"), "--quantize_activations": ("0", "3"),
        "--exclude": ("classifier",),
        "--rounds": ("-1", "x", "nan"), "--images_per_round": ("0", "-1", "x"), "--inversion_config": PATHS,
        "--eval_dataset": FEW_PATHS, "--eval_split": WORDS[:3], "--max_images": NUMBERS[:4], "--temperature": NUMBERS,
        "--loss": WORDS, "--hard_label_weight": NUMBERS, "--feature_weight": NUMBERS, "--hidden_state_weight": NUMBERS,
        "--attention_weight": NUMBERS, "--augmentations": (*WORDS, "none flip"), "--num_views": NUMBERS,
        "--shown": WORDS, "--held_out": (*NUMBERS, "1", "2"),
        "--early_stopping_patience": ("-1", "x", "nan", "1e9", "1.5"),
        "--learning_rate": NUMBERS, "--num_train_epochs": ("-1", "nan", "x"),
        "--per_device_train_batch_size": NUMBERS, "--per_device_eval_batch_size": NUMBERS, "--seed": NUMBERS,
        "--label_smoothing_factor": ("0.1", "nan"), "--report_to": WORDS, "--remove_unused_columns": ("true",),
        "--load_best_model_at_end": ("true",), "--lr_scheduler_type": WORDS, "--warmup_steps": ("-1", "nan", "x"),
        "--gradient_accumulation_steps": NUMBERS, "--config": PATHS,
    },
    "prune": {
        "--model_name_or_path": FEW_PATHS, "--dataset": PATHS, "--output_dir": FEW_PATHS, "--keep_mlp": NUMBERS,
        "--max_parameters": (*NUMBERS, "1e-9", "0.01", "0.011"), "--max_gmacs": (*NUMBERS, "1e-9", "2e-4", "1"),
        "--max_ms": (*NUMBERS, "1e-9", "1e9"),
        "--num_layers": (*NUMBERS, "1"), "--layers": (*NUMBERS, "0 0", "1 0", "0 1", "0 9"), "--ridge": NUMBERS,
        "--num_images": NUMBERS, "--controls": ("gausian", "real=", "dynamic", "gaussian gaussian", "dense={foreign}"),
        "--control_seeds": NUMBERS, "--batch_size": NUMBERS, "--config": PATHS, "--eval_dataset": FEW_PATHS,
    },
    "evaluate": {
        "--model_name_or_path": PATHS, "--dataset": PATHS, "--split": WORDS, "--image_column": WORDS,
        "--label_column": WORDS, "--batch_size": NUMBERS, "--max_images": NUMBERS, "--json": PATHS, "--config": PATHS,
    },
    "push": {
        "": PATHS, "--space": ("", "a b", "me/x/y", "..", "me/x\nb"), "--space_dataset": ("me/set", ""),
        "--dry_run": ("{foreign}", "{file}", "{link}", "{read_only}", "{brackets}", ""),
    },
    "report": {"": PATHS, "--output": FEW_PATHS, "--config": PATHS},
    "export-images": {
        "": FEW_PATHS, "--format": WORDS, "--shape": (*WORDS, "kept", "dense", "all"),
        "--values": (*WORDS, "float32", "UINT8"), "--layout": (*WORDS, "nchw", "HWC"),
        "--input_name": (*WORDS, "a:=b", "a b", "x" * 300, "{foreign}"), "--num_images": NUMBERS,
        "--disable_tqdm": FLAGS, "--config": PATHS,
    },
    "demo": {
        "--output_dir": ("{foreign}", "{file}", "{link}", "{read_only}", "{brackets}", ""),
        "--num_images": ("0", "-1", "x", "1e9"), "--num_steps": ("0", "-1"), "--seed": ("-1", "9999999999999", "x"),
        "--num_distillation_images": ("0", "1"), "--num_epochs": ("0", "nan"), "--with_hub": ("maybe",),
    },
    "doctor": {"--json": FLAGS, "--fix": FLAGS, "--config": PATHS},
    "completion": {"": (*WORDS, "bas", "BASH")},
}  # fmt: skip
CASES = [(command, option) for command, options in OPTIONS.items() for option in options]
NUM_BAD_INPUTS = sum(len(values) for options in OPTIONS.values() for values in options.values())
# More than this would be work, not a mistake: these values are accepted, and would make as many images.
_NEEDS = {"quantize": (), "distill": ("plots",), "demo": ("demo",)}


def test_there_are_at_least_250_bad_inputs():
    assert NUM_BAD_INPUTS >= 250


@pytest.mark.timeout(120)
@pytest.mark.usefixtures("own_precision")
@pytest.mark.parametrize(("command", "option"), CASES, ids=lambda part: part.strip("-") or "arguments")
def test_a_bad_input_is_one_sentence_or_harmless(command, option, world, smi, monkeypatch):
    if missing := [extra for extra in _NEEDS.get(command, ()) if missing_packages(extra)]:
        pytest.skip(f"needs the extra {missing[0]}")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    before = contents(world["kept"])
    for value in OPTIONS[command][option]:
        words = value.format(**world["places"], set=world["set"]) if "{" in value else value
        given = words.split(" ") if " " in words.strip() and not words.startswith("/") else [words]
        world["places"]["empty"].mkdir()
        arguments = [*base(command, option, world), option, *given] if option else positional(command, words, world)
        answer = smi(command, *arguments)
        assert answer.code in (0, 1, 2), (value, answer)
        assert "Traceback" not in answer.err + answer.out, (value, answer)
        if answer.code:
            assert answer.sentence.startswith("smi-hf"), (value, answer)
            assert len(answer.sentence) < 2000, (value, answer)
        # 1 is for what fails on the way; what can be known before is a mistake of the user's.
        assert answer.code != 1 or option in ("--tv_weight", "--l2_weight", "--learning_rate"), (value, answer)
        assert "\x1b" not in answer.err, (value, answer)
        assert contents(world["kept"]) == before, value
        empty(world["work"])


def contents(folder: Path) -> dict[str, str]:
    """Every file and link of a folder, with what it holds."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = f"-> {os.readlink(path)}"
        elif path.is_file():
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
        else:
            found[name] = "folder"
    return found


def empty(folder: Path) -> None:
    for path in folder.iterdir():
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def test_the_options_of_quantize_are_all_here():
    from dataclasses import fields

    listed = {option.lstrip("-") for option in OPTIONS["quantize"]}
    harmless = {"disable_tqdm", "sensitivity", "other_teacher"}
    assert {field.name for field in fields(QuantizationConfig)} - harmless <= listed
