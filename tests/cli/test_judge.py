"""`ratchet judge calibrate`: sample, import, report, as a person types them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from judged import Judged, fill, judged_run
from ratchet.cli.judge import judge
from ratchet.errors import DatasetError, UnknownNameError
from ratchet.simulated.answers import Answer, AnswerKey
from ratchet.simulated.server import serve_in_thread
from ratchet.stores import open_store


@pytest.fixture
def judged(project: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Judged]:
    monkeypatch.setenv("RATCHET_STORE", str(project / "runs.db"))
    store = open_store(project / "runs.db")
    with judged_run(store, project, count=60) as found:
        store.close()
        yield found


def ratchet(*arguments: str) -> tuple[str, int]:
    result = CliRunner().invoke(judge, list(arguments), standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    return result.stdout, result.return_value or 0


def test_sample_import_and_report_lead_from_one_to_the_next(judged: Judged, project: Path) -> None:
    said, _ = ratchet("calibrate", "sample", "-n", "40", "--seed", "2", "-o", "labels.csv")
    assert "labels.csv: 80 answers to 40 of 60 examples, drawn with seed 2." in said
    assert "true | false" in said
    assert "Then: ratchet judge calibrate import labels.csv --by NAME" in said
    fill(project / "labels.csv", judged.person(), skip=(0,))
    said, _ = ratchet("calibrate", "import", "labels.csv", "--by", "ada")
    assert "79 labels by ada kept, 1 answers without one." in said
    assert f"Next: ratchet judge calibrate report {judged.run.id[:13]} --scorer judge" in said
    said, status = ratchet("calibrate", "report", judged.run.id[:13], "--retest", "1")
    assert status == 0
    for part in (
        "judge: 79 answers labelled by ada, 39 examples on all arms",
        "openai/critic",
        "challenger - champion",
        "Asked again, the judge said the same: 1.00",
        "people true",
        "Disagreements, the worst 5 of",
        "Kept as calibration",
    ):
        assert part in said, said
    assert max(map(len, said.splitlines())) <= 80


def test_the_report_is_json_where_asked(judged: Judged, project: Path) -> None:
    ratchet("calibrate", "sample", "-n", "40", "-o", "labels.jsonl")
    rows = [json.loads(line) for line in (project / "labels.jsonl").read_text().splitlines()]
    lines = [json.dumps({**row, "label": judged.truth[row["output"]]}) for row in rows]
    (project / "labels.jsonl").write_text("\n".join(lines))
    imported = json.loads(ratchet("calibrate", "import", "labels.jsonl", "--by", "ada", "--json")[0])
    assert (imported["labels"], imported["blank"]) == (80, 0)
    found = json.loads(ratchet("calibrate", "report", "--json")[0])
    assert found["n"] == 80
    assert set(found["arms"]) == {"champion", "challenger"}
    assert len(found["calibration"]) == 32


def test_a_run_without_labels_is_told_whether_the_kept_calibration_holds(
    judged: Judged, project: Path
) -> None:
    said, status = ratchet("calibrate", "report")
    assert status == 3
    assert "The calibration of judge is none." in said
    assert "Next: ratchet judge calibrate sample" in said
    ratchet("calibrate", "sample", "-n", "40", "-o", "labels.csv")
    fill(project / "labels.csv", judged.person())
    ratchet("calibrate", "import", "labels.csv", "--by", "ada")
    ratchet("calibrate", "report")
    store = open_store(project / "runs.db")
    with judged_run(store, project, count=60, profile="other=instant,skill=0.9", model="other"):
        store.close()
        said, status = ratchet("calibrate", "report")
    assert status == 3
    assert "is stale: the judge is judge@1+" in said


def test_a_sheet_that_is_there_is_never_overwritten(judged: Judged, project: Path) -> None:
    (project / "labels.csv").write_text("labels of a long day")
    with pytest.raises(click.UsageError, match="may hold labels"):
        ratchet("calibrate", "sample", "-o", "labels.csv")
    assert (project / "labels.csv").read_text() == "labels of a long day"


def test_wrong_use_is_told(judged: Judged, project: Path) -> None:
    with pytest.raises(UnknownNameError, match="no judge's score named 'quality'"):
        ratchet("calibrate", "sample", "--scorer", "quality", "-o", "labels.csv")
    (project / "labels.csv").write_text("item,label\nx-1,maybe\n")
    with pytest.raises(DatasetError, match=r"labels\.csv:2, column 'item': 'x-1'"):
        ratchet("calibrate", "import", "labels.csv", "--by", "ada")


def test_pairs_are_judged_in_both_orders(judged: Judged, project: Path) -> None:
    url = judged.server.base_url("openai")
    (project / "pairs.txt").write_text("FIRST {first}\nSECOND {second}\n{verdict_format}")
    before = judged.server.stats().requests
    said, status = ratchet("pairwise", "-m", "openai/instant", "--base-url", url, "-p", "pairs.txt")
    assert status == 4, "this key answers true and false, which is no verdict on a pair"
    assert "Warning: 60 pairs have no verdict" in said
    assert judged.server.stats().requests > before + 120
    key = AnswerKey([Answer(contains="FIRST", answer='{"reason": "it is first", "score": "first"}')])
    with serve_in_thread(answers=key) as server:
        url = server.base_url("openai")
        said, status = ratchet("pairwise", "-m", "openai/instant", "--base-url", url, "-p", "pairs.txt")
        found = json.loads(
            ratchet("pairwise", "-m", "openai/instant", "--base-url", url, "-p", "pairs.txt", "--json")[0]
        )
    assert status == 0
    assert "challenger against champion: 0 won, 0 lost, 60 ties of 60 pairs" in said
    assert "Order: 60 verdicts changed with it and count as ties: 1.00" in said
    assert "100% went to the answer shown first" in said
    assert (found["flips"], found["unread"], found["win_rate"]["value"]) == (60, 0, 0.5)
