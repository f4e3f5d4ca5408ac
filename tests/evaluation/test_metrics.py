from smi_hf.evaluation.metrics import Agreement, TopKAccuracy


def test_top_k_accuracy_and_agreement_need_no_hub():
    ranked = [[0, 1, 2], [1, 0, 2], [2, 1, 0], [0, 2, 1]]
    figures = TopKAccuracy().compute(predictions=ranked, references=[0, 0, 0, 1], k=(1, 2, 3))
    assert figures == {"top1": 0.25, "top2": 0.5, "top3": 1.0}
    assert Agreement().compute(predictions=[0, 1, 2, 2], references=[0, 1, 1, 2]) == {"agreement": 0.75}


def test_a_label_beyond_the_fifth_choice_is_wrong():
    figures = TopKAccuracy().compute(predictions=[[9, 1, 2, 3, 4, 0], [0, 1, 2, 3, 4, 9]], references=[4, 9])
    assert figures == {"top1": 0.0, "top5": 0.5}
