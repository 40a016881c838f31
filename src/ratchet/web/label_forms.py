"""The form for a new queue: what it offers, what a link may fill in, and what comes back as a recipe."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from ratchet import codec
from ratchet.errors import CodecError, ConfigError
from ratchet.labels import rubrics
from ratchet.labels.queues import Recipe
from ratchet.labels.rubrics import Rubric

if TYPE_CHECKING:
    from ratchet.records import Json, Run
    from ratchet.stores.sqlite import SQLiteStore

MOST_RUNS = 200
DEFAULTS: Mapping[str, str] = {
    "run": "",
    "order": "random",
    "score": "",
    "n": "100",
    "seed": "0",
    "per_item": "1",
    "repeats": "0",
    "name": "",
    "stratify": "",
    "where": "",
    "arm": "",
    "between": "judge-code",
    "other": "",
    "metric": "",
    "baseline": "",
    "baseline_run": "",
    "candidate": "",
    "lower_is_better": "",
    "blind": "",
    "rubric": "",
    "text": "",
}


def new_queue(store: SQLiteStore, given: Mapping[str, str], error: str = "") -> dict[str, Any]:
    """What the form shows: the runs to choose from, and fields filled in by the link that led here."""
    rows = store.runs(limit=MOST_RUNS)
    fields = {**DEFAULTS, **{key: value for key, value in given.items() if key in DEFAULTS}}
    if given.get("verdict"):
        fields |= of_verdict(store, given["verdict"])
    if not fields["run"] and rows:
        fields["run"] = rows[0].id
    run = store.run(fields["run"]) if fields["run"] else None
    if not fields["score"]:
        fields["score"] = next((s.name for s in run.task.scorers), "quality") if run else "quality"
    return {
        "fields": fields,
        "runs": rows,
        "arms": list(run.arms) if run else [],
        "scores": [scorer.name for scorer in run.task.scorers] if run else [],
        "rubrics": rubrics.names(store),
        "error": error,
        "open": bool(error or {"run", "verdict", "order"} & set(given)),
    }


def of_verdict(store: SQLiteStore, verdict_id: str) -> dict[str, str]:
    """The fields that say "worst change first" of this verdict's comparison; none where it is not kept."""
    from ratchet.evidence import FACTS
    from ratchet.verdicts import keeping

    found = keeping.find(store, verdict_id)
    if found is None or len(found.sources) < 2:
        return {}
    baseline, candidate = list(found.sources.values())[:2]
    verdict = keeping.verdict_of(store, found)
    checks = [result.check for result in verdict.results if result.check.metric not in FACTS]
    metrics = sorted(checks, key=lambda check: (check.dimension != "accuracy", check.role != "primary"))
    fields = {
        "run": candidate.run_id,
        "order": "worst",
        "baseline": baseline.arm,
        "candidate": candidate.arm,
        "baseline_run": baseline.run_id if baseline.run_id != candidate.run_id else "",
    }
    if metrics:
        fields |= {"score": metrics[0].metric, "metric": metrics[0].metric}
        fields["lower_is_better"] = "" if metrics[0].higher_is_better else "1"
    return fields


def read_new_queue(store: SQLiteStore, form: Mapping[str, str]) -> tuple[Run, Recipe, Rubric | None]:
    """The run, the recipe and, where the form says what is asked, the rubric.

    Raises:
        ConfigError: A field that can't be used.
    """
    fields = {**DEFAULTS, **form}
    run = store.run(fields["run"].strip())
    if run is None:
        raise ConfigError(f"the run is {fields['run']!r}, expected one of the runs of this store")
    score = fields["score"].strip()
    key, sep, value = fields["where"].partition("=")
    if fields["where"].strip() and not sep:
        raise ConfigError(f"the slice is {fields['where']!r}, expected name=value, such as topic=billing")
    arm, order = fields["arm"].strip(), fields["order"]
    recipe = Recipe(
        order=cast("Any", order),
        score=score,
        n=_number(fields, "n", whole_only=True),
        seed=_number(fields, "seed", whole_only=True),
        name=fields["name"],
        stratify=fields["stratify"].strip() or None,
        where={key.strip(): value.strip()} if sep else {},
        arms=(arm,) if arm else (),
        between=cast("Any", fields["between"]),
        other=fields["other"].strip() or None,
        metric=fields["metric"].strip() or None,
        lower_is_better=bool(fields["lower_is_better"]),
        baseline=fields["baseline"].strip() or None,
        baseline_run=fields["baseline_run"].strip() or None,
        candidate=fields["candidate"].strip() or None,
        per_item=_number(fields, "per_item", whole_only=True),
        repeats=_number(fields, "repeats") / 100.0,
        blind=order == "pairs" or bool(fields["blind"]),
    )
    asked = fields["rubric"].strip()
    rubric = None
    if order == "pairs":
        known = rubrics.load(store, score)
        if known is None or known.kind != "pair" or fields["text"].strip():
            rubric = rubrics.pairwise(score, fields["text"].strip())
    elif asked or fields["text"].strip():
        rubric = rubrics.parse(score, asked, fields["text"].replace("\r\n", "\n").strip())
    return run, recipe, rubric


def _number(fields: Mapping[str, str], name: str, *, whole_only: bool = False) -> Any:
    text = fields[name].strip() or DEFAULTS[name]
    try:
        return int(text) if whole_only else float(text)
    except ValueError:
        raise ConfigError(f"{name} is {text!r}, expected a {'whole ' if whole_only else ''}number") from None


def whole(text: str, default: int, low: int, high: int) -> int:
    """The whole number that a query says, within these limits; the default where it says none."""
    return max(low, min(high, int(text))) if text.isdigit() and len(text) < 9 else default


def as_body(form: Mapping[str, str]) -> dict[str, Json]:
    """The fields of a form without scripts, as the page's own requests say them."""
    body: dict[str, Json] = {**form, "form": True}
    for name in ("position", "slot"):
        body[name] = int(form[name]) if form.get(name, "").isdigit() else None
    if "value" in form:
        try:
            body["value"] = codec.parse(form["value"])
        except CodecError:
            body["value"] = form["value"]
    return body
