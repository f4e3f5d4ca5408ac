"""Tables that more than one command shows."""

from rich.table import Table

from smi_hf.quantization.report import Row


def quantization_table(rows: list[Row], title: str) -> Table:
    """Each model's accuracy, agreement with float32, size and speed."""
    table = Table(title=title, title_justify="left")
    table.add_column("calibrated on", no_wrap=True)
    for heading in ("top-1 %", "top-5 %", "agreement %", "MB", "ms at 1", "ms at 32", "images/s at 32"):
        table.add_column(heading, justify="right")
    for row in rows:
        table.add_row(
            row.name,
            f"{100 * row.top1:.1f}",
            f"{100 * row.top5:.1f}",
            f"{100 * row.agreement:.1f}",
            f"{row.size_mb:.1f}",
            f"{row.latency_ms_1:.1f}",
            f"{row.latency_ms_32:.0f}",
            f"{row.images_per_second:.0f}",
        )
    return table
