from __future__ import annotations

import asyncio
import math
import subprocess
import sys
import threading
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ratchet import codec, scores
from ratchet.errors import ConfigError, ScorerError, UnknownNameError
from ratchet.records import Example, Failure, Judgement, Scorer, Trace
from ratchet.scorers.text import contains, exact_match

TRACE = Trace(id="a" * 32, output="Paris", answer="Paris")
EXAMPLE = Example(id="1", input={"q": "capital?"}, expected="Paris")


def judge(spec: Any, trace: Trace = TRACE, example: Example = EXAMPLE, **options: Any) -> list[scores.Score]:
    return asyncio.run(scores.judge_trace(scores.resolve(spec), trace, example, **options))


def returning(value: Any) -> scores.Score:
    def scorer(trace: Trace) -> Any:
        return value

    (score,) = judge(scorer)
    return score


@scores.scorer
def names_word(trace: Trace, *, word: str = "Paris") -> bool:
    """True where the answer has the word."""
    return word in trace.answer


def test_the_decorator_returns_a_value_that_is_called_like_the_function() -> None:
    assert isinstance(names_word, Scorer)
    assert names_word.name == "names_word"
    assert names_word(TRACE) is True
    assert names_word.using(word="Rome")(TRACE) is False
    assert names_word.function is not None
    assert names_word.function.__doc__ == "True where the answer has the word."


def test_the_decorator_takes_name_dimension_and_version() -> None:
    @scores.scorer(name="cheap", dimension="cost", version="7", inline=True)
    def anything(trace: Trace) -> bool:
        return True

    (score,) = judge(anything)
    assert (score.name, score.dimension, score.by) == ("cheap", "cost", "cheap@7")


def test_a_function_without_a_version_is_versioned_by_its_source() -> None:
    def one(trace: Trace) -> bool:
        return True

    def other(trace: Trace) -> bool:
        return False

    assert scores.resolve(one).version == scores.resolve(one).version
    assert scores.resolve(one).version != scores.resolve(other).version


def test_a_function_that_takes_three_arguments_is_refused_with_the_shape_expected() -> None:
    def three(trace: Trace, example: Example, more: int) -> bool:
        return True

    with pytest.raises(ConfigError, match=r"takes \(trace, example, more\); expected \(trace\) or"):
        scores.scorer(three)


def test_an_inline_scorer_must_not_be_async() -> None:
    async def waits(trace: Trace) -> bool:
        return True

    with pytest.raises(ConfigError, match="inline scorers never wait"):
        scores.scorer(inline=True)(waits)


@pytest.mark.parametrize(
    ("returned", "value"),
    [
        (True, True),
        (3, 3.0),
        (Fraction(1, 4), 0.25),
        (np.float64(0.5), 0.5),
        (np.bool_(True), True),
        (np.int64(2), 2.0),
        ("good", "good"),
        ({"a", "b"}, frozenset({"a", "b"})),
        (["a"], frozenset({"a"})),
        ([], frozenset()),
    ],
)
def test_what_a_scorer_returns_says_what_kind_of_score_it_is(returned: Any, value: Any) -> None:
    score = returning(returned)
    assert score.value == value
    assert type(score.value) is type(value)


@pytest.mark.parametrize(
    ("returned", "reason"),
    [
        (None, "the scorer returned None"),
        (math.nan, "it returned nan, which is not a score"),
        (10**400, "no finite number"),
        ([1, 2], "a set of labels holds only text"),
        (object(), "it returned a object; expected a bool, number"),
        ({}, "it returned an empty dict"),
        (np.zeros(3), "it returned an array"),
    ],
)
def test_what_no_score_can_hold_is_none_with_a_reason(returned: Any, reason: str) -> None:
    score = returning(returned)
    assert score.value is None
    assert reason in (score.reason or "")


def test_a_dict_gives_a_score_a_key_and_the_empty_key_keeps_the_name() -> None:
    def parts(trace: Trace) -> dict[str, Any]:
        return {
            "": True,
            "length": 5,
            "why": Judgement(value="short", reason="five letters", metadata={"n": 5}),
        }

    found = {score.name: score for score in judge(parts)}
    assert {name: score.value for name, score in found.items()} == {
        "parts": True,
        "parts.length": 5.0,
        "parts.why": "short",
    }
    assert found["parts.why"].reason == "five letters"
    assert found["parts.why"].metadata == {"n": 5}


def test_metadata_that_json_cannot_hold_is_said_and_not_kept() -> None:
    score = returning(Judgement(value=1.0, metadata={"x": math.inf}))
    assert score.value is None
    assert "metadata can't be kept" in (score.reason or "")


def test_an_exception_becomes_a_score_of_none_that_names_the_line() -> None:
    def broken(trace: Trace) -> bool:
        return {}["missing"]

    (score,) = judge(broken)
    assert score.value is None
    assert (score.reason or "").startswith("KeyError: 'missing' (test_scores.py:")


def test_an_exception_that_quotes_a_key_is_masked() -> None:
    def leaks(trace: Trace) -> bool:
        raise ValueError("bad key sk-abcdefgh12345678")

    assert "abcdefgh" not in (judge(leaks)[0].reason or "")


@pytest.mark.parametrize("error", [StopIteration, SystemExit, RecursionError])
def test_what_a_thread_cannot_raise_is_still_a_score(error: type[BaseException]) -> None:
    def raises(trace: Trace) -> bool:
        raise error("no")

    assert judge(raises)[0].value is None


def test_a_failed_answer_is_not_judged_and_says_so_under_each_name() -> None:
    failed = TRACE.replace(answer=None, error=Failure(kind="timeout", message="too slow"))
    assert [(s.name, s.value, s.reason) for s in judge("exact_match", failed)] == [
        ("exact_match", None, "no answer: timeout")
    ]
    assert [s.name for s in judge("function_call", failed)] == [
        "function_call",
        "function_call.name_correct",
        "function_call.arguments_correct",
    ]


def test_an_answer_that_could_not_be_extracted_explains_the_exception_it_causes() -> None:
    unparsable = TRACE.replace(answer=None, answer_error="there is no JSON in 'x'")
    (score,) = judge(names_word, unparsable)
    assert score.reason == "no answer: there is no JSON in 'x'"


def test_inline_scorers_run_here_async_ones_are_awaited_and_others_run_in_a_thread() -> None:
    def thread_name(trace: Trace) -> str:
        return threading.current_thread().name

    async def awaited(trace: Trace, example: Example) -> str:
        return threading.current_thread().name

    inline = scores.scorer(inline=True)(thread_name)
    here = threading.current_thread().name
    assert judge(inline)[0].value == here
    assert judge(awaited)[0].value == here
    assert judge(thread_name)[0].value != here


def test_judge_now_is_none_for_a_scorer_that_is_not_inline() -> None:
    assert scores.judge_now(scores.resolve(names_word), TRACE, EXAMPLE) is None
    assert [s.value for s in scores.judge_now(exact_match, TRACE, EXAMPLE) or ()] == [True]


def test_a_scorer_that_needs_a_model_says_so_where_there_is_none() -> None:
    async def asks(trace: Trace, *, ask: Any) -> bool:
        return True

    (score,) = judge(asks)
    assert (score.value, score.source) == (None, "judge")
    assert "it calls a model" in (score.reason or "")


@pytest.mark.parametrize(
    "spec",
    [
        {"contains": {"text": "ari", "name": "has_ari"}},
        {"use": "contains", "name": "has_ari", "text": "ari"},
        contains.using(text="ari").replace(name="has_ari"),
    ],
)
def test_the_ways_to_write_a_scorer_mean_the_same(spec: Any) -> None:
    (score,) = judge(spec)
    assert (score.name, score.value, score.by) == ("has_ari", True, "has_ari@1")


def test_a_scorer_of_the_users_own_is_found_by_its_module(tmp_path: Path) -> None:
    (tmp_path / "own_scorers_a.py").write_text(
        "def short(trace, *, limit=9):\n    return len(trace.answer) < limit\n"
    )
    found = scores.resolve({"own_scorers_a:short": {"limit": 3}}, root=tmp_path)
    assert found.target == "own_scorers_a:short"
    assert judge(found)[0].value is False


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"contains": {"txt": "a"}}, "has no setting 'txt'.*Did you mean 'text'"),
        (
            {"contains": {"match": "al"}},
            "setting 'match' of scorer 'contains' is 'al', expected one of 'all', 'any'",
        ),
        ({"contains": {"ignore_case": "yes"}}, "setting 'ignore_case' of scorer 'contains' is 'yes'"),
        ({"contains": {"dimension": "acuracy"}}, "Did you mean 'accuracy'"),
        ({"contains": "refund"}, "the settings of scorer 'contains' are 'refund', expected a mapping"),
        ({"json_schema": {}}, "needs the setting 'schema'"),
        ({"a": 1, "b": 2}, "a scorer with a, b"),
        ({}, "a scorer with nothing"),
        ({1: {}}, "a scorer's name is text, found 1"),
        (5, "5 is not a scorer"),
    ],
)
def test_a_spec_that_does_not_fit_names_what_was_found_and_what_is_known(spec: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        scores.resolve(spec)


def test_an_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'exact_match'"):
        scores.resolve("exct_match")


def test_a_scorer_read_from_a_record_gets_its_function_back() -> None:
    written = codec.encode(scores.resolve({"contains": {"text": "ari", "name": "has_ari"}}))
    read = codec.decode(Scorer, written)
    with pytest.raises(ScorerError, match=r"scores\.resolve"):
        scores.judge_now(read.replace(inline=True), TRACE, EXAMPLE)
    assert judge(read)[0].value is True
    assert scores.resolve(read) == scores.resolve(scores.resolve(read))


def test_a_scorer_defined_inside_a_function_cannot_be_found_again_and_says_so() -> None:
    def local(trace: Trace) -> bool:
        return True

    read = codec.decode(Scorer, codec.encode(scores.resolve(local)))
    with pytest.raises(ConfigError, match="move it to the top of a module"):
        scores.resolve(read)


def test_settings_are_part_of_a_scorers_identity() -> None:
    ids = {codec.content_id(scores.resolve({"contains": {"text": text}})) for text in ("a", "b")}
    assert len(ids) == 2


def test_scorers_load_without_heavy_modules() -> None:
    heavy = ("numpy", "jsonschema", "yaml", "jinja2", "regex")
    modules = "ratchet.scores, ratchet.extractions, ratchet.measures, ratchet.scorers.text"
    code = f"import {modules}, sys; print([m for m in {heavy} if m in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"
