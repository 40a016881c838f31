"""`ratchet judge`: measure a judge against people, and against itself."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ratchet.cli.options import echo_json, project_at, read_env, run_named, store_for, with_json, with_store

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ratchet.calibrations import Calibration
    from ratchet.ports import Store
    from ratchet.records import Run, ScoreValue
    from ratchet.scorers.pairwise import Preferences

EXIT_INCONCLUSIVE = 3
EXIT_FAILED = 4


@click.group(short_help="Measure a judge against people's labels.")
def judge() -> None:
    """A judge is an instrument: measure it before a verdict rests on it.

    \b
      ratchet judge calibrate sample -n 60 -o labels.csv     draw answers, write them for people
      ratchet judge calibrate import labels.csv --by ada     read the labels back
      ratchet judge calibrate report                         agreement, bias, disagreements; kept
      ratchet judge pairwise -m openai/gpt-5-mini            which of two answers is better, both orders
    """


@judge.group()
def calibrate() -> None:
    """Measure a judge against people: sample, import, report."""


@calibrate.command()
@click.argument("run", required=False)
@click.option("--scorer", "-s", default="judge", help="The judge's score to label [judge].")
@click.option(
    "--examples",
    "-n",
    "count",
    type=click.IntRange(1),
    default=60,
    help="Examples to draw; every arm's answer to each is on the sheet [60].",
)
@click.option("--seed", type=int, default=0, help="Seed of the draw and of the order [0].")
@click.option("--stratify", metavar="KEY", help="Give each value of this metadata (or `group`) its share.")
@click.option(
    "--output",
    "-o",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="The sheet: .csv or .jsonl.",
)
@with_store
def sample(
    run: str | None, scorer: str, count: int, seed: int, stratify: str | None, output: Path,
    project_file: Path | None, store_at: str | None, env_file: Path | None,
) -> None:  # fmt: skip
    """Draw answers of RUN (the last by default) at random and write them for people to label.

    Every arm answers the same examples. The sheet says neither which arm answered nor what the judge said.
    """
    from ratchet import sheets
    from ratchet.stats.correction import MIN_LABELS

    if output.exists():
        raise click.UsageError(f"{output} is there already and may hold labels; name another file")
    store = store_for(store_at, project_at(project_file, needed=False), must_exist=True)
    try:
        found = _run(store, run)
        score = sheets.judged_score(found, store, scorer)
        _, drawn = sheets.draw(found, store, score, n=count, seed=seed, stratify=stratify)
        sheets.write(output, drawn, found, store)
        click.echo(
            f"{output}: {len(drawn.items)} answers to {drawn.examples} of {drawn.frame} examples, drawn with seed {seed}.\n"
            f"Fill in the column `label` with: {drawn.labels.describe()}. A note is optional, a blank is no label.\n"
            f"Then: ratchet judge calibrate import {output} --by NAME"
        )
        if drawn.examples < MIN_LABELS:
            click.echo(
                f"Note: below {MIN_LABELS} labelled examples a judge counts as uncalibrated (-n {MIN_LABELS} or more).",
                err=True,
            )
    finally:
        store.close()


@calibrate.command(name="import")
@click.argument("sheet", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option(
    "--by", required=True, metavar="NAME", help="Who labelled; several people may label one sheet each."
)
@with_json
@with_store
def import_labels(
    sheet: Path, by: str, as_json: bool,
    project_file: Path | None, store_at: str | None, env_file: Path | None,
) -> None:  # fmt: skip
    """Keep the labels of a filled-in SHEET. Bad cells are told by line, and then nothing is kept."""
    from ratchet import sheets

    store = store_for(store_at, project_at(project_file, needed=False), must_exist=True)
    try:
        found = sheets.bring_in(sheet, store, by=by)
    finally:
        store.close()
    drawn = found.sample
    if as_json:
        echo_json(
            {
                "run": drawn.run_id,
                "score": drawn.score,
                "by": by,
                "labels": found.labels,
                "blank": found.blank,
            }
        )
        return
    click.echo(
        f"{found.labels} labels by {_safe(by)} kept, {found.blank} answers without one.\n"
        f"Next: ratchet judge calibrate report {drawn.run_id[:13]} --scorer {drawn.score}"
    )


@calibrate.command()
@click.argument("run", required=False)
@click.option("--scorer", "-s", default="judge", help="The judge's score [judge].")
@click.option(
    "--retest",
    type=click.IntRange(0, 20),
    default=0,
    metavar="K",
    help="Ask the judge K times more about the labelled answers [0].",
)
@click.option("--worst", type=click.IntRange(0), default=5, help="Disagreements to show [5].")
@click.option(
    "--concurrency", "-j", type=click.IntRange(1, 10_000), default=16, help="Answers judged at once [16]."
)
@with_json
@with_store
def report(
    run: str | None, scorer: str, retest: int, worst: int, concurrency: int, as_json: bool,
    project_file: Path | None, store_at: str | None, env_file: Path | None,
) -> int:  # fmt: skip
    """How far the judge of RUN (the last by default) agrees with people; kept as its calibration.

    Where RUN has no labels, says whether the calibration kept earlier still holds for its judge and variants.

    Exit status: 0 measured, or still fresh; 3 nothing is labelled and no kept calibration holds.
    """
    from ratchet import calibrations, sheets

    project = project_at(project_file, needed=False)
    root = project.root if project else Path.cwd()
    read_env(env_file, root)
    store = store_for(store_at, project, must_exist=True)
    try:
        found = _run(store, run)
        score = sheets.judged_score(found, store, scorer)
        labelled = sorted(
            {
                s.trace_id
                for s in store.scores(found.id, name=score)
                if s.source == "human" and s.value is not None
            }
        )
        if not labelled:
            return _status(store, found, score, as_json=as_json)
        again: Mapping[str, list[ScoreValue]] = {}
        if retest:
            from ratchet import retests

            again = retests.retest(
                found, store, score, labelled, times=retest, root=root, concurrency=concurrency
            )
        made = calibrations.calibrate(found, store, score, retests=again)
        content_id = calibrations.keep(store, made)
    finally:
        store.close()
    if as_json:
        echo_json({"calibration": content_id, **_json(made)})
    else:
        click.echo(render(made, content_id, worst=worst))
    return 0


@judge.command()
@click.argument("run", required=False)
@click.option("--model", "-m", required=True, metavar="PROVIDER/MODEL", help="The judge.")
@click.option(
    "--prompt", "-p", metavar="FILE", help="Its prompt, with {first} and {second}; a built-in one by default."
)
@click.option("--baseline", metavar="ARM", help="The arm to compare with [the run's baseline].")
@click.option("--candidate", metavar="ARM", help="The other arm; needed where there are several.")
@click.option(
    "--labels", metavar="SCORE", help="A score that people labelled: how often they prefer the same side."
)
@click.option("--base-url", metavar="URL", help="Where the judge is served.")
@click.option(
    "--concurrency", "-j", type=click.IntRange(1, 10_000), default=16, help="Pairs judged at once [16]."
)
@with_json
@with_store
def pairwise(
    run: str | None, model: str, prompt: str | None, baseline: str | None, candidate: str | None, labels: str | None,
    base_url: str | None, concurrency: int, as_json: bool,
    project_file: Path | None, store_at: str | None, env_file: Path | None,
) -> int:  # fmt: skip
    """Ask a model which arm of RUN (the last by default) answered better, each pair in both orders.

    A winner that changes with the order is a tie, and counted as a flip. Scores stand on the candidate's answers.

    Exit status: 0 judged, 4 no pair has a readable verdict.
    """
    from ratchet.scorers.pairwise import judge_pairs

    project = project_at(project_file, needed=False)
    root = project.root if project else Path.cwd()
    read_env(env_file, root)
    store = store_for(store_at, project, must_exist=True)
    given = {"model": model, "prompt": prompt, "base_url": base_url}
    try:
        found = judge_pairs(
            _run(store, run),
            store,
            {key: value for key, value in given.items() if value is not None},
            baseline=baseline,
            candidate=candidate,
            labels=labels,
            root=root,
            concurrency=concurrency,
        )
    finally:
        store.close()
    if as_json:
        echo_json(found)
    else:
        click.echo("\n".join(_wrapped(_preferences(found), 80)))
    return EXIT_FAILED if found.win_rate is None else 0


def _preferences(found: Preferences) -> list[str]:
    pairs = found.wins + found.losses + found.ties
    flips = _shown(found.flip_rate) if found.flip_rate else "-"
    lines = [
        f"{found.candidate} against {found.baseline}: {found.wins} won, {found.losses} lost, {found.ties} ties of {pairs} pairs; {found.by}",
        f"Win rate {_shown(found.win_rate)}, ties as half. Intervals: two-sided 95 %, groups as clusters.",
        f"Order: {found.flips} verdicts changed with it and count as ties: {flips}",
    ]
    if found.first_rate is not None:
        lines.append(f"  of the choices in these, {found.first_rate:.0%} went to the answer shown first")
    if found.length is not None:
        own = found.length
        lines.append(
            f"Length: {own.coefficient:+.2f} [{own.low:+.2f}, {own.high:+.2f}] log-odds for the longer answer; win rate at "
            f"equal length {own.controlled_win_rate:.2f} [{own.controlled_low:.2f}, {own.controlled_high:.2f}]"
        )
    if found.people is not None:
        lines.append(
            f"People's labels prefer the same side: {_shown(found.people)} of {found.people.n} pairs"
        )
    if found.family:
        lines.append(f"Warning: self-preference: the judge is of one family with an arm, {found.family}.")
    if found.unread:
        reason, count = max(found.reasons.items(), key=lambda item: item[1])
        lines.append(f"Warning: {found.unread} pairs have no verdict; {count} of them: {reason}.")
    return [_safe(line) for line in lines]


def _status(store: Store, run: Run, score: str, *, as_json: bool) -> int:
    from ratchet import calibrations, sheets

    kept = calibrations.load(store, score)
    found = calibrations.status(kept, sheets.signature_of(run, score) or "", run.arms)
    if as_json:
        echo_json(found)
    else:
        of = f" of run {kept.run_id[:13]}" if kept else ""
        click.echo(
            f"No answer of this run is labelled. The calibration{of} of {_safe(score)} is {_safe(str(found))}."
        )
        if found.state != "fresh":
            click.echo(f"Next: ratchet judge calibrate sample {run.id[:13]} --scorer {score} -o labels.csv")
    return 0 if found.state == "fresh" else EXIT_INCONCLUSIVE


def _run(store: Store, name: str | None) -> Run:
    found = store.run(run_named(store, name))
    assert found is not None
    return found


def _json(made: Calibration) -> dict[str, object]:
    from ratchet import codec

    return dict(codec.encode(made))


def render(made: Calibration, content_id: str, *, worst: int = 5, width: int | None = None) -> str:
    """A calibration as text: agreement by arm and by label, bias, retest, disagreements, warnings."""
    from ratchet.cli.run import width as columns
    from ratchet.cli.tables import table

    wide = width or max(columns(), 80)
    lines = [
        f"{_safe(made.score)}: {made.n} answers labelled by {_safe(', '.join(made.people))}, {made.pairs} examples on all arms; run {made.run_id[:13]}",
        f"{_safe(made.judge)} by {_safe(', '.join(made.judge_models) or 'no model')}; labels: {_safe(made.labels)}",
        "",
    ]
    rows = [("all", made.overall), *made.arms.items()]
    cells = [(arm, str(own.n), _shown(own.raw), _shown(own.kappa), _shown(own.ac1)) for arm, own in rows]
    lines += [table(("", "n", "agreement", "kappa", "AC1"), cells, width=wide), ""]
    biases = [(arm, _shown(own.bias, sign=True), "") for arm, own in made.arms.items()]
    for arm, change in made.agreement_difference.items():
        bias = _shown(made.bias_difference.get(arm), sign=True)
        biases.append((f"{arm} - {made.baseline}", bias, _shown(change, sign=True)))
    lines += [table(("", "judge - people", "agreement"), biases, width=wide), ""]
    if len(made.overall.by_label) > 2:  # of two labels, one against the other is what the first table says
        by_label = [
            (own.label, str(own.human), str(own.judge), str(own.both), _shown(own.raw), _shown(own.kappa), _shown(own.ac1))
            for own in made.overall.by_label
        ]  # fmt: skip
        header = ("label", "people", "judge", "both", "agreement", "kappa", "AC1")
        lines += [table(header, by_label, width=wide), ""]
    lines += [*_confusion(made, wide), *_more(made)]
    if made.disagreements and worst:
        shown = made.disagreements[:worst]
        lines.append(f"Disagreements, the worst {len(shown)} of {len(made.disagreements)}:")
        found = [(d.trace_id[:12], d.arm, d.example_id, d.human, d.judge, d.note or d.reason) for d in shown]
        lines += [table(("answer", "arm", "example", "people", "judge", "why"), found, width=wide), ""]
    lines += [f"Warning: {_safe(warning)}." for warning in made.warnings]
    lines.append(f"Kept as calibration {content_id[:12]}. Intervals: two-sided 95 %, groups as clusters.")
    return "\n".join(_wrapped(lines, wide))


def _wrapped(lines: list[str], width: int) -> list[str]:
    import textwrap

    made: list[str] = []
    for line in lines:
        whole = "\n" in line or len(line) <= width
        made += [line] if whole else textwrap.wrap(line, width, subsequent_indent="  ")
    return made


def _confusion(made: Calibration, width: int) -> list[str]:
    from ratchet.cli.tables import table

    labels = list(made.overall.confusion)
    if not 2 <= len(labels) <= 8:
        return []
    rows = [(f"people {a}", *(str(made.overall.confusion[a].get(b, 0)) for b in labels)) for a in labels]
    return [table(("", *(f"judge {label}" for label in labels)), rows, width=width), ""]


def _more(made: Calibration) -> list[str]:
    lines: list[str] = []
    if made.people_raw is not None:
        alpha = f", Krippendorff's alpha {_shown(made.between_people)}" if made.between_people else ""
        lines.append(f"People among themselves: the same label {made.people_raw:.2f}{alpha}")
    if made.undecided:
        lines.append(f"People are split on {made.undecided} answers; these are left out of the agreement.")
    if made.unscored:
        lines.append(f"The judge gave no score to {made.unscored} labelled answers.")
    if made.retest is not None:
        lines.append(f"Asked again, the judge said the same: {_shown(made.retest.raw)} of {made.retest.n}")
    for arm, effect in made.lengths.items():
        lines.append(
            f"Length, {arm}: {effect.coefficient:+.2f} [{effect.low:+.2f}, {effect.high:+.2f}] log-odds for the longer answer "
            f"at equal labels; win rate {effect.win_rate:.2f}, at equal length {effect.controlled_win_rate:.2f}"
        )
    return [*map(_safe, lines), ""] if lines else []


def _shown(estimate: object, *, sign: bool = False) -> str:
    from ratchet.agreements import Estimate

    if not isinstance(estimate, Estimate):
        return "-"
    form = "+.2f" if sign else ".2f"
    if estimate.low is None or estimate.high is None:
        return format(estimate.value, form)
    import re

    text = f"{estimate.value:{form}} [{estimate.low:{form}}, {estimate.high:{form}}]"
    return re.sub(r"\b0\.", ".", text)


def _safe(text: str) -> str:
    from ratchet.cli.tables import safe

    return safe(text)
