"""Dense inversion keeps all."""

from smi_hf.patches import POLICIES


def test_dense_keeps_every_patch_without_a_scoring_pass(inputs_of, kept_BK):
    assert POLICIES.get("dense")(inputs_of(None, kept_BK, 3)).stay_BM.tolist() == [[0, 1, 2, 3, 4]] * 2
