from __future__ import annotations

import contextlib
import csv
import dataclasses
import datetime
import inspect
import json
import math
import random
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Union

import pytest
import yaml
from hypothesis import HealthCheck, given, settings, strategies as st

from ratchet import codec, datasets, records
from ratchet.errors import CodecError
from ratchet.records import (
    Columns,
    Dataset,
    Example,
    Extraction,
    Limits,
    Price,
    Prompt,
    Score,
    Scorer,
    Span,
    Task,
    Trace,
    Variant,
    Verdict,
)

# --- any record, made of its fields -------------------------------------------------------------------------

CLASSES = [cls for _, cls in inspect.getmembers(records, dataclasses.is_dataclass)]
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
INTS = st.one_of(st.integers(-1000, 1000), st.integers(-(2**80), 2**80))
TEXTS = st.one_of(st.text(max_size=8), st.sampled_from(["", "é", "日本", "\ud800", "a\x00b", "#2", "null"]))
JSON = st.recursive(
    st.none() | st.booleans() | INTS | FLOATS | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
PAYLOADS = JSON.filter(lambda value: not callable(value))


def strategy(hint: Any, depth: int = 0) -> st.SearchStrategy[Any]:
    if dataclasses.is_dataclass(hint):
        return record(typing.cast("type", hint), depth + 1)
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (Union, types.UnionType):
        kept = [arg for arg in args if not (depth > 2 and dataclasses.is_dataclass(arg))]
        return st.one_of([strategy(arg, depth) for arg in kept])
    if origin is Literal:
        return st.sampled_from(args)
    if origin in (tuple, list, frozenset):
        items = st.lists(strategy(args[0], depth), max_size=0 if depth > 3 else 2)
        return items.map(origin)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return st.dictionaries(TEXTS, strategy(args[1], depth), max_size=0 if depth > 3 else 2)
    simple: dict[Any, st.SearchStrategy[Any]] = {
        str: TEXTS, int: INTS, float: FLOATS, bool: st.booleans(), type(None): st.none(),
    }  # fmt: skip
    return simple.get(hint, PAYLOADS)


def record(cls: type, depth: int = 0) -> st.SearchStrategy[Any]:
    hints = typing.get_type_hints(cls)
    fields = {f.name: strategy(hints[f.name], depth) for f in dataclasses.fields(cls) if f.repr and f.compare}
    if cls is Variant:
        fields["target"] = st.none() | st.just("pkg.module:function")
    if cls is Score:  # never NaN, and a set of labels is a set of texts
        fields["value"] = st.none() | st.booleans() | FLOATS | TEXTS | st.frozensets(TEXTS, max_size=3)
    return st.builds(cls, **fields)


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_every_record_survives_being_written_and_read(cls: type) -> None:
    @settings(
        max_examples=15,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    @given(record(cls))
    def survives(made: Any) -> None:
        assert codec.decode(cls, codec.encode(made)) == made
        assert codec.loads(cls, codec.dumps(made)) == made

    survives()


@settings(max_examples=150, deadline=None)
@given(PAYLOADS)
def test_the_types_of_a_payload_survive_too(value: Any) -> None:
    again = codec.loads(Example, codec.dumps(Example(id="1", input=value))).input
    assert repr(again) == repr(value)


@settings(max_examples=100, deadline=None)
@given(PAYLOADS)
def test_an_id_depends_on_content_and_not_on_the_order_of_keys(value: Any) -> None:
    def turned(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: turned(item) for key, item in reversed(value.items())}
        return [turned(item) for item in value] if isinstance(value, list) else value

    assert codec.content_id(turned(value)) == codec.content_id(value)
    assert codec.content_id(json.loads(codec.dumps(value))) == codec.content_id(value)


# --- what an id depends on ----------------------------------------------------------------------------------

EXAMPLE = Example(id="1", input={"q": "a"}, expected="b", metadata={"m": 1}, group="g", split="test")
PROMPT = Prompt(messages=({"role": "user", "content": "Hi {q}"},), name="n", path="p.yaml")
VARIANT = Variant(
    model="openai/gpt-4o", params={"temperature": 0}, prompt=PROMPT, response_format={"type": "json_object"},
    base_url="http://h/v1", options={"region": "eu"}, version="1", api_key_env="K",
    price=Price(input_usd_per_mtok=1, output_usd_per_mtok=2), limits=Limits(rpm=1),
)  # fmt: skip
SCORER = Scorer(name="s", target="m:s", version="1", settings={"word": "x"})
TASK = Task(
    dataset=Dataset(id="a" * 32, count=1), scorers=(SCORER,), extraction=Extraction(kind="strip"), name="n",
    checks=(records.Check(metric="s", rule="better"),), arm_extraction={"a": Extraction(kind="json")},
)  # fmt: skip
MATTERS: list[tuple[Any, dict[str, Any]]] = [
    (EXAMPLE, {"input": {"q": "A"}, "expected": "c", "metadata": {"m": 2}, "group": "h", "split": None}),
    (PROMPT, {"messages": ({"role": "system", "content": "Hi {q}"},), "syntax": "jinja"}),
    (VARIANT, {
        "model": "openai/gpt-4o-mini", "params": {"temperature": 1}, "prompt": PROMPT.replace(syntax="jinja"),
        "tools": ({"type": "function"},), "response_format": None, "stream": True, "base_url": None,
        "options": {}, "target": "m:f", "version": "2",
    }),
    (SCORER, {"name": "t", "target": "m:t", "version": "2", "dimension": "security", "settings": {"word": "y"}}),
    (TASK, {
        "dataset": Dataset(id="b" * 32, count=1), "scorers": (), "checks": (), "repeats": 2, "extraction": None,
        "arm_extraction": {},
    }),
    (TASK.dataset, {"id": "b" * 32}),
]  # fmt: skip
DOES_NOT: list[tuple[Any, dict[str, Any]]] = [
    (EXAMPLE, {"id": "2"}),
    (PROMPT, {"name": "m", "path": "q.yaml"}),
    (VARIANT, {
        "api_key_env": None, "limits": Limits(), "function": len,
        "price": Price(input_usd_per_mtok=9, output_usd_per_mtok=9),
    }),
    (SCORER, {"function": len, "inline": True}),
    (TASK, {"name": "m"}),
    (TASK.dataset, {
        "name": "d", "count": 5, "path": "/d", "format": "csv", "columns": Columns(id="id"), "parent": "c" * 32,
        "made_by": "split", "skipped": 3, "on_bad_row": "skip",
    }),
]  # fmt: skip


def cases(table: list[tuple[Any, dict[str, Any]]]) -> list[Any]:
    return [
        pytest.param(made, {name: value}, id=f"{type(made).__name__}.{name}")
        for made, changes in table
        for name, value in changes.items()
    ]


@pytest.mark.parametrize(("made", "change"), cases(MATTERS))
def test_a_field_that_matters_changes_the_id(made: Any, change: dict[str, Any]) -> None:
    assert codec.content_id(made.replace(**change)) != codec.content_id(made)


@pytest.mark.parametrize(("made", "change"), cases(DOES_NOT))
def test_a_field_that_does_not_matter_leaves_the_id(made: Any, change: dict[str, Any]) -> None:
    assert codec.content_id(made.replace(**change)) == codec.content_id(made)


@pytest.mark.parametrize(
    "made", [EXAMPLE, PROMPT, VARIANT, SCORER, TASK, TASK.dataset], ids=lambda m: type(m).__name__
)
def test_every_field_was_put_on_one_side(made: Any) -> None:
    told = {
        name for table in (MATTERS, DOES_NOT) for known, changes in table if known is made for name in changes
    }
    assert told == {field.name for field in dataclasses.fields(made)}


def test_a_part_that_matters_changes_the_id_of_the_whole() -> None:
    other = TASK.replace(scorers=(SCORER.replace(version="2"),))
    assert codec.content_id(other) != codec.content_id(TASK)
    assert codec.content_id(VARIANT.replace(prompt=PROMPT.replace(name="other"))) == codec.content_id(VARIANT)


def test_a_record_of_another_kind_has_another_id() -> None:
    assert codec.content_id(Extraction(kind="a")) != codec.content_id(Scorer(name="a"))
    assert codec.content_id({"kind": "a"}) != codec.content_id(Extraction(kind="a"))


def test_an_id_stays_what_it_was() -> None:
    # a change here orphans every stored run: it needs a decision and a migration
    assert codec.content_id({"b": [1, 2.5, "é"], "a": None}) == "21fddaeebc6c84f1b55624c41336b0e5"


def test_a_variant_has_no_id_before_it_is_resolved() -> None:
    for variant in (Variant(model="a/b", prompt="Hi {q}"), Variant(target="pkg.module:function")):
        with pytest.raises(CodecError, match=r"variants\.resolve"):
            codec.content_id(variant)


@pytest.mark.parametrize(("left", "right"), [(1, 1.0), (-0.0, 0), (10**30, float(10**30)), (2**53, 2.0**53)])
def test_a_whole_number_is_one_number_however_it_is_typed(left: float, right: float) -> None:
    if left == right:
        assert codec.content_id([left]) == codec.content_id([right])


@pytest.mark.parametrize(
    ("left", "right"), [(1, True), (0, False), (1, "1"), (None, "null"), (1, 1.5), ({}, [])]
)
def test_values_of_other_types_have_other_ids(left: Any, right: Any) -> None:
    assert codec.content_id([left]) != codec.content_id([right])


# --- one content, any format --------------------------------------------------------------------------------

ROWS: list[dict[str, Any]] = [
    {"id": "a", "q": "What is é?", "n": 1, "x": 0.5, "ok": True, "expected": "1"},
    {"id": "b", "q": 'a "quoted", line', "n": -3, "x": 2.0, "ok": False, "expected": "yes"},
    {"id": "c", "q": "null", "n": 2**40, "x": 1e-7, "ok": True, "expected": "2020-01-01"},
]


def written(folder: Path) -> list[tuple[Path, dict[str, str]]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    (folder / "rows.json").write_text(json.dumps(ROWS, indent=2))
    (folder / "rows.yaml").write_text(yaml.safe_dump(ROWS, allow_unicode=True))
    pq.write_table(pa.Table.from_pylist(ROWS), folder / "rows.parquet")
    for name, delimiter in (("rows.csv", ","), ("rows.tsv", "\t")):
        with (folder / name).open("w", newline="") as file:
            writer = csv.DictWriter(file, list(ROWS[0]), delimiter=delimiter)
            writer.writeheader()
            writer.writerows({**row, "ok": json.dumps(row["ok"])} for row in ROWS)
    typed = {"n": "int", "x": "float", "ok": "bool"}
    plain = [(folder / f"rows.{kind}", dict[str, str]()) for kind in ("jsonl", "json", "yaml", "parquet")]
    return [*plain, (folder / "rows.csv", typed), (folder / "rows.tsv", typed)]


def test_the_same_typed_content_has_the_same_id_from_any_format(tmp_path: Path) -> None:
    loaded = {path.name: datasets.load(path, types=typed) for path, typed in written(tmp_path)}
    assert len({dataset.id for dataset in loaded.values()}) == 1, {n: d.id for n, d in loaded.items()}
    assert {dataset.count for dataset in loaded.values()} == {3}


def test_untyped_csv_is_text_and_so_another_content(tmp_path: Path) -> None:
    written(tmp_path)
    assert datasets.load(tmp_path / "rows.csv").id != datasets.load(tmp_path / "rows.jsonl").id


def test_an_integer_past_64_bits_is_the_same_float_from_any_format(tmp_path: Path) -> None:
    huge = 123456789012345678901234567890
    row = {"id": "a", "input": {"n": huge}}
    (tmp_path / "rows.jsonl").write_text(json.dumps(row) + "\n")
    (tmp_path / "rows.json").write_text(json.dumps([row]))
    (tmp_path / "rows.yaml").write_text(f"- {{id: a, input: {{n: {huge}}}}}\n")
    loaded = [datasets.load(tmp_path / name) for name in ("rows.jsonl", "rows.json", "rows.yaml")]
    assert {next(datasets.examples(dataset)).input["n"] for dataset in loaded} == {float(huge)}
    assert len({dataset.id for dataset in loaded}) == 1


# --- what JSON can't say ------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("wrap", [lambda v: v, lambda v: [v], lambda v: {"a": {"b": v}}])
def test_nan_and_infinity_are_refused_wherever_they_stand(value: float, wrap: Any) -> None:
    for refuse in (codec.content_id, codec.encode, codec.pretty):
        with pytest.raises(CodecError, match="is not a JSON number; use null"):
            refuse(wrap(value))


@pytest.mark.parametrize("text", ["NaN", "[Infinity]", '{"a": -Infinity}', "1e999", "[-1e400]"])
def test_numbers_that_are_none_are_refused_when_read(text: str) -> None:
    with pytest.raises(CodecError, match="is not a JSON number; use null"):
        codec.parse(text)


@pytest.mark.parametrize(
    "text", ["", "{", '{"a": 1,}', "[1 2]", "'a'", "{a: 1}", b"\xff", "9" * 5000, "[" * 5000]
)
def test_what_is_not_json_is_refused_with_a_reason(text: str | bytes) -> None:
    with pytest.raises(CodecError) as caught:
        codec.parse(text)
    assert str(caught.value)


@pytest.mark.parametrize("number", [2**63, 2**64, -(2**70), 10**40])
def test_huge_integers_stay_exact(number: int) -> None:
    assert codec.parse(codec.dumps({"n": number})) == {"n": number}
    assert json.loads(codec.pretty({"n": number})) == {"n": number}
    assert codec.content_id(number) != codec.content_id(number + 1)


def test_lone_surrogates_are_kept_in_json_and_replaced_in_text() -> None:
    assert codec.parse(codec.dumps(["\ud83d"])) == ["\ud83d"]
    assert json.loads(codec.pretty(["\ud83d"])) == ["\ud83d"]
    assert codec.clean_text("a\ud83db") == "a\ufffdb"
    assert codec.clean_text("\ud83d\ude00") == "\U0001f600"
    assert codec.content_id("\ud83d") != codec.content_id("\ud83e")


def test_dates_sets_tuples_and_bytes_have_one_json_form() -> None:
    value = {
        "d": datetime.date(2024, 2, 29),
        "s": {"b", "a"},
        "t": (1, 2),
        "b": b"\x00\xff",
        3: None,
        True: 1,
    }
    assert codec.plain(value) == {
        "d": "2024-02-29",
        "s": ["a", "b"],
        "t": [1, 2],
        "b": "AP8=",
        "3": None,
        "true": 1,
    }


@pytest.mark.parametrize("value", [object(), 1j, {(1, 2): 3}])
def test_other_types_are_refused_by_name(value: object) -> None:
    with pytest.raises(CodecError, match="has no JSON form"):
        codec.plain(value)


# --- what doesn't fit a record ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cls", "data", "said"),
    [
        (Example, {"input": 1}, "id: nothing, expected text"),
        (Example, {"id": 1, "input": 1}, "id: 1, expected text"),
        (Example, [], "[], expected a mapping"),
        (Variant, {"modell": "a/b"}, "modell: unknown key 'modell'. Did you mean 'model'? Known: model, params"),
        (Variant, {"stream": "yes"}, "stream: 'yes', expected true or false"),
        (Variant, {"stream": 1}, "stream: 1, expected true or false"),
        (Variant, {"params": [1]}, "params: [1], expected a mapping"),
        (Variant, {"limits": {"rpm": "fast"}}, "limits.rpm: 'fast', expected a number"),
        (Variant, {"limits": {"retries": 1.5}}, "limits.retries: 1.5, expected a whole number"),
        (Variant, {"limits": {"retries": True}}, "limits.retries: True, expected a whole number"),
        (Task, {"dataset": {"id": "a", "count": 1}, "scorers": [{"name": "a"}, {"nam": "b"}]}, "scorers[1].nam: unknown key 'nam'. Did you mean 'name'?"),
        (Score, {"trace_id": "a", "name": "b", "value": {"a": 1}}, "value: {'a': 1}, expected"),
        (Verdict, {"outcome": "shipp"}, "outcome: 'shipp', expected one of 'ship', 'hold', 'inconclusive', 'invalid'. Did you mean 'ship'?"),
        (Variant, {"function": "x"}, "unknown key 'function'"),
        (Limits, {"rpm": math.nan}, "rpm: nan, expected a finite number"),
        (Limits, {"total_s": math.inf}, "total_s: inf, expected a finite number"),
        (Limits, {"total_s": 10**400}, "expected a finite number"),
        (Score, {"trace_id": "a", "name": "b", "value": math.nan}, "value: nan, expected a finite number"),
    ],
)  # fmt: skip
def test_a_value_that_does_not_fit_is_named_with_its_path(cls: type, data: Any, said: str) -> None:
    with pytest.raises(CodecError) as caught:
        codec.decode(cls, data)
    assert said in str(caught.value)


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(CLASSES), PAYLOADS)
def test_any_json_gives_a_record_or_an_error_of_ours(cls: type, data: Any) -> None:
    with contextlib.suppress(CodecError):
        codec.decode(cls, data)


# --- new ids ------------------------------------------------------------------------------------------------


def test_ids_differ_even_when_somebody_seeds_the_random_module() -> None:
    made: set[str] = set()
    for _ in range(100):
        random.seed(1)
        made |= {codec.new_id(), codec.new_id(64)}
    assert len(made) == 200
    assert {len(one) for one in made} == {16, 32}


def test_run_ids_are_uuids_that_sort_by_time() -> None:
    import uuid

    ids = [codec.new_run_id() for _ in range(50)]
    assert all(uuid.UUID(one).version == 7 and uuid.UUID(one).variant == uuid.RFC_4122 for one in ids)
    assert [one[:13] for one in ids] == sorted(one[:13] for one in ids)


def test_functions_are_never_written() -> None:
    assert "function" not in codec.encode(Scorer(name="a", function=len))
    assert b"function" not in codec.dumps(Variant(target=json.dumps, version="1"))


def test_a_trace_with_any_payload_is_written_as_json_has_it() -> None:
    made = Trace(
        id="0" * 32,
        output={"when": datetime.date(2024, 1, 1), "big": 2**70},
        spans=(Span(trace_id="0" * 32, id="0" * 16, name="s"),),
    )
    assert codec.loads(Trace, codec.dumps(made)).output == {"when": "2024-01-01", "big": 2**70}
