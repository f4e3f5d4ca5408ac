import shutil

import pytest
import torch
from datasets import Dataset
from PIL import Image

from smi_hf import UsageError
from smi_hf.images import pictures as module
from smi_hf.images.pictures import load_pictures
from smi_hf.models.preprocessing import preprocess


@pytest.fixture
def folder(tmp_path):
    """Three pictures without a label, as files of a folder."""
    path = tmp_path / "drawings"
    path.mkdir()
    for number in range(3):
        Image.new("RGB", (50, 40), (80 * number,) * 3).save(path / f"{number}.png")
    return path


def test_pictures_are_as_the_image_processor_makes_them_in_order(teacher, photographs):
    pictures = load_pictures(str(photographs), teacher)
    rows = Dataset.from_parquet(str(photographs))
    assert len(pictures) == 20
    for number in (0, 7):
        expected = preprocess([rows[number]["image"]], teacher.image_processor)[0]
        assert torch.equal(pictures[number], torch.from_numpy(expected))


def test_labels_are_not_needed(teacher, folder):
    pictures = load_pictures(str(folder), teacher)
    assert [round(float(pictures[number].mean()), 2) for number in range(3)] == [-1.0, -0.37, 0.25]


def test_the_digest_is_of_the_pictures_and_not_of_their_place(teacher, photographs, folder, tmp_path):
    digest = load_pictures(str(photographs), teacher).sha256
    assert len(digest) == 64
    copied = shutil.copy(photographs, tmp_path / "other-name.parquet")
    assert load_pictures(str(copied), teacher).sha256 == digest
    rows = Dataset.from_parquet(str(photographs))
    for others in (rows.select(range(19)), rows.select([*range(18), 19, 18])):
        others.to_parquet(tmp_path / "others.parquet")
        assert load_pictures(str(tmp_path / "others.parquet"), teacher).sha256 != digest
    before = load_pictures(str(folder), teacher).sha256
    moved = folder.rename(tmp_path / "moved")
    assert load_pictures(str(moved), teacher).sha256 == before
    Image.new("RGB", (50, 40), (1, 2, 3)).save(moved / "1.png")
    assert load_pictures(str(moved), teacher).sha256 != before


def test_of_a_large_dataset_pictures_from_first_to_last_are_digested(teacher, photographs, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_MAX_DIGESTED", 3)  # rows 0, 10 (9.5 to even) and 19
    digest = load_pictures(str(photographs), teacher).sha256
    rows = Dataset.from_parquet(str(photographs))
    orders = {"seen": [*range(19), 0], "unseen": [0, 2, 1, *range(3, 20)]}
    found = {}
    for name, order in orders.items():
        rows.select(order).to_parquet(tmp_path / f"{name}.parquet")
        found[name] = load_pictures(str(tmp_path / f"{name}.parquet"), teacher).sha256
    assert found["seen"] != digest and found["unseen"] == digest


def test_what_cannot_be_shown_is_refused_with_its_row(teacher, photographs, tmp_path):
    Dataset.from_dict({"a": [1, 2]}).to_parquet(tmp_path / "plain.parquet")
    with pytest.raises(UsageError, match="has 0 image columns"):
        load_pictures(str(tmp_path / "plain.parquet"), teacher)
    missing = Dataset.from_parquet(str(photographs)).select_columns(["image"])
    missing = missing.map(lambda row, number: {"image": None if number == 3 else row["image"]}, with_indices=True)
    missing.to_parquet(tmp_path / "missing.parquet")
    with pytest.raises(UsageError, match=r"row 3 of dataset missing\.parquet has no image"):
        load_pictures(str(tmp_path / "missing.parquet"), teacher)[3]
    bad = Dataset.from_dict({"image": [{"bytes": b"no picture", "path": None}]})
    bad.to_parquet(tmp_path / "bad.parquet")
    with pytest.raises(UsageError, match=r"the image of row 0 of dataset bad\.parquet cannot be decoded"):
        load_pictures(str(tmp_path / "bad.parquet"), teacher)[0]
    Dataset.from_dict({"a": [1]}).select([]).to_parquet(tmp_path / "empty.parquet")
    with pytest.raises(UsageError, match=r"empty\.parquet (is empty|cannot be loaded)"):
        load_pictures(str(tmp_path / "empty.parquet"), teacher)


def test_a_processor_that_leaves_pictures_in_their_size_is_refused(teacher, folder):
    from dataclasses import replace

    own = type(teacher.image_processor)(do_resize=False)
    pictures = replace(load_pictures(str(folder), teacher), image_processor=own)
    with pytest.raises(
        UsageError, match="makes an image of 40x50 px of row 1 of dataset drawings, but the model takes 32x32"
    ):
        pictures[1]
    assert load_pictures(str(folder), teacher)[1].isfinite().all()
