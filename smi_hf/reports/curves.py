"""What happened over time: patches and losses of an inversion, accuracy of students."""

from collections.abc import Mapping
from typing import Any

from smi_hf.data.record import DatasetRecord
from smi_hf.evaluation.record import ModelRecord
from smi_hf.reports.charts import make_chart, values
from smi_hf.reports.parts import Chart, Section, Subject


def section(subject: Subject) -> Section | None:
    """The curves that a record has, None if it has none."""
    record = subject.record
    charts = _of_dataset(record) if isinstance(record, DatasetRecord) else _of_model(record)
    return Section("Over time", "curves.html.jinja", {"charts": charts}) if charts else None


def _of_dataset(record: DatasetRecord) -> list[Chart]:
    charts = [loss_chart(record.results["loss_curve"])] if record.results.get("loss_curve") else []
    return [patches_chart(record), *charts] if record.settings["prune_steps"] else charts


def _of_model(record: ModelRecord) -> list[Chart]:
    return [learning_chart(record)] if any(record.curves.values()) else []


def patches_chart(record: DatasetRecord) -> Chart:
    """Patches that are optimized, over the steps."""
    import altair

    settings, counts = record.settings, record.keep_counts
    steps = [0, *settings["prune_steps"]]
    points = [{"step": step, "patches": count} for step, count in zip(steps, counts)]
    points.append({"step": settings["num_steps"], "patches": counts[-1]})
    chart = (
        altair.Chart(values(points))
        .mark_area(interpolate="step-after", line=True, opacity=0.3)
        .encode(
            x=altair.X("step:Q", title="optimization step"),
            y=altair.Y("patches:Q", title="patches"),
            tooltip=["step:Q", "patches:Q"],
        )
        .properties(height=200)
    )
    share = 100 * counts[-1] / counts[0]
    return make_chart(
        chart,
        title=f"{counts[-1]} of {counts[0]} patches ({share:.0f} %) are left in the end",
        description="How many patches of each image were optimized, over the steps; it falls at each prune.",
        numbers=[["step", "patches"], *([str(point["step"]), str(point["patches"])] for point in points)],
    )


def loss_chart(curve: Mapping[str, Any]) -> Chart:
    """Weighted loss terms, over the steps.

    Args:
        curve: of the record: `steps`, and `terms`, for each its values at these steps.
    """
    import altair

    points = [
        {"step": step, "loss": loss, "term": name}
        for name, losses in curve["terms"].items()
        for step, loss in zip(curve["steps"], losses)
    ]
    legend = altair.Legend(orient="top", title=None)
    chart = (
        altair.Chart(values(points))
        .mark_line()
        .encode(
            x=altair.X("step:Q", title="optimization step"),
            y=altair.Y("loss:Q", title="weighted loss, mean over images", scale=altair.Scale(type="symlog")),
            color=altair.Color("term:N", legend=legend),
            strokeDash=altair.StrokeDash("term:N", legend=legend),
            tooltip=["term:N", "step:Q", altair.Tooltip("loss:Q", format=".4g")],
        )
        .properties(height=240)
    )
    names = list(curve["terms"])
    return make_chart(
        chart,
        title=f"Losses of the first batch, {curve['num_images']} images",
        description=f"Lines of the loss terms {', '.join(names)} over the steps, on a logarithmic scale.",
        numbers=[
            ["step", *names],
            *(
                [str(step), *(f"{losses[place]:.4g}" for losses in curve["terms"].values())]
                for place, step in enumerate(curve["steps"])
            ),
        ],
    )


def learning_chart(record: ModelRecord) -> Chart:
    """Accuracy of the students while they learn, and that of their teacher."""
    import altair

    labels = {row.key: row.label for row in record.rows}
    points = [
        {"epoch": epoch, "top1": 100 * top1, "taught": labels.get(key, key)}
        for key, curve in record.curves.items()
        for epoch, top1 in curve
    ]
    legend = altair.Legend(orient="top", title="taught on", labelLimit=180)
    order = altair.Scale(domain=[labels.get(key, key) for key in record.curves])
    chart = (
        altair.Chart(values(points))
        .mark_line(point=True)
        .encode(
            x=altair.X("epoch:Q", title="epoch"),
            y=altair.Y("top1:Q", title="top-1, percent", scale=altair.Scale(zero=False)),
            color=altair.Color("taught:N", legend=legend, scale=order),
            strokeDash=altair.StrokeDash("taught:N", legend=legend, scale=order),
            tooltip=["taught:N", "epoch:Q", altair.Tooltip("top1:Q", format=".1f")],
        )
        .properties(height=260)
    )
    return make_chart(
        chart,
        title="Accuracy of the students while they learn",
        description="Lines of top-1 accuracy over the epochs, one for each student of the table.",
        numbers=[
            ["taught on", "epoch", "top-1 %"],
            *([point["taught"], f"{point['epoch']:g}", f"{point['top1']:.1f}"] for point in points),
        ],
    )
