from __future__ import annotations

import inspect
import pickle

import pytest

from ratchet import errors
from ratchet.errors import (
    CodecError,
    ConfigError,
    DatasetError,
    MissingExtraError,
    PromptError,
    ProviderError,
    RatchetError,
    StoreError,
    StoreFullError,
    UnknownNameError,
    did_you_mean,
    dotted,
)

ALL = [cls for _, cls in inspect.getmembers(errors, inspect.isclass) if issubclass(cls, Exception)]


def test_one_except_catches_every_error_of_ours() -> None:
    assert all(issubclass(cls, RatchetError) for cls in ALL)


def test_the_tree_in_the_docstring_names_every_public_error() -> None:
    drawn = errors.__doc__ or ""
    assert [
        cls.__name__ for cls in ALL if not cls.__name__.startswith("_") and cls.__name__ not in drawn
    ] == []


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ConfigError("3, expected text"), "3, expected text"),
        (ConfigError("3, expected text", file="a.yaml"), "a.yaml: 3, expected text"),
        (ConfigError("3, expected text", file="a.yaml", line=7), "a.yaml:7: 3, expected text"),
        (ConfigError("3, expected text", file="a.yaml", line=7, key="tasks.x"), "a.yaml:7, tasks.x: 3, expected text"),
        (ConfigError("3, expected text", line=7), "line 7: 3, expected text"),
        (ConfigError("3, expected text", key="tasks.x"), "tasks.x: 3, expected text"),
        (DatasetError("'x', expected a number", file="a.csv", line=2, column="age"), "a.csv:2, column 'age': 'x', expected a number"),
        (CodecError("3, expected text", path=("tasks", 0, "name")), "tasks[0].name: 3, expected text"),
        (MissingExtraError("reading Parquet", "parquet"), "reading Parquet needs an extra that is not installed: pip install 'ratchet-llm[parquet]'"),
    ],
)  # fmt: skip
def test_a_message_begins_with_its_place(error: RatchetError, said: str) -> None:
    assert str(error) == said


def test_errors_are_also_the_standard_librarys_kinds() -> None:
    assert issubclass(ConfigError, ValueError)
    assert issubclass(PromptError, ConfigError)
    assert issubclass(UnknownNameError, LookupError)
    assert issubclass(MissingExtraError, ImportError)
    assert issubclass(StoreFullError, StoreError)


def test_an_unknown_name_says_what_is_known_and_what_was_meant() -> None:
    error = UnknownNameError("scorer", "exct_match", ["exact_match", "judge"], hint="Your own: pkg.module:f")
    assert str(error) == (
        "no scorer named 'exct_match'.\n  Known: exact_match, judge. Did you mean 'exact_match'?\n  Your own: pkg.module:f"
    )
    assert (error.kind, error.name, error.known) == ("scorer", "exct_match", ("exact_match", "judge"))


def test_no_guess_is_made_where_nothing_is_near() -> None:
    assert did_you_mean("zzz", ["exact_match"]) == ""
    assert did_you_mean("exact", []) == ""


def test_a_provider_error_carries_what_a_retry_needs() -> None:
    error = ProviderError(
        "slow down", kind="rate_limit", retryable=True, status=429, retry_after_s=1.5, request_id="r1"
    )
    assert (error.kind, error.retryable, error.status, error.retry_after_s, error.request_id) == (
        "rate_limit", True, 429, 1.5, "r1",
    )  # fmt: skip


def test_a_path_reads_as_people_write_it() -> None:
    assert dotted(("tasks", "tickets", "checks", 0)) == "tasks.tickets.checks[0]"
    assert dotted((0, "a")) == "[0].a"
    assert dotted(()) == ""


def test_a_store_error_names_its_file_and_survives_a_process_pool() -> None:
    assert StoreFullError("no space", path="runs.db").path == "runs.db"
    assert str(pickle.loads(pickle.dumps(StoreError("no space")))) == "no space"
