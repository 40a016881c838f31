"""The verb: `plan` says what a load test will take, `load` makes it and keeps it as a run, `sweep` looks for the limit."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

from ratchet import budgets, codec, planning, prices, variants
from ratchet.errors import PlanError
from ratchet.loads import processes, schedules, shots, storing, summaries, sweeping, targets, workloads
from ratchet.loads.driving import Drive
from ratchet.loads.records import Measured, Slo, Tick
from ratchet.loads.schedules import Schedule
from ratchet.loads.summaries import Result
from ratchet.loads.sweeping import Search, Step, Sweep
from ratchet.loads.workloads import Workload
from ratchet.ports import Store, Usage
from ratchet.records import Check, Price, Run, Variant

_SAMPLED = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How a load test is made; nothing here is what is asked."""

    slo: Slo = field(default_factory=Slo)
    warm_up_s: float = 0.0
    grace_s: float = 30.0
    """How long answers may take after the last request has left."""
    processes: int = 1
    apart: bool = False
    """Generate in a process of its own, so that what draws costs it nothing."""
    budget_usd: float | None = None
    baseline: str | None = None
    checks: tuple[Check, ...] = ()
    """The task's; those about latency, goodput, cost and errors go with the run."""
    name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmPlan:
    """What one arm will take: tokens and dollars are guesses before the first call."""

    name: str
    model: str
    calls: int | None
    """None where only time ends the test."""
    input_tokens: float
    """A call."""
    output_tokens: float
    """A call."""
    cost_usd: float | None
    """In all; None: the price or the number of calls is unknown."""
    most_usd: float | None
    """In all, a token counted for each byte asked and every answer as long as it may be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A load test before it starts."""

    schedule: Schedule
    workload: Workload
    arms: Mapping[str, Variant]
    prices: Mapping[str, Price | None]
    options: Options
    estimates: tuple[ArmPlan, ...]
    root: Path | None = None

    @property
    def load(self) -> str:
        return schedules.describe(self.schedule)

    @property
    def calls(self) -> int | None:
        return storing.expected_calls(self.schedule, len(self.arms))

    @property
    def cost_usd(self) -> float | None:
        costs = [arm.cost_usd for arm in self.estimates]
        return None if None in costs else sum(cost or 0.0 for cost in costs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A load test done: the run that the store keeps, what was measured, and its numbers."""

    run: Run
    measured: Measured
    result: Result


def plan(
    arms: Mapping[str, Variant],
    workload: Workload,
    schedule: Schedule,
    *,
    options: Options | None = None,
    store: Store,
    root: Path | None = None,
    stream: bool | None = None,
) -> Plan:
    """What `load` would do, without a call: variants resolved, keys found, requests written, calls and dollars.

    Args:
        stream: Set for every model; None leaves the variants as they are.

    Raises:
        ConfigError, PromptError, MissingKeyError: A variant can't be called, or doesn't fit the workload.
        PlanError: The budget can't be kept.
    """
    if not arms:
        raise PlanError("a load test needs at least one arm: arms={'a': Variant(model='openai/gpt-4o', …)}")
    options = options or Options()
    if options.baseline is not None and options.baseline not in arms:
        raise PlanError(f"the baseline is {options.baseline!r}, but the arms are {', '.join(arms)}")
    ready: dict[str, Variant] = {}
    for name, given in arms.items():
        variant = variants.resolve(workloads.stand_in(workload, given), root=root)
        ready[name] = variant if stream is None or variant.model is None else variant.replace(stream=stream)
    targets.aim_all(ready, environ=os.environ, root=root)
    if options.warm_up_s and (whole := schedules.length_s(schedule)) and options.warm_up_s >= whole:
        raise PlanError(f"a warm-up of {options.warm_up_s:g} s leaves nothing of {whole:g} s to measure")
    listed = {name: planning.price_of(variant, store) for name, variant in ready.items()}
    estimates = tuple(
        _estimate(name, variant, workload, schedule, listed[name], exact=options.budget_usd is not None)
        for name, variant in ready.items()
    )
    made = Plan(
        schedule=schedule, workload=workload, arms=ready, prices=listed, options=options,
        estimates=estimates, root=root,
    )  # fmt: skip
    _check_budget(made)
    return made


def _estimate(
    name: str,
    variant: Variant,
    workload: Workload,
    schedule: Schedule,
    price: Price | None,
    *,
    exact: bool = False,
) -> ArmPlan:
    size = workloads.likely_size(workload, variant)
    calls = storing.expected_calls(schedule, 1)
    each = prices.cost_usd(
        price, Usage(input_tokens=round(size.input_tokens), output_tokens=round(size.output_tokens))
    )
    return ArmPlan(
        name=name,
        model=variant.model or str(variant.target),
        calls=calls,
        input_tokens=size.input_tokens,
        output_tokens=size.output_tokens,
        cost_usd=None if each is None or calls is None else each * calls,
        most_usd=None
        if price is None or calls is None
        else _most_usd(workload, variant, price, calls, sample=None if exact else _SAMPLED),
    )


def _most_usd(workload: Workload, variant: Variant, price: Price, calls: int, *, sample: int | None) -> float:
    """The most that these calls may cost: each request by its own size, or all as the dearest of the first `sample`."""
    writer = workloads.Writer(workload, variant, model=variant.model or "")
    count = workload.dataset.count
    looked_at = min(calls, count) if sample is None else min(calls, count, sample)
    if not looked_at:
        return 0.0
    each = [budgets.most(writer.write(ask), price).usd for ask in islice(workloads.asks(workload), looked_at)]
    # examples that come round again cost at most as much as the dearest
    return sum(each) + (calls - looked_at) * max(each)


def _check_budget(made: Plan) -> None:
    """Refuse a test that may cost more than its budget: one that is stopped half way measured half a load."""
    budget = made.options.budget_usd
    if budget is None:
        return
    unknown = [
        arm.name for arm in made.estimates if made.prices[arm.name] is None and made.arms[arm.name].model
    ]
    if unknown:
        raise PlanError(
            f"a budget of ${budget:g} can't be kept: the price of {', '.join(unknown)} is unknown.\n"
            "  Give it in the variant (price: {input_usd_per_mtok: …, output_usd_per_mtok: …})."
        )
    if made.calls is None:
        raise PlanError(
            f"a budget of ${budget:g} can't be kept by a closed loop that ends by time: give a --count"
        )
    most = sum(arm.most_usd or 0.0 for arm in made.estimates)
    if most > budget:
        likely = f"about ${made.cost_usd:.4g}" if made.cost_usd is not None else "an unknown sum"
        raise PlanError(
            f"{made.calls:,} calls may cost up to ${most:.4g} ({likely} is likely), above the budget of ${budget:g}.\n"
            "  Shorten the test, cap answers with --max-tokens, or raise the budget."
        )


def load(
    made: Plan, store: Store, *, report: Callable[[Tick], None] | None = None, keep: bool = True
) -> Loaded:
    """Drive the load, and keep every request as a trace of a run. Ctrl-C ends it with what there is.

    Args:
        report: Called twice a second.
        keep: Write to the store.

    Raises:
        RatchetError: The load can't be driven from here.
    """
    measured = _measure(made, report)
    result = summaries.summarise(measured, load=made.load, slo=made.options.slo, prices_by_arm=made.prices)
    run = _keep(made, measured, result, store) if keep else _run_of(made, measured, result)
    return Loaded(run=run, measured=measured, result=result)


def _run_of(made: Plan, measured: Measured, result: Result) -> Run:
    run = storing.run_of(
        made.schedule, made.workload, made.arms, result,
        checks=made.options.checks, prices=made.prices, baseline=made.options.baseline,
    )  # fmt: skip
    return run.replace(name=made.options.name, created_at=measured.started_at)


def _keep(made: Plan, measured: Measured, result: Result, store: Store) -> Run:
    run = _run_of(made, measured, result)
    return storing.save(store, run, measured, result, schedule=made.schedule, workload=made.workload)


def _measure(made: Plan, report: Callable[[Tick], None] | None) -> Measured:
    schedule, options = made.schedule, made.options
    return processes.measure(
        made.arms,
        shots.Volley(schedule=schedule, workload=made.workload, arms=made.arms, root=made.root),
        Drive(
            mode="open" if schedule.open_loop else "closed",
            # so many users an arm: their shots take turns
            users=max(1, schedule.users) * len(made.arms),
            duration_s=schedule.duration_s,
            warm_up_s=options.warm_up_s,
            grace_s=options.grace_s,
        ),
        processes=options.processes,
        apart=options.apart,
        root=made.root,
        report=report,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweeping:
    """How a sweep looks for the limit."""

    start: float = 1.0
    """Requests per second of the first step."""
    step_s: float = sweeping.STEP_S
    """Seconds a step lasts at least."""
    good: float = sweeping.GOOD
    """The share of requests that must meet the objectives."""
    precision: float = sweeping.PRECISION
    most_steps: int = sweeping.MOST_STEPS


@dataclass(slots=True)
class _Best:
    """The last step that held at the highest rate, to be kept as a run."""

    plan: Plan | None = None
    measured: Measured | None = None


def sweep(
    made: Plan,
    how: Sweeping,
    *,
    store: Store | None = None,
    report: Callable[[Tick], None] | None = None,
    on_step: Callable[[str, Step], None] | None = None,
) -> list[Sweep]:
    """The highest rate that each arm holds, one arm after the other: their limits differ, so they share no load.

    Args:
        made: A plan whose schedule says how requests arrive; its rate and length are the sweep's to choose.
        store: Where the step at the highest held rate of each arm is kept as a run; None: nowhere.
    """
    found: list[Sweep] = []
    for name in made.arms:
        best = _Best()
        done = _sweep_arm(made, name, how, best, report, on_step)
        if (
            store is not None
            and best.plan is not None
            and best.measured is not None
            and done.best is not None
        ):
            run = _keep(best.plan, best.measured, done.best.result, store)
            done = replace(done, run_id=run.id)
        found.append(done)
        if any(step.result.interrupted for step in done.steps):
            break
    return found


def _sweep_arm(
    made: Plan,
    name: str,
    how: Sweeping,
    best: _Best,
    report: Callable[[Tick], None] | None,
    on_step: Callable[[str, Step], None] | None,
) -> Sweep:
    spent, highest = 0.0, 0.0
    current = made
    latest: Measured | None = None

    def measure(rate: float, seconds: float) -> Measured:
        nonlocal current, latest
        current = at_rate(made, name, rate, seconds)
        _check_step(current, spent)
        latest = _measure(current, report)
        return latest

    def summarise(measured: Measured) -> Result:
        nonlocal spent
        result = summaries.summarise(
            measured, load=current.load, slo=made.options.slo, prices_by_arm=current.prices
        )
        spent += result.arms[name].cost_usd or 0.0
        return result

    def stepped(step: Step) -> None:
        nonlocal highest
        if step.reading.held and step.reading.rate > highest:
            highest, best.plan, best.measured = step.reading.rate, current, latest
        if on_step is not None:
            on_step(name, step)

    return sweeping.sweep(
        name, measure, summarise,
        search=Search(start=how.start, precision=how.precision, most_steps=how.most_steps),
        step_s=how.step_s, good=how.good,
        on_step=stepped,
    )  # fmt: skip


def at_rate(made: Plan, arm: str, rate: float, seconds: float) -> Plan:
    """The plan of one step: this arm alone at this rate, its first fifth a warm-up, its draws its own."""
    seed = made.schedule.seed + int(codec.content_id([arm, rate])[:6], 16)
    make = schedules.poisson if made.schedule.arrivals == "poisson" else schedules.constant
    variant = made.arms[arm]
    schedule = make(rate, duration_s=seconds, seed=seed)
    listed = {arm: made.prices[arm]}
    workload = replace(made.workload, seed=seed)
    return replace(
        made,
        schedule=schedule,
        workload=workload,
        arms={arm: variant},
        prices=listed,
        options=replace(made.options, warm_up_s=seconds * sweeping.WARM_UP_SHARE, baseline=None),
        estimates=(
            _estimate(
                arm, variant, workload, schedule, listed[arm], exact=made.options.budget_usd is not None
            ),
        ),
    )


def _check_step(step: Plan, spent: float) -> None:
    budget, estimate = step.options.budget_usd, step.estimates[0]
    if budget is not None and estimate.most_usd is not None and spent + estimate.most_usd > budget:
        raise PlanError(
            f"the next step of the sweep may cost up to ${estimate.most_usd:.4g}, and ${spent:.4g} of the budget of "
            f"${budget:g} are spent; raise --budget or shorten the steps"
        )
