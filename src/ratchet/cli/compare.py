"""`ratchet compare`: may this change ship?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ratchet.cli.file_options import FileOptions, are_files, evidence_from_files, with_file_options
from ratchet.cli.options import echo_json, project_at, run_named, store_for, with_json, with_store
from ratchet.cli.verdict import (
    check_endings,
    exit_of,
    keep,
    named,
    show,
    with_inconclusive,
    worst_exit,
    write,
)
from ratchet.errors import PairingError, PlanError, UnknownNameError

if TYPE_CHECKING:
    from ratchet.evidence import Evidence
    from ratchet.ports import Store
    from ratchet.records import Check, Run, Verdict

EXIT_INVALID = 4


@click.command(short_help="May this change ship? Judge one arm against another.")
@click.argument("given", nargs=-1, metavar="[RUN | FILE]...")
@click.option(
    "--baseline", "-b", metavar="ARM", help="What runs today: an arm, a run, RUN:ARM or a variant's id."
)
@click.option("--candidate", "-c", metavar="ARM", help="What shall replace it [every other arm].")
@click.option(
    "--check", "checks", multiple=True, metavar="CHECK",
    help="A rule, as in ratchet.yaml: 'no_worse: exact_match, margin_pp: 2' (repeatable); instead of the run's own.",
)  # fmt: skip
@click.option(
    "--aa", is_flag=True, help="A noise check: both arms are one variant, and nothing should differ."
)
@click.option(
    "--alpha",
    type=click.FloatRange(0, 0.5, min_open=True),
    default=0.05,
    help="Risk of a false ship, one-sided, a check [0.05].",
)
@click.option("--seed", type=int, default=0, help="Seed of what is resampled [0].")
@click.option(
    "--evidence",
    "evidence_file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write what the verdict rests on (.json, .json.gz), for `ratchet verify`.",
)
@click.option(
    "--output",
    "-o",
    "outputs",
    multiple=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the verdict: .json, .md, .html, .junit.xml, .csv (repeatable).",
)
@with_inconclusive
@with_json
@with_store
@with_file_options
def compare(
    given: tuple[str, ...], project_file: Path | None, store_at: str | None, env_file: Path | None, as_json: bool,
    file_options: FileOptions, **options: Any,
) -> int:  # fmt: skip
    """Judge one arm against another, by the checks that were written before the run.

    RUN is a run's id, the beginning of one, or its name; the last run by default. Several runs of one dataset are
    compared arm by arm: the first is the baseline.

    FILEs hold recorded results of any tool or paper (CSV, TSV, JSON, JSONL, Parquet): one file an arm, or one file
    with --by or --scores; further options say what the columns mean. docs/compare.md has examples.

    Exit status: 0 ship, 1 hold, 3 inconclusive, 4 invalid, 2 wrong use.
    """
    check_endings(options["outputs"])
    if are_files(given, file_options):
        project = project_at(project_file, needed=False)
        return _compare_files(given, file_options, options, as_json, project.root if project else Path.cwd())
    if file_options.given():
        raise click.UsageError(
            f"{', '.join(file_options.given())}: these options are for files; no file was given"
        )
    store = store_for(store_at, project_at(project_file, needed=False), must_exist=True)
    try:
        evidence, baseline, candidate = _from_store(store, given, options)
        return conclude(
            evidence, {**options, "store": store}, baseline=baseline, candidate=candidate, as_json=as_json
        )
    except PairingError as error:
        click.echo(f"PairingError: {error}", err=True)
        return EXIT_INVALID
    finally:
        store.close()


def _compare_files(
    given: Sequence[str], file_options: FileOptions, options: Mapping[str, Any], as_json: bool, root: Path
) -> int:
    """Judge recorded results."""
    baseline, candidate = options["baseline"], options["candidate"]
    try:
        evidence = evidence_from_files(
            given, file_options, baseline=baseline, candidates=[candidate] if candidate else [], root=root
        )
    except PairingError as error:
        click.echo(f"PairingError: {error}", err=True)
        return EXIT_INVALID
    first, *others = evidence.arms
    lower = frozenset(file_options.lower_is_better)
    return conclude(
        evidence, {**options, "lower_is_better": lower},
        baseline=first, candidate=others[0] if len(others) == 1 else None, as_json=as_json,
    )  # fmt: skip


def conclude(
    evidence: Evidence,
    options: Mapping[str, Any],
    *,
    baseline: str | None,
    candidate: str | None,
    as_json: bool,
) -> int:
    """Judge, show, keep and write; the exit status. Several candidates are judged one by one."""
    from ratchet import verdicts

    checks = _checks(options["checks"], options.get("lower_is_better", frozenset())) or None
    if options["aa"]:
        return _aa(evidence, options, baseline, candidate, as_json)
    if candidate is None and len(evidence.arms) > 2:
        found = verdicts.compare_all(
            evidence, baseline=baseline, checks=checks, alpha=options["alpha"], seed=options["seed"]
        )
    else:
        found = (
            verdicts.decide(
                evidence, baseline=baseline, candidate=candidate, checks=checks, alpha=options["alpha"], seed=options["seed"]
            ),
        )  # fmt: skip
    return finish(evidence, found, options, as_json=as_json)


def finish(evidence: Evidence, found: Sequence[Verdict], options: Mapping[str, Any], *, as_json: bool) -> int:
    """Show and write these verdicts, and keep those on answers of the store; the worst of their exit statuses."""
    import time

    from ratchet.verdicts.costing import costed

    now = time.time()
    found = [costed(verdict, evidence).replace(created_at=now) for verdict in found]
    if as_json:
        from ratchet import reports

        shown = [reports.as_json(verdict, evidence) for verdict in found]
        echo_json(shown[0] if len(shown) == 1 else shown)
    else:
        for index, verdict in enumerate(found):
            if index:
                click.echo("")
            show(verdict, evidence)
        if len(found) > 1:
            _show_front(evidence, found)
    store: Store | None = options.get("store")
    if store is not None:
        keep(store, evidence, found)
    for verdict in found:
        paths = [named(path, verdict, len(found)) for path in options["outputs"]]
        others = [other for other in found if other is not verdict]
        write(verdict, evidence, paths, inconclusive=options["inconclusive"], store=store, others=others)
        if options["evidence_file"] is not None:
            from ratchet.evidence import write as write_evidence

            path = named(options["evidence_file"], verdict, len(found))
            write_evidence(evidence, verdict, path)
            click.echo(f"{path} written; recompute it anywhere with: ratchet verify {path}", err=True)
    return worst_exit([exit_of(verdict, options["inconclusive"]) for verdict in found])


def _show_front(evidence: Evidence, found: Sequence[Verdict]) -> None:
    """The arms by quality, cost and time; those that no other beats are marked."""
    from ratchet.cli.run import width
    from ratchet.cli.tables import table
    from ratchet.verdicts import front

    quality = next((r.check for r in found[0].results if r.check.dimension == "accuracy"), None)
    if quality is None:
        return
    rows = [
        (point.arm, *("-" if value is None else f"{value:.4g}" for value in (point.quality, point.cost_usd, point.latency_s)),
         "front" if point.front else "")
        for point in front(evidence, quality)
    ]  # fmt: skip
    click.echo("\nNo other arm beats those on the front in quality, cost and time at once:")
    click.echo(table(("arm", quality.metric, "cost $", "p50 s", ""), rows, width=width()))


def _checks(texts: Sequence[str], lower_is_better: frozenset[str]) -> list[Check]:
    from ratchet import checks, yaml12
    from ratchet.errors import ConfigError
    from ratchet.tabular.specs import check_of

    found: list[Check] = []
    for text in texts:
        if ":" not in (text.split(None, 1) or ["{}:"])[0]:  # no_worse score margin_pp=2
            found.append(check_of(text, lower_is_better=lower_is_better))
            continue
        try:
            spec = yaml12.load(f"{{{text.strip().removeprefix('{').removesuffix('}')}}}".encode())
        except yaml12.YamlError as error:
            raise ConfigError(f"--check {text!r}: {error}") from None
        if not isinstance(spec, dict):
            raise ConfigError(
                f"--check {text!r}: expected a rule such as 'no_worse: exact_match, margin_pp: 2'"
            )
        check = checks.resolve(spec)
        known = check.metric in lower_is_better and "higher_is_better" not in spec
        found.append(check.replace(higher_is_better=False) if known else check)
    return found


def _aa(
    evidence: Evidence, options: Mapping[str, Any], baseline: str | None, candidate: str | None, as_json: bool
) -> int:
    """The same variant twice: every metric must show no difference, either way."""
    from ratchet import verdicts

    if baseline is None and candidate is None:
        baseline, candidate = _twins(evidence)
    baseline, candidate = verdicts.arms_of(evidence, baseline, candidate)
    verdict = verdicts.decide_aa(
        evidence, baseline=baseline, candidate=candidate, alpha=options["alpha"], seed=options["seed"]
    )
    return finish(evidence, [verdict], {**options, "inconclusive": "pass"}, as_json=as_json)


def _twins(evidence: Evidence) -> tuple[str, str]:
    """Two arms that hold one variant."""
    first: dict[str, str] = {}
    for name, arm in evidence.arms.items():
        if arm.variant_id and arm.variant_id in first:
            return first[arm.variant_id], name
        first.setdefault(arm.variant_id, name)
    raise PlanError(
        f"no two of the arms {', '.join(evidence.arms)} hold one variant; `ratchet run --aa` tries the baseline twice"
    )


def _from_store(
    store: Store, given: Sequence[str], options: Mapping[str, Any]
) -> tuple[Evidence, str | None, str | None]:
    """The evidence of these runs, and which of its arms are meant."""
    from ratchet import evidence as evidence_module

    runs = [_run(store, name) for name in (given or (None,))]
    arms = _arms(runs)
    named: list[str | None] = []
    for name in (options["baseline"], options["candidate"]):
        if name is None:
            named.append(None)
            continue
        found = _find(name, arms, store)
        arms.setdefault(found[0], found[1])
        named.append(found[0])
    baseline, candidate = named
    if baseline is None and len(runs) > 1:
        baseline = next(iter(arms))
    if candidate is not None:  # only what is compared is read
        keep = baseline or _baseline_of(runs[0], arms)
        arms = {name: place for name, place in arms.items() if name in (keep, candidate)}
        baseline = keep
    return evidence_module.from_runs(store, arms), baseline, candidate


def _run(store: Store, name: str | None) -> Run:
    found = store.run(run_named(store, name))
    assert found is not None
    return found


def _arms(runs: Sequence[Run]) -> dict[str, tuple[str, str]]:
    """Every arm of these runs by a name of its own, with its (run, arm)."""
    counts: dict[str, int] = {}
    for run in runs:
        for arm in run.arms:
            counts[arm] = counts.get(arm, 0) + 1
    return {
        arm if counts[arm] == 1 else f"{run.name or run.id[:13]}:{arm}": (run.id, arm)
        for run in runs
        for arm in run.arms
    }


def _baseline_of(run: Run, arms: Mapping[str, tuple[str, str]]) -> str | None:
    return next((name for name, place in arms.items() if place == (run.id, run.baseline)), None)


def _find(name: str, arms: Mapping[str, tuple[str, str]], store: Store) -> tuple[str, tuple[str, str]]:
    """The arm that this names: an arm's name, RUN:ARM, the beginning of a variant's id, or a run with one arm."""
    if name in arms:
        return name, arms[name]
    from ratchet import codec

    run_name, colon, arm = name.partition(":")
    if colon:
        try:
            run = _run(store, run_name)
        except PlanError:
            run = None
        if run is not None:
            if arm not in run.arms:
                raise UnknownNameError("arm", arm, run.arms)
            return name, (run.id, arm)
    for shown, (run_id, arm_name) in arms.items():
        run = store.run(run_id)
        if run is not None and len(name) >= 8 and codec.content_id(run.arms[arm_name]).startswith(name):
            return shown, (run_id, arm_name)
    try:
        run = _run(store, name)
    except PlanError:
        raise UnknownNameError("arm", name, arms, hint="RUN:ARM names an arm of another run") from None
    only = run.baseline if run.baseline in run.arms and len(run.arms) > 1 else next(iter(run.arms))
    if len(run.arms) > 1:
        raise PlanError(f"run {name} has the arms {', '.join(run.arms)}; say which: {name}:{only}")
    return name, (run.id, str(only))
