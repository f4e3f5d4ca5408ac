"""How a `Trainer` judges its student while it learns: answers computed once, the judgements, and how long they take.

Legend: `B` images, `S` summary tokens, `D` hidden size, `L` labels, `C` channels, `K` kept patches, `P Q` patch
pixels.
"""

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import EvalPrediction, Trainer
from transformers.trainer_utils import IntervalStrategy

from smi_hf.distillation.answers import answer_views
from smi_hf.distillation.batches import Answers, RealImages, Views
from smi_hf.distillation.config import SparseDistillationConfig
from smi_hf.distillation.forecast import Forecast
from smi_hf.distillation.matching import compare
from smi_hf.distillation.students import DenseStudent, SparseStudent
from smi_hf.distillation.views import make_views
from smi_hf.evaluation.record import HeldOut
from smi_hf.models import Teacher


class EvaluatingTrainer(Trainer):
    """What `SparseDistillationTrainer` does to judge its student, on synthetic images or on real ones.

    Attributes:
        teacher: that taught.
        student: its model is that of the trainer.
    """

    args: SparseDistillationConfig
    teacher: Teacher
    student: SparseStudent | DenseStudent

    # Batches: a dataset here gives numbers, and its own collate makes tensors of them.

    def get_eval_dataloader(self, eval_dataset: Any = None) -> torch.utils.data.DataLoader:
        self._begin_to_judge(eval_dataset or self.eval_dataset)
        return super().get_eval_dataloader(eval_dataset)

    def get_test_dataloader(self, test_dataset: Any) -> torch.utils.data.DataLoader:
        self._begin_to_judge(test_dataset)
        return super().get_test_dataloader(test_dataset)

    def _begin_to_judge(self, judged: Views | RealImages) -> None:
        self._judged = judged
        self.data_collator = judged.collate

    def judge_held_out(self) -> HeldOut | None:
        """Agreement with the teacher on the held-out synthetic images, None if real images judge the student."""
        if isinstance(self.eval_dataset, RealImages):
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
            # Not through a loader: to begin one draws from the random numbers of the training.
            judged = self.eval_dataset
            items = list(range(min(len(judged), self.args.eval_batch_size)))
            self.model.eval()
            start = time.perf_counter()
            self._judge(self.model, judged, judged.collate(items))
            seconds = (time.perf_counter() - start) * len(judged) / len(items) / self.args.world_size
        self.remove_callback(Forecast)
        self.add_callback(Forecast(seconds, is_judged_once=self._summarizes))

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

    @torch.no_grad()
    def _answer_all(self, views: Views) -> Answers:
        """Runs the teacher, and a frozen backbone, once for each view; processes share the work."""
        was_training = self.model.training
        self.model.eval()
        answers = answer_views(
            views,
            self._answer,
            process=self.args.process_index,
            num_processes=self.args.world_size,
            disable_tqdm=self.args.disable_tqdm or not self.is_world_process_zero(),
        )
        self.model.train(was_training)
        return answers

    def _answer(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor | None]:
        inputs = self._prepare_inputs(batch)
        patches_BKCPQ, kept_BK = self._views(inputs, self.args.augmentations)
        logits_BL = self.teacher.model.forward_patches(patches_BKCPQ, kept_BK).logits.float().cpu()
        summary_BSD = None
        if self._summarizes:
            summary_BSD = self.student.summarize(patches_BKCPQ, kept_BK).cpu()
        return logits_BL, inputs["labels"].cpu(), summary_BSD

    def prediction_step(
        self, model: nn.Module, inputs: dict[str, Tensor], prediction_loss_only: bool, ignore_keys: Any = None
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """Logits of a batch, and what they should be: labels of real images, the teacher's choice for synthetic."""
        return self._judge(model, self._judged, inputs)

    def _judge(
        self, model: nn.Module, judged: Views | RealImages, batch: dict[str, Tensor]
    ) -> tuple[Tensor | None, Tensor, Tensor]:
        """As `prediction_step`, of a batch of the images that `judged` has."""
        inputs = self._prepare_inputs(batch)
        with torch.no_grad(), self.compute_loss_context_manager():
            if isinstance(judged, RealImages):
                return None, self._answer_real(model, judged, inputs), inputs["labels"]
            # All kept patches: students of different augmentations are judged on the same images.
            patches_BKCPQ, kept_BK = self._views(inputs, augmentations=())
            output, parts = compare(self.args, self.student, self.teacher, model, patches_BKCPQ, kept_BK, inputs)
            choice_B = self.teacher.model.forward_patches(patches_BKCPQ, kept_BK).logits.argmax(dim=-1)
        return sum(parts.values()), output.logits, choice_B

    def _answer_real(self, model: nn.Module, judged: RealImages, inputs: dict[str, Tensor]) -> Tensor:
        """Logits of real images; what a frozen backbone makes of an image is computed once."""
        if not self._summarizes:
            return model(pixel_values=inputs["pixel_values"]).logits
        summary_BSD = inputs.get("summary")
        if summary_BSD is None:
            summary_BSD = self.student.summarize_images(inputs["pixel_values"])
            judged.remember(inputs, summary_BSD)
        return self.student.forward_summary(model, summary_BSD).logits


def chosen(logits_BL: Tensor, labels_B: Tensor) -> Tensor:
    """The first choices of each image, best first, (B, at most 5)."""
    return logits_BL.topk(min(5, logits_BL.shape[-1])).indices


def accuracy(prediction: EvalPrediction) -> dict[str, float]:
    """Top-1 and top-5 accuracy in [0, 1]."""
    from smi_hf.evaluation.metrics import TopKAccuracy

    choices, labels = prediction.predictions.tolist(), prediction.label_ids.tolist()
    return TopKAccuracy().compute(predictions=choices, references=labels)


def agreement(prediction: EvalPrediction) -> dict[str, float]:
    """Share of images with the teacher's first choice, in [0, 1]."""
    return {"agreement": float(np.mean(prediction.predictions[:, 0] == prediction.label_ids))}
