from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from costs.stores import a_call, filled, run_of
from ratchet.errors import PlanError
from ratchet.loads.rates import measured_rate
from ratchet.records import Run, Score
from ratchet.stores import open_store

from .conftest import Ratchet


@pytest.fixture
def store(project: Path) -> str:
    filled(project).close()
    return str(project / "costs.db")


def test_the_case_is_told_in_one_sentence_and_80_columns(ratchet: Ratchet, store: str) -> None:
    found = ratchet("cost", "--store", store, "--traffic", "100k/month", "--one-off-usd", "3600")
    assert found.code == 0
    assert "new saves $1,800.00 a month (90 %) against old" in found.out.replace("\n", " ")
    assert max(map(len, found.out.splitlines())) <= 80
    assert "per million tokens (list A, 2026-01-01)" in " ".join(found.out.split())
    assert "Judges cost $0.0500" in found.out


def test_without_traffic_it_says_how_to_state_it(ratchet: Ratchet, store: str) -> None:
    found = ratchet("cost", "--store", store)
    assert "--traffic 1M/month" in found.out
    assert "per month" not in found.out


def test_traffic_is_counted_from_a_file_or_from_a_run(ratchet: Ratchet, store: str, project: Path) -> None:
    (project / "calls.csv").write_text("timestamp\n" + "".join(f"{i}\n" for i in range(61)))
    from_file = ratchet("cost", "--store", store, "--traffic-from", "calls.csv", "--json").json
    from_run = ratchet("cost", "--store", store, "--traffic-from", "trial", "--json").json
    assert from_file["case"]["traffic"]["calls_per_month"]["value"] == pytest.approx(30.4375 * 86_400)
    assert "61 calls over 60.0 s in calls.csv" in from_file["case"]["traffic"]["source"]
    assert "run trial" in from_run["case"]["traffic"]["source"]


@pytest.mark.parametrize("ending", ["json", "csv", "md", "html"])
def test_it_is_written_in_the_format_that_the_ending_names(
    ratchet: Ratchet, store: str, project: Path, ending: str
) -> None:
    path = project / f"case.{ending}"
    assert ratchet("cost", "--store", store, "--traffic", "5/s", "-o", str(path)).code == 0
    text = path.read_text()
    if ending == "json":
        assert json.loads(text)["format"] == "ratchet.cost_case"
    elif ending == "csv":
        rows = list(csv.DictReader(text.splitlines()))
        assert [row["arm"] for row in rows] == ["old", "new"]
        assert float(rows[0]["per_call_usd"]) == pytest.approx(0.02)
    elif ending == "md":
        assert text.startswith("**new saves")
        assert "| per call | \\$0.0200 | \\$0.00200 |" in text
    else:
        assert "http" not in text.replace("http-equiv", "")
        assert "<svg" in text


def test_machines_of_ones_own_are_set_against_the_api(ratchet: Ratchet, store: str) -> None:
    command = (
        "cost",
        "--store",
        store,
        "--traffic",
        "5/s",
        "--self-hosted",
        "new",
        "--gpu-usd-per-hour",
        "2",
    )
    found = ratchet(*command, "--requests-per-s", "10", "--json").json["case"]["hosting"]
    assert (found["arm"], found["against"], found["replicas"]) == ("new", "old", 1)
    assert found["break_even_calls_per_month"] == pytest.approx(2 * 730.5 / 0.02)
    assert ratchet(*command).code == 2
    assert ratchet(*command, "--requests-per-s", "10", "--load", "x").code == 2


def test_what_machines_hold_is_taken_from_a_load_test(ratchet: Ratchet, store: str) -> None:
    run = run_of("load", ("new",)).replace(
        environment={"load": "20 requests/s, constant", "load_valid": "yes"}, name="tested"
    )
    with open_store(store) as opened:
        opened.save_run(run)
        for n in range(21):
            call = a_call(run, "new", n, 0.002, created_at=1000.0 + n / 2)
            opened.write([call, Score(trace_id=call.id, name="goodput", value=n < 11)])
        opened.set_run_state(run.id, "finished")
        assert measured_rate(opened, "load", "new") == pytest.approx(1.1)
        broken: Run = run.replace(
            id="broken", environment={**run.environment, "load_valid": "no: CPU was short"}
        )
        opened.save_run(broken)
        with pytest.raises(PlanError, match="CPU was short"):
            measured_rate(opened, "broken", "new")
        with pytest.raises(PlanError, match="no load test"):
            measured_rate(opened, "run", "new")
    found = ratchet(
        "cost", "trial", "--store", store, "--self-hosted", "new", "--gpu-usd-per-hour", "2", "--load", "tested", "--json"
    ).json["case"]["hosting"]  # fmt: skip
    assert found["requests_per_s"] == pytest.approx(1.1)
    assert found["throughput_from"] == "load test tested"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("--price", "new=cheap"), "expected ARM=INPUT/OUTPUT"),
        (("--price", "newer=1/2"), "Did you mean 'new'"),
        (("--traffic", "often"), "no rate"),
        (("--candidate", "nwe"), "Did you mean 'new'"),
        (("--success", "exact"), "exact_match"),
        (("--traffic", "5/s", "--traffic-from", "trial"), "give one of them"),
        (("-o", "case.pdf"), "known: json, csv, md, html"),
        (("--self-hosted", "nwe", "--gpu-usd-per-hour", "1", "--requests-per-s", "1"), "known: old, new"),
        (("other",), "ratchet list"),
    ],
)
def test_wrong_input_says_what_was_expected(
    ratchet: Ratchet, store: str, given: tuple[str, ...], said: str
) -> None:
    found = ratchet("cost", "--store", store, *given)
    assert found.code == 2
    assert said in found.err
