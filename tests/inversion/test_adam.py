"""Adam over patches that may be dropped, against torch's own."""

import torch

from smi_hf.inversion.adam import Adam
from smi_hf.patches import take_slots

BETAS = (0.5, 0.99)


def test_it_is_the_fused_adam_of_torch_bit_for_bit_and_so_it_stays_when_rows_are_dropped():
    torch.manual_seed(0)
    ours = torch.randn(2, 5, 3, 4, 4)
    theirs = ours.clone().requires_grad_()
    adam, optimizer = Adam(BETAS), torch.optim.Adam([theirs], lr=0.25, betas=BETAS, fused=True)
    for step in range(6):
        if step == 3:
            slots_BM = torch.tensor([[0, 2, 4], [1, 2, 3]])
            adam.keep(slots_BM)
            ours = take_slots(ours, slots_BM)
            (moments,) = optimizer.state.values()
            moments = {name: take_slots(value, slots_BM) if value.dim() else value for name, value in moments.items()}
            theirs = take_slots(theirs.detach(), slots_BM).requires_grad_()
            optimizer = torch.optim.Adam([theirs], lr=0.25, betas=BETAS, fused=True)
            optimizer.state[theirs] = moments
        theirs.grad = torch.randn_like(theirs)
        optimizer.param_groups[0]["lr"] = learning_rate = 0.25 / (1 + step)
        optimizer.step()
        adam.descend(ours, theirs.grad, learning_rate)
        assert torch.equal(ours, theirs), step


def test_it_is_what_the_paper_writes():
    torch.manual_seed(0)
    values = torch.randn(1, 2, 3, dtype=torch.float64)
    expected, first, second = values.clone(), 0, 0
    adam = Adam(BETAS)
    for step in range(1, 5):
        gradient = torch.randn_like(values)
        first, second = 0.5 * first + 0.5 * gradient, 0.99 * second + 0.01 * gradient**2
        expected = expected - 0.1 * (first / (1 - 0.5**step)) / ((second / (1 - 0.99**step)).sqrt() + 1e-8)
        adam.descend(values, gradient, 0.1)
        torch.testing.assert_close(values, expected, rtol=1e-12, atol=1e-12)


def test_a_gradient_may_lie_in_memory_as_it_likes():
    # torch's fused kernel reads memory in order, whatever the strides say.
    torch.manual_seed(0)
    gradient = torch.randn(2, 3, 5).transpose(1, 2)
    first, second = torch.zeros(2, 5, 3), torch.zeros(2, 5, 3)
    Adam(BETAS).descend(first, gradient, 0.1)
    Adam(BETAS).descend(second, gradient.contiguous(), 0.1)
    assert torch.equal(first, second)
    assert torch.equal(first.sign(), -gradient.sign())
