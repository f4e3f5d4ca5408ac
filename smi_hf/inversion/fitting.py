"""Whether a run's settings fit the teacher: what needs single patches, and what needs a CLS token."""

from smi_hf.errors import UsageError
from smi_hf.inversion.config import SparseInversionConfig
from smi_hf.losses.base import LOSSES
from smi_hf.models import DenseClassifier, Teacher
from smi_hf.models.dense import require_sparse
from smi_hf.models.watching import WATCHED


def check_fits_teacher(config: SparseInversionConfig, teacher: Teacher) -> None:
    """Checks settings against a teacher.

    Raises:
        UsageError: a policy prunes patches of a model that can be shown whole images alone, or a loss term looks for
            what the model has not.
    """
    model = teacher.model
    if isinstance(model, DenseClassifier) and config.num_steps and config.policy != "dense":
        raise UsageError(
            f"policy {config.policy!r} prunes patches, and a {model.config.model_type!r} model cannot be shown single "
            f"patches: {model.why_dense}. Say --policy dense, which optimizes whole images"
        )
    for name, weight in config.term_weights.items():
        term = LOSSES.get(name)
        if not weight:
            continue
        if set(term.needs) & set(WATCHED):
            require_sparse(model, f"the loss term {name}")
        if term.reads_cls and model.reads_from != "cls":
            raise UsageError(
                f"the loss term {name} is about the CLS token, but a {model.config.model_type!r} "
                f"model does not read its answer from one; leave it out"
            )
