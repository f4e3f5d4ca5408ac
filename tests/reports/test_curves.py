from dataclasses import replace

from smi_hf.reports.curves import section


def numbers(section):
    return [list(map(list, chart.numbers)) for chart in section.values["charts"]]


def test_a_dataset_has_patches_and_losses_over_the_steps(images_subject):
    patches, losses = numbers(section(images_subject))
    counts = images_subject.record.keep_counts
    steps = ["0", "5", "10", "20"]
    assert patches[1:] == [[step, str(count)] for step, count in zip(steps, (*counts, counts[-1]))]
    curve = images_subject.record.results["loss_curve"]
    assert losses[0] == ["step", *curve["terms"]]
    assert [line[0] for line in losses[1:]] == [str(step) for step in curve["steps"]]


def test_a_record_without_curves_has_no_section(images_subject, quantized_record):
    assert section(replace(images_subject, record=quantized_record)) is None
    dense = replace(
        images_subject.record,
        settings=images_subject.record.settings | {"prune_steps": [], "prune_ratios": []},
        results={name: value for name, value in images_subject.record.results.items() if name != "loss_curve"},
    )
    assert section(replace(images_subject, record=dense)) is None


def test_students_learn_over_the_epochs(images_subject, quantized_record):
    record = replace(quantized_record, curves={"sparse": ((1.0, 0.5), (2.0, 0.75))})
    (learning,) = numbers(section(replace(images_subject, record=record)))
    assert learning[1:] == [["inverted, kept patches", "1", "50.0"], ["inverted, kept patches", "2", "75.0"]]
