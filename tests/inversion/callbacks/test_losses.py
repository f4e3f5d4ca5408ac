from smi_hf import SparseInversionConfig, invert


def test_the_record_has_a_few_points_of_the_first_batch(teacher, tmp_path):
    config = SparseInversionConfig(
        output_dir=str(tmp_path / "set"), num_images=3, batch_size=2, num_steps=120, report=False, disable_tqdm=True
    )
    curve = invert(teacher, config).record.results["loss_curve"]
    assert curve["num_images"] == 2
    assert curve["steps"][0] == 1 and curve["steps"][-1] == 120 and 30 <= len(curve["steps"]) <= 60
    assert set(curve["terms"]) == {"cross_entropy", "total_variation"}
    losses = curve["terms"]["cross_entropy"]
    assert len(losses) == len(curve["steps"]) and losses[-1] < losses[0]


def test_without_steps_there_is_no_curve(teacher, tmp_path):
    config = SparseInversionConfig(
        output_dir=str(tmp_path / "set"), num_images=1, num_steps=0, report=False, disable_tqdm=True
    )
    assert invert(teacher, config).record.results["loss_curve"] is None
