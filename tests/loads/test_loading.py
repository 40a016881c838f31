from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from ratchet import stores
from ratchet.errors import MissingKeyError, PlanError, PromptError
from ratchet.loads import loading, schedules, summaries, sweeping, workloads
from ratchet.loads.loading import Options, Plan
from ratchet.loads.records import Measured, Slo
from ratchet.loads.schedules import Schedule
from ratchet.loads.sweeping import Search
from ratchet.loads.workloads import Workload
from ratchet.ports import Store
from ratchet.records import Price, Variant
from ratchet.simulated.server import SimulatedServer, serve_in_thread

from .drawn import Desk, serving, trusted

PRICE = Price(input_usd_per_mtok=1.0, output_usd_per_mtok=2.0)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return stores.open_store(tmp_path / "store.db")


@pytest.fixture
def workload(tmp_path: Path) -> Workload:
    return workloads.synthetic(
        workloads.parse_lengths("8"), workloads.parse_lengths("6"), tmp_path, distinct=50
    )


@pytest.fixture
def server() -> Iterator[SimulatedServer]:
    with serve_in_thread(
        profiles=["a=ttft_s=0.03,gap_s=0.002,tokens_per_chunk=1", "b=ttft_s=0.06"]
    ) as running:
        yield running


def at(url: str, name: str, **settings: object) -> Variant:
    return Variant(model=f"openai/{name}", base_url=url, price=PRICE, **settings)  # type: ignore[arg-type]


def plan_of(
    arms: dict[str, Variant], workload: Workload, schedule: Schedule, store: Store, options: Options | None = None,
    *, stream: bool | None = None,
) -> Plan:  # fmt: skip
    return loading.plan(arms, workload, schedule, options=options, store=store, stream=stream)


def test_two_variants_are_loaded_alike_and_every_request_is_kept(
    server: SimulatedServer, workload: Workload, store: Store
) -> None:
    url = server.base_url("openai")
    made = plan_of(
        {"a": at(url, "a"), "b": at(url, "b")}, workload, schedules.constant(20, count=30), store,
        Options(slo=Slo(ttft_s=5.0)), stream=True,
    )  # fmt: skip
    assert made.calls == 60
    done = loading.load(made, store)
    assert server.stats().requests == 60
    assert [(arm.scheduled, arm.failed, arm.goodput.value) for arm in done.result.arms.values()] == [
        (30, 0, 1.0)
    ] * 2
    assert len(list(store.rows(done.run.id))) == 60
    a, b = done.result.arms["a"], done.result.arms["b"]
    assert (a.timings["ttft_s"].quantiles["p50"].value or 0) >= 0.03
    assert (b.timings["ttft_s"].quantiles["p50"].value or 0) >= 0.06
    assert a.output_tokens == sum(row.output_tokens or 0 for row in store.rows(done.run.id, arm="a")) > 0
    assert done.run.arms["a"].stream
    assert a.cost_usd == pytest.approx((a.input_tokens + 2 * a.output_tokens) / 1e6)


def test_two_processes_send_what_one_would(server: SimulatedServer, workload: Workload, store: Store) -> None:
    url = server.base_url("openai")
    arms = {"a": at(url, "a"), "b": at(url, "b")}
    made = plan_of(arms, workload, schedules.constant(20, count=20), store, Options(processes=2))
    done = loading.load(made, store)
    assert server.stats().requests == 40
    assert done.result.health.processes == 2
    assert done.measured.samples.index.tolist() == list(range(40))
    rows = list(store.rows(done.run.id, arm="b"))
    assert [row.example_id for row in rows] == [f"s{slot:06d}" for slot in range(20)]


def test_a_warm_up_is_sent_and_left_out(server: SimulatedServer, workload: Workload, store: Store) -> None:
    made = plan_of(
        {"a": at(server.base_url("openai"), "a")}, workload, schedules.constant(40, duration_s=1), store,
        Options(warm_up_s=0.5),
    )  # fmt: skip
    done = loading.load(made, store)
    assert server.stats().requests == 40
    assert (done.result.warm_up, done.result.arms["a"].scheduled) == (20, 20)
    assert len(list(store.rows(done.run.id))) == 20


def test_a_server_that_errs_on_three_calls_in_ten_gets_no_good_goodput(
    workload: Workload, store: Store
) -> None:
    with serving(Desk(servers=50, work_s=0.01, failing=3)) as desk:
        made = plan_of({"a": at(desk.url, "a")}, workload, schedules.constant(50, count=100), store)
        arm = loading.load(made, store).result.arms["a"]
    assert arm.goodput.value == pytest.approx(0.7, abs=0.01)
    assert arm.goodput.high < 0.8
    assert arm.errors == {"server": 30}


@pytest.mark.slow
def test_a_stall_shows_in_the_tail_of_an_open_loop_and_hides_from_a_closed_one(
    workload: Workload, store: Store
) -> None:
    """As a server that answers in 100 ms and freezes for 2 s in a test of 60 s, a sixth as long."""

    def p99(schedule: Schedule) -> float:
        with serving(Desk(servers=1000, work_s=0.02, frozen=(4.0, 4.4))) as desk:
            made = plan_of({"a": at(desk.url, "a")}, workload, schedule, store)
            found = loading.load(made, store, keep=False).result.arms["a"].timings["e2e_s"]
        assert found.quantiles["p50"].value == pytest.approx(0.022, abs=0.02)
        return found.quantiles["p99"].value or 0.0

    assert p99(schedules.constant(40, duration_s=10)) > 0.2
    assert p99(schedules.users(1, duration_s=10)) < 0.2


@pytest.mark.slow
def test_a_sweep_finds_the_capacity_of_a_server_over_http(workload: Workload, store: Store) -> None:
    servers, work_s = 8, 0.2
    capacity = servers / work_s
    with serving(Desk(servers=servers, work_s=work_s)) as desk:
        made = plan_of(
            {"a": at(desk.url, "a")},
            workload,
            schedules.constant(10, duration_s=3),
            store,
            Options(slo=Slo(e2e_s=2.0)),
        )

        def measure(rate: float, seconds: float) -> Measured:
            return trusted(loading._measure(loading.at_rate(made, "a", rate, seconds), None))

        found = sweeping.sweep(
            "a",
            measure,
            lambda done: summaries.summarise(done, load="x", slo=made.options.slo),
            search=Search(start=10.0),
            step_s=3.0,
        )
    assert len(found.steps) <= 8
    assert found.highest_rate is not None
    assert abs(found.highest_rate / capacity - 1) <= 0.05
    assert found.capacity is not None
    assert abs(found.capacity / capacity - 1) <= 0.05


def test_a_closed_loop_keeps_as_many_requests_in_flight_as_it_has_users(
    workload: Workload, store: Store
) -> None:
    with serving(Desk(servers=3, work_s=0.05)) as desk:
        made = plan_of({"a": at(desk.url, "a")}, workload, schedules.users(3, count=30), store)
        done = loading.load(made, store)
    assert done.measured.mode == "closed"
    assert done.result.arms["a"].succeeded == 30
    assert max(done.measured.vitals.peak_sockets) == 3


def test_the_plan_counts_calls_tokens_and_dollars_before_the_first_call(
    server: SimulatedServer, workload: Workload, store: Store
) -> None:
    made = plan_of(
        {"a": at(server.base_url("openai"), "a")}, workload, schedules.constant(10, duration_s=5), store
    )
    (arm,) = made.estimates
    assert (made.calls, arm.calls, arm.output_tokens) == (50, 50, 6)
    assert made.cost_usd == pytest.approx(50 * (round(arm.input_tokens) + 2 * 6) / 1e6)
    assert arm.most_usd is not None
    assert arm.most_usd > (made.cost_usd or 0)
    assert server.stats().requests == 0


def test_a_budget_that_could_be_passed_is_refused_before_the_first_call(
    server: SimulatedServer, workload: Workload, store: Store
) -> None:
    arms = {"a": at(server.base_url("openai"), "a")}
    load = schedules.constant(100, count=1000)
    with pytest.raises(PlanError, match=r"1,000 calls may cost up to \$.*above the budget of \$0\.001"):
        plan_of(arms, workload, load, store, Options(budget_usd=0.001))
    assert plan_of(arms, workload, load, store, Options(budget_usd=5.0)).calls == 1000
    with pytest.raises(PlanError, match="can't be kept by a closed loop that ends by time"):
        plan_of(arms, workload, schedules.users(2, duration_s=5), store, Options(budget_usd=5.0))
    unpriced = {"a": arms["a"].replace(price=None, model="vllm/mystery")}
    with pytest.raises(PlanError, match="the price of a is unknown"):
        plan_of(unpriced, workload, load, store, Options(budget_usd=5.0))


def test_a_warm_up_that_leaves_nothing_is_refused(workload: Workload, store: Store) -> None:
    with pytest.raises(PlanError, match="a warm-up of 5 s leaves nothing of 5 s"):
        plan_of(
            {"a": at("http://127.0.0.1:1/v1", "a")}, workload, schedules.constant(1, duration_s=5), store,
            Options(warm_up_s=5),
        )  # fmt: skip


def test_what_cannot_be_called_is_said_before_anything_is_sent(
    workload: Workload, store: Store, tmp_path: Path
) -> None:
    load = schedules.constant(1, duration_s=5)
    with pytest.raises(MissingKeyError):
        plan_of({"a": Variant(model="openai/gpt-4o")}, workload, load, store)
    from ratchet import datasets
    from ratchet.records import Example

    other = workloads.of_dataset(datasets.save([Example(id="q", input={"text": "x"})], tmp_path / "d.jsonl"))
    with pytest.raises(PromptError, match="question"):
        plan_of({"a": at("http://127.0.0.1:1/v1", "a", prompt="Answer: {question}")}, other, load, store)
    with pytest.raises(PlanError, match="at least one arm"):
        plan_of({}, workload, load, store)


_HUNDRED_THOUSAND = """
import sys
from pathlib import Path
import numpy as np
sys.path.insert(0, {tests!r})
from loads.drawn import measured, samples
from peaks import peak_mb
from ratchet import stores, variants
from ratchet.loads import schedules, storing, summaries, workloads
from ratchet.loads.records import Slo
from ratchet.records import Variant

folder, n = Path({folder!r}), 100_000
workload = workloads.synthetic(workloads.parse_lengths("8"), workloads.parse_lengths("50"), folder)
schedule = schedules.constant(1000, count=n)
rng = np.random.default_rng(1)
found = measured(samples(np.arange(n) / 1000, rng.lognormal(-1, 0.3, n), tokens=50))
result = summaries.summarise(found, load="x", slo=Slo(e2e_s=1))
arms = {{"a": variants.resolve(Variant(model="openai/a"))}}
with stores.open_store(folder / "big.db") as store:
    run = storing.run_of(schedule, workload, arms, result)
    storing.save(store, run, found, result, schedule=schedule, workload=workload)
assert result.arms["a"].timings["gap_s"].n == 49 * n
print(peak_mb())
"""


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_hundred_thousand_requests_stay_under_300_mb(tmp_path: Path) -> None:
    program = _HUNDRED_THOUSAND.format(tests=str(Path(__file__).parents[1]), folder=str(tmp_path))
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 300


def test_the_samples_of_a_load_keep_the_schedule(
    server: SimulatedServer, workload: Workload, store: Store
) -> None:
    load = schedules.poisson(30, count=20, seed=4)
    made = plan_of({"a": at(server.base_url("openai"), "a")}, workload, load, store)
    done = loading.load(made, store, keep=False)
    assert np.allclose(done.measured.samples.scheduled_s, list(schedules.offsets(load)), atol=1e-6)
    assert store.runs() == []


def test_the_step_at_the_highest_held_rate_is_kept_as_a_run(workload: Workload, store: Store) -> None:
    with serving(Desk(servers=4, work_s=0.01)) as desk:
        made = plan_of({"a": at(desk.url, "a")}, workload, schedules.constant(20, duration_s=1), store)
        (found,) = loading.sweep(made, loading.Sweeping(start=100.0, step_s=1.0, most_steps=2), store=store)
    kept = [store.run(row.id) for row in store.runs()]
    held = [
        step for step in found.steps if step.reading.held
    ]  # none, where this machine was too busy to tell
    assert [run.id for run in kept if run] == ([found.run_id] if held else [])
    assert all(run and run.environment["load_valid"] == "yes" for run in kept)
    assert found.best is None or len(list(store.rows(found.run_id))) == found.best.arm.scheduled
