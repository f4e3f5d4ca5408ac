"""Records of two runs, compared."""

from dataclasses import replace

from smi_hf.evaluation.record import ModelRecord

_TIMES = {"latency_ms_1", "latency_ms_32", "images_per_second"}


def timeless(record: ModelRecord) -> ModelRecord:
    """A record without what no two runs have in common: times."""
    rows = (replace(row, figures={k: v for k, v in row.figures.items() if k not in _TIMES}) for row in record.rows)
    return replace(record, rows=tuple(rows))
