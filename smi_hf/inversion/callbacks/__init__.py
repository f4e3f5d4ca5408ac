"""What happens beside the optimization: progress bar, trackers, pictures. Pass your own to the run."""

from smi_hf.inversion.callbacks.base import CallbackList, SparseInversionCallback
from smi_hf.inversion.callbacks.losses import LossCurveCallback
from smi_hf.inversion.callbacks.progress import ProgressCallback
from smi_hf.inversion.callbacks.stages import StagePreviewCallback
from smi_hf.inversion.callbacks.tracking import TrackerCallback

__all__ = [
    "CallbackList",
    "LossCurveCallback",
    "ProgressCallback",
    "SparseInversionCallback",
    "StagePreviewCallback",
    "TrackerCallback",
]
