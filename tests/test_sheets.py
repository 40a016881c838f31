"""Sheets for people: what is drawn, what is hidden, what is read back."""

from __future__ import annotations

import csv
import itertools
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from judged import Judged, fill, judged_run
from ratchet import codec, sheets
from ratchet.errors import ConfigError, DatasetError, UnknownNameError
from ratchet.ports import Store
from ratchet.sheets import Labels
from ratchet.stores import open_store


@pytest.fixture
def store(project: Path) -> Iterator[Store]:
    opened = open_store(project / "runs.db")
    yield opened
    opened.close()


@pytest.fixture
def judged(store: Store, project: Path) -> Iterator[Judged]:
    with judged_run(store, project, count=40) as found:
        yield found


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_sheet_pairs_the_arms_and_hides_arm_and_judge(judged: Judged, store: Store, project: Path) -> None:
    _, sample = sheets.draw(judged.run, store, "judge", n=10, seed=1)
    sheets.write(project / "labels.csv", sample, judged.run, store)
    rows = rows_of(project / "labels.csv")
    assert list(rows[0]) == list(sheets.COLUMNS)
    assert set(Counter(row["example"] for row in rows).values()) == {2}
    assert len(rows) == 20
    text = (project / "labels.csv").read_text()
    for hidden in ("champion", "challenger", "looks right", "true", *(t for t in sample.items.values())):
        assert hidden not in text
    arms = [store.trace(sample.items[row["item"]]) for row in rows]
    for every_other in (arms[::2], arms[1::2]):
        assert len({trace.arm for trace in every_other if trace}) == 2, "arms stand in no order"
    neighbours = [first["example"] == second["example"] for first, second in itertools.pairwise(rows)]
    assert sum(neighbours) < 5
    assert sample.probability == 10 / 40


def test_the_seed_decides_the_draw(judged: Judged, store: Store) -> None:
    first = sheets.draw(judged.run, store, "judge", n=10, seed=1)
    assert sheets.draw(judged.run, store, "judge", n=10, seed=1) == first
    assert sheets.draw(judged.run, store, "judge", n=10, seed=2)[1].items != first[1].items


def test_every_example_has_the_same_chance_and_strata_get_their_share(judged: Judged, store: Store) -> None:
    counts: Counter[str] = Counter()
    for seed in range(60):
        _, sample = sheets.draw(judged.run, store, "judge", n=10, seed=seed, stratify="topic")
        drawn = {trace.example_id or "" for t in sample.items.values() if (trace := store.trace(t))}
        assert Counter("ab"[int(example[1:]) % 2] for example in drawn) == {"a": 5, "b": 5}
        counts.update(drawn)
    assert len(counts) == 40
    assert max(counts.values()) < 32
    with pytest.raises(UnknownNameError, match="Did you mean 'topic'"):
        sheets.draw(judged.run, store, "judge", n=10, stratify="topics")


def test_labels_come_back_as_scores_of_a_person(judged: Judged, store: Store, project: Path) -> None:
    sheet = project / "labels.csv"
    sample_id, sample = sheets.draw(judged.run, store, "judge", n=10)
    sheets.write(sheet, sample, judged.run, store)
    fill(sheet, judged.person(), skip=(0, 1))
    found = sheets.bring_in(sheet, store, by="ada")
    assert (found.labels, found.blank) == (18, 2)
    human = [score for score in store.scores(judged.run.id, name="judge") if score.source == "human"]
    assert len(human) == 18
    for score in human:
        trace = store.trace(score.trace_id)
        assert trace is not None
        assert score.value is judged.truth[trace.output]
        assert score.by == "ada"
        assert score.metadata["probability"] == 0.25
        assert score.metadata["sample"] == sample_id
        assert str(score.metadata["rubric_version"]).startswith("judge@1+")


def test_a_sheet_of_lines_of_json_works_alike(judged: Judged, store: Store, project: Path) -> None:
    sheet = project / "labels.jsonl"
    _, sample = sheets.draw(judged.run, store, "judge", n=5)
    sheets.write(sheet, sample, judged.run, store)
    rows = [json.loads(line) for line in sheet.read_text().splitlines()]
    assert rows[0]["labels"] == "true | false"
    for row in rows:
        row["label"] = judged.truth[row["output"]]
    sheet.write_text("\n".join(map(json.dumps, rows)))
    assert sheets.bring_in(sheet, store, by="ada").labels == 10


def test_an_answer_that_a_spreadsheet_would_run_is_quoted(
    judged: Judged, store: Store, project: Path
) -> None:
    _, sample = sheets.draw(judged.run, store, "judge", n=5)
    sheets.write(project / "labels.csv", sample, judged.run, store)
    assert {row["expected"] for row in rows_of(project / "labels.csv")} == {"'=a reply"}


def _sheet(judged: Judged, store: Store, project: Path) -> tuple[Path, list[str]]:
    sheet = project / "labels.csv"
    _, sample = sheets.draw(judged.run, store, "judge", n=5)
    sheets.write(sheet, sample, judged.run, store)
    return sheet, list(sample.items)


def test_bad_cells_are_told_by_line_and_column_and_nothing_is_kept(
    judged: Judged, store: Store, project: Path
) -> None:
    sheet, items = _sheet(judged, store, project)
    sheet.write_text(
        f'item,label,note\n{items[0]},yes,"two\nlines"\n{items[1]},perhaps,\nnobody-001,yes,\n{items[0]},no,\n{items[2]},no\n'
    )
    with pytest.raises(DatasetError) as caught:
        sheets.bring_in(sheet, store, by="ada")
    assert (caught.value.line, caught.value.column, caught.value.value) == (4, "label", "perhaps")
    message = str(caught.value)
    assert "labels.csv:4, column 'label': 'perhaps': expected true or false" in message
    assert "labels.csv:5, column 'item': 'nobody-001': is not of this sample" in message
    assert "labels.csv:6, column 'item'" in message
    assert "is on line 2 already" in message
    assert not [score for score in store.scores(judged.run.id) if score.source == "human"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "there is no such column among nothing"),
        (b"item,verdict\n", "column 'label': there is no such column among item, verdict"),
        (b"item,label\n", "the sheet has no rows"),
        (b"item,label\nx-1,yes\n", "no sample of this store has it"),
        (b'item,label\n"x-1,yes\n', "this is no CSV"),
        (b"item,label\n\xff\xfe,yes\n", "is not UTF-8"),
        (b"item,label\n" + b"x" * 500 + b",yes\n", r"xxx\.\.\."),
    ],
)
def test_a_file_that_is_no_sheet_is_told(store: Store, project: Path, content: bytes, message: str) -> None:
    (project / "labels.csv").write_bytes(content)
    with pytest.raises(DatasetError, match=message):
        sheets.bring_in(project / "labels.csv", store, by="ada")


@pytest.mark.parametrize("line", [b"nothing", b"[1]", b'{"item": 3, "label": ""}', b'{"item": "a"}'])
def test_a_line_that_is_no_item_is_told(store: Store, project: Path, line: bytes) -> None:
    (project / "labels.jsonl").write_bytes(b"\n" + line)
    with pytest.raises(DatasetError, match=r"labels\.jsonl:2: "):
        sheets.bring_in(project / "labels.jsonl", store, by="ada")


def test_a_spreadsheet_may_have_saved_it_with_semicolons(judged: Judged, store: Store, project: Path) -> None:
    sheet, items = _sheet(judged, store, project)
    sheet.write_text(f"﻿item;output;Label\n{items[0]};a, b;PASS\n", encoding="utf-8")
    assert sheets.bring_in(sheet, store, by="ada").labels == 1


def test_labels_are_somebodys_and_a_sheet_has_a_format(judged: Judged, store: Store, project: Path) -> None:
    sheet, _ = _sheet(judged, store, project)
    with pytest.raises(ConfigError, match="--by ada"):
        sheets.bring_in(sheet, store, by=" ")
    with pytest.raises(ConfigError, match="known: csv, jsonl"):
        sheets.read(project / "labels.xlsx", store)
    with pytest.raises(UnknownNameError, match="Did you mean 'judge'"):
        sheets.judged_score(judged.run, store, "juge")


@pytest.mark.parametrize(
    ("labels", "said", "value"),
    [
        (Labels(kind="bool"), " PASS ", True),
        (Labels(kind="bool"), "0", False),
        (Labels(kind="label", words={"good": "good", "bad": "bad"}), "Good", "good"),
        (Labels(kind="number", words={"good": 1, "bad": 0}), "bad", 0),
        (Labels(kind="number", low=1, high=5), "4.5", 4.5),
    ],
)
def test_a_label_is_read_in_the_judges_own_terms(labels: Labels, said: str, value: object) -> None:
    assert labels.read(said) == value
    assert codec.decode(Labels, codec.encode(labels)) == labels


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (Labels(kind="bool"), "2"),
        (Labels(kind="label", words={"good": "good", "bad": "bad"}), "god"),
        (Labels(kind="number", low=1, high=5), "6"),
        (Labels(kind="number", low=1, high=5), "nan"),
        (Labels(kind="number"), "inf"),
        (Labels(kind="number"), "many"),
    ],
)
def test_a_label_that_the_judge_could_not_give_is_refused(labels: Labels, said: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        labels.read(said)


def test_the_record_of_a_sample_survives_a_round_trip(judged: Judged, store: Store) -> None:
    sample_id, sample = sheets.draw(judged.run, store, "judge", n=5)
    assert codec.decode(sheets.Sample, dict(store.content(sample_id) or {})) == sample
