from __future__ import annotations

import itertools
from xml.etree import ElementTree

import pytest

from ratchet.reports import charts

from .samples import HOSTILE

CHARTS = {
    "interval": charts.interval(0.1, -0.1, 0.3, label=HOSTILE, bound=-0.05, tone="flat"),
    "forest": charts.forest(
        [charts.Bar(label=HOSTILE, low=-1, estimate=0, high=float("inf"), text=HOSTILE, note=HOSTILE, strong=True)],
        label=HOSTILE, tick=lambda _: HOSTILE,
    ),
    "tally": charts.tally(3, 2, 1),
    "scatter": charts.scatter(
        [charts.Point(label=HOSTILE, x=k, y=-k, note=HOSTILE, kind=kind, front=True)
         for k, kind in enumerate(("baseline", "candidate", "other"))],
        label=HOSTILE, x_name=HOSTILE, y_name=HOSTILE,
    ),
    "histogram": charts.histogram([1, 4, 2], [-1, 0, 1, 2], label=HOSTILE, tick=str),
}  # fmt: skip


@pytest.mark.parametrize("name", CHARTS)
def test_a_chart_is_an_image_with_a_label_a_title_a_mark_and_no_inline_style(name: str) -> None:
    root = ElementTree.fromstring(CHARTS[name])  # well-formed, whatever the names
    assert (root.get("role"), bool(root.get("aria-label"))) == ("img", True)
    groups = root.findall("g")
    assert groups
    assert all(group.find("title") is not None for group in groups)
    assert not [mark for mark in root.iter() if {"style", "fill", "stroke"} & set(mark.keys())]
    assert not [mark for mark in root.iter() if mark.tag not in
                {"svg", "g", "title", "text", "line", "rect", "circle", "polygon", "polyline"}]  # fmt: skip


def test_an_interval_that_excludes_zero_is_filled_and_another_hollow() -> None:
    shown = charts.interval(0.2, 0.1, 0.3, label="x", tone="up")
    assert 'class="c-dot c-up"' in shown
    assert 'class="c-dot c-flat"' in charts.interval(0.2, -0.1, 0.3, label="x")


def test_marks_stand_in_the_order_of_their_values() -> None:
    root = ElementTree.fromstring(charts.interval(-0.1, -0.2, -0.05, label="x", bound=-0.02))
    (group,) = root.findall("g")
    line = {mark.get("class"): mark for mark in group.findall("line")}
    ends = [float(line["c-line c-flat"].get(key, "")) for key in ("x1", "x2")]
    assert ends[0] < ends[1] < float(line["c-bound"].get("x1", "")) < float(line["c-zero"].get("x1", ""))


def test_a_tally_shares_its_width_by_counts() -> None:
    root = ElementTree.fromstring(charts.tally(30, 10, 60))
    widths = [float(rect.get("width", "")) for rect in root.iter("rect")]
    assert widths[0] / widths[2] == pytest.approx(0.5, abs=0.02)


def test_many_points_are_counted_in_cells() -> None:
    points = [charts.Point(label="", x=k % 71, y=k % 53, note="") for k in range(charts.MOST_POINTS + 1)]
    shown = charts.scatter(points, label="x", x_name="a", y_name="b")
    assert "c-cell" in shown
    assert shown.count("<g>") < 1_200


def test_no_name_of_a_mark_lies_on_the_front_or_on_another_mark() -> None:
    """A cheap and a dear arm of nearly the same quality: a name between them would be struck through."""
    points = [
        charts.Point(label=name, x=x, y=y, note="", kind=kind, front=True)
        for name, x, y, kind in (
            ("cheap", 0.2, 0.956, "candidate"),
            ("dear", 1.5, 0.962, "baseline"),
            ("free", 0.0, 0.8, "other"),
        )
    ]
    root = ElementTree.fromstring(charts.scatter(points, label="x", x_name="a", y_name="b"))
    (line,) = (one for one in root.iter("polyline"))
    corners = [tuple(map(float, pair.split(","))) for pair in line.get("points", "").split()]
    for text in (one for one in root.iter("text") if "c-point" in one.get("class", "")):
        x, y, wide = float(text.get("x", "")), float(text.get("y", "")), 6 * len(text.text or "")
        low = x if "c-start" in text.get("class", "") else x - wide
        for (x1, y1), (x2, y2) in itertools.pairwise(corners):
            for k in range(101):
                at = x1 + k / 100 * (x2 - x1), y1 + k / 100 * (y2 - y1)
                assert not (low <= at[0] <= low + wide and y - 8 <= at[1] <= y + 2), text.text


@pytest.mark.parametrize(
    ("low", "high", "most"), [(-0.03, 0.1, 8), (0, 1e-9, 5), (-3e7, 2e8, 6), (0.999, 1.001, 5)]
)
def test_ticks_are_few_round_and_inside(low: float, high: float, most: int) -> None:
    found = charts.ticks(low, high, most)
    assert 2 <= len(found) <= most + 1
    assert all(low - 1e-12 <= value <= high + 1e-12 for value in found)


def test_nothing_to_draw_is_an_empty_chart() -> None:
    assert "<circle" not in charts.interval(None, None, None, label="x")
    assert charts.forest([], label="x", tick=str) == ""
    assert charts.histogram([], [], label="x", tick=str) == ""
