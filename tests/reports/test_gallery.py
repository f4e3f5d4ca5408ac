import json
import re

import numpy as np
import pytest

from smi_hf import SparseInversionConfig, invert
from smi_hf.patches import PatchGrid
from smi_hf.reports import gallery
from smi_hf.reports.gallery import edge_path, pruned_path
from smi_hf.reports.page import write_report
from smi_hf.reports.parts import Subject

GRID = PatchGrid(12, 16, 4, 4)  # 3 rows of 4


def test_a_tile_tells_what_the_dataset_says(images_subject, dataset):
    tiles = gallery.section(images_subject).values["tiles"]
    assert [tile.number for tile in tiles] == list(range(6))
    rows = list(dataset.dataset)
    names = images_subject.record.label_names
    assert [tile.label for tile in tiles] == [names[row["label"]] for row in rows]
    assert [tile.probability for tile in tiles] == [row["target_probability"] for row in rows]
    assert {tile.num_kept for tile in tiles} == {images_subject.record.keep_counts[-1]}


def test_a_page_shows_no_more_images_than_it_may(images_subject):
    section = gallery.section(images_subject, max_images=4)
    assert len(section.values["tiles"]) == 4 and section.values["num_images"] == 6


def covered(path: str) -> set[int]:
    """Patches of GRID that the rectangles of a path cover."""
    found = set()
    for left, top, width in re.findall(r"M(\d+) (\d+)h(\d+)", path):
        found |= {int(top) * 4 + x for x in range(int(left), int(left) + int(width))}
    return found


@pytest.mark.parametrize("kept", [[], [0], [11], [0, 1, 5, 6, 11], [1, 2, 4, 7, 9], list(range(12))], ids=str)
def test_the_dimmed_patches_are_those_that_are_not_kept(kept):
    assert covered(pruned_path(kept, GRID)) == set(range(12)) - set(kept)


def test_the_outline_of_a_patch_has_four_sides_and_that_of_two_neighbors_six():
    assert edge_path([5], GRID).count("M") == 4
    assert edge_path([5, 6], GRID).count("M") == 6
    assert edge_path([0, 11], GRID).count("M") == 8
    assert edge_path(list(range(12)), GRID) == ""


def test_an_outline_lies_where_the_patch_lies():
    points = np.array(re.findall(r"M(\d+) (\d+)", edge_path([6], GRID)), dtype=int)
    assert points.min(axis=0).tolist() == [2, 1] and points.max(axis=0).tolist() == [3, 2]


def test_a_model_has_no_gallery(model_folder):
    assert gallery.section(Subject.of(model_folder)) is None


@pytest.fixture
def rebirth_subject(teacher, tmp_path):
    """Images that left their trajectories one after the other, two of each."""
    config = SparseInversionConfig(
        output_dir=str(tmp_path / "pri"),
        num_images=4,
        num_steps=8,
        policy="pri",
        images_per_trajectory=2,
        disable_tqdm=True,
        report=False,
    )
    invert(teacher, config)
    return Subject.of(tmp_path / "pri")


def test_images_of_a_trajectory_are_told_apart_by_when_they_left(rebirth_subject):
    values = gallery.section(rebirth_subject).values
    assert [tile.stage for tile in values["tiles"]] == [1, 2, 1, 2]
    assert values["leaving"] == ["all", "1 of 2, which left after step 4", "2 of 2, which left after step 8"]


def test_other_images_have_no_such_slider(images_subject):
    values = gallery.section(images_subject).values
    assert values["leaving"] == [] and {tile.stage for tile in values["tiles"]} == {0}


def test_the_slider_shows_the_images_of_one_stage(rebirth_subject, tmp_path, browse):
    script = """
        const form = document.querySelector(".gallery form");
        const slide = form.elements.stage;
        slide.value = "2";
        slide.dispatchEvent(new Event("input", {bubbles: true}));
        const shown = [...document.querySelectorAll(".tiles li:not([hidden])")].map((tile) => tile.dataset.number);
        const words = slide.nextElementSibling.textContent;
        document.title = JSON.stringify({shown, words, said: form.querySelector("output").textContent});
    """
    document, console = browse(write_report([rebirth_subject.folder], tmp_path / "page.html"), script)
    assert console == []
    found = json.loads(re.search(r"<title>(.*?)</title>", document)[1])
    assert found == {"shown": ["1", "3"], "words": "2 of 2, which left after step 8", "said": "2 of 4 images"}
