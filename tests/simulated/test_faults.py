from __future__ import annotations

import email.utils
import time

import pytest

from ratchet.errors import ConfigError, UnknownNameError
from ratchet.simulated.faults import (
    KINDS,
    STATUSES,
    Fault,
    FaultPlan,
    known_faults,
    parse_fault,
    retry_headers,
    split_model,
)


@pytest.mark.parametrize(
    ("spec", "fault"),
    [
        ("429", Fault(kind="429")),
        ("429:0.1", Fault(kind="429", probability=0.1)),
        ("cut:every=7", Fault(kind="cut", every=7)),
        ("cut,every=7", Fault(kind="cut", every=7)),
        ("hang:0.01", Fault(kind="hang", probability=0.01)),
        (
            "503:first=2, retry=date, after=5, wire=openai",
            Fault(kind="503", first=2, retry="date", after_s=5, wire="openai"),
        ),
        ("error-event:at=3,model=champion", Fault(kind="error_event", at=3, model="champion")),
        ("wrong_usage,factor=0", Fault(kind="wrong_usage", factor=0)),
        ("drip,gap=0.05", Fault(kind="drip", gap_s=0.05)),
    ],
)
def test_a_spec_says_what_when_and_how(spec: str, fault: Fault) -> None:
    assert parse_fault(spec) == fault


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("cutt", "Did you mean 'cut'"),
        ("418", "no fault named '418'"),
        ("429:often", "'often' is not a number"),
        ("429:1.5", "expected a probability"),
        ("429:every=0", "not a whole number from 1"),
        ("429,retry=soon", "no way to say Retry-After named 'soon'"),
        ("429,aftr=1", "Did you mean 'after'"),
        ("429,after", "expected name=value"),
        ("429,after=-1", "0 or more"),
        ("", "no fault named ''"),
    ],
)
def test_a_wrong_spec_names_what_is_wrong(spec: str, message: str) -> None:
    with pytest.raises((ConfigError, UnknownNameError)) as caught:
        parse_fault(spec)
    assert message in str(caught.value)


def hits(*faults: str, count: int = 12, seed: int = 0) -> list[str | None]:
    plan = FaultPlan(faults, seed=seed)
    drawn = [plan.draw(n, "openai", "m", f"request {n}") for n in range(1, count + 1)]
    return [fault and fault.kind for fault in drawn]


def test_every_first_and_at_count_requests() -> None:
    assert [n for n, kind in enumerate(hits("cut:every=5"), 1) if kind] == [5, 10]
    assert [n for n, kind in enumerate(hits("cut:first=3"), 1) if kind] == [1, 2, 3]
    assert [n for n, kind in enumerate(hits("cut:at=4"), 1) if kind] == [4]


def test_chance_hits_its_share_and_the_same_requests_in_any_order() -> None:
    drawn = hits("500:0.2", count=5000)
    assert drawn.count("500") / 5000 == pytest.approx(0.2, abs=0.02)
    assert drawn == hits("500:0.2", count=5000)
    assert drawn != hits("500:0.2", count=5000, seed=1)
    plan = FaultPlan(["500:0.2"])
    backwards = [plan.draw(1, "openai", "m", f"request {n}") for n in range(5000, 0, -1)]
    assert [fault and fault.kind for fault in reversed(backwards)] == drawn


def test_the_first_of_several_faults_counts() -> None:
    assert hits("503:every=2", "429:every=3", count=6) == [None, "503", "429", "503", None, "503"]


def test_a_fault_may_be_for_one_wire_or_model() -> None:
    plan = FaultPlan(["429,wire=anthropic", "500,model=b"])
    assert plan.draw(1, "openai", "a", "k") is None
    assert plan.draw(1, "anthropic", "a", "k") == plan.faults[0]
    assert plan.draw(1, "openai", "b", "k") == plan.faults[1]


def test_a_model_name_may_carry_a_fault_and_other_plus_signs_stay() -> None:
    assert split_model("gpt-4o+429,retry=ms") == ("gpt-4o", Fault(kind="429", retry="ms"))
    assert split_model("org/model+lora") == ("org/model+lora", None)
    assert split_model("+429") == ("+429", None)


def test_each_way_to_say_when_to_retry_has_its_own_header() -> None:
    assert retry_headers("seconds", 1.2) == {"retry-after": "2"}
    assert retry_headers("ms", 1.2) == {"retry-after-ms": "1200"}
    assert retry_headers("reset", 6)["x-ratelimit-reset-requests"] == "6s"
    assert retry_headers("info", 6) == retry_headers("none", 6) == {}
    date = email.utils.parsedate_to_datetime(retry_headers("date", 60)["retry-after"])
    assert date.timestamp() - time.time() == pytest.approx(60, abs=5)


def test_every_kind_is_listed_with_what_it_does() -> None:
    assert {kind for kind, _ in known_faults()} == {*map(str, STATUSES), *KINDS}
