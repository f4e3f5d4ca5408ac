import torch

from smi_hf.inversion.state import TrajectoryState
from smi_hf.patches import PatchGrid
from smi_hf.patches.randomness import image_generator
from smi_hf.starts.noise import gaussian_noise


def test_noise_is_the_first_draws_of_the_images_stream_and_nothing_else(draw):
    # What runs began with before there were other starts: their datasets are continued.
    stream = image_generator(5, 7)
    expected = torch.randn(3, 64, 64, generator=stream)
    assert torch.equal(draw("noise", 7, seed=5), expected)
    state = TrajectoryState.start([7], [0], PatchGrid(64, 64, 8, 8), seed=5)
    assert torch.equal(state.grid.paste(state.patches_BKCPQ.detach(), state.kept_BK)[0], expected)
    assert torch.equal(torch.rand(9, generator=state.generators[0]), torch.rand(9, generator=stream))


def test_noise_has_the_channels_and_size_that_are_asked_for():
    assert gaussian_noise(4, (8, 16), torch.Generator().manual_seed(0)).shape == (4, 8, 16)
