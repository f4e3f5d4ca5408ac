"""Writing many images: memory and cost an image do not grow with their number."""

import json
import statistics
import sys

import pytest


@pytest.fixture
def figures(run_command, tmp_path):
    """The benchmark's lines by phase, for 1,600 images of together about 40 MB."""
    small = ["--num_images", 1600, "--patch_size", 32, "--max_shard_bytes", 10_000_000]
    files = ["--output", tmp_path / "figures.json", "--plot", tmp_path / "figures.png"]
    answer = run_command(sys.executable, "recipes/benchmarks/writing.py", *small, *files)
    assert answer.returncode == 0, answer.stderr
    assert "5 shards of at most 9." in answer.stdout
    assert (tmp_path / "figures.png").read_bytes().startswith(b"\x89PNG")
    phases = {}
    for line in json.loads((tmp_path / "figures.json").read_text()):
        phases.setdefault(line["phase"], []).append(line)
    return phases


def test_memory_and_cost_stay_flat(figures):
    assert list(figures) == ["write", "merge", "load", "by number", "stream"]
    assert all(lines[-1]["images"] == 1600 for lines in figures.values())
    for phase in ("write", "by number"):
        # A process that kept the 40 MB, decoded or not, would have 20 more in the second half. Buffers that are
        # allocated once, of about as much, come at the beginning.
        first, second = halves(figures[phase], "memory_mib")
        assert second - first < 10, phase
        first, second = halves(figures[phase], "cpu_seconds_per_1000")
        assert second < 1.5 * first, phase
    # pyarrow's own buffers, a few row groups of 6 MB, but not all of the dataset.
    assert figures["merge"][0]["memory_mib"] - figures["write"][-1]["memory_mib"] < 60


def halves(lines, name) -> tuple[float, float]:
    """Median of a figure in the first half of the lines, and in the second."""
    values = [line[name] for line in lines]
    return tuple(map(statistics.median, (values[: len(values) // 2], values[len(values) // 2 :])))
