"""Tries every cell of the table of families in this environment, and writes what came of it.

    .venv/bin/python tests/families/make_table.py
    .venv-latest/bin/python tests/families/make_table.py
    PYTHONPATH=.timm .venv/bin/python tests/families/make_table.py          # those of timm; and in the other lane

Cells of the other lane, and of kinds that cannot be made here, stay as they are.
"""

import json
import logging
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "shims"))

import torchvision_operators  # noqa: E402

torchvision_operators.supply()

from family_cells import COLUMNS, Trial, outcome  # noqa: E402
from family_kinds import KINDS, here  # noqa: E402
from family_table import TABLE_FILE, read_table, rendered_pages  # noqa: E402
from tqdm import tqdm  # noqa: E402

from smi_hf.environment import dependency_lane  # noqa: E402


def main() -> None:
    """Writes the table and the pages that show it."""
    logging.disable(logging.WARNING)
    found = {}
    for name in tqdm(here()):
        with tempfile.TemporaryDirectory() as work:
            trial = Trial(KINDS[name], Path(work))
            columns = [column for column in COLUMNS if column not in trial.kind.too_slow]
            found[name] = {column: outcome(name, column, trial) for column in columns}
    # Read now, as the other lane may have written meanwhile.
    table = {lane: dict(rows) for lane, rows in (read_table() if TABLE_FILE.exists() else {}).items()}
    table.setdefault(dependency_lane(), {}).update(found)
    ordered = {lane: {name: table[lane][name] for name in KINDS if name in table[lane]} for lane in sorted(table)}
    TABLE_FILE.write_text(json.dumps(ordered, indent=1) + "\n", encoding="utf-8")
    for page, text in rendered_pages().items():
        page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
