"""What `ratchet load`'s options say: who is asked what, and at which load."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ratchet.cli.options import run_named

if TYPE_CHECKING:
    from ratchet.loads.loading import Plan
    from ratchet.loads.records import Slo
    from ratchet.loads.schedules import Schedule
    from ratchet.loads.workloads import Workload
    from ratchet.ports import Store
    from ratchet.projects import Project
    from ratchet.records import Check, Dataset, Variant

SLOS = ("ttft", "tpot", "e2e", "gap")


@dataclass(frozen=True, slots=True)
class Order:
    """Who is asked what."""

    arms: Mapping[str, Variant]
    workload: Workload
    schedule: Schedule
    checks: tuple[Check, ...]
    baseline: str | None


def order_of(project: Project | None, given: Mapping[str, Any], store: Store, root: Path) -> Order:
    """What the options, and the project where there is one, say to do."""
    schedule = _schedule(given, store)
    if given["models"]:
        from ratchet.records import Variant

        if given["only"] or given["task"]:
            raise click.UsageError(
                "--model does without ratchet.yaml: leave out the task and --variant, or name variants"
            )
        arms = {model: Variant(model=model, prompt=given["prompt"]) for model in given["models"]}
        return Order(arms, _workload(given, store, root, schedule), schedule, (), None)
    assert project is not None
    return _of_project(project, given, store, schedule)


def _of_project(project: Project, given: Mapping[str, Any], store: Store, schedule: Schedule) -> Order:
    from ratchet import projects
    from ratchet.errors import UnknownNameError

    other = given["synthetic"] or given["from_run"] or given["dataset"]
    job = None
    if given["task"] or not other:
        job = projects.job(project, given["task"])
    arms = dict(job.arms if job else project.variants)
    for name in given["only"]:
        if name not in project.variants:
            raise UnknownNameError(
                "variant", name, project.variants, hint=f"Variants stand in {project.path}"
            )
    if given["only"]:
        arms = {name: project.variants[name] for name in given["only"]}
    if not arms:
        raise click.UsageError("ratchet.yaml has no variant to load; add one under variants:")
    arms = projects.ready(project, arms)
    baseline = (job.baseline if job else project.file.baseline) or next(iter(arms))
    dataset = None if job is None or other else job.task.dataset
    workload = _workload(given, store, project.root, schedule, dataset)
    checks = job.task.checks if job else ()
    return Order(arms, workload, schedule, checks, baseline if baseline in arms else None)


def _workload(
    given: Mapping[str, Any], store: Store, root: Path, schedule: Schedule, dataset: Dataset | None = None
) -> Workload:
    from ratchet import datasets
    from ratchet.loads import workloads

    said = [f"--{name.replace('_', '-')}" for name in ("dataset", "synthetic", "from_run") if given[name]]
    if len(said) > 1 or (not said and dataset is None):
        raise click.UsageError(
            f"{' and '.join(said) or 'nothing to ask'}: say one of --dataset FILE, --synthetic 512:128 and --from-run RUN"
        )
    folder = root / ".ratchet" / "loads"
    seed, most = given["seed"], given["max_tokens"]
    if given["from_run"]:
        return workloads.of_run(store, run_named(store, given["from_run"]), folder, max_tokens=most)
    if given["synthetic"]:
        made = _synthetic(given, folder, schedule)
        return made if most is None else dataclasses.replace(made, max_tokens=most)
    if given["dataset"]:
        path = given["dataset"]
        dataset = datasets.load(path, name=Path(path).stem, cache_folder=root / ".ratchet" / "stdin")
    assert dataset is not None
    return workloads.of_dataset(dataset, max_tokens=most, seed=seed)


def _synthetic(given: Mapping[str, Any], folder: Path, schedule: Schedule) -> Workload:
    from ratchet.loads import schedules, workloads

    text, seed, shared = given["synthetic"], given["seed"], given["shared_prefix"]
    if Path(text).suffix and Path(text).is_file():
        return workloads.sampled(text, folder, shared_prefix=shared, seed=seed)
    asked, colon, made = text.partition(":")
    if not colon:
        raise click.UsageError(
            f"--synthetic {text!r}: expected IN:OUT in tokens, as in 512:128, or a file of lengths"
        )
    # a request of its own each, so that none counts as a repeat of another
    count = schedules.expected_count(schedule) or workloads.DISTINCT
    return workloads.synthetic(
        workloads.parse_lengths(asked), workloads.parse_lengths(made), folder,
        shared_prefix=shared, distinct=max(workloads.DISTINCT, min(count, workloads.KEPT_IN_MEMORY)), seed=seed,
    )  # fmt: skip


def plan_of(order: Order, given: Mapping[str, Any], store: Store, root: Path) -> Plan:
    """The load test before it starts."""
    from ratchet.loads import loading, schedules

    options = loading.Options(
        slo=parse_slos(given["slos"]),
        warm_up_s=0.0 if given["sweeping"] else schedules.parse_seconds(given["warmup"], "--warmup"),
        grace_s=schedules.parse_seconds(given["grace"], "--grace"),
        processes=given["processes"],
        apart=sys.stderr.isatty(),
        budget_usd=given["budget_usd"],
        baseline=order.baseline,
        checks=order.checks,
        name=given["name"],
    )
    return loading.plan(
        order.arms, order.workload, order.schedule, options=options, store=store, root=root,
        stream=given["stream"],
    )  # fmt: skip


def _schedule(given: Mapping[str, Any], store: Store) -> Schedule:
    from ratchet.loads import schedules

    if given["sweeping"]:
        others = [
            name for name in ("rate", "ramp_text", "steps_text", "replay", "users_number") if given[name]
        ]
        if others:
            raise click.UsageError(
                f"--sweep chooses the rate: leave out --{others[0].partition('_')[0]}; --start is its first"
            )
        if given["arrivals"] not in (None, "constant", "poisson"):
            raise click.UsageError(
                f"--arrivals {given['arrivals']!r} doesn't go with --sweep; constant or poisson"
            )
        make = schedules.poisson if given["arrivals"] == "poisson" else schedules.constant
        # a stand-in that is never driven: it says how requests arrive, and what the first step costs
        length_s = schedules.parse_seconds(given["step_text"], "--step")
        return make(given["start"], duration_s=max(length_s, 1.0 / given["start"]), seed=given["seed"])
    length = schedules.Length(
        duration_s=schedules.parse_seconds(given["duration"]) if given["duration"] else None,
        count=given["count"],
        seed=given["seed"],
    )
    times = None
    if given["replay"]:
        times = _replayed(given["replay"], given["speed"], store)
    return schedules.parse(
        rate=given["rate"],
        arrivals=given["arrivals"],
        ramp_text=given["ramp_text"],
        steps_text=given["steps_text"],
        times=times,
        users_number=given["users_number"],
        length=length,
    )


def _replayed(source: str, speed: float, store: Store) -> Schedule:
    from ratchet.loads import recordings, schedules

    if Path(source).is_file():
        return schedules.replay(recordings.load_times(source), speed=speed, source=source)
    run_id = run_named(store, source)
    times = (row.created_at for row in store.rows(run_id) if row.arm is not None)
    return schedules.replay(times, speed=speed, source=f"run {run_id}")


def parse_slos(texts: Sequence[str]) -> Slo:
    """The objectives in `ttft=0.5`, `e2e=5s`, `tpot=50ms`.

    Raises:
        click.UsageError: Another name, one twice, or no time.
    """
    from ratchet.loads.records import Slo
    from ratchet.loads.schedules import parse_seconds

    limits: dict[str, float] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if name not in SLOS or not equals or f"{name}_s" in limits:
            raise click.UsageError(
                f"--slo {text!r}: expected NAME=SECONDS, each once; names: {', '.join(SLOS)}"
            )
        limits[f"{name}_s"] = parse_seconds(value, f"--slo {name}")
    return Slo(**limits)
