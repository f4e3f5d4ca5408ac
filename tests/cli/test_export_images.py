"""`smi-hf export-images`, as a user meets it."""

import re
import sys

import numpy as np
import pytest

from smi_hf.images.formats.base import FORMATS


@pytest.mark.parametrize("name", [name for name in FORMATS.names() if FORMATS.get(name).extra is None])
def test_every_format_is_written_and_what_lies_where_is_said(name, smi, sparse_folder, tmp_path):
    answer = smi("export-images", sparse_folder, tmp_path / "out", "--format", name, "--disable_tqdm")
    assert answer.code == 0, answer.err
    named = re.findall(r"[\w.]+", answer.out.splitlines()[-1].rpartition(": ")[2])
    assert set(named) == {path.name for path in (tmp_path / "out").iterdir()} - {"manifest.json"}
    assert "6 images in 3 tiles of 32x32 px" in answer.out
    assert "made from tiny-vit" in answer.out and str(tmp_path / "out") in answer.out


def test_a_runtime_that_normalizes_is_told_by_what(smi, sparse_folder, tmp_path):
    answer = smi("export-images", sparse_folder, tmp_path / "a", "--format", "npy", "--values", "uint8")
    assert (
        "subtract the mean 127.5 127.5 127.5 and to divide by 127.5 127.5 127.5, of pixels from 0 to 255" in answer.out
    )
    in_8_bits = np.load(tmp_path / "a" / "images.npy").astype(np.float32)
    assert "subtract" not in smi("export-images", sparse_folder, tmp_path / "b", "--format", "npy").out
    assert np.allclose((in_8_bits - 127.5) / 127.5, np.load(tmp_path / "b" / "images.npy"), atol=1e-6)


def test_options_of_a_file_are_read(smi, sparse_folder, tmp_path):
    (tmp_path / "raw.yaml").write_text("format: raw\nshape: filled\nlayout: NCHW\nnum_images: 2\n")
    answer = smi("export-images", sparse_folder, tmp_path / "out", "--config", tmp_path / "raw.yaml")
    assert answer.code == 0 and "2 images of 32x32 px" in answer.out and "normalized NCHW" in answer.out
    assert len(list((tmp_path / "out" / "raw").iterdir())) == 2


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((), "the following arguments are required: --format"),
        (("--format", "nyp"), "argument --format: invalid choice: 'nyp'"),
        (
            ("--format", "imagefolder", "--layout", "NCHW"),
            "format 'imagefolder' cannot hold NCHW; it holds uint8 NHWC",
        ),
        (("--format", "npy", "--shape", "dense"), "shape 'dense' is for one that keeps every patch"),
    ],
)
def test_a_mistake_is_one_sentence_and_leaves_nothing(arguments, sentence, smi, sparse_folder, tmp_path):
    answer = smi("export-images", sparse_folder, tmp_path / "out", *arguments)
    assert answer.code == 2 and sentence in answer.sentence
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_there_is_refused_before_the_dataset_is_read(smi, tmp_path):
    answer = smi("export-images", "no/such", tmp_path, "--format", "npy")
    assert answer.code == 2 and f"output_dir {tmp_path} exists" in answer.sentence


def test_help_imports_nothing_heavy_and_teaches_every_format(run_command):
    code = (
        "import sys\nfrom smi_hf.cli.main import main\ntry:\n    main(['export-images', '--help-all'])\n"
        "except SystemExit:\n    print(sorted({'torch', 'transformers', 'datasets', 'numpy'} & set(sys.modules)))"
    )
    out = run_command(sys.executable, "-c", code).stdout
    assert out.endswith("[]\n")
    for name in FORMATS.names():
        assert f"\n  {name} " in out
    assert "recipes/runtimes/README.md" in out
