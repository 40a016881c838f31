"""Charts of a run: one mark with a title a fact, at its place, with classes alone."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from ratchet.reports import charts_runs
from ratchet.reports.charts_runs import Bars, Level, Times

SVG = "{http://www.w3.org/2000/svg}"


def parsed(text: str) -> ElementTree.Element:
    """The chart as a tree: it is well-formed."""
    assert "style=" not in text
    return ElementTree.fromstring(str(text).replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1))


def titles(chart: ElementTree.Element) -> list[str]:
    return [title.text or "" for title in chart.iter(f"{SVG}title")]


def number(element: ElementTree.Element, name: str) -> float:
    return float(element.attrib[name])


def test_levels_share_one_scale_and_a_missing_arm_leaves_its_place_free() -> None:
    shown = [
        Level(arm="a", estimate=0.5, low=0.4, high=0.6, text="50 %"),
        None,
        Level(arm="c", estimate=0.9, low=None, high=None, text="90 %"),
    ]
    chart = parsed(charts_runs.levels(shown, label="right"))
    assert titles(chart) == ["a: 50 %", "c: 90 %"]
    first, last = (mark for mark in chart.iter(f"{SVG}rect"))
    assert number(first, "x") < number(last, "x")
    assert number(last, "y") > number(first, "y") + 20
    assert len(list(chart.iter(f"{SVG}line"))) == 1
    assert chart.attrib["aria-label"] == "right"


def test_levels_without_an_estimate_draw_nothing() -> None:
    assert charts_runs.levels([None, None], label="x") == ""


def test_quantiles_stand_where_they_are_on_the_axis_of_the_bars() -> None:
    arm = Times(arm="a", counts=[2, 6, 2, 1], quantiles={"p50": 1.5, "p99": 3.9})
    chart = parsed(
        charts_runs.times([arm], [0.0, 1.0, 2.0, 3.0, 4.0], beyond=True, label="l", tick=lambda v: f"{v:g} s")
    )
    assert titles(chart)[:4] == [
        "a, 0 s to 1 s: 2",
        "a, 1 s to 2 s: 6",
        "a, 2 s to 3 s: 2",
        "a, 3 s and more: 1",
    ]
    assert titles(chart)[4:] == ["a: p50 1.5 s", "a: p99 3.9 s"]
    bars = [mark for mark in chart.iter(f"{SVG}rect") if "c-fill" in mark.attrib["class"]]
    assert number(bars[1], "height") == max(number(bar, "height") for bar in bars)
    lines = [mark for mark in chart.iter(f"{SVG}line") if mark.attrib["class"] == "c-quantile"]
    middle = number(bars[1], "x") + number(bars[1], "width") / 2
    assert abs(number(lines[0], "x1") - middle) < 1


def test_names_of_quantiles_that_would_run_into_each_other_are_left_to_the_tooltip() -> None:
    arm = Times(arm="a", counts=[9, 1], quantiles={"p50": 1.0, "p90": 1.01, "p99": 1.9})
    text = charts_runs.times([arm], [0.0, 1.0, 2.0], beyond=False, label="l", tick=str)
    chart = parsed(text)
    names = [mark.text for mark in chart.iter(f"{SVG}text") if (mark.text or "").startswith("p")]
    assert names == ["p50", "p99"]
    assert "p90" in " ".join(titles(chart))


def test_a_distribution_shows_shares_of_each_arm_so_that_arms_of_other_sizes_compare() -> None:
    bars = [Bars(label="failed", counts=[10, 100]), Bars(label="passed", counts=[90, 900])]
    chart = parsed(charts_runs.distribution(bars, ["a", "b"], label="l"))
    heights = [number(mark, "height") for mark in chart.iter(f"{SVG}rect")]
    assert heights[0] == heights[1]
    assert heights[2] == heights[3] > heights[0]
    assert "failed, b: 100 (10.0 %)" in titles(chart)


def test_ranges_have_an_axis_and_single_values_their_names() -> None:
    bars = [Bars(label="0 to 1", counts=[1]), Bars(label="1 to 2", counts=[0])]
    ranged = parsed(
        charts_runs.distribution(bars, ["a"], label="l", edges=(0.0, 2.0), tick=lambda v: f"{v:g}")
    )
    words = [mark.text for mark in ranged.iter(f"{SVG}text")]
    assert words[0] == "0"
    assert words[-1] == "2"
    named = parsed(charts_runs.distribution(bars, ["a"], label="l"))
    assert [mark.text for mark in named.iter(f"{SVG}text")] == ["0 to 1", "1 to 2"]


def test_nothing_counted_draws_nothing() -> None:
    assert charts_runs.distribution([Bars(label="x", counts=[0])], ["a"], label="l") == ""
    assert charts_runs.times([], [0.0, 1.0], beyond=False, label="l", tick=str) == ""


def test_hostile_names_stay_text() -> None:
    evil = '"><script>alert(1)</script>\u202e'
    level = Level(arm=evil, estimate=1.0, low=0.0, high=2.0, text=evil)
    times = Times(arm=evil, counts=[1], quantiles={evil: 0.5})
    for text in (
        charts_runs.levels([level], label=evil),
        charts_runs.times([times], [0.0, 1.0], beyond=False, label=evil, tick=lambda _: evil),
        charts_runs.distribution([Bars(label=evil, counts=[1])], [evil], label=evil),
        charts_runs.share_bar(0.5, label=evil),
    ):
        assert "<script" not in text
        assert "\u202e" not in text
        parsed(text)


def test_a_bar_of_progress_is_as_long_as_its_share() -> None:
    assert re.findall(r'class="c-done" width="([\d.]+)"', charts_runs.share_bar(0.25, label="l")) == ["250.0"]
    assert re.findall(r'class="c-done" width="([\d.]+)"', charts_runs.share_bar(7.0, label="l")) == ["1000.0"]
