"""What becomes of the options of `smi-hf distill`: a file for rounds, and options that belong together."""

import pytest

from smi_hf import SparseDistillationConfig, UsageError
from smi_hf.cli.distill_options import QuantizeArguments, RoundsArguments, StudentArguments, TeacherArguments
from smi_hf.pruning import choose_layers


@pytest.fixture(autouse=True)
def _own_precision(own_precision):
    """For every test here."""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("num_step: 4", "unknown option 'num_step' (did you mean 'num_steps'?)"),
        (
            "model_name_or_path: somebody/else",
            "says model_name_or_path 'somebody/else', but rounds invert",
        ),
        ("image_size: 64", "says image_size [64]"),
        ("overwrite_output_dir: true", "says overwrite_output_dir, which rounds cannot do"),
        ("learning_rate: -1", "learning_rate must be"),
    ],
)
def test_a_file_for_rounds_that_cannot_be_is_refused_before_anything_is_loaded(text, message, tmp_path, capsys):
    (tmp_path / "inversion.yaml").write_text(text + "\n")
    arguments = RoundsArguments(rounds=2, inversion_config=str(tmp_path / "inversion.yaml"))
    with pytest.raises((UsageError, SystemExit)) as error:
        arguments.read_inversion(TeacherArguments(teacher="me/vit"), "pool")
    assert message in str(error.value) + capsys.readouterr().err


# The student


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "student_layers the teacher's own layers, and neither was given; give one of them"),
        ({"student": "me/vit", "student_layers": "6"}, "and both were given; give one of them"),
        ({"student_layers": "0,x"}, r"student_layers is '0,x', but must be numbers of the teacher's layers, from 0"),
        ({"student_layers": "six"}, "or else how many of them are to be chosen"),
        ({"student_layers": ""}, "student_layers is '', but"),
        ({"student_layers": "6", "from_scratch": True}, "from_scratch says what becomes of a checkpoint"),
        ({"student_layers": "0,1", "student_revision": "main"}, "student_revision says what becomes of a checkpoint"),
        ({"student_layers": "0,1", "replace_head": False}, "replace_head says what becomes of a checkpoint"),
    ],
)
def test_a_student_that_cannot_be_is_refused_before_anything_is_loaded(options, message):
    with pytest.raises(UsageError, match=message):
        StudentArguments(**options)


@pytest.mark.parametrize(
    ("text", "layers"), [("0,1", (0, 1)), ("0, 1,", (0, 1)), ("1,", (1,)), ("0,", (0,)), ("2", (0, 1))]
)
def test_numbers_with_commas_name_layers_and_one_alone_says_how_many(text, layers, teacher, dataset):
    config = SparseDistillationConfig(use_cpu=True, disable_tqdm=True)
    student = StudentArguments(student_layers=text).load_student(teacher, config, [dataset])
    assert student.origin.layers == layers


def test_layers_are_chosen_on_as_many_images_as_teach_and_a_log_line_names_them(teacher, dataset, kept_images, caplog):
    config = SparseDistillationConfig(use_cpu=True, disable_tqdm=True, num_images=4)
    with caplog.at_level("INFO", "smi_hf"):
        student = StudentArguments(student_layers="1").load_student(teacher, config, [dataset])
    assert student.origin.layers == choose_layers(teacher.model, kept_images.part(0, 4), 1, disable_tqdm=True)
    assert f"the student gets the layers {student.origin.layers[0]} of the teacher's 2, from 0" in caplog.text


def test_layers_can_be_named_but_not_chosen_where_there_is_no_dataset_yet():
    for options in ({"student_layers": "0,1"}, {"student": "2"}):
        StudentArguments(**options).check_can_choose(has_images=False)
    arguments = StudentArguments(student_layers="6")
    arguments.check_can_choose(has_images=True)
    with pytest.raises(UsageError, match=r"student_layers is '6', so that .* name the layers that stay \('0,2'\)"):
        arguments.check_can_choose(has_images=False)


def test_no_quantization_is_asked_for_unless_weights_have_bits():
    assert QuantizeArguments().make_quantization() is None
    made = QuantizeArguments(4, 32, ["classifier"]).make_quantization()
    assert (made.weights, made.activations, made.exclude) == (4, 32, ("classifier",))


@pytest.mark.parametrize("options", [{"exclude": ["classifier"]}, {"quantize_activations": 32}])
def test_options_of_a_quantization_that_was_not_asked_for_are_refused(options):
    QuantizeArguments(quantize_weights=2, **options)
    with pytest.raises(UsageError, match=f"{next(iter(options))} belongs to quantize_weights, which was not given"):
        QuantizeArguments(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rounds": -1}, "rounds must be at least 0 and images_per_round at least 1, but -1 and 32 were given"),
        ({"rounds": 1, "images_per_round": 0}, "but 1 and 0 were given"),
        ({"inversion_config": "x.yaml"}, "give --rounds as well"),
    ],
)
def test_rounds_that_cannot_be_are_refused(options, message):
    with pytest.raises(UsageError, match=message):
        RoundsArguments(**options)


def test_rounds_invert_by_the_file_and_into_the_folder_that_was_named(tmp_path):
    (tmp_path / "inversion.yaml").write_text("model_name_or_path: me/vit\nnum_steps: 7\n")
    arguments = RoundsArguments(rounds=2, inversion_config=str(tmp_path / "inversion.yaml"))
    config = arguments.read_inversion(TeacherArguments(teacher="me/vit"), "some/pool")
    assert (config.num_steps, config.output_dir) == (7, "some/pool")
    rounds = arguments.make_rounds(None, config)
    assert (rounds.num_rounds, rounds.images_per_round) == (2, 32)
    # Not how many images there are: that is what rounds change; and no path.
    assert rounds.settings["dataset"] == "pool" and "num_images" not in rounds.settings
    assert rounds.settings["num_steps"] == 7


def test_rounds_of_less_than_whole_trajectories_are_refused_before_the_first(tmp_path):
    (tmp_path / "inversion.yaml").write_text("policy: pri\nnum_images: 8\n")
    arguments = RoundsArguments(rounds=2, images_per_round=6, inversion_config=str(tmp_path / "inversion.yaml"))
    with pytest.raises(UsageError, match="num_images is 6, but policy pri makes 4 images a trajectory"):
        arguments.read_inversion(TeacherArguments(teacher="me/vit"), "pool")
