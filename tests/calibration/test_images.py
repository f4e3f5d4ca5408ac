"""Images to calibrate on, where a user names some, a new place for them, or none."""

import logging
import os
from dataclasses import replace

import pytest

from smi_hf import UsageError, load_sparse_dataset, load_teacher
from smi_hf.calibration import calibration_datasets, make_calibration_images
from smi_hf.data.record import DatasetRecord
from smi_hf.inversion import SparseInversionConfig, trainer
from smi_hf.inversion.presets import PRESETS


@pytest.fixture(autouse=True)
def small_preset(monkeypatch):
    """Two images of two steps: what is tested here is not what they are worth."""
    options = dict(PRESETS["calibrate"].options) | {"num_images": 2, "num_steps": 2, "prune_steps": [1]}
    monkeypatch.setitem(PRESETS, "calibrate", replace(PRESETS["calibrate"], options=options))


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SMI_HF_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def no_inversion(monkeypatch):
    def refuse(*arguments, **options):
        raise AssertionError("a step was taken")

    monkeypatch.setattr(trainer, "run_trajectory", refuse)


def test_images_are_made_once_and_found_again(teacher, cache, caplog, request):
    caplog.set_level(logging.INFO, "smi_hf")
    made = make_calibration_images(teacher, disable_tqdm=True)
    (place,) = (cache / "calibration").iterdir()
    assert (len(made), made.name, made.record.settings["num_steps"]) == (2, place.name, 2)
    said = caplog.text
    assert "2 of tiny-vit, inverted in 2 steps (preset calibrate), kept in" in said and "SMI_HF_CACHE moves it" in said
    caplog.clear()
    request.getfixturevalue("no_inversion")
    found = make_calibration_images(teacher, disable_tqdm=True)
    assert found.dataset.with_format("arrow")[:] == made.dataset.with_format("arrow")[:]
    assert "nothing was computed" in caplog.text


def test_they_are_those_of_the_preset(teacher, tmp_path):
    from smi_hf import invert

    made = make_calibration_images(teacher, tmp_path / "made", disable_tqdm=True)
    config = SparseInversionConfig.from_preset("calibrate", output_dir=str(tmp_path / "own"), disable_tqdm=True)
    own = invert(teacher, config)
    assert made.dataset.with_format("arrow")[:] == own.dataset.with_format("arrow")[:]


def test_what_was_cut_off_is_continued(teacher, tmp_path, cache):
    folder = tmp_path / "made"
    whole = make_calibration_images(teacher, folder, disable_tqdm=True)
    # As a run leaves it that was killed before it said that it is complete.
    before = DatasetRecord.load(folder)
    DatasetRecord(**{**vars(before), "status": "running", "results": {}}).save(folder)
    (again,) = calibration_datasets(teacher, [str(folder)], disable_tqdm=True)
    assert again.dataset.with_format("arrow")[:] == whole.dataset.with_format("arrow")[:]
    assert DatasetRecord.load(folder).status == "complete"


def test_a_new_path_is_where_images_are_made_and_the_cache_is_left_alone(teacher, tmp_path, cache, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (made,) = calibration_datasets(teacher, ["./new/images"], disable_tqdm=True)
    assert made.name == "images" and (tmp_path / "new" / "images" / "smi.json").is_file()
    assert not (cache / "calibration").exists()


def test_datasets_that_are_there_are_loaded(teacher, sparse_folder, no_inversion):
    first, second = calibration_datasets(teacher, [str(sparse_folder), str(sparse_folder)])
    expected = load_sparse_dataset(sparse_folder).record
    assert first.record == second.record == expected


def test_more_images_than_the_presets_are_made_if_they_are_needed(teacher):
    assert [len(calibration_datasets(teacher, num_images=count)[0]) for count in (1, 3)] == [2, 3]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere/images", r"is not a folder here.* To have images made there, write ./nowhere/images; without a"),
        ("{file}", "is neither a folder here nor on the Hub"),
        ("{foreign}", "cannot be read|is not a sparse dataset|has no smi.json|no record"),
    ],
)
def test_a_name_that_leads_nowhere_makes_nothing(teacher, tmp_path, cache, no_inversion, name, message):
    (tmp_path / "foreign").mkdir()
    for path in (tmp_path / "file", tmp_path / "foreign" / "note.txt"):
        path.write_text("mine")
    before = sorted(os.listdir(tmp_path))
    with pytest.raises(UsageError, match=message):
        calibration_datasets(teacher, [name.format(file=tmp_path / "file", foreign=tmp_path / "foreign")])
    assert sorted(os.listdir(tmp_path)) == before


def test_several_names_are_all_of_datasets_that_there_are(teacher, sparse_folder, tmp_path, no_inversion):
    with pytest.raises(UsageError, match="is neither a folder here nor on the Hub"):
        calibration_datasets(teacher, [str(sparse_folder), str(tmp_path / "new")])
    assert not (tmp_path / "new").exists()


def test_those_of_a_model_that_is_shown_whole_images_are_whole(resnet_checkpoint):
    made = make_calibration_images(load_teacher(str(resnet_checkpoint)), disable_tqdm=True)
    assert made.record.settings["policy"] == "dense" and made.record.keep_counts[-1] == made.record.grid.num_patches
