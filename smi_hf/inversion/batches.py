"""Which trajectories a process makes, and in which batches."""

from collections.abc import Collection, Iterable


def own_batches(
    num_images: int,
    batch_size: int,
    finished: Collection[int],
    *,
    num_stages: int = 1,
    process: int = 0,
    num_processes: int = 1,
) -> list[list[int]]:
    """Trajectories left to make by one of several processes, in the batches of a run that was never cut off.

    Args:
        num_images: of the run, a multiple of `num_stages`.
        batch_size: trajectories of a batch.
        finished: images that are on disk, made in whatever batches.
        num_stages: images that a trajectory gives; those of trajectory i are numbered from i * num_stages. It is made
            again unless all of them are there.

    Returns:
        Consecutive trajectories, at most `batch_size` of them, whose images a shard holds.
    """
    num_trajectories = num_images // num_stages
    own = range(0, num_trajectories, batch_size)[process::num_processes]
    batches = [range(start, min(start + batch_size, num_trajectories)) for start in own]

    def is_left(trajectory: int) -> bool:
        return any(trajectory * num_stages + stage not in finished for stage in range(num_stages))

    return [run for batch in batches for run in _consecutive(filter(is_left, batch))]


def _consecutive(numbers: Iterable[int]) -> list[list[int]]:
    """Increasing numbers in runs without a gap."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and runs[-1][-1] == number - 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return runs
