from smi_hf.reports.charts import choice, make_chart, values


def test_a_chart_is_as_wide_as_its_place_and_says_what_it_shows():
    import altair

    chart = altair.Chart(values([{"a": 1, "b": 2}])).mark_point().encode(x="a:Q", y="b:Q")
    made = make_chart(chart.add_params(choice("c", "Show", {"x": "an x", "y": "a y"})), "title", "points", [["a"]])
    assert made.spec["width"] == "container" and made.spec["description"] == "points"
    assert "config" not in made.spec
    (parameter,) = made.spec["params"]
    assert (parameter["value"], parameter["bind"]["labels"]) == ("x", ["an x", "a y"])
