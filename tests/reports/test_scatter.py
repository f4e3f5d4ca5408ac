from dataclasses import replace

from smi_hf.evaluation.table import Row
from smi_hf.images.real import ImageSetReference
from smi_hf.reports.parts import Subject
from smi_hf.reports.scatter import section


def test_each_model_and_its_reference_is_a_point(model_folder, quantized_record, tmp_path):
    first = Subject(tmp_path, quantized_record, "one")
    bare = tuple(Row(row.key, row.label, row.runs, {"parameters": 2.0}) for row in quantized_record.rows)
    second = Subject(tmp_path, replace(quantized_record, rows=bare), "two")
    shown = section([first, second])
    (chart,) = shown.values["charts"]
    (points,) = chart.spec["datasets"].values()
    sizes = {(point["name"], point["value"]) for point in points if point["measure"] == "size_mb"}
    assert sizes == {("one", 1.0), ("float32 of one", 4.0)}
    assert {point["name"] for point in points if point["measure"] == "parameters"} == {"two", "float32 of two"}
    assert {point["latency"] for point in points if point["name"] == "two"} == {None}
    assert shown.values["is_judged_alike"]


def test_models_that_were_judged_on_other_images_are_marked(quantized_record, tmp_path):
    other = replace(quantized_record, measured=ImageSetReference("other", "parquet", None, 50))
    shown = section([Subject(tmp_path, quantized_record, "one"), Subject(tmp_path, other, "two")])
    assert not shown.values["is_judged_alike"]


def test_one_model_alone_is_no_comparison(images_subject, quantized_record, tmp_path):
    assert section([images_subject, Subject(tmp_path, quantized_record, "one")]) is None
