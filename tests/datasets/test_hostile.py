"""Mutated files give a dataset or an error that names the file, never anything else."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Literal

import pytest

from ratchet import datasets
from ratchet.errors import DatasetError
from ratchet.records import Dataset, Example

CASES = [
    Example(
        id=f"c{n}",
        input={"q": f'say "{n}", é\n', "n": n, "l": [n, None, {"x": 1.5}]},
        expected="x",
        group="g",
    )
    for n in range(6)
]
PIECES = [
    b"\x00", b"\xff\xfe", b"\xed\xa0\x80", b'"', b"\\", b"\\ud800", b"[" * 300, b"{" * 3000, b"]", b"}", b",", b":",
    b"\n", b"\r", b"9" * 400, b"1e999", b"NaN", b"&a ", b"*a", b"!!python/object:os.system ", b"<<: ", b"- ",
    b"\xef\xbb\xbf", b"\x1f\x8b", b"null", b"true", b"---\n", b"\t", b"#", b"%",
]  # fmt: skip


def mutated(data: bytes, rng: random.Random) -> bytes:
    for _ in range(rng.randint(1, 4)):
        at, until = sorted(rng.randrange(len(data) + 1) for _ in range(2))
        until = min(until, at + 20)
        match rng.randrange(4):
            case 0:
                data = data[:at] + rng.choice(PIECES) + data[at:]
            case 1:
                data = data[:at] + data[until:]
            case 2:
                data = data[:at] + data[at:until] * 3 + data[until:]
            case _:
                data = data[:at] + bytes(rng.randrange(256) for _ in range(until - at)) + data[until:]
    return data


def loaded(path: Path, on_bad_row: Literal["stop", "skip"]) -> tuple[Dataset | None, DatasetError | None]:
    try:
        return datasets.load(path, on_bad_row=on_bad_row), None
    except DatasetError as error:
        return None, error


@pytest.mark.parametrize("format", ["jsonl", "json", "csv", "tsv", "yaml", "parquet"])
@pytest.mark.parametrize("packed", [False, True])
def test_a_mutated_file_gives_its_rows_or_an_error_that_names_it(
    tmp_path: Path, format: str, packed: bool
) -> None:
    if format == "parquet":
        pytest.importorskip("pyarrow")
    rng = random.Random(f"{format} {packed}")
    path = tmp_path / (f"cases.{format}" + (".gz" if packed else ""))
    if format == "yaml":
        path = tmp_path / "cases.yaml"
        path.write_text(json.dumps([{"id": c.id, "input": c.input} for c in CASES], indent=1))
    else:
        datasets.save(CASES, path)
    whole = path.read_bytes()
    for _ in range(150):
        path.write_bytes(mutated(whole, rng))
        dataset, error = loaded(path, "skip" if rng.random() < 0.5 else "stop")
        if error:
            assert error.file == str(path)
        if dataset:
            found = list(datasets.examples(dataset))
            assert len(found) == dataset.count == len({example.id for example in found})
            json.dumps([(example.input, example.expected) for example in found], allow_nan=False).encode()
