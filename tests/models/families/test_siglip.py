"""SigLIP's pooling query."""

import torch
from family_cases import CASES


def test_the_attention_of_the_query_is_that_of_its_keys_over_the_patches(with_large_weights):
    torch.manual_seed(0)
    sparse = CASES["siglip_vision_model"].wrap(with_large_weights(CASES["siglip_vision_model"].make())).freeze()
    kept_BK = torch.tensor([[0, 3, 5, 9], [1, 2, 7, 15]])
    pixels_BCHW = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    patches = sparse.grid.cut(pixels_BCHW, kept_BK)
    found_BK = sparse.patch_attention(patches, kept_BK)

    hidden_BKD = sparse.forward_tokens(sparse.embed(patches, kept_BK), kept_BK).last_hidden_state
    head = sparse.backbone.head
    attention, heads = head.attention, 3
    (query, key, _), (query_bias, key_bias, _) = (
        each.chunk(3) for each in (attention.in_proj_weight, attention.in_proj_bias)
    )
    query_AE = (query @ head.probe[0, 0] + query_bias).reshape(heads, -1)
    keys_BKAE = (hidden_BKD @ key.T + key_bias).unflatten(2, (heads, -1))
    scores_BAK = torch.einsum("ae,bkae->bak", query_AE, keys_BKAE) / query_AE.shape[1] ** 0.5
    torch.testing.assert_close(found_BK, scores_BAK.softmax(dim=2).mean(dim=1), rtol=1e-5, atol=1e-6)
