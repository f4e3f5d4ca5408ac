"""Frequencies and decorrelated colors move instead of pixels, low frequencies most.

Legend: `B` images, `K` kept patches, `M` kept patches after a prune, `C` channels, `P Q` patch pixels, `H W` image
pixels, `V` frequencies along a row, W // 2 + 1.
"""

import math

import torch
from torch import Tensor

from smi_hf.inversion.adam import EPSILON
from smi_hf.inversion.moves.base import MoveInputs, MoveSettings, register_move
from smi_hf.patches import PatchGrid

# Axes along which the colors of photographs hardly correlate: brightness, red against blue, and green against both
# (Ohta, Kanade and Sakai 1980, Color Information for Region Segmentation). And the standard deviations of ImageNet's
# colors along them, as far apart as in the color matrix of Olah et al.
_AXES = ((1.0, 1.0, 1.0), (1.0, 0.0, -1.0), (1.0, -2.0, 1.0))
_DEVIATIONS = (1.0, 0.28, 0.13)


@register_move("frequency")
class Frequency:
    """Adam over the spectrum of each whole image; what it does to kept pixels is done, the rest is dropped.

    An image is x = F z, with F = color matrix x inverse Fourier transform x 1/f (`Basis`). The gradient on kept
    pixels, 0 elsewhere, goes through F transposed; Adam moves each coefficient of z, and x gets what F makes of that,
    at the kept places. So brightness and low frequencies move most, as they do in photographs.
    Source: Olah, Mordvintsev and Schubert, Feature Visualization (Distill 2017), preconditioning. Differs from Olah
    et al.: the second moment is that of a coefficient's modulus, not one of its real and one of its imaginary part,
    so that the update of a shifted image is the shifted update; pixels are what is kept, not z, so that they can be
    clamped; and F has the size of a step over pixels.

    Step size: a fresh Adam moves every coefficient by the learning rate, and the mean square of F is 1, so by
    Parseval the pixels of the whole image change by the learning rate in the root mean square, as with `pixels`.
    What F makes of gradients on K of N patches lies mostly in these, and its energy does not depend on K; a factor
    sqrt(K / N) makes up for that.

    What a prune does: Adam begins anew. A spectrum is of the whole image, so that no part of a second moment belongs
    to a patch; begun anew it has no trace of dropped ones. On DeiT-Tiny that did as well as keeping both moments (the
    first masked in pixels, the second shrunk by the energy that was dropped), and it cannot stall on a second moment
    that is too large for what is left.
    The cost of this move grows with the image, not with the kept patches: some Fourier transforms a step.
    """

    def __init__(self, settings: MoveSettings) -> None:
        self.betas = settings.betas
        self.basis = Basis(settings.grid)
        self.grid = settings.grid
        self.num_steps = 0  # since Adam began
        self.first_BCHV: Tensor | None = None
        self.second_BCHV: Tensor | None = None

    def update(self, inputs: MoveInputs) -> None:
        slope_BCHV = self.basis.transposed(self.grid.paste(inputs.gradient_BKCPQ, inputs.kept_BK))
        if self.first_BCHV is None:
            self.first_BCHV, self.second_BCHV = torch.zeros_like(slope_BCHV), torch.zeros_like(slope_BCHV.real)
        self.num_steps += 1
        beta1, beta2 = self.betas
        self.first_BCHV.mul_(beta1).add_(slope_BCHV, alpha=1 - beta1)
        self.second_BCHV.mul_(beta2).add_(_energy(slope_BCHV), alpha=1 - beta2)
        size_BCHV = (self.second_BCHV / (1 - beta2**self.num_steps)).sqrt_().add_(EPSILON)
        direction_BCHV = self.first_BCHV / size_BCHV
        scale = math.sqrt(inputs.kept_BK.shape[1] / self.grid.num_patches) / (1 - beta1**self.num_steps)
        change_BKCPQ = self.grid.cut(self.basis(direction_BCHV), inputs.kept_BK)
        inputs.patches_BKCPQ.sub_(change_BKCPQ, alpha=inputs.learning_rate * scale)

    def keep(self, slots_BM: Tensor, kept_BM: Tensor) -> None:
        self.num_steps, self.first_BCHV, self.second_BCHV = 0, None, None


class Basis:
    """F: spectra, complex (B, C, H, V), to pixels (B, C, H, W), in any unit that is linear in that of an image file.

    The Fourier transform is unitary, and z are spectra of real images: half of each is stored (`torch.fft.rfft2`).
    Frequency f, in cycles a pixel, is scaled by 1/f, with the lowest one that a row or column can have for the mean;
    the scales have mean square 1, and so has the color matrix along its rows.
    """

    def __init__(self, grid: PatchGrid) -> None:
        self.image_size = H, W = grid.image_size
        lowest = 1 / max(H, W)
        frequency_HW = torch.hypot(_frequencies(H)[:, None], _frequencies(W)).clamp_min(lowest)
        scale_HW = 1 / frequency_HW
        scale_HW /= scale_HW.square().mean().sqrt()
        self.scale_HV = scale_HW[:, : W // 2 + 1]
        axes_CC = torch.tensor(_AXES, dtype=torch.float64)
        columns_CC = (
            axes_CC / axes_CC.norm(dim=1, keepdim=True) * torch.tensor(_DEVIATIONS, dtype=torch.float64)[:, None]
        )
        self.color_CC = columns_CC.T * math.sqrt(len(columns_CC)) / columns_CC.norm()

    def __call__(self, spectrum_BCHV: Tensor) -> Tensor:
        """F z."""
        scaled_BCHV = spectrum_BCHV * self.scale_HV.to(spectrum_BCHV.real)
        return _mix(self.color_CC, torch.fft.irfft2(scaled_BCHV, s=self.image_size, norm="ortho"))

    def transposed(self, gradient_BCHW: Tensor) -> Tensor:
        """F^T g: the gradient with respect to z, from that with respect to pixels."""
        spectrum_BCHV = torch.fft.rfft2(_mix(self.color_CC.T, gradient_BCHW), norm="ortho")
        return spectrum_BCHV.mul_(self.scale_HV.to(gradient_BCHW))


def _frequencies(length: int) -> Tensor:
    return torch.fft.fftfreq(length, dtype=torch.float64)


def _mix(matrix_CC: Tensor, pixels_BCHW: Tensor) -> Tensor:
    """Each pixel's color times a matrix."""
    return (matrix_CC.to(pixels_BCHW) @ pixels_BCHW.flatten(2)).unflatten(2, pixels_BCHW.shape[2:])


def _energy(spectrum: Tensor) -> Tensor:
    """The square of the modulus."""
    return spectrum.real.square().addcmul_(spectrum.imag, spectrum.imag)
