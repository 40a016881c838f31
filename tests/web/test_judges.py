"""The judges' screen: agreement, confusion, disagreements, and whether the calibration holds."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from labels.desk import a_desk, trace_id
from ratchet import calibrations
from ratchet.labels import giving, queues
from ratchet.labels.giving import Answer
from ratchet.labels.queues import Recipe
from ratchet.records import Run, Score
from ratchet.stores.sqlite import SQLiteStore

from .conftest import ORIGIN

if TYPE_CHECKING:
    from starlette.testclient import TestClient


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SQLiteStore]:
    with SQLiteStore(tmp_path / "ratchet.db") as opened:
        yield opened


@pytest.fixture
def run(store: SQLiteStore, tmp_path: Path) -> Run:
    return a_desk(store, tmp_path, count=40)


@pytest.fixture
def client(store: SQLiteStore, tmp_path: Path) -> Iterator[TestClient]:
    from starlette.testclient import TestClient

    from ratchet.web.app import create_app
    from ratchet.web.settings import Settings

    with TestClient(
        create_app(Settings(store=store.path, root=tmp_path, person="ann")), base_url=ORIGIN
    ) as found:
        yield found


def say_the_truth(store: SQLiteStore, run: Run, n: int = 40) -> queues.Queue:
    """Ann labels as the code scores; the judge is wrong on every fifth question."""
    queue = queues.build(run, store, Recipe(n=n, score="quality"))
    truth = {s.trace_id: s.value for s in store.scores(run.id, name="exact")}
    for item in giving.lease(store, queue, "ann", most=2 * n):
        giving.give(
            store, queue, item, "ann", Answer(position=item.position, slot=0, value=truth[item.trace_id])
        )
    return queue


def test_without_a_judge_the_page_says_what_to_type(client: TestClient) -> None:
    text = client.get("/judge").text
    assert "No judge has scored anything yet." in text
    assert "<code>ratchet run</code>" in text


def test_a_judge_without_labels_is_not_measured_and_the_next_step_is_named(
    client: TestClient, run: Run
) -> None:
    text = client.get("/judge").text
    assert "Not measured" in text
    assert "Not calibrated" in text
    assert f"ratchet label new {run.id[:13]} --score quality -n 60" in text


def test_agreement_confusion_and_disagreements_follow_the_labels(
    client: TestClient, store: SQLiteStore, run: Run
) -> None:
    say_the_truth(store, run)
    text = client.get("/judge").text
    assert '<p class="word">80%</p>' in text
    assert "of 80 labelled answers" in text
    assert text.count("so it seems") == 16
    assert f'href="/traces/{trace_id("champion", 0)}"' in text
    store.write(
        [Score(trace_id=trace_id("champion", 0), name="quality", value=False, source="human", by="ann")]
    )
    assert client.get("/judge").text.count("so it seems") == 15, "a label was changed"


def test_a_disagreement_that_somebody_confirmed_comes_first(
    client: TestClient, store: SQLiteStore, run: Run
) -> None:
    queue = say_the_truth(store, run)
    item = next(i for i in store.label_items(queue.id) if i.trace_id == trace_id("challenger", 35))
    store.flag_item(queue.id, item.position, item.slot, "ann", "disagree", now=1.0, on=True)
    text = client.get("/judge").text.partition("Disagreements to read")[2]
    assert text.partition("/traces/")[2].startswith(trace_id("challenger", 35))
    assert "the judge is wrong, says ann" in text


def test_a_calibration_is_fresh_and_then_stale_with_the_reason(
    client: TestClient, store: SQLiteStore, run: Run
) -> None:
    say_the_truth(store, run)
    calibrations.keep(store, calibrations.calibrate(run, store, "quality"))
    text = client.get("/judge").text
    assert ">Calibrated<" in text
    assert "Judge minus people" in text
    trace = trace_id("champion", 1)
    store.write([Score(trace_id=trace, name="quality", value=True, source="judge", by="quality@2")])
    text = client.get("/judge").text
    assert "Calibration is stale" in text
    assert "the judge is quality@2, calibrated was quality@1" in text
    assert "ratchet judge calibrate report" in text


def test_each_judge_has_its_own_address(client: TestClient, store: SQLiteStore, run: Run) -> None:
    other = Score(trace_id=trace_id("champion", 2), name="tone", value="kind", source="judge", by="tone@1")
    store.write([other, other.replace(source="human", by="ben", value="rude")])
    text = client.get("/judge?judge=tone").text
    assert 'aria-current="true">tone<' in text
    assert "<b>rude</b>" in text
    assert "Not measured" in client.get("/judge?judge=nonsense").text, "the first one is shown"


def test_a_pairwise_judge_shows_how_often_the_order_decided(
    client: TestClient, store: SQLiteStore, run: Run
) -> None:
    store.write(
        [
            Score(
                trace_id=trace_id("challenger", i), against=trace_id("champion", i), name="judge_pairwise",
                value=0.5, source="judge", by="judge_pairwise@1", metadata={"flipped": i < 3},
            )
            for i in range(12)
        ]
    )  # fmt: skip
    text = client.get("/judge?judge=judge_pairwise").text
    assert '<p class="word">25%</p>' in text
    assert "of 12 pairs" in text


def test_the_screen_loads_no_scipy(tmp_path: Path, store: SQLiteStore, run: Run) -> None:
    say_the_truth(store, run)
    calibrations.keep(store, calibrations.calibrate(run, store, "quality"))
    code = f"""
import sys
from pathlib import Path
from starlette.testclient import TestClient
from ratchet.web.app import create_app
from ratchet.web.settings import Settings
with TestClient(create_app(Settings(store=Path({str(store.path)!r}))), base_url={ORIGIN!r}) as client:
    for path in ("/judge", "/label"):
        assert client.get(path).status_code == 200
assert "scipy" not in sys.modules, "scipy was loaded"
"""
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, found.stderr
