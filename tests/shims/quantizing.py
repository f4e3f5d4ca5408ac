"""A small quantization for processes that tests start; see `inverting.py`."""

import torch

from smi_hf import QuantizationConfig, load_sparse_dataset, load_teacher, quantize


def make(checkpoint: str, dataset: str, folder: str) -> None:
    """Quantizes a checkpoint into `folder/int8`."""
    torch.set_num_threads(1)
    teacher = load_teacher(checkpoint)
    config = QuantizationConfig(output_dir=f"{folder}/int8", backend="simulated", disable_tqdm=True)
    quantize(teacher, load_sparse_dataset(dataset, teacher=teacher), config)


def race(checkpoint: str, dataset: str, folder: str, num_tries: int, barrier, answers) -> None:
    """Quantizes into a new folder a number of times, each at the same moment as another process; tells how it went."""
    from smi_hf import UsageError

    torch.set_num_threads(1)
    teacher = load_teacher(checkpoint)
    images = load_sparse_dataset(dataset, teacher=teacher)
    for number in range(num_tries):
        config = QuantizationConfig(output_dir=f"{folder}/{number}", backend="simulated", disable_tqdm=True)
        barrier.wait()
        try:
            quantize(teacher, images, config)
            answers.put((number, "made"))
        except UsageError as error:
            answers.put((number, str(error)))
