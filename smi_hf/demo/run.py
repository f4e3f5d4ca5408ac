"""The demonstration: the whole way on the embedded teacher, by the public verbs alone."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from smi_hf.data import DatasetRecord, SparseDataset
from smi_hf.data.report_file import REPORT_FILE
from smi_hf.demo import TEACHER_PATH
from smi_hf.demo.digits import digits_dataset
from smi_hf.demo.folder import file_step, open_folder, step
from smi_hf.evaluation.cost import record_macs
from smi_hf.evaluation.run import Evaluation, evaluate
from smi_hf.hub import push
from smi_hf.images.real import ImageSet
from smi_hf.inversion import SparseInversionConfig, invert
from smi_hf.models import load_teacher
from smi_hf.pruning import PruningConfig, prune
from smi_hf.quantization import QuantizationConfig, quantize
from smi_hf.reports.page import write_report

if TYPE_CHECKING:
    from smi_hf.evaluation.record import ModelRecord

NUM_HELD_OUT_IMAGES = 1000
# Where each step writes, in the demonstration's folder.
DENSE, SPARSE, INT8, PRUNED, RECOVERED = "dense", "smi", "int8", "pruned", "recovered"
# What images have to be better than: noise, and pictures that cost no inversion.
CONTROLS = ("gaussian", "scenes")


@dataclass(frozen=True)
class Inversion:
    """What an inversion of the demonstration cost and gave.

    Args:
        dataset: the images.
        gflops: floating-point operations of the forward passes of one image, in 10^9.
    """

    dataset: SparseDataset
    gflops: float

    @property
    def record(self) -> DatasetRecord:
        return self.dataset.record

    @property
    def seconds(self) -> float:
        return self.record.results["seconds_this_session"]


class Demo:
    """The steps, each of which may be taken once the ones before have been.

    Args:
        output_dir: new, empty, or of an earlier demonstration, whose files are removed.
        seed: of everything.
    """

    def __init__(self, output_dir: Path, *, seed: int = 0) -> None:
        open_folder(output_dir)
        self.output_dir = output_dir
        self.seed = seed
        self.teacher = load_teacher(str(TEACHER_PATH))
        self.images = ImageSet(digits_dataset("test", NUM_HELD_OUT_IMAGES), "image", "label", name="generated digits")

    def judge_teacher(self) -> Evaluation:
        """The teacher on held-out digits."""
        return evaluate(self.teacher, self.images)

    def invert(self, name: str, *, num_images: int, num_steps: int, policy: str = "smi") -> Inversion:
        """A dataset in the folder of that name."""
        with step(self.output_dir, name) as folder:
            config = SparseInversionConfig(
                output_dir=str(folder),
                num_images=num_images,
                num_steps=num_steps,
                seed=self.seed,
                classes=["balanced"],
                policy=policy,
                # A mirrored 2 is no 2; and at 64 px the paper's 0.25 overshoots.
                flip_probability=0.0,
                learning_rate=0.1,
                report=False,
            )
            dataset = invert(self.teacher, config)
        # Two operations per multiply-accumulate.
        return Inversion(dataset, 2 * record_macs(self.teacher.model, dataset.record) / 1e9)

    def quantize(self, dataset: SparseDataset) -> "ModelRecord":
        """An int8 model calibrated on the images. Without controls: on this teacher noise does as well."""
        with step(self.output_dir, INT8) as folder:
            config = QuantizationConfig(output_dir=str(folder), report=False)
            return quantize(self.teacher, dataset, config, images=self.images)

    def prune(self, dataset: SparseDataset) -> "ModelRecord":
        """The teacher without one of its layers and half of its hidden units, beside those pruned on `CONTROLS`.

        On the images alone, without the procedural pictures that stand beside them otherwise and help noise, too.
        """
        with step(self.output_dir, PRUNED) as folder:
            config = PruningConfig(
                output_dir=str(folder),
                keep_mlp=0.5,
                num_layers=3,
                num_scenes=0,
                num_epochs=10,
                seed=self.seed,
                control_seeds=[self.seed],
                report=False,
            )
            return prune(self.teacher, dataset, config, images=self.images, controls=CONTROLS)

    def recover(self, dataset: SparseDataset, *, num_steps: int) -> "ModelRecord":
        """The pruned teacher, taught what it lost, beside those that are taught on `CONTROLS`."""
        from smi_hf.distillation import SparseDistillationConfig, distill, load_student

        with step(self.output_dir, RECOVERED) as folder:
            args = SparseDistillationConfig(
                output_dir=str(folder),
                max_steps=num_steps,
                # A mirrored 2 is no 2.
                augmentations=["shift", "color"],
                eval_strategy="steps",
                eval_steps=0.25,
                save_strategy="no",
                logging_strategy="no",
                use_cpu=True,
                report=False,
                seed=self.seed,
                control_seeds=[self.seed],
            )
            student = load_student(str(self.output_dir / PRUNED), self.teacher)
            return distill(self.teacher, student, dataset, args, images=self.images, controls=CONTROLS)

    def report(self) -> Path:
        """One page of everything that was made."""
        with file_step(self.output_dir, REPORT_FILE) as page:
            return write_report([self.output_dir], page)

    def publish(self) -> tuple[str, dict[str, str]]:
        """Pushes every dataset and model, and reads the sparse dataset back by stock `datasets`.

        Returns:
            The repository of the sparse dataset, and the address of each commit by the folder that was pushed.
        """
        from datasets import load_dataset
        from huggingface_hub import whoami

        folders = [name for name in (SPARSE, DENSE, INT8, PRUNED, RECOVERED) if (self.output_dir / name).is_dir()]
        addresses = {name: push(self.output_dir / name, f"digits-{name}") for name in folders}
        repo_id = f"{whoami()['name']}/digits-{SPARSE}"
        pushed, local = (load_dataset(name, split="train") for name in (repo_id, str(self.output_dir / SPARSE)))
        assert pushed.with_format("arrow")[:] == local.with_format("arrow")[:], "what was pushed is what is loaded"
        return repo_id, addresses
