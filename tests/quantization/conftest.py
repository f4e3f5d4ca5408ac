import pytest


@pytest.fixture
def calibration(kept_images):
    """What quantizers are calibrated on."""
    return kept_images
