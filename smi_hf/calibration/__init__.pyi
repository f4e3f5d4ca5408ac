from .images import calibration_datasets, make_calibration_images

__all__ = [
    "calibration_datasets",
    "make_calibration_images",
]
