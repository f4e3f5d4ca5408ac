"""Where real images come from: files and folders of any name, and what is neither."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from datasets import ClassLabel, Dataset, Features, Image
from PIL import Image as Picture

from smi_hf import UsageError
from smi_hf.images.real import load_image_set
from smi_hf.images.sources import load_rows

NAMES = ["cat", "dog", "boat"]
ODD_NAMES = [
    "photos[1]",
    "a*b",
    "what?",
    "x::y",
    "x:y",
    "two words",
    'it\'s "quoted"',
    "new\nline",
    "{a,b}",
    "50%25#1",
    "größe",
    "-rf",
]


def write_parquet(path: Path, brightness: int) -> None:
    """A set of one picture of that brightness."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Picture.fromarray(np.full((4, 4, 3), brightness, dtype=np.uint8))
    features = Features({"image": Image(), "label": ClassLabel(names=NAMES)})
    # An open file, as `datasets` takes a path for a pattern.
    with open(path, "wb") as file:
        Dataset.from_dict({"image": [picture], "label": [1]}, features=features).to_parquet(file)


def write_folders(folder: Path, brightness: int, labels=NAMES) -> None:
    """A folder of folders, one picture each."""
    for label in labels:
        (folder / label).mkdir(parents=True, exist_ok=True)
        Picture.fromarray(np.full((4, 4, 3), brightness, dtype=np.uint8)).save(folder / label / "0.png")


def brightness_of(images) -> set[int]:
    pictures, _ = images.batch(range(len(images)))
    return {int(np.asarray(picture)[0, 0, 0]) for picture in pictures}


@pytest.mark.parametrize("name", ODD_NAMES)
def test_a_file_of_any_name_is_read_and_no_other(tmp_path, name):
    # What a pattern would find as well.
    for number, other in enumerate(["photos1.parquet", "aXb.parquet", "whatX.parquet", "x.parquet", "a.parquet"]):
        write_parquet(tmp_path / other, 100 + number)
    write_parquet(tmp_path / f"{name}.parquet", 7)
    images = load_image_set(str(tmp_path / f"{name}.parquet"), NAMES)
    assert brightness_of(images) == {7}
    assert images.name == f"{name}.parquet"
    assert images.reference().type == "parquet"


@pytest.mark.parametrize("name", ODD_NAMES)
@pytest.mark.parametrize("write", [write_folders, lambda folder, value: write_parquet(folder / "test.parquet", value)])
def test_a_folder_of_any_name_is_read_and_no_other(tmp_path, name, write):
    for number, other in enumerate(["photos1", "aXb", "whatX", "x", "y", "a"]):
        write(tmp_path / other, 100 + number)
    write(tmp_path / name, 7)
    images = load_image_set(str(tmp_path / name), NAMES)
    assert brightness_of(images) == {7}
    assert images.name == name


@pytest.mark.parametrize("name", ["photos[1]", "x::y", "x:y"])
def test_a_relative_path_of_any_name_is_read(tmp_path, monkeypatch, name):
    write_folders(tmp_path / name, 7)
    monkeypatch.chdir(tmp_path)
    assert brightness_of(load_image_set(name, NAMES)) == {7}


@pytest.mark.parametrize("name", ["plain", "photos[1]"])
@pytest.mark.parametrize("card", [None, "---\nconfigs:\n- config_name: default\n  data_files: '*/*.png'\n---\n"])
def test_a_folder_that_has_changed_is_read_anew(tmp_path, name, card):
    """Of a folder with a card, `datasets` gives the copy that it made before."""
    folder = tmp_path / name
    write_folders(folder, 7)
    if card:
        (folder / "README.md").write_text(card)
    assert len(load_image_set(str(folder), NAMES)) == 3
    Picture.new("RGB", (4, 4)).save(folder / "cat" / "1.png")
    assert len(load_image_set(str(folder), NAMES)) == 4
    (folder / "cat" / "0.png").unlink()
    (folder / "cat" / "1.png").unlink()
    assert len(load_image_set(str(folder), NAMES)) == 2


def test_a_file_that_has_changed_is_read_anew(tmp_path):
    for brightness in (7, 9):
        write_parquet(tmp_path / "photos[1].parquet", brightness)
        assert brightness_of(load_image_set(str(tmp_path / "photos[1].parquet"), NAMES)) == {brightness}


def test_a_split_is_named_beside_a_path_with_a_colon(tmp_path):
    for split, brightness in (("train", 1), ("test", 2)):
        write_parquet(tmp_path / "a:b" / f"{split}.parquet", brightness)
    assert brightness_of(load_image_set(str(tmp_path / "a:b"), NAMES)) == {2}
    assert brightness_of(load_image_set(f"{tmp_path / 'a:b'}:train", NAMES)) == {1}
    rows = load_rows(str(tmp_path / "a:b"))
    assert (set(rows.splits), rows.is_on_hub) == ({"train", "test"}, False)


def test_classes_of_folders_are_those_of_all_splits(tmp_path):
    """A label that the chosen split lacks must not shift the others."""
    write_folders(tmp_path / "set" / "train", 1)
    write_folders(tmp_path / "set" / "test", 2, ["boat", "dog"])
    images = load_image_set(str(tmp_path / "set"), ["Boot", "Katze", "Hund"])
    assert images.matched_by == "number"
    # In the order of the folders' names: boat, cat, dog.
    assert sorted(images.batch([0, 1])[1].tolist()) == [0, 2]


# What is no set of images


def test_a_single_picture_is_refused(tmp_path):
    Picture.new("RGB", (4, 4)).save(tmp_path / "photo.png")
    with pytest.raises(UsageError, match=r"photo\.png is one picture without a label; give a folder that"):
        load_image_set(str(tmp_path / "photo.png"), NAMES)


@pytest.mark.parametrize("content", [b"", b"hello\n", b"\x00\xff"])
def test_a_file_that_is_no_parquet_is_refused(tmp_path, content):
    (tmp_path / "notes.txt").write_bytes(content)
    with pytest.raises(UsageError, match=r"notes\.txt is not a parquet file; give one, a folder of pictures"):
        load_image_set(str(tmp_path / "notes.txt"), NAMES)


def test_a_truncated_parquet_is_refused(tmp_path):
    write_parquet(tmp_path / "a.parquet", 1)
    (tmp_path / "a.parquet").write_bytes((tmp_path / "a.parquet").read_bytes()[:200])
    with pytest.raises(UsageError, match=r"dataset .*a\.parquet cannot be loaded: "):
        load_image_set(str(tmp_path / "a.parquet"), NAMES)


@pytest.mark.parametrize("inside", [[], ["cat"], ["cat", "dog/puppies"]])
def test_a_folder_without_images_is_refused(tmp_path, inside):
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in inside:
        (folder / name).mkdir(parents=True)
    with pytest.raises(UsageError, match="photos holds no images: give a folder that has a folder of pictures for"):
        load_image_set(str(folder), NAMES)


def test_a_folder_of_texts_has_no_images(tmp_path):
    (tmp_path / "notes.txt").write_text("hello\n")
    with pytest.raises(UsageError, match="has 0 image columns"):
        load_image_set(str(tmp_path), NAMES)


def test_pictures_without_folders_have_no_labels(tmp_path):
    for number in range(3):
        Picture.new("RGB", (4, 4)).save(tmp_path / f"{number}.png")
    with pytest.raises(UsageError, match=r"has no label column among .* put the pictures of each label into a folder"):
        load_image_set(str(tmp_path), NAMES)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_that_may_not_be_read_is_refused(tmp_path):
    write_parquet(tmp_path / "a.parquet", 1)
    (tmp_path / "a.parquet").chmod(0)
    with pytest.raises(UsageError, match="cannot be read: Permission denied"):
        load_image_set(str(tmp_path / "a.parquet"), NAMES)


@pytest.mark.parametrize(
    "name", ["./nowhere", "/nowhere/photos", "photos.parquet", "out/photos/set", "~/photos", "a.png"]
)
def test_a_path_to_nothing_is_refused_as_a_path(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=f"^dataset {name} cannot be loaded: there is no such file or folder$"):
        load_image_set(name, NAMES)


@pytest.mark.parametrize("name", ["", " "])
def test_an_empty_name_is_not_the_current_folder(tmp_path, monkeypatch, name):
    write_folders(tmp_path, 1)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="the name of the dataset is empty"):
        load_image_set(name, NAMES)


@pytest.mark.parametrize("name", ["nowhere/at-all", "nowhere", "a b/c", "::", "x" * 300, "["])
def test_a_set_that_is_not_there_is_refused(name):
    with pytest.raises(UsageError, match="cannot be loaded: "):
        load_image_set(name, NAMES)


@pytest.mark.parametrize("name", [pytest.param("my_photso", marks=pytest.mark.slow), "me/photso:test"])
def test_a_hub_that_does_not_answer_is_asked_once(tmp_path, name):
    """A loopback port that nobody listens on: `datasets` would try for half a minute, and show every attempt."""
    script = (
        "import time\nimport datasets, smi_hf.models.loading\nfrom smi_hf import UsageError\n"
        "from smi_hf.images.real import load_image_set\n"
        "started = time.perf_counter()\n"
        f"try:\n    load_image_set({name!r}, ['cat'])\n"
        "except UsageError as error:\n    print(time.perf_counter() - started, error)"
    )
    environment = {**os.environ, "HF_ENDPOINT": "http://127.0.0.1:9", "HF_HUB_OFFLINE": "0", "HF_HOME": str(tmp_path)}
    run = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, env=environment, timeout=300
    )
    seconds, _, message = run.stdout.partition(" ")
    assert "the Hub could not be reached; check the name and the network" in message
    assert float(seconds) < 10
    assert "Retry" not in run.stderr


def test_the_labels_of_strings_and_the_bytes_of_images_need_no_features(tmp_path):
    """A parquet that another tool wrote: nothing in it says that the structs are images."""
    import io

    import pyarrow
    import pyarrow.parquet

    data = io.BytesIO()
    Picture.fromarray(np.full((4, 4, 3), 7, dtype=np.uint8)).save(data, format="PNG")
    columns = {
        "struct": pyarrow.array([{"bytes": data.getvalue(), "path": "a.png"}] * 2),
        "bare": pyarrow.array([{"bytes": data.getvalue()}] * 2),
        "bytes": pyarrow.array([data.getvalue()] * 2),
    }
    for name, column in columns.items():
        path = tmp_path / f"{name}.parquet"
        pyarrow.parquet.write_table(pyarrow.table({"image": column, "label": ["dog", "cat"]}), path)
        images = load_image_set(str(path), NAMES)
        assert brightness_of(images) == {7}
        assert images.batch([0, 1])[1].tolist() == [1, 0]
        assert images.matched_by == "name"


def test_a_column_of_numbers_is_no_column_of_images(tmp_path):
    Dataset.from_dict({"image": [1], "label": [0]}).to_parquet(tmp_path / "a.parquet")
    with pytest.raises(UsageError, match=r"column 'image' of dataset .* holds no images, but int64"):
        load_image_set(str(tmp_path / "a.parquet"), NAMES, image_column="image")


def test_links_lead_to_what_is_there_now(tmp_path):
    folder = tmp_path / "photos[1]"
    write_folders(folder, 7)
    load_image_set(str(folder), NAMES)
    shutil.rmtree(folder)
    write_folders(folder, 9)
    assert brightness_of(load_image_set(str(folder), NAMES)) == {9}
