"""What all tests share: one tiny checkpoint, offline, one thread a worker."""

import copy
import importlib
import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

# Before any import of these libraries: no test may reach the network, and a cache must not outlive the run.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import numpy as np
import pytest
import torch
import torchvision_operators

pytest_plugins = ["loopback.fixture"]

ROOT = Path(__file__).resolve().parents[1]
NUM_LABELS = 5

# Where `make test-timm` brought torchvision along, before anything asks whether it is there.
torchvision_operators.supply()
# Workers share the cores; and equal thread counts make equal rounding in this process and in those that it starts.
torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def _private_caches(tmp_path_factory):
    import datasets

    datasets.config.HF_DATASETS_CACHE = tmp_path_factory.mktemp("datasets-cache")
    cache = tmp_path_factory.mktemp("smi-hf-cache")
    os.environ["SMI_HF_CACHE"] = str(cache)
    # The library of charts takes seconds to put together, and is the same in every run: it is named by its version.
    shared = Path(tempfile.gettempdir()) / f"smi-hf-tests-{os.getuid()}"
    shared.mkdir(exist_ok=True)
    (cache / "javascript").symlink_to(shared)


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory) -> Path:
    """A ViT of 4x4 patches and 5 labels with random weights, and its image processor."""
    from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessor

    folder = tmp_path_factory.mktemp("checkpoints") / "tiny-vit"
    torch.manual_seed(0)
    config = ViTConfig(
        image_size=32,
        patch_size=8,
        hidden_size=24,
        num_hidden_layers=2,
        num_attention_heads=3,
        intermediate_size=48,
        num_labels=NUM_LABELS,
        # Large enough for the logits to depend on the image.
        initializer_range=0.2,
    )
    ViTForImageClassification(config).save_pretrained(folder)
    ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def resnet_checkpoint(tmp_path_factory) -> Path:
    """A ResNet of 5 labels that has seen random images, and its image processor, which normalizes in its own way."""
    from transformers import ResNetConfig, ResNetForImageClassification, ViTImageProcessor

    folder = tmp_path_factory.mktemp("checkpoints") / "tiny-resnet"
    torch.manual_seed(1)
    config = ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic", num_labels=NUM_LABELS
    )
    model = ResNetForImageClassification(config)
    with torch.no_grad():
        for _ in range(3):
            model.train()(torch.randn(8, 3, 32, 32))
    model.save_pretrained(folder)
    ViTImageProcessor(
        size={"height": 32, "width": 32}, image_mean=[0.4, 0.5, 0.6], image_std=[0.2, 0.25, 0.3]
    ).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def backbone_teacher(tmp_path_factory):
    """A DINOv2 without a classification head, with directions for targets."""
    from towers import BACKBONE, save

    from smi_hf import load_teacher

    return load_teacher(str(save(BACKBONE, tmp_path_factory.mktemp("checkpoints") / "backbone")), directions=4)


@pytest.fixture(scope="session")
def photographs(tmp_path_factory):
    """A labelled image set as one parquet file: random pictures in the tiny model's 5 labels."""
    from datasets import ClassLabel, Dataset, Features, Image
    from PIL import Image as Picture

    generator = np.random.default_rng(0)
    rows = {
        "image": [Picture.fromarray(generator.integers(0, 256, (40, 36, 3), dtype=np.uint8)) for _ in range(20)],
        "label": [index % 5 for index in range(20)],
    }
    names = [f"LABEL_{label}" for label in range(5)]
    path = tmp_path_factory.mktemp("photographs") / "test.parquet"
    Dataset.from_dict(rows, features=Features({"image": Image(), "label": ClassLabel(names=names)})).to_parquet(path)
    return path


@pytest.fixture
def saved(tmp_path):
    """Writes a set of plain pictures whose brightness is their number; returns its path."""

    from datasets import Dataset, Features, Image
    from PIL import Image as Picture

    def save(labels, feature, column="label"):
        pictures = [Picture.fromarray(np.full((4, 4, 3), number, dtype=np.uint8)) for number in range(len(labels))]
        features = Features({"image": Image(), column: feature})
        path = tmp_path / "test.parquet"
        Dataset.from_dict({"image": pictures, column: labels}, features=features).to_parquet(path)
        return str(path)

    return save


@pytest.fixture(scope="session")
def sparse_folder(tiny_checkpoint, tmp_path_factory):
    """A sparse dataset of the tiny checkpoint."""
    from smi_hf import SparseInversionConfig, SparseInversionTrainer, load_teacher

    folder = tmp_path_factory.mktemp("sparse") / "set"
    config = SparseInversionConfig(
        output_dir=str(folder), num_images=6, num_steps=20, prune_steps=[5, 10], disable_tqdm=True
    )
    SparseInversionTrainer(load_teacher(str(tiny_checkpoint)), config).train()
    return folder


@pytest.fixture
def own_precision(monkeypatch):
    """For tests of `TrainingArguments`: they leave their precision in the environment, for processes that later tests
    start, too, and accelerate keeps the first one of a process."""
    from accelerate.state import AcceleratorState

    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "no")
    AcceleratorState._reset_state(reset_partial_state=True)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.fixture
def image_processor(tiny_checkpoint):
    from smi_hf.models.preprocessing import load_image_processor

    return load_image_processor(str(tiny_checkpoint))


@pytest.fixture
def kept_images(sparse_folder, teacher):
    """The images of `sparse_folder` in memory."""
    from smi_hf import load_sparse_dataset
    from smi_hf.images.kept import sparse_images

    return sparse_images(load_sparse_dataset(sparse_folder, teacher=teacher))


@pytest.fixture(scope="session")
def _loaded_teacher(tiny_checkpoint):
    from smi_hf.models import load_teacher

    return load_teacher(str(tiny_checkpoint))


@pytest.fixture
def teacher(_loaded_teacher):
    """The tiny checkpoint, loaded; a copy of its own for each test."""
    return copy.deepcopy(_loaded_teacher)


@pytest.fixture
def dataset(sparse_folder, teacher):
    """The sparse dataset of the tiny checkpoint, loaded."""
    from smi_hf import load_sparse_dataset

    return load_sparse_dataset(sparse_folder, teacher=teacher)


@pytest.fixture
def images(photographs, teacher):
    """The photographs, with the labels of the tiny checkpoint."""
    from smi_hf import load_image_set

    return load_image_set(str(photographs), teacher.label_names)


@pytest.fixture
def run_command():
    """Runs a command from the repository's root as a user would, offline and with one thread; returns the result."""

    def run(*command: str, **options) -> subprocess.CompletedProcess:
        settings = {"cwd": ROOT, "env": environment(), "capture_output": True, "text": True, "timeout": 500}
        return subprocess.run(list(map(str, command)), **(settings | options))

    return run


def environment() -> dict[str, str]:
    """For processes that tests start: this interpreter's scripts first, offline, one thread."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return {**os.environ, "PATH": path, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}


@pytest.fixture
def parser_of(monkeypatch):
    """Gives the parser of a command of `smi-hf`, which runs nothing."""
    from smi_hf.cli.arguments import ArgumentParser
    from smi_hf.cli.main import module_of

    class Reached(Exception):
        pass

    def stop(parser, *_):
        raise Reached(parser)

    def find(command: str) -> ArgumentParser:
        run = importlib.import_module(module_of(command)).run
        with monkeypatch.context() as patches:
            patches.setattr(ArgumentParser, "parse", stop)
            with pytest.raises(Reached) as reached:
                run([])
        return reached.value.args[0]

    return find


@pytest.fixture
def parse_command(parser_of, monkeypatch, own_precision):
    """Parses `smi-hf COMMAND ...`, or the same command as a recipe that `accelerate launch` starts, and runs nothing.

    Relative paths are those of a checkout.
    """
    monkeypatch.chdir(ROOT)

    def parse(line: str) -> tuple:
        words = shlex.split(line, comments=True)
        if words[0] == "smi-hf":
            return parser_of(words[1]).parse(words[2:])
        assert words[:2] == ["accelerate", "launch"], line
        from accelerate.commands.launch import launch_command_parser

        launch = launch_command_parser().parse_args(words[2:])
        script = Path(launch.training_script)
        assert script.is_file() and script.parent == Path("recipes"), f"{script} is no script in recipes/"
        assert launch.config_file is None or Path(launch.config_file).is_file(), launch.config_file
        assert not (launch.cpu and (launch.num_processes or 1) > 1), "--cpu starts one process"
        return parser_of(script.stem).parse(launch.training_script_args)

    return parse


@pytest.fixture(scope="session")
def subprocess_environment() -> dict[str, str]:
    return environment()


@pytest.fixture(scope="session")
def repository() -> Path:
    return ROOT
