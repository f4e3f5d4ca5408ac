"""Grids, images and kept sets that every loss term is asked about."""

from collections.abc import Callable
from dataclasses import replace

import torch
from hypothesis import settings
from hypothesis import strategies as st

from smi_hf.losses import ChannelStatistics, LossInputs
from smi_hf.patches import PatchGrid

# Derandomised: each run tries the same examples. No deadline: the machine may be busy.
examples = settings(max_examples=100, deadline=None, derandomize=True)

NUM_HEADS, HEAD_SIZE, NUM_BLOCKS, NUM_PREFIX = 3, 4, 3, 2


def loss_inputs(grid: PatchGrid, pixels_BCHW: torch.Tensor, kept_BK: torch.Tensor | None = None) -> LossInputs:
    B = len(pixels_BCHW)
    kept_BK = grid.all_patches(B) if kept_BK is None else kept_BK
    logits_BL = torch.randn(B, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return LossInputs(logits_BL, torch.arange(B) % 5, grid.cut(pixels_BCHW, kept_BK), kept_BK, grid)


def with_everything(inputs: LossInputs) -> LossInputs:
    """The inputs with all that a term can ask for: float64 leaves that require gradients."""
    B, K = inputs.kept_BK.shape
    T, H, D = NUM_PREFIX + K, NUM_HEADS, NUM_HEADS * HEAD_SIZE
    generator = torch.Generator().manual_seed(1)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    return replace(
        inputs,
        logits_BL=inputs.logits_BL.detach().requires_grad_(),
        patches_BKCPQ=inputs.patches_BKCPQ.detach().requires_grad_(),
        step=3,
        num_steps=8,
        seed=7,
        image_indices=tuple(range(10, 10 + B)),
        attentions=tuple(draw(B, H, T, T).softmax(dim=-1).requires_grad_() for _ in range(NUM_BLOCKS)),
        head_outputs=tuple(draw(B, T, H, HEAD_SIZE).requires_grad_() for _ in range(NUM_BLOCKS)),
        features_BD=draw(B, D).requires_grad_(),
        batch_statistics=tuple(
            ChannelStatistics(
                draw(B, C).requires_grad_(), draw(B, C).exp().requires_grad_(), draw(C), draw(C).exp()
            )
            for C in (3, 5)
        ),
        student_logits_BL=draw(B, inputs.logits_BL.shape[1]).requires_grad_(),
        memory_MD=draw(6, D),
    )  # fmt: skip


def one_image(inputs: LossInputs, image: int) -> LossInputs:
    """One image of a batch, with what was seen of it."""
    one = slice(image, image + 1)

    def part(value):
        if value is None:
            return None
        if isinstance(value, tuple):
            return tuple(part(each) for each in value)
        if isinstance(value, ChannelStatistics):
            return replace(value, mean_BC=value.mean_BC[one], variance_BC=value.variance_BC[one])
        return value[one]

    names = (
        "logits_BL", "targets_B", "patches_BKCPQ", "kept_BK", "image_indices", "attentions", "head_outputs",
        "features_BD", "batch_statistics", "student_logits_BL",
    )  # fmt: skip
    changes = {name: part(getattr(inputs, name)) for name in names if name != "image_indices"}
    return replace(inputs, image_indices=inputs.image_indices[one], **changes)


def leaves(inputs: LossInputs) -> list[torch.Tensor]:
    """What a term may have a gradient in; the first dimension of each is the image."""
    flat = [inputs.patches_BKCPQ, inputs.logits_BL]
    if inputs.attentions is not None:
        flat += [*inputs.attentions, *inputs.head_outputs, inputs.features_BD, inputs.student_logits_BL]
        flat += [each for layer in inputs.batch_statistics for each in (layer.mean_BC, layer.variance_BC)]
    return flat


def small_inputs() -> LossInputs:
    """Two images of four of six patches, with all that a term can ask for."""
    grid = PatchGrid(4, 6, 2, 2)
    pixels = torch.randn(2, 2, 4, 6, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    return with_everything(loss_inputs(grid, pixels, torch.tensor([[0, 1, 4, 3], [5, 4, 2, 1]])))


def check_gradient(term: Callable[[LossInputs], torch.Tensor], inputs: LossInputs, **parts: torch.Tensor) -> None:
    """Compares the gradients in the named fields of the inputs with finite differences; a tuple by its tensors."""
    names = list(parts)
    flat, sizes = [], []
    for name in names:
        value = parts[name]
        flat += list(value) if isinstance(value, tuple) else [value]
        sizes.append(len(value) if isinstance(value, tuple) else None)

    def of(*values: torch.Tensor) -> torch.Tensor:
        left, changes = list(values), {}
        for name, size in zip(names, sizes, strict=True):
            changes[name] = left.pop(0) if size is None else tuple(left.pop(0) for _ in range(size))
        return term(replace(inputs, **changes))

    assert torch.autograd.gradcheck(of, flat)
    gradients = torch.autograd.grad(of(*flat).sum(), flat, allow_unused=True)
    assert any(gradient is not None and (gradient != 0).any() for gradient in gradients)


@st.composite
def sparse_images(draw):
    """A grid, float64 images of its size, and a random kept set for each, in random order."""
    rows, columns, P, Q = draw(st.tuples(*[st.integers(1, 4)] * 4))
    grid = PatchGrid(rows * P, columns * Q, P, Q)
    B, K = draw(st.integers(1, 3)), draw(st.integers(1, grid.num_patches))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    pixels_BCHW = torch.randn(B, 2, *grid.image_size, generator=generator, dtype=torch.float64)
    kept_BK = torch.rand(B, grid.num_patches, generator=generator).argsort(dim=1)[:, :K]
    return grid, pixels_BCHW, kept_BK
