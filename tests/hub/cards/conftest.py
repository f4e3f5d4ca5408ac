"""Records, as the runs write them, that cards are rendered from."""

import re
from dataclasses import replace

import numpy as np
import pytest
from huggingface_hub import metadata_load
from markdown_it import MarkdownIt

from smi_hf.data import DatasetRecord, FinishedImages
from smi_hf.data.sizes import shard_sizes
from smi_hf.data.writer import SparseDatasetWriter
from smi_hf.environment import Environment
from smi_hf.evaluation.record import DatasetReference, ModelRecord, Runtime, StudentReference
from smi_hf.evaluation.table import Row, Scores
from smi_hf.hub.cards.dataset import save_card
from smi_hf.images.real import ImageSetReference
from smi_hf.models import CheckpointReference, License

COMMIT = "0123456789abcdef0123456789abcdef01234567"
TEACHER = CheckpointReference("someone/vit", COMMIT, "vit", "1" * 64, License("mit"))
DATASET = DatasetReference("me/vit-smi", COMMIT, "2" * 64, 32, 46, True)
STUDENT = StudentReference("someone/small-vit", COMMIT, "deit", License("mit"), False, 5_717_416, "kept patches")
ENVIRONMENT = Environment("full", "cpu, 2 threads", {"python": "3.11", "transformers": "4.57"})
MEASURED = ImageSetReference("photographs", "someone/photographs", "test", 1000)


# A name as a stranger might give it: lines, YAML, headings, links, pictures, HTML, code, tables, terminal codes.
EVIL = (
    "x\n---\nlicense: evil\n# Evil\n\n[click](javascript:evil()) ![see](http://evil.example/i.png) <b onclick=evil()> "
    "` | evil | `` ](http://evil.example) **evil** <http://evil.example> _evil_ \\[evil](http://evil.example)\n```\nevil"
    "\n```\n| evil |\n|---|\n\x1b[31m\u202e$$evil$$"
)


@pytest.fixture
def evil():
    return EVIL


@pytest.fixture
def check_text_stays_text(tmp_path):
    """Checks that nothing of `EVIL` on a card is more than text."""

    def check(card):
        card.save(tmp_path / "README.md")
        metadata = metadata_load(tmp_path / "README.md")
        assert "evil" not in metadata and metadata.get("license") != "evil"
        body = (tmp_path / "README.md").read_text().split("\n---\n", 1)[1]
        assert "evil" in body and "\x1b" not in body and "\u202e" not in body
        blocks = MarkdownIt("commonmark").enable("table").parse(body)
        for token in [each for block in blocks for each in (block, *(block.children or ()))]:
            address = str(token.attrs.get("href", "")) + str(token.attrs.get("src", ""))
            assert "evil" not in address, address
            assert not token.type.startswith("html"), token.content
        headings = [blocks[place + 1] for place, block in enumerate(blocks) if block.type == "heading_open"]
        # The title is the one heading with a name in it.
        assert not any("evil" in heading.content.lower() for heading in headings[1:])
        strong = [block for block in blocks if block.type == "inline" and "**evil**" in block.content]
        assert not any(child.type == "strong_open" and "evil" in child.content for b in strong for child in b.children)
        for lines in re.findall(r"(?:^\|.*\n)+", body, flags=re.MULTILINE):
            rows = [re.findall(r"(?<!\\)\|", line) for line in lines.splitlines()]
            assert len(set(map(len, rows))) == 1, lines

    return check


def row(key: str, label: str, *top1: float, **figures: float) -> Row:
    return Row(key, label, tuple(Scores(value, 0.97, 0.9) for value in top1), figures)


@pytest.fixture
def quantized():
    settings = {"backend": "onnx", "weights": 8, "activations": 8, "operators": ["MatMul", "Gemm"], "exclude": []}
    settings |= {"target": None, "quantize_outputs": True, "quantized_layers": 97, "layers": 99}
    settings |= {"calibration_patches": "kept", "control_seeds": [0, 1]}
    speed = {"size_mb": 6.9, "latency_ms_1": 10.8, "latency_ms_32": 171.2, "images_per_second": 187.0}
    rows = (
        row("float32", "float32", 0.851, **{name: 2 * value for name, value in speed.items()}),
        row("sparse", "inverted, kept patches", 0.853, 0.829, **speed),
        row("gaussian", "Gaussian noise", 0.06, 0.04, **speed),
    )
    runtime = Runtime("ONNX Runtime", "optimum", ("onnx", "onnxruntime"))
    return ModelRecord(
        "quantized", TEACHER, (DATASET,), settings, ENVIRONMENT, runtime=runtime, measured=MEASURED, rows=rows
    )


@pytest.fixture
def distilled():
    settings = {"loss": "kl", "temperature": 20.0, "freeze_backbone": True, "learning_rate": 0.1, "bf16": False}
    rows = (
        row("teacher", "teacher", 0.889),
        row("sparse", "inverted, kept patches", 0.841, num_images=32, seconds=16.2),
        row("gaussian", "Gaussian noise", 0.727, num_images=32, seconds=50.1),
    )
    return ModelRecord(
        "distilled",
        TEACHER,
        (DATASET,),
        settings,
        ENVIRONMENT,
        student=STUDENT,
        measured=MEASURED,
        rows=rows,
        curves={"sparse": ((1.0, 0.5),)},
        pictures=("learning_curves.png",),
    )


@pytest.fixture
def record():
    """Of an unfinished dataset of 4 images with 3 of 6 patches."""
    settings = {
        "num_images": 4,
        "num_steps": 10,
        "policy": "smi",
        "prune_steps": [5],
        "prune_ratios": [0.5],
        "seed": 7,
    }
    return DatasetRecord(
        teacher=replace(TEACHER, revision="abc", license=None),
        label_names=["crane", "dog", "crane"],
        image_size=(16, 24),
        patch_size=(8, 8),
        image_mean=(0.5, 0.5, 0.5),
        image_std=(0.5, 0.5, 0.5),
        settings=settings,
        keep_counts=(6, 3),
    )


@pytest.fixture
def dataset_folder(record, tmp_path):
    """A complete dataset in two shards, with its card."""
    folder = tmp_path / "dataset"
    writer = SparseDatasetWriter(folder, record)
    writer.open()
    generator = np.random.default_rng(0)
    for first in (0, 2):
        images = FinishedImages(
            image_indices=(first, first + 1),
            seed=7,
            steps=10,
            labels=[0, 1],
            patches_BKCPQ=generator.integers(0, 256, (2, 3, 3, 8, 8), dtype=np.uint8),
            kept_BK=np.stack([np.sort(generator.permutation(6)[:3]) for _ in range(2)]),
            target_probability_B=generator.random(2),
        )
        writer.write(images)
    results = {"target_top1": 1.0, "mean_target_probability": 0.5, "content_sha256": writer.content_sha256()}
    complete = record.completed(results | shard_sizes(writer.shards()))
    save_card(complete, folder)
    complete.save(folder)
    return folder


@pytest.fixture
def complete(dataset_folder):
    return DatasetRecord.load(dataset_folder)
