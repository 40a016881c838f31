from __future__ import annotations

import csv
import html
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from ratchet.errors import UnknownNameError
from ratchet.loads.sweeping import Sweep
from ratchet.reports import curves, load_pages, loads
from ratchet.reports.curves import Axis, Rule, Series
from ratchet.reports.loads import LoadReport
from ratchet.reports.texts import cell_width

from .load_samples import sweep_of, sweeps, two_arms

HOSTILE = '<script>alert("x")</script>\u202e=cmd'


@pytest.fixture(scope="module")
def report() -> LoadReport:
    return two_arms()


@pytest.fixture(scope="module")
def swept() -> LoadReport:
    return sweeps()


def test_the_terminal_shows_the_answer_first_within_eighty_columns(report: LoadReport) -> None:
    text = loads.render_terminal(report, width=80)
    lines = text.splitlines()
    assert max(map(cell_width, lines)) <= 80
    assert re.match(r"champion: \d+\.\d % of 1,200 requests good; challenger: ", lines[0])
    assert "p50" in text
    assert "needs" not in text, "1,200 requests are enough for all of it"
    assert "challenger minus champion, under the same load" in text
    assert "24 failed (timeout 24)" in text or re.search(r"\d+ failed \(timeout \d+\)", text)
    assert "Times count from the intended start" in text


def test_what_few_requests_do_not_allow_is_a_dash_with_what_it_needs() -> None:
    text = loads.render_terminal(two_arms(200))
    assert "  - p99 needs 299 requests" in text
    assert "needs 1,000 requests, has 200" in text


def test_an_invalid_result_says_so_first_and_why() -> None:
    invalid = two_arms(300, valid=False)
    assert loads.render_terminal(invalid).startswith("Invalid: one core was busy.")
    assert "[!CAUTION]" in loads.render_markdown(invalid)
    assert '<p class="word invalid">Invalid</p>' in load_pages.render(invalid)
    assert loads.as_json(invalid)["valid"] is False


def test_a_sweep_shows_every_step_and_what_it_found(swept: LoadReport) -> None:
    text = loads.render_terminal(swept)
    assert max(map(cell_width, text.splitlines())) <= 80
    assert re.search(
        r"champion holds \d+\.?\d* requests/s, its queue grows from \d+\.?\d* requests/s",
        " ".join(text.split()),
    )
    assert text.count("queue grows") >= 2
    assert "held" in text


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.requests: list[str] = []
        self.styles = 0
        self.scripts = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        for name in ("src", "href", "data", "action"):
            value = given.get(name)
            if value and not value.startswith(("#", "data:,")):
                self.requests.append(value)
        self.styles += "style" in given
        self.scripts += tag == "script"
        assert not [name for name in given if name.startswith("on")]


@pytest.mark.parametrize("kind", ["report", "swept"])
def test_the_page_is_one_file_that_makes_no_request(kind: str, request: pytest.FixtureRequest) -> None:
    page = load_pages.render(request.getfixturevalue(kind))
    found = _Page()
    found.feed(page)
    assert found.requests == []
    assert (found.styles, found.scripts) == (0, 1), "no inline style, which the policy would refuse"
    assert "default-src 'none'" in html.unescape(page)
    assert page.count('<svg class="chart') == 4
    assert not re.search(r"\bnan\b", page)


def test_nothing_hostile_reaches_page_terminal_markdown_or_csv() -> None:
    report = two_arms(300, names=(HOSTILE, "=1+1"))
    page = load_pages.render(report)
    assert "<script>alert" not in page
    assert "\u202e" not in page
    assert "\u202e" not in loads.render_terminal(report)
    assert "<script>" not in loads.render_markdown(report)
    names = {row["arm"] for row in csv.DictReader(io.StringIO(loads.render_csv(report)))}
    assert "'=1+1" in names


def test_the_csv_has_a_row_a_number_unrounded(report: LoadReport) -> None:
    rows = list(csv.DictReader(io.StringIO(loads.render_csv(report))))
    found = {(row["arm"], row["metric"], row["statistic"]): row for row in rows}
    assert report.result is not None
    e2e = report.result.arms["champion"].timings["e2e_s"].quantiles["p95"]
    assert float(found["champion", "e2e_s", "p95"]["value"]) == e2e.value
    assert found["challenger", "errors", "timeout"]["value"] == str(report.result.arms["challenger"].failed)
    assert {row["load"] for row in rows} == {"20 requests/s Poisson, open loop"}


def test_the_json_holds_all_of_it(report: LoadReport, swept: LoadReport, tmp_path: Path) -> None:
    loads.write(report, tmp_path / "r.json")
    said = json.loads((tmp_path / "r.json").read_text())
    assert (said["format"], said["version"], said["valid"]) == ("ratchet.load", 1, True)
    assert said["result"]["arms"]["champion"]["timings"]["ttft_s"]["quantiles"]["p50"]["low"] > 0
    loads.write(swept, tmp_path / "s.json")
    swept_said = json.loads((tmp_path / "s.json").read_text())
    assert [each["arm"] for each in swept_said["sweeps"]] == ["champion", "challenger"]


def test_markdown_has_a_table_an_arm(report: LoadReport) -> None:
    text = loads.render_markdown(report)
    assert text.startswith("> [!NOTE]")
    assert text.count("| time | p50 | p90 | p95 | p99 | max |") == 2


def test_an_ending_that_no_report_has_is_refused(report: LoadReport, tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="json, csv, html, md"):
        loads.write(report, tmp_path / "r.pdf")


@pytest.mark.parametrize(
    ("share", "text"), [(1.0, "100.0 %"), (0.9999, "99.990 %"), (0.982, "98.2 %"), (0.0, "0.0 %")]
)
def test_a_share_is_a_hundred_per_cent_only_where_nothing_is_missing(share: float, text: str) -> None:
    assert loads.percent(share) == text


def test_a_sweep_that_held_nothing_says_so() -> None:
    from ratchet.loads.records import Slo

    found: Sweep = sweep_of("slow", 1, 3.0, slo=Slo(e2e_s=0.1))
    report = LoadReport(sweeps=(found,))
    assert loads.sentence(report) == "slow held no rate that was tried"
    assert "Held nothing" in load_pages.render(report)


def test_a_line_breaks_where_a_value_has_no_end() -> None:
    drawn = curves.lines(
        [Series(name="a", points=[(1, 1.0), (2, 2.0), (3, None), (4, 1.0), (5, 1.0)], dots=True)],
        label="x", x=Axis(name="x", tick=str), y=Axis(name="y", tick=str), rules=[Rule(value=1.5, note="limit")],
    )  # fmt: skip
    assert drawn.count("<polyline") == 2
    assert drawn.count("<circle") == 4
    assert "limit" in drawn


def test_rates_over_decades_stand_on_a_logarithmic_axis() -> None:
    points = [(1.0, 1.0), (10.0, 1.0), (100.0, 1.0)]
    drawn = curves.lines(
        [Series(name="a", points=points)], label="x", x=Axis(name="x", tick=lambda v: f"{v:g}", log=True),
        y=Axis(name="y", tick=str, low=0.0),
    )  # fmt: skip
    found = re.search(r'points="([^"]+)"', drawn)
    assert found is not None
    at = [float(pair.split(",")[0]) for pair in found[1].split()]
    assert at[1] - at[0] == pytest.approx(at[2] - at[1], abs=0.2)
