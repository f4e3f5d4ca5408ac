"""Which images a process makes, and in which batches."""

from collections.abc import Collection, Iterable


def own_batches(
    num_images: int, batch_size: int, finished: Collection[int], *, process: int = 0, num_processes: int = 1
) -> list[list[int]]:
    """Images left to make by one of several processes, in the batches of a run that was never cut off.

    Args:
        finished: images that are on disk, made in whatever batches.

    Returns:
        Consecutive images, at most `batch_size` of them, as a shard holds.
    """
    own = range(0, num_images, batch_size)[process::num_processes]
    batches = [range(start, min(start + batch_size, num_images)) for start in own]
    return [run for batch in batches for run in _consecutive(index for index in batch if index not in finished)]


def _consecutive(numbers: Iterable[int]) -> list[list[int]]:
    """Increasing numbers in runs without a gap."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and runs[-1][-1] == number - 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return runs
