from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest

from ratchet.errors import ConfigError, RatchetError
from ratchet.loads import processes, records
from ratchet.loads.driving import Drive
from ratchet.loads.records import Shot, Tick
from ratchet.records import Variant

from .scripted import BODY, KEY, Even, Scripted, fire, stream, variant

ENVIRON = {"OPENAI_API_KEY": KEY}


def test_two_processes_send_the_schedule_of_one() -> None:
    ticks: list[Tick] = []
    with Scripted(lambda _: stream(2, first_s=0.02)) as server:
        arms = {"a": variant(server.url), "b": variant(server.url)}
        found = processes.measure(
            arms, Even(40, 41, arms=2), Drive(), processes=2, environ=ENVIRON, report=ticks.append
        )
        assert len(server.requests) == 41
    samples = found.samples
    assert samples.index.tolist() == list(range(41))
    assert samples.scheduled_s.tolist() == pytest.approx([i / 40 for i in range(41)], abs=1e-6)
    assert samples.arm.tolist() == [i % 2 for i in range(41)]
    assert found.errors == ()
    assert found.health.processes == 2
    assert len(found.vitals.cpu_s) == 2
    assert ticks[-1].sent == ticks[-1].done == 41
    assert sum(len(tick.e2e_s) for tick in ticks) == 41
    # one clock: a request of one process left before the next one of the other
    assert (samples.dispatched_s >= samples.scheduled_s).all()


def test_the_merge_of_two_processes_is_exactly_the_sum_of_their_rows() -> None:
    with Scripted(lambda _: stream(3)) as server:
        found = fire(server, 20, rate=100, workers=2).samples
    halves = [found.select(found.index % 2 == part) for part in range(2)]
    again = records.merge(halves)
    for name in (*records.COLUMNS, "gaps", "offsets"):
        assert np.array_equal(getattr(again, name), getattr(found, name), equal_nan=name.endswith("_s"))
    assert np.quantile(again.gaps, 0.99) == np.quantile(found.gaps, 0.99)


def test_errors_of_all_processes_are_counted_together() -> None:
    with Scripted(lambda _: [b"HTTP/1.1 500 No\r\ncontent-length: 4\r\n\r\noops"]) as server:
        found = fire(server, 8, workers=2)
    (error,) = found.errors
    assert (error.kind, error.count) == ("server", 8)


def test_one_generator_apart_leaves_this_process_free() -> None:
    with Scripted(lambda _: stream(1)) as server:
        found = processes.measure(
            {"a": variant(server.url)}, Even(50, 5), Drive(), apart=True, environ=ENVIRON
        )
    assert found.samples.ok.all()
    assert len(found.vitals.cpu_s) == 1


def test_users_of_a_closed_loop_are_dealt_out() -> None:
    with Scripted(lambda _: stream(1, first_s=0.02)) as server:
        drive = Drive(mode="closed", users=3, duration_s=0.4)
        found = processes.measure(
            {"a": variant(server.url)}, Even(1, 100_000), drive, processes=2, environ=ENVIRON
        )
    assert found.vitals.peak_sockets == (2, 1)
    with pytest.raises(ConfigError, match="1 users can't be spread over 2 processes"):
        processes.measure({}, Even(1, 1), Drive(mode="closed", users=1), processes=2)


@dataclass(frozen=True)
class Fatal:
    """Shots that end the process that makes them, or can't be made."""

    how: str

    def __call__(self, part: int, parts: int) -> Iterator[Shot]:
        yield Shot(index=part, arm=0, body=BODY % part)
        if part == 1 and self.how == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if part == 1:
            raise ConfigError("row 2 has no question")


@pytest.mark.parametrize(
    ("how", "message"),
    [("killed", "process 1 of the load test ended with -9"), ("raises", "row 2 has no question")],
)
def test_a_process_that_fails_ends_the_test_with_its_reason(how: str, message: str) -> None:
    with Scripted(lambda _: stream(1)) as server, pytest.raises(RatchetError, match=message):
        processes.measure({"a": variant(server.url)}, Fatal(how), Drive(), processes=2, environ=ENVIRON)


def test_a_function_that_another_process_could_not_find_is_refused() -> None:
    arms = {"a": Variant(target=lambda text: text)}  # pyright: ignore[reportUnknownLambdaType]
    with pytest.raises(ConfigError, match="another process can't find"):
        processes.measure(arms, Even(1, 2), Drive(), processes=2)


def test_ctrl_c_reaches_every_process() -> None:
    interrupts: list[int] = []
    before = signal.getsignal(signal.SIGINT)

    def interrupt(tick: Tick) -> None:
        if tick.done >= 4 and not interrupts:
            interrupts.append(tick.done)
            os.kill(os.getpid(), signal.SIGINT)

    with Scripted(lambda _: stream(1)) as server:
        found = processes.measure(
            {"a": variant(server.url)},
            Even(20, 100_000),
            Drive(),
            processes=2,
            environ=ENVIRON,
            report=interrupt,
        )
    assert found.ended == "interrupted"
    assert 4 <= len(found.samples) < 1000
    assert signal.getsignal(signal.SIGINT) is before


def test_a_test_without_a_request_has_samples_without_a_row() -> None:
    with Scripted(lambda _: stream(1)) as server:
        found = fire(server, 0)
    assert len(found.samples) == 0
    assert found.elapsed_s == 0
