import pytest


@pytest.fixture
def calibration(patch_set):
    """What quantizers are calibrated on."""
    return patch_set
