"""One step: what it changes, and what it leaves alone."""


def test_a_step_changes_every_kept_pixel_and_no_weight(teacher, state, take_step):
    before, weights = state.patches_BKCPQ.detach().clone(), teacher.weights_sha256()
    losses = take_step(teacher, state)
    assert set(losses) == {"cross_entropy", "total_variation"}
    assert all(loss.shape == (3,) and not loss.requires_grad for loss in losses.values())
    assert (state.patches_BKCPQ != before).float().mean() > 0.99  # the rest sits at the clamp
    assert teacher.weights_sha256() == weights
    assert all(parameter.grad is None for parameter in teacher.model.parameters())


def test_pixels_stay_within_what_an_image_file_can_hold(teacher, state, take_step):
    take_step(teacher, state)
    low, high = teacher.normalization.bounds(state.patches_BKCPQ)
    assert bool((state.patches_BKCPQ >= low).all()) and bool((state.patches_BKCPQ <= high).all())
