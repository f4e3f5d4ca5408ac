import errno
import json
import logging
import os
import subprocess
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
import torch
from datasets import load_dataset
from transformers import AutoImageProcessor, AutoModelForImageClassification

from smi_hf import RunError, SparseInversionCallback, SparseInversionTrainer, UsageError, load_sparse_dataset


def test_the_output_folder_is_a_dataset_that_stock_load_dataset_reads(teacher, config):
    args = config(num_images=5)
    returned = SparseInversionTrainer(teacher, args).train()
    dataset = load_dataset(args.output_dir, split="train")
    assert dataset.column_names == [
        "image",
        "label",
        "kept_patches",
        "image_index",
        "seed",
        "target_probability",
        "steps",
    ]
    assert dataset["image_index"][:] == [0, 1, 2, 3, 4] == returned["image_index"][:]
    assert dataset.features["label"].names == teacher.label_names
    assert {path.name for path in Path(args.output_dir).iterdir()} == {
        "README.md",
        "data",
        "preview.png",
        "preview_stages.png",
        "report.html",
        "smi.json",
    }


def test_pruned_patches_are_black_and_kept_ones_are_what_the_teacher_was_shown(teacher, config):
    args = config()
    SparseInversionTrainer(teacher, args).train()
    sparse = load_sparse_dataset(args.output_dir, teacher=teacher)
    batch = sparse.collate(list(sparse.dataset))
    for row, kept in zip(sparse.dataset, batch["kept_patches"]):
        pixels = torch.from_numpy(np.array(row["image"])).permute(2, 0, 1)[None]
        pruned = [patch for patch in range(16) if patch not in kept.tolist()]
        assert len(pruned) == 9
        assert teacher.model.grid.cut(pixels, torch.tensor([pruned])).max() == 0
    logits = teacher.model(batch["pixel_values"], batch["kept_patches"]).logits
    probability = logits.softmax(dim=-1).gather(1, batch["labels"][:, None])[:, 0]
    assert np.allclose(probability.numpy(), sparse.dataset["target_probability"][:], atol=1e-5)


def test_the_record_says_what_the_images_were_made_from(teacher, config):
    args = config()
    trainer = SparseInversionTrainer(teacher, args)
    trainer.train()
    record = json.loads((Path(args.output_dir) / "smi.json").read_text())
    assert record["status"] == "complete"
    assert record["teacher"] == {
        "name": "tiny-vit",
        "revision": None,
        "model_type": "vit",
        "weights_sha256": teacher.weights_sha256(),
        "license": None,
        "head": None,
    }
    assert record["keep_counts"] == [16, 11, 7]
    assert record["settings"]["prune_ratios"] == [0.3, 0.3]
    assert record["environment"]["packages"]["torch"]
    right = load_sparse_dataset(args.output_dir).dataset["target_probability"][:]
    assert record["results"]["mean_target_probability"] == pytest.approx(np.mean(right), abs=1e-4)


def test_a_stock_model_and_its_name_are_enough(tiny_checkpoint, config):
    model = AutoModelForImageClassification.from_pretrained(tiny_checkpoint)
    assert len(SparseInversionTrainer(model, config()).train()) == 4


def test_a_model_without_an_image_processor_is_refused(tiny_checkpoint, config):
    model = AutoModelForImageClassification.from_pretrained(tiny_checkpoint)
    model.config._name_or_path = ""
    with pytest.raises(UsageError, match=r"no image processor was given .* pass image_processor="):
        SparseInversionTrainer(model, config())
    processor = AutoImageProcessor.from_pretrained(tiny_checkpoint)
    assert SparseInversionTrainer(model, config(), image_processor=processor).teacher.normalization.mean == (0.5,) * 3


def test_a_complete_run_is_not_run_again(teacher, config, rows):
    args = config()
    SparseInversionTrainer(teacher, args).train()
    files = {path: path.stat().st_mtime_ns for path in Path(args.output_dir).rglob("*") if path.is_file()}

    class Never(SparseInversionCallback):
        def on_step_end(self, run, state, losses):
            raise AssertionError("a step was taken")

    SparseInversionTrainer(teacher, args, callbacks=[Never()]).train()
    assert {path: path.stat().st_mtime_ns for path in files} == files


class Interrupt(SparseInversionCallback):
    """Ends a run after its first batch, as an exception would."""

    def on_batch_end(self, run, images):
        raise KeyboardInterrupt


def test_an_interrupted_run_continues_to_the_images_of_an_uninterrupted_one(teacher, config, rows, tmp_path):
    whole = config(output_dir=str(tmp_path / "whole"), num_images=5)
    SparseInversionTrainer(teacher, whole).train()
    args = config(num_images=5)
    with pytest.raises(KeyboardInterrupt):
        SparseInversionTrainer(teacher, args, callbacks=[Interrupt()]).train()
    assert len(load_dataset(args.output_dir, split="train")) == 2
    with pytest.raises(UsageError, match="is not complete"):
        load_sparse_dataset(args.output_dir)
    SparseInversionTrainer(teacher, args).train()
    assert rows(args.output_dir) == rows(whole.output_dir)
    assert len(load_sparse_dataset(args.output_dir)) == 5


def test_a_damaged_shard_is_made_again(teacher, config, rows, caplog):
    args = config()
    SparseInversionTrainer(teacher, args).train()
    before = rows(args.output_dir)
    shard = sorted((Path(args.output_dir) / "data").iterdir())[0]
    shard.write_bytes(shard.read_bytes()[:100])
    with caplog.at_level(logging.WARNING):
        SparseInversionTrainer(teacher, args).train()
    assert "is damaged; its images are made again" in caplog.text
    assert rows(args.output_dir) == before


def test_gaps_that_damage_leaves_within_a_batch_are_filled(teacher, config, rows, tmp_path):
    args = config(num_images=6, batch_size=6)
    SparseInversionTrainer(teacher, args).train()
    # As after running out of memory: the batch's images in several shards, two of which get lost.
    writer = SparseInversionTrainer(teacher, args)._writer
    whole = writer.shards()[0]
    table = pyarrow.parquet.read_table(whole)
    for first in (2, 5):
        pyarrow.parquet.write_table(table.slice(first, 1), whole.with_name(f"train-{first:08d}-{first:08d}.parquet"))
    whole.unlink()
    SparseInversionTrainer(teacher, args).train()
    assert sorted(rows(args.output_dir)) == [0, 1, 2, 3, 4, 5]
    assert [path.name[6:23] for path in writer.shards()] == ["00000000-00000005"]


def test_a_folder_of_another_run_is_refused_and_left_alone_unless_told_to_discard_it(teacher, config, rows):
    args = config()
    SparseInversionTrainer(teacher, args).train()
    before = rows(args.output_dir)
    other = config(seed=1, num_steps=9)
    message = (
        r"holds a dataset of other settings: num_steps was 8 and is now 9; seed was 0 and is now 1\..*"
        r"--overwrite_output_dir"
    )
    with pytest.raises(UsageError, match=message):
        SparseInversionTrainer(teacher, other).train()
    assert rows(args.output_dir) == before
    SparseInversionTrainer(teacher, config(seed=1, num_steps=9, overwrite_output_dir=True)).train()
    after = rows(args.output_dir)
    assert {row["seed"] for row in after.values()} == {1}
    assert after[0]["image"] != before[0]["image"]


def test_a_dataset_of_another_teacher_is_not_continued(teacher, config):
    args = config()
    SparseInversionTrainer(teacher, args).train()
    teacher.model.model.classifier.bias.data[0] += 1
    with pytest.raises(UsageError, match=r"teacher weights \(sha256\) was"):
        SparseInversionTrainer(teacher, args).train()


def test_a_strangers_folder_is_never_touched_even_with_overwrite(teacher, config):
    args = config(overwrite_output_dir=True)
    Path(args.output_dir).mkdir()
    thesis = Path(args.output_dir) / "thesis.txt"
    thesis.write_text("years of work")
    with pytest.raises(UsageError, match="is not empty and holds no sparse dataset"):
        SparseInversionTrainer(teacher, args).train()
    assert [path.name for path in Path(args.output_dir).iterdir()] == ["thesis.txt"]
    assert thesis.read_text() == "years of work"


def test_an_output_path_that_cannot_be_a_folder_is_refused(teacher, config, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be written"):
        SparseInversionTrainer(teacher, config(output_dir=str(tmp_path / "file" / "dataset"))).train()


def test_running_out_of_memory_halves_the_batch_and_gives_the_same_images(teacher, config, rows, tmp_path, caplog):
    whole = config(output_dir=str(tmp_path / "whole"), num_images=8, batch_size=8)
    SparseInversionTrainer(teacher, whole).train()

    sizes = []

    def memory_for_three(module, args, kwargs):
        sizes.append(len(kwargs["pixel_values"]))
        if sizes[-1] > 3:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1.00 GiB.")

    args = config(num_images=8, batch_size=8)
    trainer = SparseInversionTrainer(teacher, args)
    teacher.model.model.register_forward_pre_hook(memory_for_three, with_kwargs=True)
    with caplog.at_level(logging.WARNING):
        trainer.train()
    assert "out of memory: continuing with batches of 2 images" in caplog.text
    assert set(sizes) == {8, 4, 2}
    # Once, not again for each batch.
    assert sizes.count(8) == sizes.count(4) == 1
    expected, got = rows(whole.output_dir), rows(args.output_dir)
    assert got.keys() == expected.keys()
    assert all(got[index]["label"] == expected[index]["label"] for index in got)
    # As images in other batches are: equal but for rounding (tests/inversion/test_trajectory.py).
    same = [got[index]["kept_patches"] == expected[index]["kept_patches"] for index in got]
    assert np.mean(same) >= 0.75


def test_no_memory_for_a_single_image_says_so(teacher, config):
    def no_memory(module, args, kwargs):
        raise torch.OutOfMemoryError("CUDA out of memory.")

    trainer = SparseInversionTrainer(teacher, config())
    teacher.model.model.register_forward_pre_hook(no_memory, with_kwargs=True)
    with pytest.raises(RunError, match="not enough memory on cpu for a single image"):
        trainer.train()


def test_a_non_finite_loss_leaves_finished_shards_intact(teacher, config, rows):
    teacher.model.model.classifier.bias.data[3] = -float("inf")
    args = config(classes=["0", "1", "2", "3"])
    with pytest.raises(RunError, match="non-finite at step 1 for image 3"):
        SparseInversionTrainer(teacher, args).train()
    assert sorted(rows(args.output_dir)) == [0, 1]


def test_a_full_disk_says_so_leaves_no_half_shard_and_the_run_continues(teacher, config, rows, monkeypatch):
    args = config()
    write_table = pyarrow.parquet.ParquetWriter.write_table

    def write_half(parquet, table, **options):
        if table["image_index"][0].as_py() == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write_table(parquet, table, **options)

    monkeypatch.setattr(pyarrow.parquet.ParquetWriter, "write_table", write_half)
    with pytest.raises(RunError, match=r"no space left for images 2 to 3 .* run the same command again"):
        SparseInversionTrainer(teacher, args).train()
    assert [path.name for path in (Path(args.output_dir) / "data").iterdir()] == ["train-00000000-00000001.parquet"]
    monkeypatch.undo()
    SparseInversionTrainer(teacher, args).train()
    assert sorted(rows(args.output_dir)) == [0, 1, 2, 3]


def test_a_disk_that_is_really_full_is_survived(teacher, config, rows, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk], capture_output=True)
    if mounted.returncode:
        pytest.skip("needs the right to mount a small file system")
    try:
        args = config(output_dir=str(disk / "dataset"), num_images=16)
        with pytest.raises(RunError, match="no space left"):
            SparseInversionTrainer(teacher, args).train()
        finished = sorted((disk / "dataset" / "data").iterdir())
        assert finished
        assert all(path.name.startswith("train-") for path in finished)
        subprocess.run(["mount", "-o", "remount,size=8m", disk], check=True)
        SparseInversionTrainer(teacher, args).train()
        assert sorted(rows(args.output_dir)) == list(range(16))
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


def test_bfloat16_runs_and_is_recorded(teacher, config):
    dtypes = []
    teacher.model.model.classifier.register_forward_hook(lambda module, args, output: dtypes.append(output.dtype))
    trainer = SparseInversionTrainer(teacher, config(mixed_precision="bf16", num_images=2))
    trainer.train()
    assert trainer.record.settings["mixed_precision"] == "bf16"
    # Steps in bfloat16; the scoring passes and the verdict at the end in float32.
    assert dtypes.count(torch.bfloat16) == 8
    assert dtypes[-1] == torch.float32


def test_peak_memory_does_not_grow_with_the_number_of_images(teacher, config, tmp_path):
    """Counts live tensors, as resident memory is too coarse for a tiny model."""
    import gc

    counts = []

    class Counter(SparseInversionCallback):
        def on_batch_end(self, run, images):
            gc.collect()
            counts.append(sum(issubclass(type(value), torch.Tensor) for value in gc.get_objects()))

    args = config(num_images=40, num_steps=3, prune_steps=[1], num_preview_images=4)
    SparseInversionTrainer(teacher, args, callbacks=[Counter()]).train()
    assert len(counts) == 20
    assert max(counts[10:]) <= max(counts[2:10])


# What images begin as


def test_images_move_away_from_what_they_began_as(teacher, config):
    for start in ("noise", "dead_leaves"):
        args = config(start=start, output_dir=f"{config().output_dir}-{start}")
        moved = SparseInversionTrainer(teacher, args).train()
        still = SparseInversionTrainer(
            teacher, config(start=start, num_steps=0, prune_steps=None, output_dir=f"{args.output_dir}-0")
        ).train()
        kept = moved[0]["kept_patches"]
        first, last = (
            teacher.model.grid.cut(
                torch.from_numpy(np.array(rows[0]["image"])).permute(2, 0, 1)[None], torch.tensor([kept])
            )
            for rows in (still, moved)
        )
        changed = (first != last).float().mean()
        assert changed > 0.5, start
        # Eight steps are few: an image is nearer to its own start than to that of another.
        other = teacher.model.grid.cut(
            torch.from_numpy(np.array(still[1]["image"])).permute(2, 0, 1)[None], torch.tensor([kept])
        )
        away = [(last.float() - each.float()).abs().mean() for each in (first, other)]
        assert away[0] < away[1], start


def test_a_run_from_a_dataset_is_not_continued_with_another(teacher, config, photographs, tmp_path):
    photos = tmp_path / "photos.parquet"
    photos.write_bytes(photographs.read_bytes())
    args = config(start=f"dataset={photos}", num_images=2)
    SparseInversionTrainer(teacher, args).train()
    settings = json.loads((Path(args.output_dir) / "smi.json").read_text())["settings"]
    assert settings["start"] == "dataset=photos.parquet" and len(settings["start_sha256"]) == 64
    # Grown from the same pictures in another place.
    moved = photos.rename((tmp_path / "elsewhere").mkdir() or tmp_path / "elsewhere" / "photos.parquet")
    grown = SparseInversionTrainer(teacher, config(start=f"dataset={moved}")).train()
    assert len(grown) == 4
    rows = load_dataset("parquet", data_files=str(photographs), split="train")
    rows.select(range(10)).to_parquet(photos)
    with pytest.raises(UsageError, match=r"holds a dataset of other settings: start_sha256 was '[0-9a-f]{64}' and is"):
        SparseInversionTrainer(teacher, config(start=f"dataset={photos}")).train()


def test_a_run_from_before_starts_is_continued(teacher, config, rows):
    args = config(num_images=2)
    SparseInversionTrainer(teacher, args).train()
    path = Path(args.output_dir) / "smi.json"
    record = json.loads(path.read_text())
    del record["settings"]["start"]
    path.write_text(json.dumps(record))
    before = rows(args.output_dir)
    SparseInversionTrainer(teacher, config()).train()
    after = rows(args.output_dir)
    assert {index: after[index] for index in before} == before and len(after) == 4
    with pytest.raises(UsageError, match="start was 'noise' and is now 'pink'"):
        SparseInversionTrainer(teacher, config(start="pink")).train()


def test_labels_without_steps_are_those_of_a_run_with_steps(teacher, config):
    moved = SparseInversionTrainer(teacher, config()).train()
    args = config(num_steps=0, prune_steps=None, output_dir=f"{config().output_dir}-0")
    still = SparseInversionTrainer(teacher, args).train()
    assert still["label"][:] == moved["label"][:]
    assert still["steps"][:] == [0] * 4
    sparse = load_sparse_dataset(args.output_dir, teacher=teacher)
    batch = sparse.batch(range(4))
    probability = teacher.model(batch["pixel_values"], batch["kept_patches"]).logits.softmax(dim=-1)
    expected = probability.gather(1, batch["labels"][:, None])[:, 0]
    assert np.allclose(expected.detach().numpy(), still["target_probability"][:], atol=1e-5)
    files = {path.name for path in Path(args.output_dir).iterdir()}
    assert files == {"README.md", "data", "preview.png", "report.html", "smi.json"}


@pytest.fixture
def pri(config):
    """Settings of a run of trajectories of four images, two in a batch."""
    return lambda **changes: config(**({"policy": "pri", "prune_steps": None, "num_images": 12} | changes))


def test_a_dataset_of_trajectories_says_where_each_image_comes_from(teacher, pri):
    args = pri(classes=["balanced"])
    trainer = SparseInversionTrainer(teacher, args)
    trainer.train()
    dataset = load_dataset(args.output_dir, split="train")
    assert dataset["image_index"][:] == list(range(12))
    assert dataset["trajectory"][:] == [0] * 4 + [1] * 4 + [2] * 4
    assert dataset["stage"][:] == [0, 1, 2, 3] * 3
    assert dataset["steps"][:] == [2, 4, 6, 8] * 3
    # Balanced over trajectories, whose images share a label.
    labels = dataset["label"][:]
    assert labels == [label for label in labels[::4] for _ in range(4)] and len(set(labels)) == 3
    for trajectory in range(3):
        kept = dataset["kept_patches"][4 * trajectory : 4 * trajectory + 4]
        assert sorted(patch for patches in kept for patch in patches) == list(range(16))
    sparse = load_sparse_dataset(args.output_dir, teacher=teacher)
    assert sparse.record.keep_counts == (16, 12, 8, 4)
    assert sparse.record.num_stages == 4
    batch = sparse.batch(range(12))
    logits = teacher.model(batch["pixel_values"], batch["kept_patches"]).logits
    probability = logits.softmax(dim=-1).gather(1, batch["labels"][:, None])[:, 0]
    assert np.allclose(probability.numpy(), sparse.dataset["target_probability"][:], atol=1e-5)


def test_an_interrupted_run_of_trajectories_continues_and_grows_to_the_same_images(teacher, pri, rows, tmp_path):
    whole = pri(output_dir=str(tmp_path / "whole"))
    SparseInversionTrainer(teacher, whole).train()
    args = pri()
    with pytest.raises(KeyboardInterrupt):
        SparseInversionTrainer(teacher, args, callbacks=[Interrupt()]).train()
    # Two trajectories, whole.
    assert sorted(load_dataset(args.output_dir, split="train")["image_index"]) == list(range(8))
    SparseInversionTrainer(teacher, args).train()
    assert rows(args.output_dir) == rows(whole.output_dir)
    grown = pri(output_dir=str(tmp_path / "grown"), num_images=8)
    SparseInversionTrainer(teacher, grown).train()
    trainer = SparseInversionTrainer(teacher, pri(output_dir=str(tmp_path / "grown")))
    trainer.train()
    assert trainer.record.results["num_images_this_session"] == 4
    assert rows(grown.output_dir) == rows(whole.output_dir)


def test_a_batch_counts_trajectories_and_is_halved_when_memory_runs_out(teacher, pri, rows, tmp_path, caplog):
    whole = pri(output_dir=str(tmp_path / "whole"), batch_size=1)
    SparseInversionTrainer(teacher, whole).train()
    sizes = []

    def memory_for_one(module, args, kwargs):
        sizes.append(len(kwargs["pixel_values"]))
        if sizes[-1] > 1:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1.00 GiB.")

    args = pri(batch_size=32)
    trainer = SparseInversionTrainer(teacher, args)
    teacher.model.model.register_forward_pre_hook(memory_for_one, with_kwargs=True)
    with caplog.at_level(logging.WARNING):
        trainer.train()
    assert "out of memory: continuing with batches of 1 trajectories" in caplog.text
    # Three trajectories at once, though 12 images would be few enough for a batch of 32.
    assert sizes[0] == 3
    assert rows(args.output_dir) == rows(whole.output_dir)


def test_part_of_a_trajectory_is_never_continued(teacher, pri):
    args = pri()
    SparseInversionTrainer(teacher, args).train()
    (shard,) = (Path(args.output_dir) / "data").iterdir()
    table = pyarrow.parquet.read_table(shard)
    pyarrow.parquet.write_table(table.slice(0, 6), shard.with_name("train-00000000-00000005.parquet"))
    shard.unlink()
    with pytest.raises(UsageError, match="holds part of a trajectory, whose 4 images are made together"):
        SparseInversionTrainer(teacher, args).train()


def test_images_of_another_number_of_stages_are_other_images(teacher, pri):
    SparseInversionTrainer(teacher, pri()).train()
    with pytest.raises(UsageError, match="images_per_trajectory was 4 and is now 2"):
        SparseInversionTrainer(teacher, pri(images_per_trajectory=2)).train()
