"""Every cell of the table of families: tried with a tiny model, it comes out as the table says.

After a change that means to move a cell: `python tests/families/make_table.py` in each lane, and with timm.
"""

import pytest
from family_cells import COLUMNS, Trial, outcome
from family_kinds import KINDS, here
from family_table import MODELS_PAGE, README, read_table, rendered_pages

from smi_hf.environment import dependency_lane, missing_packages

EXTRAS = {"onnx": "onnx", "openvino": "openvino", "torch": "torch", "torchao": "torch", "executorch": "executorch"}


@pytest.fixture(scope="module")
def trials(tmp_path_factory) -> dict[str, Trial]:
    """Shared by the columns of a row, as most need images."""
    return {name: Trial(kind, tmp_path_factory.mktemp("trial")) for name, kind in KINDS.items()}


@pytest.mark.parametrize(
    ("name", "column"),
    [(name, column) for name in here() for column in COLUMNS if column not in KINDS[name].too_slow],
)
def test_what_the_table_says_is_so(name, column, trials):
    if column in EXTRAS and missing_packages(EXTRAS[column]):
        pytest.skip(f"the extra {EXTRAS[column]} is absent")
    assert outcome(name, column, trials[name]) == read_table()[dependency_lane()][name][column]


def test_no_cell_is_claimed_that_is_not_tried():
    for lane, rows in read_table().items():
        assert list(rows) == list(KINDS)
        for name, cells in rows.items():
            assert not set(cells) & set(KINDS[name].too_slow)
            if lane == dependency_lane():
                assert list(cells) == [column for column in COLUMNS if column not in KINDS[name].too_slow]


@pytest.mark.parametrize("page", [README, MODELS_PAGE], ids=["README", "models"])
def test_pages_show_the_table_as_it_is(page):
    assert rendered_pages()[page] == page.read_text(encoding="utf-8")
