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
    # What is written is 40 MB; a process that kept it, decoded or not, would show it.
    written = [line["memory_mib"] for line in figures["write"]]
    assert max(written) - written[0] < 15
    # pyarrow's own buffers, a few row groups of 6 MB, but not all of the dataset.
    assert figures["merge"][0]["memory_mib"] - written[-1] < 60
    read = [line["memory_mib"] for line in figures["by number"]]
    assert max(read) - read[0] < 15
    for phase in ("write", "by number"):
        costs = [line["cpu_seconds_per_1000"] for line in figures[phase]]
        half = len(costs) // 2
        assert statistics.median(costs[half:]) < 1.5 * statistics.median(costs[:half]), phase
