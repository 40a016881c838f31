from __future__ import annotations

import io
import itertools
import os
import sys
from pathlib import Path

import pytest

from ratchet import datasets
from ratchet.datasets import manifests
from ratchet.errors import DatasetError
from ratchet.records import Dataset


@pytest.fixture
def hundred(tmp_path: Path) -> Dataset:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(f'{{"id": {n}, "q": "x", "split": "s{n % 4}"}}\n' for n in range(100)))
    return datasets.load(path)


def ids(dataset: Dataset, **options: int | str | None) -> list[int]:
    return [int(example.id) for example in datasets.examples(dataset, **options)]  # pyright: ignore[reportArgumentType]


def test_the_manifest_says_what_was_read(hundred: Dataset, tmp_path: Path) -> None:
    assert (hundred.count, hundred.skipped, hundred.name, hundred.format) == (100, 0, "rows", "jsonl")
    assert hundred.path == str(tmp_path / "rows.jsonl")
    assert ids(hundred) == list(range(100))


def test_order_ids_and_content_are_identity_and_the_name_is_not(tmp_path: Path) -> None:
    texts = [
        '{"id": "a", "q": 1}\n{"id": "b", "q": 2}\n',
        '{"id": "b", "q": 2}\n{"id": "a", "q": 1}\n',
        '{"id": "a", "q": 1}\n{"id": "c", "q": 2}\n',
        '{"id": "a", "q": 1}\n{"id": "b", "q": 2, "expected": 0}\n',
        '{"id": "a", "q": 1}\n{"id": "b", "q": 2, "group": "g"}\n',
        '{"id": "a", "q": 1}\n{"id": "b", "q": 2, "split": "g"}\n',
        '{"id": "a", "q": 1}\n{"id": "b", "q": 2, "metadata": {"g": 1}}\n',
    ]
    found: set[str] = set()
    for number, text in enumerate(texts):
        path = tmp_path / f"{number}.jsonl"
        path.write_text(text)
        found.add(datasets.load(path).id)
        assert datasets.load(path, name="other").id in found
    assert len(found) == len(texts)


def test_limit_split_and_sample_choose_examples_in_the_order_of_the_file(hundred: Dataset) -> None:
    assert ids(hundred, limit=3) == [0, 1, 2]
    assert ids(hundred, limit=0) == []
    assert ids(hundred, split="s1", limit=2) == [1, 5]
    drawn = ids(hundred, sample=10, seed=1)
    assert len(drawn) == 10
    assert drawn == sorted(set(drawn))
    assert drawn == ids(hundred, sample=10, seed=1) != ids(hundred, sample=10, seed=2)
    assert ids(hundred, sample=10, seed=1, limit=4) == drawn[:4]
    assert ids(hundred, sample=1000) == list(range(100))
    few = ids(hundred, sample=5, split="s2")
    assert len(few) == 5
    assert all(n % 4 == 2 for n in few)
    with pytest.raises(DatasetError, match="-1"):
        ids(hundred, limit=-1)


def test_every_example_is_as_likely_to_be_drawn(hundred: Dataset) -> None:
    counts = [0] * 100
    for seed in range(60):
        for n in ids(hundred, sample=50, seed=seed):
            counts[n] += 1
    assert min(counts) >= 12
    assert max(counts) <= 48


def test_bad_rows_are_left_out_counted_and_told(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"id": 1, "q": 1}\n{"id": 1, "q": 2}\nx\n{"id": null, "q": 1}\n{"id": 2, "q": 1}\n')
    told: list[DatasetError] = []
    dataset = datasets.load(path, on_bad_row="skip", on_problem=told.append)
    assert (dataset.count, dataset.skipped) == (2, 3)
    assert [error.line for error in told] == [2, 3, 4]
    assert ids(dataset) == [1, 2]
    path.write_text("x\ny\n")
    with pytest.raises(DatasetError, match="no examples; 2 bad rows were left out"):
        datasets.load(path, on_bad_row="skip")


def test_a_file_that_changed_since_it_was_loaded_is_refused(hundred: Dataset) -> None:
    path = Path(hundred.path)
    text = path.read_text()
    path.write_text(text.replace('"x"', '"y"', 1))
    with pytest.raises(DatasetError, match="has changed since it was loaded"):
        datasets.examples(hundred)
    path.write_text(text)
    assert len(ids(hundred)) == 100


def test_a_touched_file_and_a_manifest_from_elsewhere_are_verified_by_reading(hundred: Dataset) -> None:
    os.utime(hundred.path, ns=(1, 1))
    assert len(ids(hundred)) == 100
    manifests._verified.clear()
    assert len(ids(hundred)) == 100
    with pytest.raises(DatasetError, match="has changed"):
        datasets.check(hundred.replace(id="0" * 32))


def test_a_file_that_changes_while_it_is_read_is_told(hundred: Dataset) -> None:
    rows = datasets.examples(hundred)
    next(rows)
    with Path(hundred.path).open("a") as file:
        file.write('{"id": "late", "q": 1}\n')
    with pytest.raises(DatasetError, match="changed while it was in use"):
        list(rows)


def test_a_change_is_told_before_the_end_of_the_file(
    hundred: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manifests, "_STAMP_EVERY", 10)
    rows = datasets.examples(hundred)
    next(rows)
    os.utime(hundred.path, ns=(1, 1))
    with pytest.raises(DatasetError, match="changed while it was in use"):
        list(itertools.islice(rows, 10))


def test_standard_input_is_kept_so_that_it_can_be_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def give(data: bytes) -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))

    give(b'{"id": 1, "q": 1}\n')
    dataset = datasets.load("-", cache_folder=tmp_path / "cache")
    assert ids(dataset) == ids(dataset) == [1]
    give(b'{"id": 1, "q": 1}\n')
    assert datasets.load("-", cache_folder=tmp_path / "cache").path == dataset.path
    assert len(list((tmp_path / "cache").iterdir())) == 1
    give(b"id,q\n1,2\n")
    assert datasets.load("-", cache_folder=tmp_path, format="csv").count == 1
    give(b"id,q\n1,2\n")
    with pytest.raises(DatasetError, match="Give format="):
        datasets.load("-", cache_folder=tmp_path)
    with pytest.raises(DatasetError, match="cache_folder"):
        datasets.load("-")


@pytest.mark.slow
def test_a_long_file_is_never_in_memory(tmp_path: Path) -> None:
    import resource

    path = tmp_path / "rows.jsonl"
    with path.open("w") as file:
        file.writelines(f'{{"id": "row-{n}", "q": "{"x" * 200}"}}\n' for n in range(200_000))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    dataset = datasets.load(path)
    assert sum(1 for _ in datasets.examples(dataset)) == 200_000
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000  # KiB; the file has 45 MB
