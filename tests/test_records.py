from __future__ import annotations

import dataclasses
import inspect
from pathlib import Path

import pytest

from ratchet import records
from ratchet.records import Check, Dataset, Example, Scorer, Task, Trace, Variant

CLASSES = [cls for _, cls in inspect.getmembers(records, dataclasses.is_dataclass)]


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_every_record_is_frozen_slotted_and_keyword_only(cls: type) -> None:
    assert cls.__dataclass_params__.frozen  # type: ignore[attr-defined]
    assert "__slots__" in vars(cls)
    assert all(field.kw_only for field in dataclasses.fields(cls))


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_no_two_records_share_a_mutable_default(cls: type) -> None:
    defaults = [field.default for field in dataclasses.fields(cls)]
    assert not any(isinstance(default, (list, dict, set)) for default in defaults)
    factories = [
        f.default_factory for f in dataclasses.fields(cls) if f.default_factory is not dataclasses.MISSING
    ]
    assert all(factory() is not factory() or dataclasses.is_dataclass(factory()) for factory in factories)


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_every_number_that_has_a_unit_says_it_in_its_name(cls: type) -> None:
    for field in dataclasses.fields(cls):
        if "float" in str(field.type) and any(
            word in field.name for word in ("cost", "latency", "ttft", "wait", "queue")
        ):
            assert field.name.endswith(("_s", "_usd", "_pp", "_ns")), field.name


def test_records_import_nothing_but_the_standard_librarys_types() -> None:
    source = Path(records.__file__).read_text()
    imported = {line.split()[1] for line in source.splitlines() if line.startswith(("import ", "from "))}
    assert imported == {"__future__", "collections.abc", "dataclasses", "typing"}


def test_replace_gives_a_changed_copy() -> None:
    first = Example(id="1", input={"q": "a"})
    second = first.replace(id="2")
    assert (first.id, second.id, second.input) == ("1", "2", {"q": "a"})
    with pytest.raises(dataclasses.FrozenInstanceError):
        first.id = "3"  # type: ignore[misc]
    with pytest.raises(TypeError):
        first.replace(idd="3")


def reply(row: object) -> str:
    return "yes"


def test_a_variant_takes_the_function_itself_and_keeps_its_path() -> None:
    variant = Variant(target=reply)
    assert variant.target == f"{__name__}:reply"
    assert variant.function is reply
    assert variant == Variant(target=f"{__name__}:reply")
    assert "function" not in repr(variant)


def test_a_task_takes_lists() -> None:
    dataset = Dataset(id="0" * 32, count=1)
    task = Task(dataset=dataset, scorers=[Scorer(name="a")], checks=[Check(metric="a", rule="better")])  # type: ignore[arg-type]
    assert task == Task(
        dataset=dataset, scorers=(Scorer(name="a"),), checks=(Check(metric="a", rule="better"),)
    )


def test_a_scorer_is_called_like_its_function_with_its_settings() -> None:
    def shout(trace: str, *, mark: str = "!") -> str:
        return trace + mark

    scorer = Scorer(name="shout", function=shout)
    assert scorer("a") == "a!"
    assert scorer.using(mark="?")("a") == "a?"
    assert scorer.using(mark="?")("a", mark=".") == "a."
    assert len({scorer, scorer.using(mark="?")}) == 2, "settings tell scorers apart, hashable or not"
    assert hash(scorer.using(words=["a"])) == hash(scorer)


def test_a_scorer_read_from_a_record_says_how_to_find_its_function() -> None:
    with pytest.raises(TypeError, match=r"scores\.resolve"):
        Scorer(name="judge")(Trace(id="0" * 32))


@pytest.mark.parametrize(
    ("facts", "speed"),
    [
        ({"output_tokens": 100, "latency_s": 2.0}, 50.0),
        ({"output_tokens": 101, "latency_s": 2.0, "ttft_s": 1.0}, 100.0),
        ({"output_tokens": 1, "latency_s": 2.0, "ttft_s": 1.0}, None),
        ({"output_tokens": 100, "latency_s": 1.0002, "ttft_s": 1.0}, None),
        ({"output_tokens": 100, "latency_s": 1.0, "ttft_s": 1.0}, None),
        ({"output_tokens": 0, "latency_s": 2.0}, None),
        ({"output_tokens": 100}, None),
        ({"latency_s": 2.0}, None),
    ],
)
def test_tokens_per_second_are_those_after_the_first_token(
    facts: dict[str, float], speed: float | None
) -> None:
    assert Trace(id="0" * 32, **facts).tokens_per_s == speed  # type: ignore[arg-type]
