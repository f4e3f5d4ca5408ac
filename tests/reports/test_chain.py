from smi_hf.reports.chain import section
from smi_hf.reports.parts import Subject


def test_images_come_from_their_teacher(images_subject):
    teacher, images = section(images_subject).values["nodes"]
    assert (teacher.kind, teacher.name) == ("checkpoint", "tiny-vit")
    assert (images.kind, images.name, images.step) == ("images", "set", "inverted: 20 steps from Gaussian noise")
    assert images.facts[0] == "6 images"


def test_every_step_on_the_way_to_a_model_is_a_box(chain_record, tmp_path):
    values = section(Subject(tmp_path, chain_record, "int8")).values
    assert [node.name for node in values["nodes"]] == ["tiny-vit", "pruned", "recovered", "int8"]
    assert [node.step.split(":")[0].split(" ")[0] for node in values["nodes"][1:]] == ["pruned", "taught", "quantized"]
    assert values["nodes"][2].inputs == ["tiny-vit: the teacher", "set: 6 images"]
    assert len(values["way"]) == 5


def test_a_model_of_one_step_has_no_table_of_steps(quantized_record, tmp_path):
    assert section(Subject(tmp_path, quantized_record, "int8")).values["way"] == []
