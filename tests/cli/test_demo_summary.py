"""The last screen of the demonstration."""

from pathlib import Path
from types import SimpleNamespace

from rich.console import Console

from smi_hf.cli.demo_summary import Results, summary
from smi_hf.demo.run import DENSE, SPARSE


def test_bars_are_as_long_as_an_inversion_took_and_foreign_names_stay_as_they_are(parse_command):
    results = Results({DENSE: SimpleNamespace(seconds=20.0), SPARSE: SimpleNamespace(seconds=5.0)})
    console = Console(width=100, force_terminal=False)
    with console.capture() as captured:
        console.print(summary(results, Path("out/[demo]"), Path("out/[demo]/report.html")))
    lines = captured.get().splitlines()
    dense, sparse = (next(line for line in lines if line.startswith(name)) for name in (DENSE, SPARSE))
    # A bar ends within a cell.
    assert abs(dense.count("█") - 4 * sparse.count("█")) <= 4 < dense.count("█")
    assert "sparse inversion is 4.0 times as fast as dense" in captured.get()
    assert "out/[demo]/report.html: open it in a browser" in captured.get()
    commands = [line.strip() for line in lines if line.startswith("  smi-hf")]
    assert len(commands) == 3
    for command in commands:
        parse_command(command)
