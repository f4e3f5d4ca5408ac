"""Answers that are computed once, whichever process computes them."""


def test_a_frozen_backbone_runs_once_for_each_view(make_trainer):
    trainer = make_trainer(freeze_backbone=True, num_views=2, num_train_epochs=3)
    seen = []
    trainer.model.vit.layernorm.register_forward_hook(lambda module, arguments, output: seen.append(len(output)))
    trainer.train()
    assert sum(seen) == 2 * 16


def test_fixed_views_run_the_teacher_once(make_trainer, teacher):
    seen = []
    teacher.model.model.register_forward_hook(lambda module, arguments, output: seen.append(len(output.logits)))
    make_trainer(num_views=2, num_train_epochs=4).train()
    assert sum(seen) == 2 * 16
