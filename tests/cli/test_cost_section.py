"""The cost case of a verdict, from `traffic:` in ratchet.yaml to every format that a verdict is written in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from ratchet.simulated.server import SimulatedServer

from .conftest import Ratchet, lay

TWO = """\
variants:
  old: {model: openai/instant, prompt: 'Answer: {question}', price: {input_usd_per_mtok: 10, output_usd_per_mtok: 100}}
  new: {model: openai/instant, prompt: 'Answer: {question}', price: {input_usd_per_mtok: 1, output_usd_per_mtok: 10}}
tasks:
  questions: {dataset: rows.jsonl, scorers: [exact_match], baseline: old, traffic: 2M/month}
"""
SAID = "new saves"


@pytest.fixture
def run(ratchet: Ratchet, project: Path, server: SimulatedServer) -> Ratchet:
    lay(project, 30, TWO)
    found = ratchet("run", "--json")
    assert found.code == 0, found.err
    return ratchet


def written(run: Ratchet, name: str) -> str:
    run("compare", "-o", name)
    return Path(name).read_text("utf-8")


def monthly(cost_case: Any) -> float:
    return cost_case["migration"]["saving_per_month_usd"]["value"]


def test_the_terminal_says_what_the_change_saves_a_month(run: Ratchet) -> None:
    text = " ".join(run("compare").out.split())
    assert SAID in text
    assert "a month (90 %) against old" in text


@pytest.mark.parametrize("name", ["verdict.md", "verdict.html"])
def test_pages_say_it_too(run: Ratchet, name: str) -> None:
    text = written(run, name)
    assert SAID in text
    assert "a month (90 %)" in text


def test_the_html_has_the_tables(run: Ratchet) -> None:
    text = written(run, "verdict.html")
    for words in ("Cost case", "spent on validation", "saving per month", "break-even"):
        assert words in text


def test_json_holds_the_numbers(run: Ratchet) -> None:
    found = json.loads(written(run, "verdict.json"))
    case = found["verdict"]["cost_case"]
    per_call = case["migration"]["saving_per_call_usd"]
    assert monthly(case) == pytest.approx(2e6 * per_call["value"])
    assert per_call["low"] <= per_call["value"] <= per_call["high"]
    assert case["traffic"]["calls_per_month"]["value"] == 2e6
    assert case["migration"]["spent_usd"] == pytest.approx(
        sum(30 * arm["per_call_usd"]["value"] for arm in case["arms"])
    )


def test_junit_holds_them_as_properties_of_the_suite(run: Ratchet) -> None:
    suite = ElementTree.fromstring(written(run, "verdict.junit.xml")).find("testsuite")
    assert suite is not None
    assert suite[0].tag == "properties", "first, as the schema has it"
    found = {each.get("name"): each.get("value") for each in suite.iter("property")}
    assert SAID in str(found["ratchet.cost_case"])
    per_call = float(str(found["ratchet.saving_per_call_usd"]))
    assert float(str(found["ratchet.saving_per_month_usd"])) == pytest.approx(2e6 * per_call)
    assert float(str(found["ratchet.saving_per_call_usd_low"])) <= per_call
    assert float(str(found["ratchet.saving_per_call_usd_high"])) >= per_call
    assert float(str(found["ratchet.spent_on_validation_usd"])) > 0


def test_verify_says_same(run: Ratchet) -> None:
    run("compare", "--evidence", "evidence.json")
    case = json.loads(Path("evidence.json").read_text("utf-8"))["verdict"]["cost_case"]
    assert monthly(case) > 0
    found = run("verify", "evidence.json")
    assert found.code == 0, found.out + found.err
    assert "same" in found.out.lower()


def test_without_prices_there_is_no_case_and_no_error(
    ratchet: Ratchet, project: Path, server: SimulatedServer
) -> None:
    text = TWO.replace(", price: {input_usd_per_mtok: 10, output_usd_per_mtok: 100}", "")
    lay(project, 30, text)
    ratchet("run")
    found = ratchet("compare", "-o", "verdict.junit.xml", "--json")
    assert "Traceback" not in found.err
    assert not json.loads(found.out)["verdict"].get("cost_case")
    suite = ElementTree.parse("verdict.junit.xml").getroot()
    assert list(suite.iter("property")) == []


def test_a_noise_check_has_no_case(ratchet: Ratchet, project: Path, server: SimulatedServer) -> None:
    lay(project, 30, TWO)
    found = ratchet("run", "--aa", "-v", "old")
    assert "SAME" in found.out.upper() or "NOISE" in found.out.upper() or "A/A" in found.out.upper(), (
        found.out
    )
    assert SAID not in found.out
    assert "a month" not in found.out


@pytest.mark.parametrize("traffic", ["often", "0/s", "5/fortnight"])
def test_a_wrong_traffic_names_file_line_and_key(ratchet: Ratchet, project: Path, traffic: str) -> None:
    lay(project, 3, TWO.replace("2M/month", traffic))
    found = ratchet("run")
    assert found.code == 2
    assert "ratchet.yaml:5, tasks.questions.traffic" in found.err
    assert repr(traffic) in found.err
    assert "expected" in found.err
