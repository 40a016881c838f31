from __future__ import annotations

import asyncio
import csv
import json
from pathlib import Path
from typing import Any

import pytest

from ratchet.errors import ConfigError, DatasetError, ProviderError, UnknownNameError
from ratchet.ports import Endpoint, Request, Usage
from ratchet.providers.recorded import Recorded

from .conftest import Answered, gather


def answers(path: Path, *asked: tuple[str, int], **options: Any) -> list[Answered]:
    async def use() -> list[Answered]:
        provider = Recorded(endpoint=Endpoint(provider="recorded", options={"path": str(path), **options}))
        try:
            return [await gather(provider, Request(model="x", example_id=i, repeat=r)) for i, r in asked]
        finally:
            await provider.aclose()

    return asyncio.run(use())


def write_csv(path: Path, header: list[str], *rows: list[Any]) -> Path:
    with path.open("w", newline="", encoding="utf-8-sig") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def write_jsonl(path: Path, *rows: Any) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_csv_rows_answer_by_id_with_their_facts(tmp_path: Path) -> None:
    path = write_csv(
        tmp_path / "a.csv",
        ["id", "output", "cost", "latency_s", "ttft_s", "input_tokens", "output_tokens"],
        ["1", 'two\nlines, "quoted" é', "0.01", "1.5", "0.5", "10", "20"],
        ["2", "second", "", "", "", "", ""],
    )
    second, first = answers(path, ("2", 0), ("1", 0))
    assert (first.text, second.text) == ('two\nlines, "quoted" é', "second")
    assert first.usage == Usage(input_tokens=10, output_tokens=20)
    assert (first.cost_usd, first.chunks[0].latency_s, first.chunks[0].ttft_s) == (0.01, 1.5, 0.5)
    assert (second.cost_usd, second.usage, second.chunks[0].latency_s) == (None, None, None)
    assert first.metadata["recorded"] is True


def test_jsonl_rows_may_hold_values_and_tool_calls(tmp_path: Path) -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    path = write_jsonl(
        tmp_path / "a.jsonl",
        {"id": 1, "output": {"label": "spam"}},
        {"id": "b", "output": "", "tool_calls": [call]},
    )
    first, second = answers(path, ("1", 0), ("b", 0))
    assert first.value == {"label": "spam"}
    assert second.tool_calls == (call,)


@pytest.mark.parametrize("explicit", [True, False])
def test_repeats_are_told_apart_by_their_column_or_else_by_order(tmp_path: Path, explicit: bool) -> None:
    rows = [
        {"id": i, "output": f"{i}{r}", **({"repeat": r} if explicit else {})} for r in range(3) for i in "ab"
    ]
    path = write_jsonl(tmp_path / "a.jsonl", *(reversed(rows) if explicit else rows))
    assert [a.text for a in answers(path, ("a", 2), ("b", 0), ("a", 0))] == ["a2", "b0", "a0"]


def test_a_missing_answer_and_a_recorded_error_are_failures(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "a.csv", ["id", "output", "error"], ["1", "", "rate limit"], ["2", "x", ""])
    assert answers(path, ("2", 0))[0].text == "x"
    for asked, kind, message in (
        (("1", 0), "function", "rate limit"),
        (("3", 0), "bad_request", "'3', repeat 0"),
        (("2", 1), "bad_request", "repeat 1"),
    ):
        with pytest.raises(ProviderError, match=message) as caught:
            answers(path, asked)
        assert (caught.value.kind, caught.value.retryable) == (kind, False)


def test_columns_may_have_other_names(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "a.tsv", ["key\tcompletion"], ["1\tyes"])
    assert answers(path, ("1", 0), columns={"id": "key", "output": "completion"})[0].text == "yes"
    with pytest.raises(UnknownNameError, match="Did you mean 'output'"):
        answers(path, ("1", 0), columns={"outputs": "completion"})


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "id,answer\n1,x\n", r"a.csv:1, column 'output'|no column 'output'"),
        ("a.csv", "id,output\n,x\n", "a.csv:2"),
        ("a.csv", "id,output,repeat\n1,x,-1\n", "'-1' is no repeat"),
        ("a.jsonl", '{"id": 1, "output": 1}\n{broken\n', "a.jsonl:2: not JSON"),
        ("a.jsonl", "[1]\n", "a.jsonl:1: list, expected an object"),
        ("a.jsonl", '{"output": 1}\n', "no example id"),
        ("a.xlsx", "", "read from .csv, .tsv or .jsonl"),
    ],
)
def test_a_bad_file_names_file_and_line_before_the_first_call(
    tmp_path: Path, name: str, content: str, message: str
) -> None:
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises((DatasetError, ConfigError), match=message):
        Recorded(endpoint=Endpoint(provider="recorded", options={"path": str(path)}))


def test_a_missing_file_is_told_before_the_first_call(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="No such file"):
        Recorded(endpoint=Endpoint(provider="recorded", options={"path": str(tmp_path / "none.csv")}))


def test_the_models_name_may_be_the_path(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "a.jsonl", {"id": "1", "output": "x"})

    async def use() -> Answered:
        provider = Recorded(endpoint=Endpoint(provider="recorded"))
        try:
            return await gather(provider, Request(model=str(path), example_id="1"))
        finally:
            await provider.aclose()

    assert asyncio.run(use()).text == "x"


def test_ids_whose_hashes_meet_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ratchet.providers.recorded._hash", lambda _: 7)
    path = write_jsonl(tmp_path / "a.jsonl", {"id": "a", "output": "A"}, {"id": "b", "output": "B"})
    assert [a.text for a in answers(path, ("b", 0), ("a", 0))] == ["B", "A"]
