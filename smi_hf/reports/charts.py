"""Charts of a report, as altair makes them; colors and type are those of the page, which sets them when it opens."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from smi_hf.reports.parts import Chart

if TYPE_CHECKING:
    import altair

Rows = Sequence[Mapping[str, Any]]


def values(rows: Rows) -> "altair.InlineData":
    """Rows as the data of a chart."""
    import altair

    return altair.InlineData(values=list(rows))


def choice(name: str, words: str, options: Mapping[str, str]) -> "altair.Parameter":
    """A list on the page to choose from.

    Args:
        name: of the parameter, for expressions.
        words: of the list.
        options: what is shown, by the parameter's value; the first is chosen.
    """
    import altair

    select = altair.binding_select(options=list(options), labels=list(options.values()), name=f"{words} ")
    return altair.param(name=name, value=next(iter(options)), bind=select)


def make_chart(chart: "altair.TopLevelMixin", title: str, description: str, numbers: Sequence[Sequence[str]]) -> Chart:
    """A chart as wide as its place on the page."""
    spec = chart.properties(width="container", description=description).to_dict()
    # The page has a configuration of its own, for dark and light.
    spec.pop("config", None)
    # With as much room for bars as was asked, whatever the legend takes.
    spec["autosize"] = {"type": "fit-x", "contains": "padding"}
    return Chart(title, spec, description, numbers)
