"""How a `Trainer` judges its student while it learns: answers computed once, the judgements, and how long they take.

Legend: `B` images, `S` summary tokens, `D` hidden size, `L` labels, `C` channels, `K` kept patches, `P Q` patch
pixels.
"""

import time
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import EvalPrediction, Trainer
from transformers.modeling_outputs import ImageClassifierOutput
from transformers.trainer_utils import IntervalStrategy

from smi_hf.distillation.answers import answer_views
from smi_hf.distillation.batches import Answers, RealImages, Views
from smi_hf.distillation.config import SparseDistillationConfig
from smi_hf.distillation.forecast import Forecast
from smi_hf.distillation.matching import answer_losses, compare
from smi_hf.distillation.students import DenseStudent, SparseStudent
from smi_hf.distillation.views import make_views
from smi_hf.evaluation.record import HeldOut
from smi_hf.models import Teacher
from smi_hf.models.for_a_while import evaluating

# Names of the two sets that may judge.
HELD_OUT, REAL = "held_out", "real"
REAL_IMAGES = "real images"


class EvaluatingTrainer(Trainer):
    """What `SparseDistillationTrainer` does to judge its student, on synthetic images, on real ones, or on both.

    Attributes:
        teacher: that taught.
        student: its model is that of the trainer.
        judged_on: what judges the student in the end, in words.
    """

    args: SparseDistillationConfig
    teacher: Teacher
    student: SparseStudent | DenseStudent
    judged_on: str

    # Batches: a dataset here gives numbers, and its own collate makes tensors of them.

    def get_eval_dataloader(self, eval_dataset: Any = None) -> torch.utils.data.DataLoader:
        judged = self._sets[eval_dataset] if isinstance(eval_dataset, str) else eval_dataset or self.eval_dataset
        if isinstance(judged, Views):
            self._answer_held_out(judged)
        self._begin_to_judge(judged)
        return super().get_eval_dataloader(eval_dataset)

    def get_test_dataloader(self, test_dataset: Any) -> torch.utils.data.DataLoader:
        self._begin_to_judge(test_dataset)
        return super().get_test_dataloader(test_dataset)

    def _begin_to_judge(self, judged: Views | RealImages) -> None:
        self._judged = judged
        self.data_collator = judged.collate

    @property
    def _sets(self) -> dict[str, Views | RealImages]:
        """What judges, by name; of two, the first decides when to stop."""
        if isinstance(self.eval_dataset, dict):
            return self.eval_dataset
        return {REAL if isinstance(self.eval_dataset, RealImages) else HELD_OUT: self.eval_dataset}

    def evaluate(
        self, eval_dataset: Any = None, ignore_keys: list[str] | None = None, metric_key_prefix: str = "eval"
    ) -> dict[str, float]:
        """As `Trainer.evaluate`; where two sets judge, their figures differ by name without the names of the sets."""
        if eval_dataset is not None or not isinstance(self.eval_dataset, dict):
            return super().evaluate(eval_dataset, ignore_keys, metric_key_prefix)
        figures = {}
        for name in self.eval_dataset:
            figures |= super().evaluate(name, ignore_keys, metric_key_prefix)
        return figures

    def judge_held_out(self) -> HeldOut | None:
        """Agreement with the teacher on the held-out synthetic images, None if real images judge the student."""
        if self.judged_on == REAL_IMAGES:
            return None
        return HeldOut(num_images=len(self.eval_dataset), agreement=self.evaluate()["eval_agreement"])

    @property
    def curve(self) -> tuple[tuple[float, float], ...]:
        """(epoch, top-1 in [0, 1]) at every evaluation on real images."""
        entries = self.state.log_history
        return tuple((float(each["epoch"]), float(each["eval_top1"])) for each in entries if "eval_top1" in each)

    @property
    def _summarizes(self) -> bool:
        """Whether what the head reads of an image never changes, and can be told."""
        return self.args.freeze_backbone and isinstance(self.student, SparseStudent)

    @property
    def _is_divided(self) -> bool:
        """Whether processes divide the model's state among them."""
        return self.is_fsdp_enabled or self.is_deepspeed_enabled

    def _add_forecast(self) -> None:
        """Lets the first steps say how long the rest will take."""
        seconds = 0.0
        if self.args.eval_strategy != IntervalStrategy.NO and not self._is_divided:
            self.model.eval()
            for judged in self._sets.values():
                seconds += self._judge_seconds(judged)
        self.remove_callback(Forecast)
        self.add_callback(Forecast(seconds, is_judged_once=self._summarizes, may_stop=self.args.stops_early))

    def _judge_seconds(self, judged: Views | RealImages) -> float:
        """How long it takes to judge by a set, measured on its first batch."""
        # Not through a loader: to begin one draws from the random numbers of the training.
        if isinstance(judged, Views):
            self._answer_held_out(judged)
        items = list(range(min(len(judged), self.args.eval_batch_size)))
        start = time.perf_counter()
        self._judge(self.model, judged, judged.collate(items))
        return (time.perf_counter() - start) * len(judged) / len(items) / self.args.world_size

    def _views(self, inputs: dict[str, Tensor], augmentations: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Patches and their places for each image of a batch, as its view says."""
        views = inputs["view"].tolist()
        if self.args.num_views == 0 and self.model.training:
            # A view of its own for each epoch; 0 would be the image as it is.
            views = [1 + int(self.state.epoch or 0)] * len(views)
        return make_views(
            inputs["pixel_values"],
            inputs["kept_patches"],
            self.teacher.model.grid,
            augmentations,
            seed=self.args.seed,
            image_indices=inputs["image_index"].tolist(),
            views=views,
        )

    def _compare(
        self, model: nn.Module, inputs: dict[str, Tensor], augmentations: Sequence[str]
    ) -> tuple[ImageClassifierOutput, dict[str, Tensor]]:
        """The student's output for a batch of views, and the parts of its loss by name."""
        if "summary" in inputs:
            output = self.student.forward_summary(model, inputs["summary"])
            return output, answer_losses(self.args, output.logits, inputs["teacher_logits"], inputs["labels"])
        patches_BKCPQ, kept_BK = self._views(inputs, augmentations)
        return compare(self.args, self.student, self.teacher, model, patches_BKCPQ, kept_BK, inputs)

    def _answer_held_out(self, held_out: Views) -> None:
        """Computes once what every judgement needs of the teacher, and of a frozen backbone."""
        if held_out.answers is None and not self._is_divided:
            # All kept patches: students of different augmentations are judged on the same images.
            held_out.answers = self._answer_all(held_out, augmentations=())

    @torch.no_grad()
    def _answer_all(self, views: Views, augmentations: Sequence[str]) -> Answers:
        """Runs the teacher, and a frozen backbone, once for each view; processes share the work."""
        with evaluating(self.model):
            return answer_views(
                views,
                partial(self._answer, augmentations=augmentations),
                process=self.args.process_index,
                num_processes=self.args.world_size,
                disable_tqdm=self.args.disable_tqdm or not self.is_world_process_zero(),
            )

    def _answer(self, batch: dict[str, Tensor], augmentations: Sequence[str]) -> tuple[Tensor, Tensor, Tensor | None]:
        inputs = self._prepare_inputs(batch)
        patches_BKCPQ, kept_BK = self._views(inputs, augmentations)
        logits_BL = self.teacher.model.forward_patches(patches_BKCPQ, kept_BK).logits.float().cpu()
        summary_BSD = None
        if self._summarizes:
            summary_BSD = self.student.summarize(patches_BKCPQ, kept_BK).cpu()
        return logits_BL, inputs["labels"].cpu(), summary_BSD

    def prediction_step(
        self, model: nn.Module, inputs: dict[str, Tensor], prediction_loss_only: bool, ignore_keys: Any = None
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """Logits of a batch, and what they should be: labels of real images, the teacher's logits for synthetic."""
        return self._judge(model, self._judged, inputs)

    def _judge(
        self, model: nn.Module, judged: Views | RealImages, batch: dict[str, Tensor]
    ) -> tuple[Tensor | None, Tensor, Tensor]:
        """As `prediction_step`, of a batch of the images that `judged` has."""
        inputs = self._prepare_inputs(batch)
        with torch.no_grad(), self.compute_loss_context_manager():
            if isinstance(judged, RealImages):
                return None, self._answer_real(model, judged, inputs), inputs["labels"]
            if "teacher_logits" not in inputs:
                inputs["teacher_logits"] = self.teacher.model.forward_patches(*self._views(inputs, ())).logits
            output, parts = self._compare(model, inputs, augmentations=())
        return sum(parts.values()), output.logits, inputs["teacher_logits"]

    def _answer_real(self, model: nn.Module, judged: RealImages, inputs: dict[str, Tensor]) -> Tensor:
        """Logits of real images; what a frozen backbone makes of an image is computed once."""
        if not self._summarizes:
            return self.student.answer_images(model, inputs["pixel_values"]).logits
        summary_BSD = inputs.get("summary")
        if summary_BSD is None:
            summary_BSD = self.student.summarize_images(inputs["pixel_values"])
            judged.remember(inputs, summary_BSD)
        return self.student.forward_summary(model, summary_BSD).logits


def judged_images(logits_BL: Tensor, wanted: Tensor) -> Tensor:
    """What is kept of a judged batch: the first choices of real images, best first, (B, at most 5), or of synthetic
    ones whether the first choice is the teacher's, and the KL divergence from its answer, (B, 2).

    Args:
        wanted: labels (B,), or the teacher's logits (B, L).
    """
    if wanted.ndim == 1:
        return logits_BL.topk(min(5, logits_BL.shape[-1])).indices
    student_BL, teacher_BL = (logits.float().log_softmax(dim=-1) for logits in (logits_BL, wanted))
    kl_B = F.kl_div(student_BL, teacher_BL, reduction="none", log_target=True).sum(dim=-1)
    return torch.stack([(logits_BL.argmax(dim=-1) == wanted.argmax(dim=-1)).float(), kl_B], dim=-1)


def figures(prediction: EvalPrediction) -> dict[str, float]:
    """The figures of a set, from what `judged_images` keeps of it.

    Of real images `top1` and `top5`, accuracies in [0, 1]. Of synthetic ones `agreement`, the share with the teacher's
    first choice, and `kl`, the mean of KL(teacher || student) at temperature 1, in nats, at least 0.
    """
    if prediction.label_ids.ndim == 1:
        from smi_hf.evaluation.metrics import TopKAccuracy

        choices, labels = prediction.predictions.tolist(), prediction.label_ids.tolist()
        return TopKAccuracy().compute(predictions=choices, references=labels)
    agreement, kl = prediction.predictions.mean(axis=0, dtype="float64")
    return {"agreement": float(agreement), "kl": float(kl)}
