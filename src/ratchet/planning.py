"""A run before it starts: its options, and the plan with its calls, tokens and dollars."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import metadata
from itertools import islice
from pathlib import Path
from typing import Any

from ratchet import budgets, codec, plans, prices, prompts, providers, scores, variants
from ratchet.budgets import Budget
from ratchet.calls import Render, request_for
from ratchet.errors import PlanError, PromptError
from ratchet.ports import Store, Usage
from ratchet.records import Example, Price, Prompt, Run, Scorer, Task, Variant

SAMPLED_FOR_ESTIMATE = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How to execute a run; nothing here is part of the task."""

    concurrency: int = 16
    seed: int | None = None
    """None: 0, or that of the run to go on with."""
    limit: int | None = None
    """Only the first so many examples. A run that goes on keeps its own, as it keeps `sample`, `seed` and `name`."""
    sample: int | None = None
    """Only so many examples, drawn with the seed."""
    budget: Budget = field(default_factory=Budget)
    use_cache: bool = True
    resume: str | None = None
    """Id of the run to go on with; "last": the newest of this task that isn't finished."""
    retry_failed: bool = False
    """When resuming, also try answers again that failed."""
    name: str = ""
    baseline: str | None = None
    traffic: str | None = None
    """How often the product calls the model, as in 2M/month: it goes into the verdict's cost case."""
    stop_when_decided: bool = False
    """Try the examples in an order drawn from the seed, and stop as soon as a verdict stands."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmPlan:
    """What one arm will take; tokens and dollars are estimates."""

    name: str
    variant: Variant
    variant_id: str
    calls: int
    input_tokens: int
    output_tokens: int
    cost_usd: float | None
    """None: the price is unknown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A run before it starts."""

    run: Run
    arms: tuple[ArmPlan, ...]
    done: Mapping[plans.Key, str]
    """Items that the run already holds, with their traces."""
    examples: int
    budget: Budget

    @property
    def calls(self) -> int:
        return sum(arm.calls for arm in self.arms)

    @property
    def cost_usd(self) -> float | None:
        costs = [arm.cost_usd for arm in self.arms]
        return None if None in costs else sum(cost or 0.0 for cost in costs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a run happens: its store, the folder that paths start from, and the environment with the keys."""

    store: Store
    root: Path
    environ: Mapping[str, str]


def plan(task: Task, arms: Mapping[str, Variant], *, options: Options, place: Place) -> Plan:
    """What `arun` would do, without a call: variants resolved, keys and prices looked up, a resumed run checked.

    Raises:
        ConfigError, PromptError, DatasetError: Something written is wrong.
        MissingKeyError: Keys that are not set, all of them at once.
        PlanError: The run to resume isn't there, or was made with another plan; names what differs.
    """
    if not arms:
        raise PlanError("a run needs at least one arm: arms={'baseline': Variant(model='openai/gpt-4o', …)}")
    if options.concurrency < 1:
        raise PlanError(f"concurrency is {options.concurrency}, expected 1 or more")
    if task.repeats < 1:
        raise PlanError(f"repeats is {task.repeats}, expected 1 or more")
    if options.stop_when_decided and len(arms) < 2:
        raise PlanError(
            f"stop_when_decided needs two arms to decide between; the run has {', '.join(arms)}. Add one, or leave it out"
        )
    resolved = {name: variants.resolve(variant, root=place.root) for name, variant in arms.items()}
    task = task.replace(scorers=tuple(scores.resolve(scorer, root=place.root) for scorer in task.scorers))
    providers.check_keys({**resolved, **judges_of(task.scorers)}, place.environ)
    price_table = {name: price_of(variant, place.store) for name, variant in resolved.items()}
    _check_priced(options.budget, {**resolved, **judges_of(task.scorers)}, place.store)
    run, done = _resumed(task, resolved, options, place.store) or (
        _new_run(task, resolved, options, price_table),
        {},
    )
    return _estimate(run, resolved, done, options)


def judges_of(scorers: Sequence[Scorer]) -> dict[str, Variant]:
    """The models that these scorers call, by a name for messages."""
    return {f"scorer {scorer.name}": judge for scorer in scorers for judge in scores.models_of(scorer)}


def price_of(variant: Variant, store: Store) -> Price | None:
    if variant.price is not None:
        return variant.price
    if variant.model is None:
        return None
    provider, name = providers.split_model(variant.model)
    return prices.lookup(provider, name, store=store)


def _check_priced(budget: Budget, called: Mapping[str, Variant], store: Store) -> None:
    """Refuse a cap in dollars that an unknown price would let spending pass.

    A function is not priced: what it reports of its own calls counts when it is known, after the call.
    """
    if budget.usd is None:
        return
    unpriced = [
        name for name, variant in called.items() if variant.model and price_of(variant, store) is None
    ]
    if unpriced:
        raise PlanError(
            f"a budget of ${budget.usd:g} can't be kept: the price of {', '.join(unpriced)} is unknown.\n"
            "  Give it in the variant (price: {input_usd_per_mtok: …, output_usd_per_mtok: …}), or cap tokens instead."
        )


def _new_run(
    task: Task, arms: Mapping[str, Variant], options: Options, price_table: Mapping[str, Price | None]
) -> Run:
    baseline = options.baseline or next(iter(arms))
    if baseline not in arms:
        raise PlanError(f"the baseline is {baseline!r}, but the arms are {', '.join(arms)}")
    return Run(
        id=codec.new_run_id(),
        task=task,
        arms=arms,
        baseline=baseline,
        name=options.name,
        seed=options.seed or 0,
        limit=options.limit,
        sample=options.sample,
        stop_when_decided=options.stop_when_decided,
        created_at=time.time(),
        prices=price_table,
        environment={
            "ratchet": metadata.version("ratchet-llm"),
            "python": platform.python_version(),
            "platform": platform.platform(),
            **({"traffic": options.traffic} if options.traffic else {}),
        },
    )


def _resumed(
    task: Task, arms: Mapping[str, Variant], options: Options, store: Store
) -> tuple[Run, dict[plans.Key, str]] | None:
    """The run to go on with and what it holds, its functions put back; None for a new run."""
    if options.resume is None:
        return None
    task_id = codec.content_id(task)
    run = _find_unfinished(task_id, store) if options.resume == "last" else store.run(options.resume)
    if run is None:
        raise PlanError(
            f"there is no run {options.resume!r} to resume; `ratchet list` shows the runs of this store"
        )
    _check_same_plan(run, task, arms, options)
    if options.stop_when_decided and not run.stop_when_decided:
        raise PlanError(
            f"run {run.id} was started without stop_when_decided: its order and its intervals are those of a full run. "
            "Resume it as it is, or start a new run"
        )
    if run.stop_when_decided and options.retry_failed:
        raise PlanError(
            f"run {run.id} stops when decided, and its looks have counted the failed answers: they can't be tried again. "
            "Resume it without retry_failed"
        )
    lost = [name for name, variant in arms.items() if not variants.importable(variant)]
    if lost:
        raise PlanError(
            f"the target of {', '.join(lost)} can't be found again by name, so the run can't be resumed; name a function in a module"
        )
    return run.replace(arms=arms, task=task), held(run.id, options, store)


def held(run_id: str, options: Options, store: Store) -> dict[plans.Key, str]:
    """The items that a run holds and that won't be tried again, with their traces."""
    return {
        key: trace_id
        for key, (trace_id, failed) in store.done(run_id).items()
        if not (failed and options.retry_failed)
    }


def _check_same_plan(run: Run, task: Task, arms: Mapping[str, Variant], options: Options) -> None:
    """Refuse to go on with a run under another plan than it was made with.

    Raises:
        PlanError: Names what differs, by the options of `ratchet run` where there are any, with the run's values.
    """
    found = _options_that_differ(run, options)
    if codec.content_id(run.task) != codec.content_id(task):
        found.append(f"it was made of another task: {'; '.join(_parts_that_differ(run.task, task))}")
    before = {name: codec.content_id(variant) for name, variant in run.arms.items()}
    now = {name: codec.content_id(variant) for name, variant in arms.items()}
    if before != now:
        changed = [
            _arm_that_differs(name, run.arms.get(name), arms.get(name)) for name in sorted(before | now)
        ]
        found.append(f"it had other variants: {'; '.join(filter(None, changed))}")
    if found:
        lines = "".join(f"\n  - {line}" for line in found)
        raise PlanError(
            f"run {run.id} can't go on under another plan than it was made with:{lines}\n"
            "  Leave that as it was to go on, or start a new run: the same without --resume"
        )


def _options_that_differ(run: Run, options: Options) -> list[str]:
    asked = {
        "--limit": (options.limit, run.limit),
        "--sample": (options.sample, run.sample),
        "--seed": (options.seed, run.seed),
        "--name": (options.name or None, run.name or None),
        "baseline": (options.baseline, run.baseline),
    }
    return [
        f"{name} is {now!r}, and the run was made {f'with {before!r}' if before is not None else 'without it'}"
        for name, (now, before) in asked.items()
        if now is not None and now != before
    ]


def _parts_that_differ(before: Task, now: Task) -> list[str]:
    """What of two tasks differs, with the values of the one that a run was made with."""
    found: list[str] = []
    if before.dataset.id != now.dataset.id:
        old, new = before.dataset, now.dataset
        found.append(
            f"--dataset (the run has {old.count:,} examples of {old.path or old.name}, content {old.id[:12]}; "
            f"now {new.count:,} of {new.path or new.name}, content {new.id[:12]})"
        )
    if before.repeats != now.repeats:
        found.append(f"--repeat (the run has {before.repeats}, now {now.repeats})")
    if codec.identity(before.scorers) != codec.identity(now.scorers):
        names = [", ".join(scorer.name for scorer in task.scorers) or "none" for task in (before, now)]
        same = names[0] == names[1]
        found.append(
            f"--scorer (the run has {names[0]}, now {'another version or other settings' if same else names[1]})"
        )
    for name in ("checks", "extraction", "arm_extraction"):
        if codec.identity(getattr(before, name)) != codec.identity(getattr(now, name)):
            found.append(f"the task's {name}")
    return found or ["its settings"]


def _arm_that_differs(name: str, before: Variant | None, now: Variant | None) -> str:
    """What of an arm differs; nothing where it is the same."""
    if before is None or now is None:
        return f"{name} ({'is not in the run' if before is None else 'is in the run alone'})"
    old, new = (codec.identity(variant)["Variant"] for variant in (before, now))
    different = sorted(str(key) for key in old.keys() | new.keys() if old.get(key) != new.get(key))
    said = [f"{key}, {getattr(before, key)!r} in the run" if key in _SHORT else key for key in different]
    return f"{name} ({', '.join(said)})" if said else ""


_SHORT = frozenset({"model", "stream", "target"})
"""Fields of a variant whose value fits into a sentence, and can hold no secret as an address can."""


def _find_unfinished(task_id: str, store: Store) -> Run | None:
    for row in store.runs():
        if row.task_id == task_id and row.state != "finished":
            return store.run(row.id)
    raise PlanError("there is no unfinished run of this task; start one without --resume")


def _estimate(run: Run, arms: Mapping[str, Variant], done: Mapping[plans.Key, str], options: Options) -> Plan:
    """Calls, tokens and dollars, from the first examples; a prompt that doesn't fit the first example is an error."""
    task = run.task
    count = selected_count(run)
    sampled = list(islice(selected(run), SAMPLED_FOR_ESTIMATE))
    planned: list[ArmPlan] = []
    for name, variant in arms.items():
        render = render_of(variant)
        total_in = total_out = counted = 0
        for index, example in enumerate(sampled):
            try:
                request = request_for(variant, render, example, name=variant.model or "")
            except PromptError:
                if index == 0:
                    raise
                continue
            likely_in, likely_out = budgets.likely_tokens(request)
            total_in, total_out, counted = total_in + likely_in, total_out + likely_out, counted + 1
        already = sum(1 for arm, _, _ in done if arm == name)
        calls = max(count * task.repeats - already, 0)
        scale = calls / counted if counted and variant.target is None else 0.0
        tokens = Usage(input_tokens=round(total_in * scale), output_tokens=round(total_out * scale))
        price = run.prices.get(name)
        planned.append(
            ArmPlan(
                name=name,
                variant=variant,
                variant_id=codec.content_id(variant),
                calls=calls,
                input_tokens=tokens.input_tokens or 0,
                output_tokens=tokens.output_tokens or 0,
                cost_usd=prices.cost_usd(price, tokens),
            )
        )
    return Plan(run=run, arms=tuple(planned), done=done, examples=count, budget=options.budget)


def render_of(variant: Variant) -> Render | None:
    """The compiled prompt of a resolved variant."""
    return prompts.compile(variant.prompt) if isinstance(variant.prompt, Prompt) else None


def selected(run: Run) -> Iterator[Example]:
    """The examples that this run tries, in its order: the dataset's, or drawn from the seed where it stops when decided."""
    return plans.selected(run)


def selected_count(run: Run) -> int:
    """How many examples this run tries."""
    return plans.selected_count(run)


def place(store: Store, root: Path) -> Place:
    """The place of a run in this process's environment."""
    return Place(store=store, root=root, environ=os.environ)


def replace_options(options: Options, **changes: Any) -> Options:
    """The options with these changed."""
    return replace(options, **changes)
