"""What the record of a student says, and what it does not."""

import copy
from dataclasses import replace
from types import SimpleNamespace

from transformers import ViTForImageClassification

from smi_hf.distillation import StudentModel
from smi_hf.distillation.records import integers_record
from smi_hf.evaluation.record import ModelRecord, Runtime


def test_the_record_names_no_path(run, folder, sparse_folder, tiny_checkpoint, tmp_path):
    record = run(num_images=5, temperature=3.0)
    assert (record.student.name, record.student.from_scratch) == ("tiny-vit", True)
    assert (record.datasets[0].name, record.datasets[0].num_images) == ("set", 5)
    settings = record.settings
    assert (settings["temperature"], settings["num_train_epochs"], settings["rounds"]) == (3.0, 2, 0)
    written = "".join((folder / name).read_text() for name in ("README.md", "results.json", "lesson.json"))
    assert not [path for path in (tmp_path, sparse_folder, tiny_checkpoint) if str(path) in written]


def test_a_student_from_scratch_is_never_carded_as_fine_tuned(run, folder, make_vit, image_processor, teacher):
    run()
    card = (folder / "README.md").read_text()
    assert "and new random weights" in card and "base_model" not in card
    # A model that was made in Python from a configuration with a name.
    model = make_vit()
    config = copy.deepcopy(model.config)
    config._name_or_path, config._commit_hash = "facebook/deit-tiny-patch16-224", "0" * 40
    model = ViTForImageClassification(config)
    record = run(student=StudentModel(model, image_processor), overwrite_output_dir=True)
    assert (record.student.name, record.student.revision) == (None, None)
    card = (folder / "README.md").read_text()
    assert "facebook" not in card and "base_model" not in card


def test_a_student_that_load_student_did_not_return_has_no_origin_in_its_record(record):
    # Its configuration has a name nonetheless, which must not be taken for it.
    assert (record.student.name, record.student.revision, record.student.license) == (None, None, None)
    assert record.student.from_scratch is False


def test_integers_have_the_quantizers_settings_and_no_picture_of_the_training(record):
    quantization = SimpleNamespace(runtime=Runtime("a runtime", "a-library"))
    student = replace(
        record,
        settings=record.settings | {"quantization": {"backend": "mine", "weights": 2}},
        pictures=("learning_curves.png",),
        curves={"sparse": ((1.0, 0.5),)},
    )
    integers = integers_record(student, quantization)
    assert (integers.kind, integers.runtime, integers.pictures, integers.curves) == (
        "quantized",
        quantization.runtime,
        (),
        {},
    )
    assert integers.settings == {"backend": "mine", "weights": 2, **record.settings}
    # A record as any other, which is read back; and the student's own is as it was.
    assert ModelRecord.from_json(integers.to_json(), "here") == integers
    assert student.kind == "distilled" and "quantization" in student.settings
