"""Which of its teacher's layers a student has, and which its own should match."""

import json
import shutil

import pytest

from smi_hf import UsageError, load_student, load_teacher
from smi_hf.distillation.layer_maps import layer_map, recorded_layers
from smi_hf.evaluation.history import find_history
from smi_hf.pruning import PruningConfig, prune


@pytest.mark.parametrize(
    ("num_student", "num_teacher", "wanted"),
    [
        (3, 3, (0, 1, 2)),
        (1, 12, (11,)),
        # TinyBERT's own: every third of twelve.
        (4, 12, (2, 5, 8, 11)),
        (6, 12, (1, 3, 5, 7, 9, 11)),
        (5, 12, (1, 4, 6, 9, 11)),
    ],
)
def test_layers_of_which_nothing_is_known_match_equal_shares_of_the_teachers(num_student, num_teacher, wanted):
    assert layer_map(num_student, num_teacher) == wanted


@pytest.mark.parametrize(
    ("layers", "num_teacher", "wanted"),
    [
        ((0, 1, 2), 3, (0, 1, 2)),
        # Layer 0 stands for 1 as well, and 2 for 3.
        ((0, 2), 4, (1, 3)),
        ((0, 1, 4, 5), 12, (0, 3, 4, 11)),
        # What follows the dropped first layers begins where they began, and ends where it did.
        ((2, 3), 4, (2, 3)),
        ((1,), 3, (2,)),
    ],
)
def test_a_layer_of_the_teacher_stands_for_itself_and_for_the_dropped_ones_that_follow(layers, num_teacher, wanted):
    assert layer_map(len(layers), num_teacher, layers) == wanted


@pytest.mark.parametrize("num_teacher", range(1, 14))
def test_a_map_ascends_and_ends_at_the_last_layer(num_teacher):
    for num_student in range(1, num_teacher + 1):
        layers = layer_map(num_student, num_teacher)
        assert sorted(set(layers)) == list(layers) and len(layers) == num_student
        assert layers[0] >= 0 and layers[-1] == num_teacher - 1


@pytest.mark.parametrize("layers", [(), (0,), (1, 0), (0, 3), (0.0, 1.0), (-1, 0)])
def test_layers_that_a_student_cannot_have_are_refused(layers):
    with pytest.raises(UsageError, match=r"that it has the layers .* of its teacher, but it has 2 layers and"):
        layer_map(2, 3, layers)


# What a record says


@pytest.fixture
def pruned(teacher, dataset, tmp_path):
    """The folder of the tiny teacher without its first layer."""
    folder = tmp_path / "pruned"
    prune(teacher, dataset, PruningConfig(layers=[1], output_dir=str(folder), disable_tqdm=True))
    return folder


def change(folder, **values):
    path = folder / "results.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_a_pruned_checkpoint_says_which_layers_it_has(pruned, teacher):
    assert load_student(str(pruned), teacher).origin.layers == (1,)
    # Weights that are drawn anew are not the teacher's.
    assert load_student(str(pruned), teacher, from_scratch=True).origin.layers is None


def test_layers_of_another_teacher_and_a_folder_that_was_changed_say_nothing(pruned, teacher, make_vit, tmp_path):
    other = tmp_path / "other"
    make_vit(seed=5).save_pretrained(other)
    shutil.copy(pruned / "preprocessor_config.json", other)
    assert recorded_layers(find_history(str(pruned)), teacher) == (1,)
    assert recorded_layers(find_history(str(pruned)), load_teacher(str(other))) is None
    (pruned / "config.json").write_text((pruned / "config.json").read_text() + "\n")
    assert recorded_layers(find_history(str(pruned)), teacher) is None


@pytest.mark.parametrize("text", ["", "[1, 2]", '{"accuracy": 1}', "\xff", None])
def test_a_folder_without_a_record_of_ours_says_nothing(text, tmp_path, teacher):
    if text is not None:
        (tmp_path / "results.json").write_bytes(text.encode("latin-1"))
    assert recorded_layers(find_history(str(tmp_path)), teacher) is None
    assert recorded_layers(find_history("someone/vit"), teacher) is None


@pytest.mark.parametrize("layers", [None, "01", [], [2], [1, 0], [True]])
def test_settings_that_name_no_layers_say_nothing(layers, pruned, teacher):
    settings = json.loads((pruned / "results.json").read_text())["settings"]
    change(pruned, settings=settings | {"layers": layers})
    assert recorded_layers(find_history(str(pruned)), teacher) is None
