import pytest
import torch

from smi_hf import UsageError
from smi_hf.images.controls.base import ControlSpec, parse_controls


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("gaussian", "gaussian"),
        ("real=cifar10", "real=cifar10"),
        ("real=me/photos:test", "real=me/photos:test"),
        ("real=/home/me/photos", "real=photos"),
        ("real=../mine/photos.parquet", "real=photos.parquet"),
        ("dense=out/dense/run", "dense=run"),
    ],
)
def test_the_key_of_a_row_holds_no_path(text, key):
    assert ControlSpec.parse(text).key == key


def test_a_path_that_is_there_is_one_however_short(tmp_path, monkeypatch):
    (tmp_path / "secret" / "photos").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert ControlSpec.parse("real=secret/photos").key == "real=photos"
    assert ControlSpec.parse("real=secret/photos:test").key == "real=photos:test"


def test_two_sets_of_one_name_are_two_rows():
    assert list(parse_controls(["real=/a/photos", "real=/b/photos"])) == ["real=photos", "real=photos (2)"]


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (
            ["gausian"],
            r"there is no control 'gausian' \(did you mean 'gaussian'\?\); available: dataset, dead_leaves, dense,",
        ),
        (["real"], "control 'real' must be written real=DATASET"),
        (["real="], "control 'real=' must be written real=DATASET"),
        (["gaussian=1"], "control 'gaussian=1' must be written gaussian"),
        (["gaussian", "gaussian"], "control 'gaussian' is given twice"),
    ],
)
def test_what_is_no_control_is_refused(texts, message):
    with pytest.raises(UsageError, match=message):
        parse_controls(texts)


def test_help_names_every_control_and_how_it_is_written():
    text = ControlSpec.help()
    assert "real=DATASET" in text and "gaussian" in text and "filled" in text
    # A start is a control by being there; noise has been one under a name of its own.
    assert "dead_leaves" in text and "dataset=DATASET" in text
    assert [line.split()[0] for line in text.splitlines()].count("noise") == 0


def test_starts_are_shown_whole_one_run_a_seed_and_named(inputs, teacher, photographs):
    from smi_hf.images.starts import start_images
    from smi_hf.starts.base import StartSpec

    first, second = ControlSpec.parse("dead_leaves").make(teacher, inputs().sparse, (1, 2))
    assert torch.equal(first.pixels_BCHW, start_images(StartSpec("dead_leaves"), teacher, 6, seed=1).pixels_BCHW)
    assert not torch.equal(first.pixels_BCHW, second.pixels_BCHW)
    assert first.kept_BK.tolist() == [list(range(16))] * 6
    assert first.source == "dead leaves"
    # The same pictures whatever the seed.
    (shown,) = ControlSpec.parse(f"dataset={photographs}").make(teacher, inputs().sparse, (1, 2))
    assert shown.source == "pictures of a dataset (test.parquet)" and len(shown) == 6
