from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from ratchet import datasets
from ratchet.errors import DatasetError, RatchetError, UnknownNameError
from ratchet.records import Dataset, Example, Json
from ratchet.stores.sqlite import SQLiteStore

FORMATS = ("jsonl", "json", "csv", "tsv", "parquet")

# NUL is text that YAML can't say; half surrogate pairs are not text
texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=12)
numbers = st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
labels = st.none() | texts.filter(bool)
examples = st.builds(
    Example,
    id=texts.filter(bool),
    input=values,
    expected=values,
    metadata=st.dictionaries(texts, values, max_size=2),
    group=labels,
    split=labels,
)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SQLiteStore]:
    store = SQLiteStore(tmp_path / "store.db")
    yield store
    store.close()


def made(folder: Path, count: int, *, start: int = 0, name: str = "cases") -> Dataset:
    cases = (Example(id=str(n), input={"n": n}, group=f"g{n // 4}") for n in range(start, count))
    return datasets.save(cases, folder / f"{name}.jsonl")


@settings(max_examples=40, deadline=None)
@given(st.lists(examples, min_size=1, max_size=4, unique_by=lambda example: example.id))
def test_saved_examples_come_back_the_same_from_every_format_under_one_id(cases: list[Example]) -> None:
    pytest.importorskip("pyarrow")
    with tempfile.TemporaryDirectory() as folder:
        found = {format: datasets.save(cases, Path(folder) / f"cases.{format}") for format in FORMATS}
        for dataset in found.values():
            assert list(datasets.examples(dataset)) == cases
        assert len({dataset.id for dataset in found.values()}) == 1


@settings(max_examples=40, deadline=None)
@given(
    rows=st.lists(
        st.dictionaries(st.sampled_from(["q", "expected", "x y", "é"]), texts), min_size=1, max_size=4
    )
)
def test_the_same_texts_have_one_id_from_csv_json_and_yaml(rows: list[dict[str, str]]) -> None:
    import csv
    import json

    import yaml

    columns = ["q", "expected", "x y", "é"]
    rows = [
        {column: row.get(column, "").replace("\r", "").replace("\0", "") for column in columns}
        for row in rows
    ]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for format, delimiter in (("csv", ","), ("tsv", "\t")):
            with (folder / f"rows.{format}").open("w", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, columns, delimiter=delimiter)
                writer.writeheader()
                writer.writerows(rows)
        (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
        (folder / "rows.json").write_text(json.dumps(rows, ensure_ascii=False), encoding="utf-8")
        # quoted: what YAML 1.1 takes for text may be a number in 1.2, such as 0E0
        (folder / "rows.yaml").write_text(yaml.safe_dump(rows, sort_keys=False, default_style='"'))
        assert len({datasets.load(path).id for path in folder.iterdir()}) == 1


def test_packed_files_are_written_too_and_none_is_left_half(tmp_path: Path) -> None:
    plain = made(tmp_path, 9)
    packed = datasets.save(datasets.examples(plain), tmp_path / "cases.csv.gz")
    assert packed.id == plain.id

    def failing() -> Iterator[Example]:
        yield Example(id="a", input=1)
        raise RuntimeError("gone")

    with pytest.raises(RuntimeError):
        datasets.save(failing(), tmp_path / "half.jsonl")
    assert not [path for path in tmp_path.iterdir() if "half" in path.name]
    with pytest.raises(UnknownNameError, match="yaml"):
        datasets.save([], tmp_path / "cases.yaml")
    with pytest.raises(DatasetError, match="can't be written"):
        datasets.save([], tmp_path / "cases.csv.gz" / "below.jsonl")


def test_a_split_keeps_groups_whole_and_every_example_once(tmp_path: Path) -> None:
    whole = made(tmp_path, 400)
    parts = datasets.split(whole, {"dev": 3, "test": 1}, folder=tmp_path, seed=7)
    sides = {name: list(datasets.examples(part)) for name, part in parts.items()}
    assert sorted(int(e.id) for side in sides.values() for e in side) == list(range(400))
    assert not {e.group for e in sides["dev"]} & {e.group for e in sides["test"]}
    assert 230 < len(sides["dev"]) < 370
    assert all(e.split == name for name, side in sides.items() for e in side)
    assert parts["dev"].parent == whole.id
    assert "seed 7" in parts["dev"].made_by
    again = datasets.split(whole, {"dev": 3, "test": 1}, folder=tmp_path / "again", seed=7)
    assert {name: part.id for name, part in again.items()} == {name: part.id for name, part in parts.items()}


def test_a_group_keeps_its_side_when_the_dataset_grows(tmp_path: Path) -> None:
    shares = {"dev": 0.7, "test": 0.3}
    small = datasets.split(made(tmp_path, 100), shares, folder=tmp_path / "small")
    large = datasets.split(made(tmp_path, 300), shares, folder=tmp_path / "large")
    for name in shares:
        before, after = ({e.id for e in datasets.examples(part[name])} for part in (small, large))
        assert before < after


def test_equal_inputs_without_a_group_stay_together() -> None:
    sides = {datasets.side_of(Example(id=str(n), input={"q": "same"}), {"a": 1, "b": 1}) for n in range(20)}
    assert len(sides) == 1


@pytest.mark.parametrize("shares", [{}, {"a": 0.0}, {"a": -1.0, "b": 2.0}, {"a": float("nan")}])
def test_shares_that_divide_nothing_are_refused(tmp_path: Path, shares: dict[str, float]) -> None:
    with pytest.raises(DatasetError, match="positive number"):
        datasets.split(made(tmp_path, 4), shares, folder=tmp_path)


def test_a_name_points_to_the_newest_version_and_lineage_leads_back(
    tmp_path: Path, store: SQLiteStore
) -> None:
    first = made(tmp_path, 4)
    second = datasets.version(made(tmp_path, 8, name="more"), parent=first, made_by="harvest")
    assert datasets.register(store, first, by="ann") == "datasets/cases"
    assert datasets.register(store, second, ref="datasets/cases") == "datasets/cases"
    assert datasets.register(store, second, ref="datasets/cases") == "datasets/cases"
    assert store.ref("datasets/cases") == second.id
    assert [move.new for move in store.ref_log("datasets/cases")] in (
        [first.id, second.id],
        [second.id, first.id],
    )
    assert datasets.lineage(store, second) == [second, first]
    assert datasets.lineage(store, second.id) == [second, first]
    assert datasets.lineage(store, "0" * 32) == []
    with pytest.raises(RatchetError, match="no name"):
        datasets.register(store, first.replace(name=""))


def test_balance_counts_labels_splits_and_groups(tmp_path: Path) -> None:
    def case(n: int, expected: Json, group: str | None) -> Example:
        return Example(id=str(n), input=n, expected=expected, group=group, split="dev" if n else None)

    found = datasets.balance(
        datasets.save(
            [case(0, "dry", "p"), case(1, ["dry", "srp"], "p"), case(2, [], None), case(3, True, "q")],
            tmp_path / "cases.jsonl",
        )
    )
    assert (found.examples, found.groups, found.ungrouped, found.largest_group) == (4, 2, 1, 2)
    assert found.labels == {"dry": 2, "srp": 1, "(none)": 1, "true": 1}
    assert found.splits == {"dev": 3}


def test_too_many_different_answers_are_no_labels(tmp_path: Path) -> None:
    cases = (Example(id=str(n), input=n, expected=n) for n in range(1001))
    assert datasets.balance(datasets.save(cases, tmp_path / "cases.jsonl")).labels is None


def test_duplicates_are_found_by_content_or_by_input(tmp_path: Path) -> None:
    cases = [
        Example(id="a", input={"q": 1}, expected="x"),
        Example(id="b", input={"q": 2}, expected="x"),
        Example(id="c", input={"q": 1}, expected="x"),
        Example(id="d", input={"q": 2}, expected="y"),
    ]
    dataset = datasets.save(cases, tmp_path / "cases.jsonl")
    assert datasets.duplicates(dataset) == [("a", "c")]
    assert datasets.duplicates(dataset, by="input") == [("a", "c"), ("b", "d")]
