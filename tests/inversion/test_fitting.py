"""What does not fit a teacher is refused before a run."""

import pytest
from family_cases import CASES
from family_kinds import KINDS

from smi_hf import SparseInversionConfig, UsageError, load_teacher
from smi_hf.inversion.fitting import check_fits_teacher


@pytest.fixture(scope="module")
def of_patches(tmp_path_factory):
    """A teacher that reads the mean of the patches."""
    folder = tmp_path_factory.mktemp("ijepa")
    KINDS["ijepa"].save(folder)
    return load_teacher(str(folder))


def config(tmp_path, **options) -> SparseInversionConfig:
    return SparseInversionConfig(output_dir=str(tmp_path / "out"), **options)


def test_whole_images_are_not_pruned(resnet_checkpoint, tmp_path):
    teacher = load_teacher(str(resnet_checkpoint))
    for policy in ("smi", "random", "pri"):
        with pytest.raises(UsageError, match=rf"policy '{policy}' prunes patches.*it convolves.*--policy dense"):
            check_fits_teacher(config(tmp_path, policy=policy), teacher)
    check_fits_teacher(config(tmp_path, policy="dense"), teacher)
    # Pictures of a start, which no step prunes.
    check_fits_teacher(config(tmp_path, num_steps=0), teacher)


def test_a_term_that_looks_into_the_model_needs_single_patches(resnet_checkpoint, tmp_path):
    teacher = load_teacher(str(resnet_checkpoint))
    with pytest.raises(UsageError, match="the loss term psaq_entropy needs a model that can be shown single patches"):
        check_fits_teacher(config(tmp_path, policy="dense", loss_weights=["psaq_entropy=1"]), teacher)
    check_fits_teacher(config(tmp_path, policy="dense", loss_weights=["psaq_entropy=0"]), teacher)


def test_a_term_about_the_cls_token_needs_one(of_patches, tiny_checkpoint, tmp_path):
    asked = config(tmp_path, loss_weights=["attention_prior=1"])
    with pytest.raises(UsageError, match="attention_prior is about the CLS token, but a 'ijepa' model does not read"):
        check_fits_teacher(asked, of_patches)
    check_fits_teacher(asked, load_teacher(str(tiny_checkpoint)))
    assert "ijepa" in CASES
