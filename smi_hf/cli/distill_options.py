"""Options of `smi-hf distill` that become one value each: teacher, student, quantization, rounds."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from smi_hf.cli.arguments import ArgumentParser
from smi_hf.cli.models import HeadArguments, ModelArguments
from smi_hf.errors import UsageError
from smi_hf.inversion.config import SparseInversionConfig

if TYPE_CHECKING:
    from smi_hf.data import SparseDataset
    from smi_hf.distillation import Rounds, SparseDistillationConfig, StudentModel
    from smi_hf.models import Teacher
    from smi_hf.quantization.qat import QuantizationAwareTraining

logger = logging.getLogger(__name__)

# What rounds decide, so that a file must not.
_DECIDED = ("overwrite_output_dir", "push_to_hub")


@dataclass(kw_only=True)
class TeacherArguments(HeadArguments):
    """Who teaches."""

    teacher: str = field(
        metadata={
            "help": "Classifier, image tower or backbone that teaches: a Hub id, or a folder of save_pretrained."
        }
    )
    teacher_revision: str | None = field(default=None, metadata={"help": "Branch, tag or commit of the teacher."})
    image_size: list[int] | None = field(
        default=None,
        metadata={"help": "Image size of the teacher as for smi-hf invert: side, or height and width, in pixels."},
    )
    allow_pickle: bool = field(
        default=False,
        metadata={"help": "Load the teacher from a pickle if it has no safetensors. A pickle can run any code."},
    )

    def load_teacher(self, datasets: Sequence[str] = ()) -> "Teacher":
        """The teacher; arguments and errors as of `ModelArguments.load_teacher`."""
        return ModelArguments(
            model_name_or_path=self.teacher,
            revision=self.teacher_revision,
            image_size=self.image_size,
            allow_pickle=self.allow_pickle,
            labels=self.labels,
            prompts=self.prompts,
            directions=self.directions,
            directions_from=self.directions_from,
        ).load_teacher(datasets)


@dataclass
class StudentArguments:
    """Who learns."""

    student: str | None = field(
        default=None,
        metadata={
            "help": "Classifier that learns, of any kind: a Hub id or a folder. One without the teacher's grid sees "
            "whole images (shown). Or give student_layers."
        },
    )
    student_layers: str | None = field(
        default=None,
        metadata={
            "help": "In place of student: the teacher with these of its layers ('0,2'), or with so many ('6'). "
            "Numbers from 0, with commas, name those that stay ('3,' for one); a number alone says how many, and "
            "those are chosen that the answers to the first dataset can least do without."
        },
    )
    student_revision: str | None = field(default=None, metadata={"help": "Branch, tag or commit of the student."})
    from_scratch: bool = field(
        default=False, metadata={"help": "Take the student's architecture alone, and draw its weights anew."}
    )
    replace_head: bool = field(
        default=True, metadata={"help": "Whether a student of other labels may be given a new head."}
    )

    def __post_init__(self) -> None:
        if (self.student is None) == (self.student_layers is None):
            raise UsageError(
                f"student names a checkpoint that learns, student_layers the teacher's own layers, and "
                f"{'neither was' if self.student is None else 'both were'} given; give one of them"
            )
        if self.student_layers is None:
            return
        _read_layers(self.student_layers)
        for name, default in (("student_revision", None), ("from_scratch", False), ("replace_head", True)):
            if getattr(self, name) != default:
                raise UsageError(
                    f"{name} says what becomes of a checkpoint, but student_layers takes the teacher's own layers and "
                    f"head as they are; leave it out, or give student in place of student_layers"
                )

    def check_can_choose(self, *, has_images: bool) -> None:
        """Checks, before anything is loaded, that layers can be chosen where they are to be.

        Args:
            has_images: whether there is a dataset already.

        Raises:
            UsageError: they cannot.
        """
        if self.student_layers is not None and not has_images and isinstance(_read_layers(self.student_layers), int):
            raise UsageError(
                f"student_layers is {self.student_layers!r}, so that layers are chosen on a dataset, but rounds have "
                f"none before the first of them; name the layers that stay ('0,2'), or leave out rounds"
            )

    def load_student(
        self, teacher: "Teacher", config: "SparseDistillationConfig", datasets: Sequence["SparseDataset"]
    ) -> "StudentModel":
        """The student; errors as of `smi_hf.load_student` and `smi_hf.student_of_layers`.

        Args:
            config: says how new weights are drawn, and on which images of the first dataset layers are chosen.
        """
        from smi_hf.distillation import load_student, student_of_layers

        if self.student_layers is not None:
            layers = _read_layers(self.student_layers)
            if isinstance(layers, int):
                layers = _choose_layers(teacher, datasets[0], layers, config)
            return student_of_layers(teacher, layers)
        return load_student(
            self.student,
            teacher,
            revision=self.student_revision,
            replace_head=self.replace_head,
            from_scratch=self.from_scratch,
            seed=config.seed,
        )


@dataclass
class QuantizeArguments:
    """How a student is rounded while it learns."""

    quantize_weights: int | None = field(
        default=None,
        metadata={
            "help": "Round the student's weights to that many bits (8, 4, 2) while it learns. This is "
            "quantization-aware training by quanto; the integer model is written to output_dir/quantized."
        },
    )
    quantize_activations: int = field(
        default=8, metadata={"help": "Bits of its activations with quantize_weights: 8, or 32 for floating point."}
    )
    exclude: list[str] = field(
        default_factory=list, metadata={"help": "Names of layers that quantize_weights leaves in floating point."}
    )

    def __post_init__(self) -> None:
        for name, default in (("exclude", []), ("quantize_activations", 8)):
            if self.quantize_weights is None and getattr(self, name) != default:
                raise UsageError(f"{name} belongs to quantize_weights, which was not given; give both")

    def make_quantization(self) -> "QuantizationAwareTraining | None":
        """None if none was asked for."""
        from smi_hf.quantization.qat import QuantizationAwareTraining

        if self.quantize_weights is None:
            return None
        return QuantizationAwareTraining(self.quantize_weights, self.quantize_activations, tuple(self.exclude))


@dataclass
class RoundsArguments:
    """How the images grow while a student learns from them."""

    rounds: int = field(
        default=0,
        metadata={
            "help": "Invert and distill in turn, that many times: dataset is then a folder that grows by "
            "images_per_round each time. 0, the default, teaches on a dataset that is there, which is cheaper."
        },
    )
    images_per_round: int = field(default=32, metadata={"help": "Images that each of the rounds adds."})
    inversion_config: str | None = field(
        default=None, metadata={"help": "YAML file of smi-hf invert for the rounds: its steps, classes and so on."}
    )

    def __post_init__(self) -> None:
        if self.rounds < 0 or self.images_per_round < 1:
            raise UsageError(
                f"rounds must be at least 0 and images_per_round at least 1, but {self.rounds} and "
                f"{self.images_per_round} were given"
            )
        if self.inversion_config and not self.rounds:
            raise UsageError("inversion_config says how rounds invert; give --rounds as well")

    def read_inversion(self, teacher: TeacherArguments, folder: str) -> SparseInversionConfig:
        """The settings by which rounds invert, from the file if there is one.

        Args:
            folder: where the images go.

        Raises:
            UsageError: the file is wrong, or says something else than the command.
        """
        checkpoint, config = ArgumentParser((_Checkpoint, SparseInversionConfig), prog="smi-hf distill").parse(
            ["--config", self.inversion_config] if self.inversion_config else []
        )
        ours = _Checkpoint(teacher.teacher, teacher.teacher_revision, teacher.image_size, teacher.allow_pickle)
        for name, value in vars(checkpoint).items():
            if value not in (None, False, getattr(ours, name)):
                raise UsageError(
                    f"inversion_config {self.inversion_config} says {name} {value!r}, but rounds invert the teacher, "
                    f"whose {name} is {getattr(ours, name)!r}; leave it out of the file"
                )
        for name in _DECIDED:
            if getattr(config, name):
                raise UsageError(
                    f"inversion_config {self.inversion_config} says {name}, which rounds cannot do; leave it out"
                )
        # As many images as a round adds, which policy pri may not be able to make, are refused before the first round.
        return replace(config, output_dir=folder, num_images=self.images_per_round)

    def make_rounds(self, teacher: "Teacher", inversion: SparseInversionConfig) -> "Rounds":
        """The rounds that grow a dataset of a teacher.

        Args:
            inversion: as of `read_inversion`.
        """
        from smi_hf.distillation import Rounds

        settings = {name: value for name, value in inversion.image_settings().items() if name != "num_images"}
        return Rounds(
            self.rounds,
            self.images_per_round,
            lambda num_images: _grow(teacher, inversion, num_images),
            {"dataset": Path(inversion.output_dir).resolve().name, **settings},
        )


@dataclass
class _Checkpoint:
    """What a file of `smi-hf invert` may say beside the inversion's settings; it must be what distill says."""

    model_name_or_path: str | None = None
    revision: str | None = None
    image_size: list[int] | None = None
    allow_pickle: bool = False


def _read_layers(text: str) -> int | tuple[int, ...]:
    """`6` is how many layers, `0,2` are their numbers; so is `3,`."""
    *numbers, last = text.split(",")
    try:
        if not numbers:
            return int(last)
        return tuple(int(number) for number in ([*numbers, last] if last.strip() else numbers))
    except ValueError as error:
        raise UsageError(
            f"student_layers is {text!r}, but must be numbers of the teacher's layers, from 0, with commas ('0,2', or "
            f"'3,' for one), or else how many of them are to be chosen ('6')"
        ) from error


def _choose_layers(
    teacher: "Teacher", dataset: "SparseDataset", num_layers: int, config: "SparseDistillationConfig"
) -> tuple[int, ...]:
    """Numbers of the layers that a teacher can least do without, on the images that are to teach."""
    from smi_hf.data.validation import check_made_from
    from smi_hf.images.kept import sparse_images
    from smi_hf.pruning import choose_layers

    check_made_from(dataset.record, teacher, other_teacher=config.other_teacher)
    images = sparse_images(dataset, config.num_images)
    layers = choose_layers(teacher.model, images, num_layers, disable_tqdm=config.disable_tqdm)
    if config.process_index == 0:
        total = teacher.model.shape.num_layers
        logger.info("the student gets the layers %s of the teacher's %d, from 0", ",".join(map(str, layers)), total)
    return layers


def _grow(teacher: "Teacher", config: SparseInversionConfig, num_images: int) -> "SparseDataset":
    """The pool of that many images: those that are not there yet are made."""
    from smi_hf.inversion import invert

    return invert(teacher, replace(config, num_images=num_images))
