from __future__ import annotations

import asyncio
import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ratchet import datasets, engine, runs
from ratchet.budgets import Budget
from ratchet.engine import Control
from ratchet.errors import StoreError, StoreFullError
from ratchet.ports import Chunk, Endpoint, Request, Store
from ratchet.progress import Progress
from ratchet.records import Extraction, Limits, Price, Prompt, Run, Score, Task, Trace, Variant
from ratchet.runs import Options
from ratchet.scorers.text import exact_match
from ratchet.scores import scorer
from ratchet.simulated.server import serve_in_thread
from ratchet.stores import open_store

PRICE = Price(input_usd_per_mtok=10.0, output_usd_per_mtok=100.0)


@pytest.fixture
def store(project: Path) -> Iterator[Store]:
    opened = open_store(project / "runs.db")
    yield opened
    opened.close()


def rows(count: int) -> Path:
    path = Path.cwd() / f"rows-{count}.jsonl"
    made = ({"id": f"q{i}", "input": {"question": f"What is {i}?"}, "expected": f"{i}"} for i in range(count))
    path.write_text("".join(json.dumps(row) + "\n" for row in made))
    return path


def task(count: int = 10, **changes: Any) -> Task:
    return Task(dataset=datasets.load(rows(count)), scorers=(exact_match,), name="rows").replace(**changes)


def model(name: str = "instant", **changes: Any) -> Variant:
    return Variant(model=f"openai/{name}", prompt="Answer: {question}", params={"max_tokens": 50}).replace(
        **changes
    )


def state_of(store: Store, run: Run) -> tuple[str, str]:
    row = next(row for row in store.runs() if row.id == run.id)
    return row.state, row.reason


def each_once(store: Store, run: Run, count: int) -> bool:
    return Counter(row.example_id for row in store.rows(run.id) if row.arm) == {
        f"q{i}": 1 for i in range(count)
    }


def number(row: dict[str, str]) -> str:
    return row["question"].rstrip("?").split()[-1]


# --- stopping -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("asks", [1, 2])
def test_a_run_stopped_from_another_thread_is_resumed_without_a_lost_row(
    store: Store, monkeypatch: pytest.MonkeyPatch, asks: int
) -> None:
    control, count, in_flight = Control(), 60, 4

    def stop_after_ten(progress: Progress) -> None:
        if progress.done >= 10 and not control.asked:
            for _ in range(asks):
                threading.Thread(target=control.stop).start()

    with serve_in_thread(profiles=["steady=ttft_s=0.02~0.04"], seed=1) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url("openai"))
        options = Options(concurrency=in_flight)
        arms = {"a": model("steady")}
        run = asyncio.run(
            runs.arun(
                task(count), arms, options=options, store=store, on_progress=stop_after_ten, control=control
            )
        )
        kept = len(list(store.rows(run.id)))
        assert state_of(store, run) == ("stopped", "interrupted")
        assert 10 <= kept < count
        if asks == 1:
            assert server.stats().requests == kept, "what was in flight has ended and is kept"
        runs.run(task(count), arms, options=Options(resume=run.id), store=store)
        assert server.stats().requests <= count + (in_flight if asks == 2 else 0)
    assert each_once(store, run, count)
    assert state_of(store, run) == ("finished", "")


def test_a_stop_asked_before_the_run_is_under_way_counts(store: Store) -> None:
    control = Control()
    control.stop()
    run = asyncio.run(runs.arun(task(500), {"a": Variant(target=number)}, store=store, control=control))
    assert state_of(store, run) == ("stopped", "interrupted")
    assert list(store.rows(run.id)) == []


def test_a_refused_call_is_left_to_the_resume_once_somebody_asked_to_stop(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    control = Control()

    def stop_when_waiting(progress: Progress) -> None:
        if progress.arms["a"].retried and not control.asked:
            control.stop()

    with serve_in_thread(faults=["429:first=2,retry=seconds,after=60"]) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url("openai"))
        run = asyncio.run(
            runs.arun(task(4), {"a": model()}, store=store, on_progress=stop_when_waiting, control=control)
        )
        assert state_of(store, run)[0] == "stopped"
        assert all(row.error_kind is None for row in store.rows(run.id))
        runs.run(task(4), {"a": model()}, options=Options(resume=run.id), store=store)
    assert each_once(store, run, 4)
    assert all(row.error_kind is None for row in store.rows(run.id))


def test_ctrl_c_finishes_what_is_in_flight_and_says_how_to_go_on(project: Path) -> None:
    (project / "ratchet.yaml").write_text(
        "variants:\n  a: {model: openai/steady, prompt: 'Answer: {question}'}\n"
        f"tasks:\n  rows: {{dataset: {rows(150).name}, scorers: [exact_match]}}\n"
    )
    with serve_in_thread(profiles=["steady=ttft_s=0.02~0.04"]) as server:
        environment = {**os.environ, "OPENAI_BASE_URL": server.base_url("openai")}
        command = [sys.executable, "-m", "ratchet", "run", "--json", "-j", "4"]
        process = subprocess.Popen(
            command, cwd=project, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        while process.poll() is None and server.stats().answered < 20:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=20)
        answered = server.stats().answered
    assert process.returncode == 4
    assert "Traceback" not in errors
    said = json.loads(output)
    assert (said["state"], said["reason"]) == ("stopped", "interrupted")
    assert said["summary"]["arms"]["a"]["rows"] == answered < 150
    assert f"Go on with: ratchet run rows --resume {said['run']}" in errors


def test_scores_that_an_interrupted_run_did_not_get_to_are_made_up_on_resume(store: Store) -> None:
    control = Control()
    hold = threading.Event()

    @scorer
    async def patient(trace: Trace) -> bool:
        while not hold.is_set():  # noqa: ASYNC110 - set from another loop
            await asyncio.sleep(0.01)
        return True

    def stop_when_answered(progress: Progress) -> None:
        if progress.done == 6:
            control.stop()
            control.stop()

    patient = patient.replace(target=f"{__name__}:patient")
    slow = task(6, scorers=(exact_match, patient))
    arms = {"a": Variant(target=number)}
    run = asyncio.run(runs.arun(slow, arms, store=store, on_progress=stop_when_answered, control=control))
    assert Counter(score.name for score in store.scores(run.id)) == {"exact_match": 6}
    hold.set()
    runs.run(slow, arms, options=Options(resume=run.id), store=store)
    assert Counter((score.name, score.value) for score in store.scores(run.id, history=True)) == {
        ("exact_match", True): 6,
        ("patient", True): 6,
    }
    assert state_of(store, run) == ("finished", "")


# --- the store gives way ------------------------------------------------------------------------------------


class FullAfter:
    """A real store whose disk fills up after so many writes."""

    def __init__(self, store: Store, writes: int) -> None:
        self._store = store
        self.left = writes

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def awrite(self, records: Any) -> None:
        self.left -= 1
        if self.left < 0:
            raise StoreFullError("no space left")
        await self._store.awrite(records)


CALLED: list[str] = []


def counted(row: dict[str, str]) -> str:
    CALLED.append(row["question"])
    return number(row)


@pytest.mark.parametrize("slow", [False, True])
def test_a_store_that_gives_way_stops_the_run_and_loses_nothing_it_had(store: Store, slow: bool) -> None:
    CALLED.clear()

    @scorer
    def late(trace: Trace) -> bool:
        return True

    arms = {"a": Variant(target=counted)}
    judged = task(200, scorers=(late.replace(target=f"{__name__}:late"),) if slow else (exact_match,))
    with pytest.raises(StoreFullError):
        runs.run(judged, arms, options=Options(concurrency=4), store=FullAfter(store, 20))  # type: ignore[arg-type]
    (row,) = store.runs()
    assert row.state != "finished"
    kept = len(list(store.rows(row.id)))
    assert 0 < kept <= 20
    assert len(CALLED) < 200, "nothing more is started"
    resumed = runs.run(judged, arms, options=Options(resume=row.id), store=store)
    assert each_once(store, resumed, 200)
    assert Counter(score.trace_id for score in store.scores(resumed.id)) == {
        r.id: 1 for r in store.rows(resumed.id)
    }


def test_a_store_that_is_closed_under_a_run_is_an_error_of_ours(store: Store) -> None:
    def close(progress: Progress) -> None:
        if progress.done:
            store.close()

    def slowly(row: dict[str, str]) -> str:
        time.sleep(0.01)
        return number(row)

    with pytest.raises(StoreError):
        runs.run(
            task(400),
            {"a": Variant(target=slowly)},
            options=Options(concurrency=2),
            store=store,
            on_progress=close,
        )


# --- slots --------------------------------------------------------------------------------------------------


def test_scorers_that_take_long_hold_no_slot(store: Store) -> None:
    answered = list[str]()

    def answer(row: dict[str, str]) -> str:
        answered.append(row["question"])
        return number(row)

    @scorer
    async def waits_for_all(trace: Trace) -> bool:
        while len(answered) < 20:  # noqa: ASYNC110 - set from a thread
            await asyncio.sleep(0.005)
        return True

    run = runs.run(
        task(20, scorers=(waits_for_all,)),
        {"a": Variant(target=answer)},
        options=Options(concurrency=1),
        store=store,
    )
    assert [score.value for score in store.scores(run.id)] == [True] * 20


@scorer
async def asks(trace: Trace, *, ask: Any) -> bool:
    judge = Variant(
        model="openai/steady", prompt=Prompt(messages=({"role": "user", "content": "Is it good? {answer}"},))
    )
    found = await ask(judge, {"answer": trace.answer}, judged=trace)
    return found.error is None


def test_calls_of_judges_are_in_flight_under_the_same_limit(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve_in_thread(profiles=["steady=ttft_s=0.005~0.01"]) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url("openai"))
        run = runs.run(
            task(40, scorers=(asks,)), {"a": model("steady")}, options=Options(concurrency=3), store=store
        )
        assert server.stats().requests == 80
        assert server.stats().peak_in_flight <= 3
    assert [score.value for score in store.scores(run.id)] == [True] * 40


def test_one_held_back_arm_lets_the_other_run_ahead_only_so_far(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "MOST_WAITING", 25)
    control = Control()
    ahead: list[int] = []

    def watch(progress: Progress) -> None:
        slow, quick = progress.arms["slow"].done, progress.arms["quick"].done
        ahead.append(quick - slow)
        if progress.waiting >= 25 and progress.in_flight == 0:
            control.stop()

    with serve_in_thread() as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url("openai"))
        arms = {"slow": model(limits=Limits(rpm=10)), "quick": Variant(target=number)}
        asyncio.run(runs.arun(task(500), arms, store=store, on_progress=watch, control=control))
    assert 20 <= max(ahead) <= 27


# --- limits and money ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("budget", [Budget(tokens=3000), Budget(usd=0.1)])
def test_attempts_that_were_billed_and_failed_count_against_the_budget(
    store: Store, monkeypatch: pytest.MonkeyPatch, budget: Budget
) -> None:
    with serve_in_thread(faults=["cut:0.7"], profiles=["wordy=verbosity=20"], seed=3) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url("openai"))
        arms = {"a": model("wordy", stream=True, price=PRICE, limits=Limits(retries=6))}
        monkeypatch.setattr("ratchet.policy.retry_wait_s", lambda *_: 0.0)
        run = runs.run(task(100), arms, options=Options(budget=budget, concurrency=8), store=store)
    tokens = dollars = 0.0
    for trace in store.traces(run.id):
        dollars += trace.cost_usd or 0.0
        for span in trace.spans:
            tokens += span.attributes.get("gen_ai.usage.input_tokens", 0) + span.attributes.get(
                "gen_ai.usage.output_tokens", 0
            )
    assert tokens > 0
    assert tokens <= (budget.tokens or 10**9)
    assert dollars <= (budget.usd or 10**9)


def test_answers_from_the_cache_wait_for_no_rate_limit_and_report_no_retries(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve_in_thread(faults=["500:first=2"]) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url("openai"))
        first = runs.run(task(30), {"a": model()}, store=store)
        assert max(row.attempts for row in store.rows(first.id)) > 1
        second = runs.run(task(30), {"a": model(limits=Limits(rpm=1))}, store=store)
        assert server.stats().requests == 32
    assert {(row.cached, row.attempts) for row in store.rows(second.id)} == {(True, 0)}


# --- the cache answers only what is the same ----------------------------------------------------------------


def test_two_lambdas_of_one_run_are_two_functions(store: Store) -> None:
    arms = {"a": Variant(target=lambda row: "A"), "b": Variant(target=lambda row: "B")}
    run = runs.run(task(3), arms, store=store)
    assert {(trace.arm, trace.output) for trace in store.traces(run.id)} == {("a", "A"), ("b", "B")}


def test_a_function_that_holds_state_is_never_answered_from_the_cache(store: Store) -> None:
    def made(word: str) -> Callable[[Any], str]:
        return lambda row: word

    for word in ("first", "second"):
        run = runs.run(task(2), {"a": Variant(target=made(word))}, store=store)
        assert {trace.output for trace in store.traces(run.id)} == {word}


def test_a_file_of_recorded_answers_is_read_anew(store: Store, project: Path) -> None:
    for word in ("first", "second"):
        lines = ({"id": f"q{i}", "output": word, "latency_s": 1.5} for i in range(2))
        (project / "answers.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        run = runs.run(
            task(2), {"a": Variant(model="recorded/answers.jsonl", prompt="{question}")}, store=store
        )
        assert {(trace.output, trace.latency_s) for trace in store.traces(run.id)} == {(word, 1.5)}


class Whose:
    """A provider that answers with the key it was given."""

    def __init__(self, *, endpoint: Endpoint) -> None:
        self._key = endpoint.api_key

    async def generate(self, request: Request) -> AsyncIterator[Chunk]:
        yield Chunk(text=self._key.reveal()[-1] if self._key else "none")


def test_two_arms_at_one_endpoint_keep_their_own_keys(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEY_OF_A", "key-a")
    monkeypatch.setenv("KEY_OF_B", "key-b")
    arms = {
        name: Variant(model=f"{__name__}:Whose/x", prompt="{question}", api_key_env=f"KEY_OF_{name.upper()}")
        for name in "ab"
    }
    run = runs.run(task(3), arms, store=store)
    assert {(trace.arm, trace.output) for trace in store.traces(run.id)} == {("a", "a"), ("b", "b")}


def test_what_could_not_be_extracted_before_does_not_stick_to_a_cached_answer(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve_in_thread() as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url("openai"))
        strict = task(3, extraction=Extraction(kind="json_key", args={"key": "answer"}))
        first = runs.run(strict, {"a": model()}, store=store)
        assert all(row.unparsable for row in store.rows(first.id))
        second = runs.run(task(3), {"a": model()}, store=store)
    assert all(row.cached and not row.unparsable for row in store.rows(second.id))


# --- what users' own code may do ----------------------------------------------------------------------------


def seeds(row: dict[str, str]) -> str:
    random.seed(1)
    return number(row)


def test_a_function_that_seeds_the_random_module_loses_no_row(store: Store) -> None:
    run = runs.run(task(40), {"a": Variant(target=seeds)}, options=Options(concurrency=8), store=store)
    assert each_once(store, run, 40)


def raising(make: Callable[[], BaseException], *, is_async: bool) -> Callable[[Any], Any]:
    def plain(row: Any) -> str:
        raise make()

    async def waiting(row: Any) -> str:
        raise make()

    return waiting if is_async else plain


ERRORS: list[Callable[[], BaseException]] = [
    lambda: ValueError("no"), lambda: TimeoutError("no"), StopIteration, StopAsyncIteration, lambda: SystemExit(0),
    lambda: RecursionError("no"), lambda: MemoryError("no"), lambda: UnicodeDecodeError("utf-8", b"\xff", 0, 1, "no"),
    asyncio.CancelledError, lambda: ExceptionGroup("no", [ValueError("no")]), lambda: OSError(28, "No space left"),
    lambda: StoreFullError("not the run's own"), lambda: Exception("\ud800"),
]  # fmt: skip


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("make", ERRORS, ids=lambda make: type(make()).__name__)
def test_whatever_a_users_function_raises_becomes_a_failed_answer(
    store: Store, make: Callable[[], BaseException], is_async: bool
) -> None:
    run = runs.run(
        task(3),
        {"a": Variant(target=raising(make, is_async=is_async)), "b": Variant(target=number)},
        store=store,
    )
    kinds = Counter((row.arm, row.error_kind) for row in store.rows(run.id))
    assert kinds == {("a", "function"): 3, ("b", None): 3}
    assert state_of(store, run) == ("finished", "")


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize(
    "make",
    [make for make in ERRORS if make is not asyncio.CancelledError],
    ids=lambda make: type(make()).__name__,
)
def test_whatever_a_users_scorer_raises_is_a_none_with_its_reason(
    store: Store, make: Callable[[], BaseException], is_async: bool
) -> None:
    own = scorer(raising(make, is_async=is_async))
    run = runs.run(task(3, scorers=(own, exact_match)), {"a": Variant(target=number)}, store=store)
    found = list(store.scores(run.id))
    assert Counter((score.name == "exact_match", score.value) for score in found) == {
        (True, True): 3,
        (False, None): 3,
    }
    assert all(score.reason for score in found if score.value is None)
    assert state_of(store, run) == ("finished", "")


def test_a_scorer_that_cancels_itself_is_a_none_with_its_reason(store: Store) -> None:
    own = scorer(raising(asyncio.CancelledError, is_async=True))
    run = runs.run(task(3, scorers=(own,)), {"a": Variant(target=number)}, store=store)
    assert len(list(store.scores(run.id))) == 3


@pytest.mark.parametrize(
    "make",
    [make for make in ERRORS if make is not asyncio.CancelledError],
    ids=lambda make: type(make()).__name__,
)
def test_whatever_a_users_inline_scorer_raises_is_a_none_with_its_reason(
    store: Store, make: Callable[[], BaseException]
) -> None:
    own = scorer(inline=True)(raising(make, is_async=False))
    run = runs.run(task(3, scorers=(own,)), {"a": Variant(target=number)}, store=store)
    assert [score.value for score in store.scores(run.id)] == [None] * 3


@pytest.mark.parametrize(
    "code",
    [
        "raise ValueError('no')",
        "raise SystemExit(0)",
        "return float('nan')",
        "return object()",
        "return None",
    ],
)
def test_whatever_a_users_extraction_does_the_row_is_kept(store: Store, project: Path, code: str) -> None:
    name = "own_" + re.sub(r"\W", "_", code)
    (project / f"{name}.py").write_text(f"def take(output):\n    {code}\n")
    run = runs.run(
        task(3, extraction=Extraction(kind=f"{name}:take")), {"a": Variant(target=number)}, store=store
    )
    assert each_once(store, run, 3)
    assert state_of(store, run) == ("finished", "")
    assert all(row.error_kind is None for row in store.rows(run.id))


@scorer
def odd(trace: Trace, *, value: Any = None) -> Any:
    return {"nan": float("nan"), "object": object(), "list": [1, 2], "bytes": b"x", "huge": 10**400}[value]


@pytest.mark.parametrize("value", ["nan", "object", "list", "bytes", "huge"])
def test_a_scorer_that_returns_what_is_no_score_gives_none_and_never_nan(store: Store, value: str) -> None:
    run = runs.run(task(2, scorers=(odd.using(value=value),)), {"a": Variant(target=number)}, store=store)
    found: list[Score] = list(store.scores(run.id))
    assert [score.value for score in found] == [None, None]
    assert all(score.reason for score in found)
