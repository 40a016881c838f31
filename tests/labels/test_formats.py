"""Labels as files: out and in again as they were, and bad rows told by place."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from ratchet import codec
from ratchet.errors import ConfigError, DatasetError
from ratchet.labels import formats, rubrics
from ratchet.ports import Store
from ratchet.records import Run, Score
from ratchet.stores.sqlite import SQLiteStore

from .desk import trace_id

KINDS = ("jsonl", "csv", "json")
ANSWER, OTHER = trace_id("champion", 1), trace_id("challenger", 1)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
WORDS = TEXT.map(str.strip).filter(bool)
VALUES = st.one_of(
    st.booleans(),
    st.floats(allow_nan=False, allow_infinity=False),
    WORDS,
    st.frozensets(WORDS, max_size=4),
)
LABELS = st.builds(
    Score,
    trace_id=st.sampled_from([ANSWER, OTHER]),
    name=st.just("free"),
    value=VALUES,
    against=st.none(),
    reason=st.none() | WORDS,
    source=st.just("human"),
    by=WORDS,
    dimension=st.sampled_from(["accuracy", "security"]),
    created_at=st.floats(0, 4e9),
    metadata=st.fixed_dictionaries(
        {},
        optional={
            "why": WORDS,
            "seconds": st.floats(0, 100),
            "probability": st.floats(0, 1),
            "position": st.integers(0, 10**6),
            "queue": WORDS,
            "left": st.sampled_from(["baseline", "candidate"]),
        },
    ),
)


def out(scores: list[Score], store: Store, kind: str) -> bytes:
    return b"".join(formats.lines(scores, store, kind))


def told(score: Score) -> bytes:
    return codec.canonical(codec.encode(score))


def back(data: bytes, store: Store, kind: str, **options: Any) -> list[Score]:
    return formats.read(io.BytesIO(data), f"labels.{kind}", store, **options)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(labels=st.lists(LABELS, max_size=4))
def test_labels_come_back_as_they_went_out(store: Store, run: Run, kind: str, labels: list[Score]) -> None:
    found = back(out(labels, store, kind), store, kind)
    assert sorted(map(told, found)) == sorted(map(told, labels))


@pytest.mark.parametrize("kind", KINDS)
def test_pairs_and_people_come_back_into_another_store(
    store: Store, run: Run, tmp_path: Path, kind: str
) -> None:
    labels = [
        Score(
            trace_id=OTHER,
            against=ANSWER,
            name="preference",
            value=0.5,
            source="human",
            by="ann",
            created_at=5.0,
        ),
        Score(
            trace_id=ANSWER,
            name="quality",
            value=True,
            source="human",
            by="ann",
            reason="=SUM(A1)",
            created_at=6.0,
        ),
        Score(
            trace_id=ANSWER,
            name="quality",
            value=False,
            source="human",
            by="ben",
            reason="-1",
            created_at=7.0,
        ),
    ]
    store.write(labels)
    data = out(formats.labels_of(store), store, kind)
    with SQLiteStore(tmp_path / "other.db") as other:
        other.write([trace for name in (ANSWER, OTHER) if (trace := store.trace(name)) is not None])
        assert formats.bring_in(io.BytesIO(data), f"x.{kind}", other) == 3
        assert formats.bring_in(io.BytesIO(data), f"x.{kind}", other) == 0, "word for word there already"
        assert sorted(map(told, formats.labels_of(other))) == sorted(map(told, labels))


def test_what_is_exported_is_people_s_labels_that_count(store: Store, run: Run) -> None:
    said = Score(
        trace_id=ANSWER, name="quality", value=True, source="human", by="ann", metadata={"queue": "q1"}
    )
    store.write(
        [said, said.replace(by="ben", metadata={}), said.replace(by="cy", value=None, reason="undone")]
    )
    assert [s.by for s in formats.labels_of(store, run.id, name="quality")] == ["ann", "ben"]
    assert [s.by for s in formats.labels_of(store, queue_id="q1")] == ["ann"]
    assert formats.labels_of(store, name="other") == []


def test_a_spreadsheet_runs_nothing_of_a_csv(store: Store, run: Run) -> None:
    score = Score(trace_id=ANSWER, name="tone", value="=1+1", source="human", by="@ann", reason="+x")
    cells = out([score], store, "csv").decode().splitlines()[1]
    assert ",'=1+1," in cells
    assert ",'@ann," in cells
    assert ",'+x," in cells


def row(**changes: Any) -> dict[str, Any]:
    return {"trace_id": ANSWER, "name": "quality", "value": True, "by": "ann", **changes}


def jsonl(*rows: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(one).encode() + b"\n" for one in rows)


@pytest.mark.parametrize(
    ("bad", "column", "expected"),
    [
        (row(trace_id="nope"), "trace_id", "'nope': no trace of this store has this id"),
        (row(trace_id=None), "trace_id", "expected a trace id"),
        (row(against="nope"), "against", "no trace"),
        (row(name=" "), "name", "expected the score's name"),
        (row(by=""), "by", "expected who labelled"),
        (row(value="maybe"), "value", r"'maybe': expected Good | Bad"),
        (row(value=None), "value", "expected Good | Bad"),
        (row(name="free", value={"a": 1}), "value", "expected true, false, a number, a label"),
        (row(name="free", value=[1]), "value", "expected a list of labels"),
        (row(kind="number", name="free", value="x"), "value", "expected a number"),
        (row(kind="colour"), "kind", "expected bool, number, label or labels"),
        (row(seconds="slow"), "seconds", "expected a number"),
        (row(created_at=True), "created_at", "expected a number"),
        (row(dimension="taste"), "dimension", "expected one of cost, latency"),
        (row(metadata=[1]), "metadata", "expected a JSON object"),
    ],
)
def test_a_bad_row_is_told_by_line_column_value_and_what_was_expected(
    store: Store, run: Run, bad: dict[str, Any], column: str, expected: str
) -> None:
    rubrics.keep(store, rubrics.passing("quality"))
    with pytest.raises(DatasetError) as error:
        formats.bring_in(io.BytesIO(jsonl(row(), bad)), "dir/labels.jsonl", store)
    assert f"dir/labels.jsonl:2, column '{column}': " in str(error.value)
    assert expected in str(error.value)
    assert formats.labels_of(store) == [], "nothing is kept of a file with a bad row"


def test_all_bad_rows_are_told_at_once_up_to_ten(store: Store, run: Run) -> None:
    with pytest.raises(DatasetError) as error:
        back(jsonl(*[row(trace_id=f"bad{i}") for i in range(14)]), store, "jsonl")
    assert str(error.value).count("no trace of this store") == 10
    assert "and 4 more" in str(error.value)


@pytest.mark.parametrize(
    ("kind", "data", "expected"),
    [
        ("jsonl", b"{", "labels.jsonl:1: this is no JSON"),
        ("jsonl", b"[1]\n", "expected an object"),
        ("csv", b"trace_id,name\n", "there is no such column"),
        ("csv", b'trace_id,name,value\n"', "this is no CSV"),
        ("csv", b"trace_id,name,value\na,b,c,d\n", "has 4 cells, expected 3"),
        ("csv", b"trace_id,name,value\n\xff,b,c\n", "not UTF-8"),
        ("json", b'[{"annotations": []}]', "column 'data'"),
        ("json", b'[{"data": {}, "annotations": 5}]', "expected a list of annotations"),
        (
            "json",
            b'[{"data": {}, "annotations": [{"result": [{"type": "video"}]}]}]',
            "expected a result of type choices",
        ),
    ],
)
def test_a_file_that_can_not_be_read_says_where(
    store: Store, run: Run, kind: str, data: bytes, expected: str
) -> None:
    with pytest.raises(DatasetError, match="labels") as error:
        back(data, store, kind)
    assert expected in str(error.value)


def test_another_extension_names_those_that_are_known(store: Store, run: Run) -> None:
    with pytest.raises(ConfigError, match=r"\.jsonl \(JSONL\), \.csv \(CSV\), \.json \(Label Studio JSON\)"):
        formats.format_of("labels.xlsx")


def test_by_says_who_labelled_where_the_file_does_not(store: Store, run: Run) -> None:
    (found,) = back(jsonl(row(by=None)), store, "jsonl", by="ben")
    assert found.by == "ben"
    (found,) = back(jsonl(row()), store, "jsonl", by="ben")
    assert found.by == "ann", "the file says it"


def test_label_studio_s_own_files_are_read_with_its_names_times_and_notes(store: Store, run: Run) -> None:
    rubrics.keep(store, rubrics.of_labels("tone", ["kind", "rude"]))
    task = {
        "id": 7,
        "data": {"trace_id": ANSWER},
        "annotations": [
            {
                "completed_by": {"id": 3, "email": "ann@example.org"},
                "lead_time": 4.5,
                "created_at": "2026-01-02T03:04:05.000000Z",
                "result": [
                    {
                        "from_name": "tone",
                        "to_name": "output",
                        "type": "choices",
                        "value": {"choices": ["rude"]},
                    },
                    {"from_name": "stars", "to_name": "output", "type": "rating", "value": {"rating": 4}},
                    {
                        "from_name": "note",
                        "to_name": "output",
                        "type": "textarea",
                        "value": {"text": ["too short"]},
                    },
                ],
            },
            {"was_cancelled": True, "result": []},
        ],
    }
    tone, stars = back(json.dumps([task]).encode(), store, "json")
    assert (tone.name, tone.value, tone.by, tone.reason) == ("tone", "rude", "ann@example.org", "too short")
    assert tone.metadata == {"seconds": 4.5}
    assert tone.created_at == 1767323045.0
    assert (stars.name, stars.value) == ("stars", 4.0)
    assert {s.by for s in back(json.dumps([task]).encode(), store, "json", by="ben")} == {"ben"}


def test_label_studio_gets_texts_annotations_and_what_the_judge_said(store: Store, run: Run) -> None:
    said = Score(
        trace_id=ANSWER, name="quality", value=True, source="human", by="ann", metadata={"seconds": 2.0}
    )
    store.write([said, said.replace(by="ben", value=False)])
    (task,) = json.loads(out(formats.labels_of(store), store, "json"))
    assert task["data"]["output"] == "It is 1 by champion."
    assert [a["completed_by"]["email"] for a in task["annotations"]] == ["ann", "ben"]
    assert task["annotations"][0]["lead_time"] == 2.0
    assert [p["model_version"] for p in task["predictions"]] == ["quality@1"]


def test_a_label_by_an_older_rubric_can_be_brought_back(store: Store, run: Run) -> None:
    old = rubrics.of_labels("tone", ["kind", "rude"])
    rubrics.keep(store, old)
    rubrics.keep(store, rubrics.of_labels("tone", ["good", "bad"]))
    kept = row(name="tone", value="rude", rubric="tone", rubric_version=old.version)
    (found,) = back(jsonl(kept), store, "jsonl")
    assert found.value == "rude"
    with pytest.raises(DatasetError, match=r"expected good \| bad"):
        back(jsonl({**kept, "rubric_version": None}), store, "jsonl")
