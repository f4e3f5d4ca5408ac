"""An image tower and a backbone go the whole way: every command, cards whose code runs, and the Hub."""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from family_kinds import LABELS
from huggingface_hub import snapshot_download
from PIL import Image
from towers import ASKED, BACKBONE, TOWER, save

from smi_hf import UsageError, concatenate, dataset_head, load_predictor, load_sparse_dataset, load_teacher, push
from smi_hf.cli.main import main
from smi_hf.data.record import DatasetRecord
from smi_hf.environment import missing_packages
from smi_hf.evaluation.record import ModelRecord
from smi_hf.models import EmbeddingHead
from smi_hf.models.embeddings import HEAD_FILE
from smi_hf.models.references import ZERO_SHOT

BACKEND = "quanto" if missing_packages("onnx") else "onnx"


def smi(*words: object) -> None:
    assert main([str(word) for word in words]) == 0, words


@dataclass(frozen=True)
class Way:
    """What the commands made of one model."""

    name: str
    work: Path

    @property
    def model(self) -> Path:
        return self.work / "model"

    @property
    def images(self) -> Path:
        return self.work / "images"

    @property
    def int8(self) -> Path:
        return self.work / "int8"

    @property
    def record(self) -> ModelRecord:
        return ModelRecord.load(self.int8)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> Path:
    """Random pictures, labeled with the names of a CLIP's texts."""
    from datasets import ClassLabel, Dataset, Features
    from datasets import Image as ImageFeature

    drawn = np.random.default_rng(0)
    rows = {
        "image": [Image.fromarray(drawn.integers(0, 256, (40, 36, 3), dtype=np.uint8)) for _ in range(12)],
        "label": [number % 4 for number in range(12)],
    }
    path = tmp_path_factory.mktemp("pictures") / "test.parquet"
    features = Features({"image": ImageFeature(), "label": ClassLabel(names=list(LABELS))})
    Dataset.from_dict(rows, features=features).to_parquet(path)
    return path


@pytest.fixture(scope="module", params=[TOWER, BACKBONE])
def way(request, tmp_path_factory, pictures) -> Way:
    """Inverted and quantized by commands; only the first of them says what is told apart."""
    made = Way(request.param, tmp_path_factory.mktemp(request.param))
    save(made.name, made.model)
    smi("invert", "--model_name_or_path", made.model, *ASKED[made.name], "--num_images", 4, "--num_steps", 4,
        "--prune_steps", 2, "--prune_ratios", 0.5, "--disable_tqdm", "--output_dir", made.images)  # fmt: skip
    smi("quantize", "--model_name_or_path", made.model, "--dataset", made.images, "--backend", BACKEND,
        "--eval_dataset", pictures, "--controls", "gaussian", "--disable_tqdm",
        "--output_dir", made.int8)  # fmt: skip
    return made


def test_the_head_lies_with_the_images_and_with_the_model(way):
    head, record = dataset_head(way.images), DatasetRecord.load(way.images)
    assert record.teacher.head_sha256 == head.sha256() == way.record.teacher.head_sha256
    assert EmbeddingHead.load(way.int8 / HEAD_FILE).sha256() == head.sha256()
    assert HEAD_FILE in way.record.files
    assert head.names == (LABELS if way.name == TOWER else tuple(f"direction {number}" for number in range(5)))
    assert (head.kind == ZERO_SHOT) == (way.name == TOWER)


def test_texts_are_told_of_in_the_head_and_on_the_card(way):
    if way.name != TOWER:
        pytest.skip("a backbone has no texts")
    head = dataset_head(way.images)
    assert head.prompts == tuple((f"a photo of a {name}.",) for name in LABELS)
    card = (way.images / "README.md").read_text()
    assert "an image tower" in card and HEAD_FILE in card


def test_a_table_has_accuracy_for_a_zero_shot_head_and_agreement_of_embeddings_for_all(way):
    rows = {row.key: row.runs[0] for row in way.record.rows}
    assert {"float32", "sparse", "gaussian"} <= set(rows)
    for key, run in rows.items():
        assert (run.top1 is not None) == (way.name == TOWER), key
        if key != "float32":
            assert -1 <= run.cosine <= 1 and 0 <= run.neighbors <= 1


def test_a_quantized_tower_answers_as_the_teacher_does(way):
    teacher = load_teacher(str(way.model), head=dataset_head(way.images))
    pixels_BCHW = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        logits_BL = teacher.model(pixels_BCHW).logits.numpy()
    answered_BL, embeddings_BD = load_predictor(str(way.int8)).see(pixels_BCHW.numpy())
    assert embeddings_BD.shape[0] == 2
    assert np.abs(answered_BL - logits_BL).max() < 0.3 * np.ptp(logits_BL)


@pytest.mark.skipif(BACKEND != "onnx", reason="the extra onnx is absent")
def test_the_runtime_says_nothing_of_images_with_fewer_patches(way, tmp_path, capfd):
    smi("quantize", "--model_name_or_path", way.model, "--dataset", way.images, "--output_dir", tmp_path / "int8")
    assert "onnxruntime" not in capfd.readouterr().err


def test_evaluate_compares_embeddings_with_those_of_a_reference(way, pictures, capsys):
    smi("evaluate", "--model_name_or_path", way.int8, "--reference", way.model, "--dataset", pictures)
    said = capsys.readouterr().out
    assert "cosine with the reference's embeddings" in said and "nearest neighbor as by the reference" in said
    assert ("top-1" in said) == (way.name == TOWER)


def test_evaluate_of_a_model_asks_what_is_to_be_told_apart(way, pictures, capsys):
    assert main(["evaluate", "--model_name_or_path", str(way.model), "--dataset", str(pictures)]) == 2
    said = capsys.readouterr().err
    assert ("--labels" if way.name == TOWER else "--directions") in said or "labels" in said
    smi("evaluate", "--model_name_or_path", way.model, *ASKED[way.name], "--dataset", pictures,
        "--reference", way.model)  # fmt: skip
    assert "embeddings 1.0000" in capsys.readouterr().out


def test_model_and_reference_may_be_seen_in_another_size(way, pictures, capsys):
    smi("evaluate", "--model_name_or_path", way.model, *ASKED[way.name], "--image_size", 64, "--dataset", pictures,
        "--reference", way.model)  # fmt: skip
    assert "embeddings 1.0000" in capsys.readouterr().out


def test_the_code_on_the_cards_runs(way, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (40, 36), "red").save("photograph.jpg")
    for folder in (way.images, way.int8):
        card = (folder / "README.md").read_text()
        codes = re.findall(r"```python\n(.*?)```", card, flags=re.DOTALL)
        assert codes, folder
        # Later code goes on with what earlier code read.
        namespace: dict[str, object] = {}
        for code in codes:
            capsys.readouterr()
            exec(code.replace("path/to/this/folder", str(folder)).replace("path/to/model", str(way.model)), namespace)
    # Directions have no names that mean anything, so that a backbone's card ends with the embedding.
    assert capsys.readouterr().out.strip() in LABELS if way.name == TOWER else namespace["embedding"].shape[0] == 1


def test_no_path_of_this_machine_is_written(way):
    for folder in (way.images, way.int8):
        for file in folder.glob("*.[mj]*"):
            if file.suffix in (".md", ".json"):
                assert str(way.work) not in file.read_text(), file


def test_it_is_pruned_and_taught(way, pictures):
    smi("prune", "--model_name_or_path", way.model, "--dataset", way.images, "--keep_mlp", 0.5, "--num_epochs", 1,
        "--num_scenes", 0, "--eval_dataset", pictures, "--disable_tqdm", "--output_dir", way.work / "cut")  # fmt: skip
    smi("distill", "--teacher", way.model, "--student", way.work / "cut", "--dataset", way.images, "--eval_dataset",
        pictures, "--num_train_epochs", 1, "--use_cpu", "true", "--disable_tqdm", "true",
        "--output_dir", way.work / "taught")  # fmt: skip
    head = dataset_head(way.images)
    for name in ("cut", "taught"):
        record = ModelRecord.load(way.work / name)
        assert record.teacher.head_sha256 == head.sha256()
        assert load_predictor(str(way.work / name)).head.sha256() == head.sha256()
        assert all(run.neighbors is not None for row in record.rows for run in row.runs if row.key != "float32")


def test_other_commands_serve_them(way, tmp_path):
    smi("report", way.images, way.int8, "--output", tmp_path / "report.html")
    smi("export-images", way.images, tmp_path / "raw", "--format", "raw")


def test_a_head_that_was_changed_or_lost_is_refused(way, tmp_path):
    import shutil

    shutil.copytree(way.images, tmp_path / "set")
    other = load_teacher(str(way.model), directions=3) if way.name == BACKBONE else None
    other = other or load_teacher(str(way.model), labels=["cat", "dog"])
    other.model.head.save(tmp_path / "set")
    with pytest.raises(UsageError, match="not the embedding head that the images were made with"):
        dataset_head(tmp_path / "set")
    (tmp_path / "set" / HEAD_FILE).unlink()
    with pytest.raises(UsageError, match=r"has no embedding_head\.safetensors"):
        dataset_head(tmp_path / "set")


def test_images_of_other_targets_are_not_mixed_with_these(way, tmp_path, capsys):
    # With the same names.
    asked = ASKED[way.name] + (["--prompts", "no {}"] if way.name == TOWER else ["--directions_from", "orthogonal"])
    smi("invert", "--model_name_or_path", way.model, *asked, "--num_images", 2, "--num_steps", 4, "--prune_steps", 2,
        "--prune_ratios", 0.5, "--disable_tqdm", "--output_dir", tmp_path / "other")  # fmt: skip
    with pytest.raises(UsageError, match="head"):
        concatenate([load_sparse_dataset(str(folder)) for folder in (way.images, tmp_path / "other")])
    given = ["--model_name_or_path", way.model, "--dataset", way.images, tmp_path / "other"]
    assert main(["quantize", *map(str, given), "--backend", BACKEND, "--output_dir", str(tmp_path / "both")]) == 2
    assert "embedding head" in capsys.readouterr().err


def test_images_of_the_same_targets_are_put_together_with_their_head(way, tmp_path):
    smi("invert", "--model_name_or_path", way.model, *ASKED[way.name], "--num_images", 2, "--num_steps", 4,
        "--seed", 5, "--prune_steps", 2, "--prune_ratios", 0.5, "--disable_tqdm",
        "--output_dir", tmp_path / "more")  # fmt: skip
    parts = [load_sparse_dataset(str(folder)) for folder in (way.images, tmp_path / "more")]
    both = concatenate(parts)
    assert len(both) == 6 and both.record.teacher.head_sha256 == dataset_head(way.images).sha256()


def test_a_dataset_on_the_hub_has_its_head(way, hub, tmp_path):
    name = f"me/{way.name}"
    push(way.images, name)
    assert dataset_head(name).sha256() == dataset_head(way.images).sha256()
    teacher = load_teacher(str(way.model), head=dataset_head(name))
    assert len(load_sparse_dataset(name, teacher=teacher)) == 4


def test_a_model_on_the_hub_has_its_head(way, hub):
    push(way.int8, f"me/{way.name}-int8")
    predictor = load_predictor(snapshot_download(f"me/{way.name}-int8"))
    assert predictor.head.sha256() == dataset_head(way.images).sha256()


def test_no_head_file_of_somebody_else_is_published(way, hub, tmp_path):
    import shutil

    shutil.copytree(way.images, tmp_path / "set")
    (tmp_path / "set" / HEAD_FILE).write_bytes(b"somebody else's")
    with pytest.raises(UsageError, match=re.escape(HEAD_FILE)):
        push(tmp_path / "set", "me/changed")
