import json

from PIL import Image, PngImagePlugin

from smi_hf.data.schema import STAGES_FILE
from smi_hf.images.preview import BOXES_KEY
from smi_hf.reports.stages import read_stages


def test_stages_are_cut_from_the_picture_that_the_run_left(images_subject):
    stages = read_stages(images_subject.folder, images_subject.record)
    counts = images_subject.record.keep_counts
    assert [stage.words for stage in stages] == [
        f"at the start: {counts[0]} of {counts[0]} patches",
        f"after step 5: {counts[1]} of {counts[0]} patches",
        f"after step 10: {counts[2]} of {counts[0]} patches",
        f"finished, after step 20: {counts[2]} of {counts[0]} patches",
    ]
    assert {len(stage.sources) for stage in stages} == {6}


def test_a_picture_may_say_where_its_images_lie(images_subject):
    text = PngImagePlugin.PngInfo()
    text.add_text(BOXES_KEY, json.dumps([[[10, 0, 20, 10]]] * 4))
    Image.new("RGB", (40, 40)).save(images_subject.folder / STAGES_FILE, pnginfo=text)
    stages = read_stages(images_subject.folder, images_subject.record)
    assert [len(stage.sources) for stage in stages] == [1, 1, 1, 1]


def test_a_picture_of_another_form_is_left_out(images_subject, caplog):
    Image.new("RGB", (37, 41)).save(images_subject.folder / STAGES_FILE)
    assert read_stages(images_subject.folder, images_subject.record) == []
    for value in ("[[[0, 0, 900, 10]]]", "[[[5, 5, 5, 5]]]", "[[[0, 0]]]", "{", '[["abcd"]]', "[3]"):
        text = PngImagePlugin.PngInfo()
        text.add_text(BOXES_KEY, value)
        Image.new("RGB", (40, 40)).save(images_subject.folder / STAGES_FILE, pnginfo=text)
        assert read_stages(images_subject.folder, images_subject.record) == []
    (images_subject.folder / STAGES_FILE).write_bytes(b"no picture")
    assert read_stages(images_subject.folder, images_subject.record) == []
    assert f"{STAGES_FILE} is not shown" in caplog.text
