from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from ratchet import datasets, runs
from ratchet.budgets import Budget
from ratchet.errors import MissingKeyError, PlanError, PromptError, StoreBusyError
from ratchet.ports import Store
from ratchet.records import Judgement, Limits, Price, Run, Score, Task, Trace, Variant
from ratchet.runs import Options
from ratchet.scorers.text import exact_match
from ratchet.scores import resolve, scorer
from ratchet.simulated.server import SimulatedServer, serve_in_thread
from ratchet.stores import open_store

PRICE = Price(input_usd_per_mtok=10.0, output_usd_per_mtok=100.0)


@pytest.fixture
def store(project: Path) -> Iterator[Store]:
    opened = open_store(project / "runs.db")
    yield opened
    opened.close()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimulatedServer]:
    with serve_in_thread(seed=1) as running:
        monkeypatch.setenv("OPENAI_BASE_URL", running.base_url("openai"))
        yield running


def questions(count: int, folder: Path | None = None) -> Path:
    path = (folder or Path.cwd()) / f"questions-{count}.jsonl"
    rows = ({"id": f"q{i}", "input": {"question": f"What is {i}?"}, "expected": f"{i}"} for i in range(count))
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def task(count: int = 10, **changes: object) -> Task:
    made = Task(dataset=datasets.load(questions(count)), scorers=(exact_match,), name="questions")
    return made.replace(**changes) if changes else made


def model(name: str = "instant", **changes: object) -> Variant:
    return Variant(model=f"openai/{name}", prompt="Answer: {question}", params={"max_tokens": 50}).replace(
        **changes
    )


def last_word(row: dict[str, str]) -> str:
    return row["question"].rstrip("?").split()[-1]


def state_of(store: Store, run: Run) -> tuple[str, str]:
    row = next(row for row in store.runs() if row.id == run.id)
    return row.state, row.reason


def test_every_example_repeat_and_arm_gives_one_scored_trace(store: Store, server: SimulatedServer) -> None:
    run = runs.run(task(7, repeats=3), {"a": model(), "b": Variant(target=last_word)}, store=store)
    keys = Counter((row.arm, row.example_id, row.repeat) for row in store.rows(run.id))
    assert keys == {(arm, f"q{i}", repeat): 1 for arm in "ab" for i in range(7) for repeat in range(3)}
    scored = {(score.trace_id, score.name) for score in store.scores(run.id)}
    assert scored == {(row.id, "exact_match") for row in store.rows(run.id)}
    assert all(score.value is True for score in store.scores(run.id) if _arm(store, score) == "b")
    assert server.stats().requests == 21
    assert state_of(store, run) == ("finished", "")


def _arm(store: Store, score: Score) -> str | None:
    trace = store.trace(score.trace_id)
    return trace.arm if trace else None


def test_arms_start_interleaved_in_an_order_drawn_from_the_seed(
    store: Store, server: SimulatedServer
) -> None:
    def order(seed: int) -> list[tuple[str | None, str | None]]:
        options = Options(concurrency=1, seed=seed, use_cache=False)
        run = runs.run(task(12), {"a": model(), "b": model("other")}, options=options, store=store)
        return [(row.example_id, row.arm) for row in store.rows(run.id)]

    first = order(3)
    assert [example for example, _ in first[::2]] == [example for example, _ in first[1::2]], (
        "arms of one example stand together"
    )
    assert {tuple(arm for _, arm in first[i : i + 2]) for i in range(0, 24, 2)} == {("a", "b"), ("b", "a")}
    assert order(3) == first
    assert order(4) != first


def test_never_more_calls_are_in_flight_than_asked(store: Store, server: SimulatedServer) -> None:
    runs.run(task(40), {"a": model("slow")}, options=Options(concurrency=5), store=store)
    assert 1 <= server.stats().peak_in_flight <= 5


def test_many_calls_in_flight_begin_over_a_second_and_not_in_one_burst(store: Store) -> None:
    began: list[float] = []

    async def slow(row: dict[str, str]) -> str:
        began.append(time.perf_counter())
        await asyncio.sleep(0.1)
        return row["question"]

    runs.run(task(400), {"a": Variant(target=slow)}, options=Options(concurrency=400), store=store)
    assert len(began) == 400
    at_once = sum(1 for at in began if at - began[0] < 0.02)
    assert 1 <= at_once < 200, "all were sent at once"


def test_failed_answers_are_data_and_do_not_end_the_run(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve_in_thread(faults=["400:every=3"]) as faulty:
        monkeypatch.setenv("OPENAI_BASE_URL", faulty.base_url("openai"))
        run = runs.run(task(30), {"a": model()}, store=store)
    kinds = Counter(row.error_kind for row in store.rows(run.id))
    assert kinds == {None: 20, "bad_request": 10}
    failed = next(store.traces(run.id, which="failed"))
    assert failed.error is not None
    assert failed.error.status == 400
    reasons = {score.reason for score in store.scores(run.id) if score.value is None}
    assert reasons == {"no answer: bad_request"}
    assert state_of(store, run)[0] == "finished"


def test_a_refused_call_is_tried_again_after_the_time_the_server_names(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve_in_thread(faults=["429:first=3,retry=ms,after=0.05"]) as faulty:
        monkeypatch.setenv("OPENAI_BASE_URL", faulty.base_url("openai"))
        run = runs.run(task(6), {"a": model()}, store=store)
    traces = list(store.traces(run.id))
    assert all(trace.error is None for trace in traces)
    retried = [trace for trace in traces if trace.attempts > 1]
    assert sum(trace.attempts - 1 for trace in retried) == 3
    for trace in retried:
        first, *_, last = trace.spans
        assert first.error is not None
        assert first.error.kind == "rate_limit"
        assert last.error is None
        assert trace.queue_s is not None
        assert trace.queue_s >= 0.05
        assert trace.latency_s is not None
        assert trace.latency_s < 0.05 + trace.queue_s, "waiting for the retry is queueing, not latency"


def test_retries_end_and_the_last_failure_is_kept(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    with serve_in_thread(faults=["500"]) as faulty:
        monkeypatch.setenv("OPENAI_BASE_URL", faulty.base_url("openai"))
        run = runs.run(task(1), {"a": model(limits=Limits(retries=1))}, store=store)
        assert faulty.stats().requests == 2
    (trace,) = store.traces(run.id)
    assert trace.error is not None
    assert (trace.error.kind, trace.error.status, trace.attempts) == ("server", 500, 2)


@pytest.mark.parametrize(("limits", "stream", "words"), [
    (Limits(total_s=0.1, retries=0), False, "no end within 0.1 s"),
    (Limits(first_token_s=0.1, retries=0), True, "no first token within 0.1 s"),
])  # fmt: skip
def test_a_hanging_server_runs_into_the_timeout(
    store: Store, monkeypatch: pytest.MonkeyPatch, limits: Limits, stream: bool, words: str
) -> None:
    with serve_in_thread(faults=["hang"]) as faulty:
        monkeypatch.setenv("OPENAI_BASE_URL", faulty.base_url("openai"))
        run = runs.run(task(1), {"a": model(limits=limits, stream=stream)}, store=store)
    (trace,) = store.traces(run.id)
    assert trace.error is not None
    assert (trace.error.kind, trace.error.message) == ("timeout", words)


def test_an_answer_cut_in_the_middle_of_its_stream_is_a_failure_and_its_cost_is_guessed(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve_in_thread(faults=["cut"]) as faulty:
        monkeypatch.setenv("OPENAI_BASE_URL", faulty.base_url("openai"))
        arm = model(stream=True, price=PRICE, limits=Limits(retries=0))
        run = runs.run(task(1), {"a": arm}, store=store)
    (trace,) = store.traces(run.id)
    assert trace.error is not None
    assert trace.error.kind in ("protocol", "connection")
    assert trace.cost_usd is not None
    assert trace.cost_usd > 0
    assert trace.spans[0].attributes["ratchet.usage_estimated"] is True


def test_streamed_answers_have_a_time_to_first_token_and_others_none(
    store: Store, server: SimulatedServer
) -> None:
    run = runs.run(task(3), {"a": model(stream=True), "b": model("other")}, store=store)
    for trace in store.traces(run.id):
        assert trace.latency_s is not None
        if trace.arm == "a":
            assert trace.ttft_s is not None
            assert 0 < trace.ttft_s <= trace.latency_s
        else:
            assert trace.ttft_s is None


def test_cost_is_the_price_of_the_tokens_and_unknown_prices_stay_unknown(
    store: Store, server: SimulatedServer
) -> None:
    run = runs.run(task(3), {"a": model(price=PRICE), "b": model("other")}, store=store)
    for trace in store.traces(run.id):
        if trace.arm == "b":
            assert trace.cost_usd is None
            continue
        assert trace.cost_usd is not None
        expected = (trace.input_tokens or 0) * 10e-6 + (trace.output_tokens or 0) * 100e-6
        assert trace.cost_usd == pytest.approx(expected)


def test_a_second_run_takes_its_answers_from_the_cache_untimed(store: Store, server: SimulatedServer) -> None:
    arms = {"a": model(price=PRICE)}
    first = runs.run(task(5, repeats=2), arms, store=store)
    second = runs.run(task(5, repeats=2), arms, store=store)
    assert server.stats().requests == 10
    rows = list(store.rows(second.id))
    assert all(row.cached and row.latency_s is None and row.ttft_s is None for row in rows)
    outputs = {(t.example_id, t.repeat): t.output for t in store.traces(first.id)}
    assert {(t.example_id, t.repeat): t.output for t in store.traces(second.id)} == outputs
    runs.run(task(5, repeats=2), arms, options=Options(use_cache=False), store=store)
    assert server.stats().requests == 20


def test_equal_arms_never_share_an_answer(store: Store, server: SimulatedServer) -> None:
    runs.run(task(4), {"a": model(), "aa": model()}, store=store)
    assert server.stats().requests == 8
    again = runs.run(task(4), {"a": model(), "aa": model()}, store=store)
    assert server.stats().requests == 8
    keys = Counter(trace.request_key for trace in store.traces(again.id))
    assert set(keys.values()) == {1}


def test_a_budget_stops_all_arms_at_the_same_example_and_is_not_passed(
    store: Store, server: SimulatedServer
) -> None:
    arms = {"a": model(price=PRICE), "b": model("other", price=PRICE)}
    run = runs.run(task(200), arms, options=Options(budget=Budget(usd=0.1), concurrency=8), store=store)
    rows = list(store.rows(run.id))
    spent = sum(row.cost_usd or 0 for row in rows)
    assert 0.05 < spent <= 0.1
    by_arm = {arm: {row.example_id for row in rows if row.arm == arm} for arm in arms}
    assert by_arm["a"] == by_arm["b"]
    assert state_of(store, run) == ("stopped", "the budget is used up")
    options = Options(budget=Budget(usd=0.2), resume=run.id)
    runs.run(task(200), arms, options=options, store=store)
    rows = list(store.rows(run.id))
    assert 0.1 < sum(row.cost_usd or 0 for row in rows) <= 0.2, "what earlier parts spent counts"


def test_a_token_budget_needs_no_price(store: Store, server: SimulatedServer) -> None:
    run = runs.run(task(200), {"a": model()}, options=Options(budget=Budget(tokens=2000)), store=store)
    used = sum((row.input_tokens or 0) + (row.output_tokens or 0) for row in store.rows(run.id))
    assert 1000 < used <= 2000


def test_a_budget_of_minutes_starts_nothing_after_it(store: Store, server: SimulatedServer) -> None:
    run = runs.run(task(50), {"a": model()}, options=Options(budget=Budget(minutes=0)), store=store)
    assert server.stats().requests == 0
    assert state_of(store, run) == ("stopped", "the budget of minutes is used up")


def test_a_budget_in_dollars_is_refused_where_a_price_is_unknown(
    store: Store, server: SimulatedServer
) -> None:
    with pytest.raises(PlanError, match="the price of b is unknown"):
        runs.run(
            task(),
            {"a": model(price=PRICE), "b": model()},
            options=Options(budget=Budget(usd=1)),
            store=store,
        )
    assert server.stats().requests == 0


def test_resume_does_only_what_is_missing(store: Store, server: SimulatedServer) -> None:
    arms = {"a": model(price=PRICE)}
    run = runs.run(task(100), arms, options=Options(budget=Budget(usd=0.02)), store=store)
    before = {row.example_id for row in store.rows(run.id)}
    assert 0 < len(before) < 100
    resumed = runs.run(task(100), arms, options=Options(resume="last"), store=store)
    assert resumed.id == run.id
    assert Counter(row.example_id for row in store.rows(run.id)) == {f"q{i}": 1 for i in range(100)}
    assert server.stats().requests == 100
    assert state_of(store, run)[0] == "finished"


def test_resume_can_try_failed_answers_again(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    with serve_in_thread(faults=["400:first=4"]) as faulty:
        monkeypatch.setenv("OPENAI_BASE_URL", faulty.base_url("openai"))
        run = runs.run(task(10), {"a": model()}, store=store)
        assert Counter(row.error_kind for row in store.rows(run.id))["bad_request"] == 4
        runs.run(task(10), {"a": model()}, options=Options(resume=run.id), store=store)
        assert faulty.stats().requests == 10
        runs.run(task(10), {"a": model()}, options=Options(resume=run.id, retry_failed=True), store=store)
        assert faulty.stats().requests == 14
    rows = list(store.rows(run.id))
    assert len(rows) == 10
    assert all(row.error_kind is None for row in rows)


def test_resume_refuses_another_task_and_other_variants(store: Store, server: SimulatedServer) -> None:
    run = runs.run(task(10), {"a": model()}, store=store)
    with pytest.raises(PlanError, match=r"another task: --dataset \(the run has 10 examples"):
        runs.run(task(11), {"a": model()}, options=Options(resume=run.id), store=store)
    with pytest.raises(PlanError, match=r"other variants: a \(params\)"):
        runs.run(
            task(10), {"a": model(params={"temperature": 1})}, options=Options(resume=run.id), store=store
        )
    with pytest.raises(PlanError, match="no run 'nope'"):
        runs.run(task(10), {"a": model()}, options=Options(resume="nope"), store=store)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (Options(limit=3), "--limit is 3, and the run was made with 6"),
        (Options(sample=4), "--sample is 4, and the run was made without it"),
        (Options(seed=8), "--seed is 8, and the run was made with 7"),
        (Options(name="b"), "--name is 'b', and the run was made with 'a'"),
    ],
)
def test_resume_refuses_options_that_would_change_the_plan_and_names_what_the_run_has(
    store: Store, server: SimulatedServer, options: Options, said: str
) -> None:
    run = runs.run(task(10), {"a": model()}, options=Options(limit=6, seed=7, name="a"), store=store)
    with pytest.raises(PlanError) as refused:
        runs.run(task(10), {"a": model()}, options=runs.replace_options(options, resume=run.id), store=store)
    assert said in str(refused.value)
    assert "start a new run" in str(refused.value)


def test_resume_takes_options_that_the_run_has_already(store: Store, server: SimulatedServer) -> None:
    made = Options(limit=6, seed=7, name="a")
    run = runs.run(task(10), {"a": model()}, options=made, store=store)
    again = runs.run(task(10), {"a": model()}, options=runs.replace_options(made, resume=run.id), store=store)
    assert (again.limit, again.seed, again.id) == (6, 7, run.id)
    kept = runs.run(task(10), {"a": model()}, options=Options(resume=run.id), store=store)
    assert (kept.limit, kept.seed) == (6, 7)


def test_resume_names_each_part_of_the_plan_that_differs(store: Store, server: SimulatedServer) -> None:
    run = runs.run(task(10), {"a": model(), "b": model(stream=True)}, store=store)
    with pytest.raises(PlanError) as refused:
        runs.run(
            task(10).replace(repeats=3, scorers=()), {"a": model(), "b": model()},
            options=Options(resume=run.id), store=store,
        )  # fmt: skip
    assert "--repeat (the run has 1, now 3)" in str(refused.value)
    assert "--scorer (the run has exact_match, now none)" in str(refused.value)
    assert "b (stream, True in the run)" in str(refused.value)


def test_what_an_address_holds_is_not_told_when_it_differs(store: Store, server: SimulatedServer) -> None:
    address = server.base_url("openai").replace("http://", "http://ann:sesame@")
    run = runs.run(task(3), {"a": model(base_url=address)}, store=store)
    with pytest.raises(PlanError, match=r"a \(base_url\)") as refused:
        runs.run(task(3), {"a": model()}, options=Options(resume=run.id), store=store)
    assert "sesame" not in str(refused.value)


def test_a_run_that_another_works_on_is_not_resumed_and_nothing_is_paid_twice(
    store: Store, server: SimulatedServer
) -> None:
    run = runs.run(task(10), {"a": model()}, options=Options(budget=Budget(tokens=200)), store=store)
    paid, state = server.stats().requests, store.runs()[0]
    with (
        store.hold_run(run.id),
        pytest.raises(StoreBusyError, match=f"run {run.id} is being worked on by this process"),
    ):
        runs.run(task(10), {"a": model()}, options=Options(resume=run.id), store=store)
    assert server.stats().requests == paid
    assert store.runs()[0] == state
    runs.run(task(10), {"a": model()}, options=Options(resume=run.id), store=store)
    assert server.stats().requests == 10


def test_a_run_is_held_while_it_lasts(store: Store) -> None:
    held: list[bool] = []

    def reply(row: object) -> str:
        try:
            with store.hold_run(store.runs()[0].id):
                held.append(False)
        except StoreBusyError:
            held.append(True)
        return "x"

    runs.run(task(3), {"a": Variant(target=reply)}, store=store)
    assert held == [True] * 3
    with store.hold_run(store.runs()[0].id):
        pass


def test_a_plan_that_another_process_overtook_is_refused(
    store: Store, server: SimulatedServer, project: Path
) -> None:
    run = runs.run(task(10), {"a": model()}, options=Options(budget=Budget(tokens=200)), store=store)
    options = Options(resume=run.id)
    place = runs.place(store, project)
    planned = runs.plan(task(10), {"a": model()}, options=options, place=place)
    runs.run(task(10), {"a": model()}, options=options, store=store)
    with pytest.raises(PlanError, match="Give the same command again"):
        asyncio.run(runs.execute(planned, options=options, place=place))
    assert server.stats().requests == 10
    assert store.runs()[0].state == "finished"


def test_an_example_that_the_prompt_does_not_fit_is_a_failed_answer(
    store: Store, server: SimulatedServer, project: Path
) -> None:
    path = project / "mixed.jsonl"
    path.write_text('{"id": 1, "input": {"question": "a"}}\n{"id": 2, "input": {"other": "b"}}\n')
    run = runs.run(Task(dataset=datasets.load(path)), {"a": model()}, store=store)
    assert {row.example_id: row.error_kind for row in store.rows(run.id)} == {"1": None, "2": "prompt"}
    (failed,) = store.traces(run.id, which="failed")
    assert failed.error is not None
    assert "question" in failed.error.message


def test_a_prompt_that_does_not_fit_the_first_example_is_told_before_any_call(
    store: Store, server: SimulatedServer
) -> None:
    with pytest.raises(PromptError, match="subject"):
        runs.run(task(), {"a": model(prompt="About {subject}")}, store=store)
    assert server.stats().requests == 0


def test_all_missing_keys_are_told_before_any_call(store: Store) -> None:
    arms = {
        "a": Variant(model="openai/gpt-4o", prompt="{question}"),
        "b": Variant(model="anthropic/claude", prompt="{question}"),
    }
    with pytest.raises(MissingKeyError) as caught:
        runs.run(task(), arms, store=store)
    assert "OPENAI_API_KEY" in str(caught.value)
    assert "ANTHROPIC_API_KEY" in str(caught.value)
    assert store.runs() == []


def test_a_run_whose_every_login_is_refused_stops_early(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve_in_thread(faults=["401"]) as faulty:
        monkeypatch.setenv("OPENAI_BASE_URL", faulty.base_url("openai"))
        run = runs.run(task(200), {"a": model()}, options=Options(concurrency=4), store=store)
        assert faulty.stats().requests < 30
    state, reason = state_of(store, run)
    assert state == "stopped"
    assert "10 calls of arm 'a' were refused" in reason


def test_a_held_back_arm_does_not_slow_the_other(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    with serve_in_thread() as quick:
        monkeypatch.setenv("OPENAI_BASE_URL", quick.base_url("openai"))
        slow = model("limited", limits=Limits(rpm=6000))
        run = runs.run(task(60), {"slow": slow, "fast": model()}, options=Options(concurrency=4), store=store)
    arms = [row.arm for row in store.rows(run.id)]
    assert arms.count("slow") == arms.count("fast") == 60
    last_fast = max(i for i, arm in enumerate(arms) if arm == "fast")
    assert arms[: last_fast + 1].count("slow") < 60


class Shout:
    """A scorer's own failure, and an async scorer that calls a model."""


@scorer
def broken(trace: Trace) -> bool:
    raise ValueError(f"cannot judge {trace.output!r}")


@scorer
async def asks(trace: Trace, *, ask: object = None) -> Judgement:
    judge = Variant(
        model="openai/judge", prompt="Is it good? {answer}", params={"max_tokens": 20}, price=PRICE
    )
    found = await ask(judge, {"answer": trace.answer}, judged=trace)  # type: ignore[operator]
    return Judgement(value=found.error is None, cost_trace_ids=(found.id,))


def test_a_failing_scorer_is_a_none_with_its_reason_and_never_a_lost_row(store: Store) -> None:
    run = runs.run(task(4, scorers=(broken, exact_match)), {"a": Variant(target=last_word)}, store=store)
    by_name = Counter((score.name, score.value) for score in store.scores(run.id))
    assert by_name == {("broken", None): 4, ("exact_match", True): 4}
    reason = next(score.reason for score in store.scores(run.id) if score.name == "broken")
    assert reason is not None
    assert reason.startswith("ValueError: cannot judge '0'")


def test_a_scorer_can_call_a_model_and_its_cost_is_kept_apart(store: Store, server: SimulatedServer) -> None:
    run = runs.run(
        task(5, scorers=(asks,)),
        {"a": Variant(target=last_word)},
        options=Options(concurrency=2),
        store=store,
    )
    judged = list(store.scores(run.id))
    assert len(judged) == 5
    assert all(score.value is True for score in judged)
    judges = [row for row in store.rows(run.id) if row.arm is None]
    assert {row.id for row in judges} == {i for score in judged for i in score.cost_trace_ids}
    assert all((row.cost_usd or 0) > 0 for row in judges)
    assert server.stats().peak_in_flight <= 2


def test_score_judges_again_without_calling_the_model(store: Store, server: SimulatedServer) -> None:
    run = runs.run(task(6, scorers=()), {"a": model()}, store=store)
    assert list(store.scores(run.id)) == []
    runs.score(run.id, [exact_match], store=store)
    assert server.stats().requests == 6
    assert {score.name for score in store.scores(run.id)} == {"exact_match"}
    runs.score(run.id, [exact_match], store=store)
    assert len(list(store.scores(run.id))) == 6
    assert len(list(store.scores(run.id, history=True))) == 12


def test_a_run_from_inside_an_event_loop_works_as_in_a_notebook(store: Store) -> None:
    import asyncio

    async def cell() -> Run:
        return runs.run(task(3), {"a": Variant(target=last_word)}, store=store)

    run = asyncio.run(cell())
    assert len(list(store.rows(run.id))) == 3


def test_the_plan_counts_calls_tokens_and_dollars_without_a_call(
    store: Store, server: SimulatedServer, project: Path
) -> None:
    arms = {"a": model(price=PRICE), "b": Variant(target=last_word)}
    planned = runs.plan(task(10, repeats=2), arms, options=Options(limit=4), place=runs.place(store, project))
    by_name = {arm.name: arm for arm in planned.arms}
    assert (planned.examples, planned.calls) == (4, 16)
    assert by_name["a"].calls == 8
    assert by_name["a"].input_tokens > 0
    assert by_name["a"].cost_usd == pytest.approx(
        (by_name["a"].input_tokens * 10 + by_name["a"].output_tokens * 100) / 1e6
    )
    assert by_name["b"].cost_usd is None
    assert server.stats().requests == 0
    assert store.runs() == []


def test_a_budget_in_dollars_covers_judges_and_leaves_functions_out(
    store: Store, server: SimulatedServer
) -> None:
    unpriced = resolve({"judge": {"model": "openai/judge", "prompt": "correctness"}})
    arms = {"a": Variant(target=last_word)}
    with pytest.raises(PlanError, match="the price of scorer judge is unknown"):
        runs.run(task(3, scorers=(unpriced,)), arms, options=Options(budget=Budget(usd=1)), store=store)
    run = runs.run(task(3), arms, options=Options(budget=Budget(usd=1)), store=store)
    assert state_of(store, run)[0] == "finished"
