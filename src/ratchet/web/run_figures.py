"""The figures of a run as its page shows them: `extra.json` becomes rows of tables and charts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from ratchet.records import Run
from ratchet.reports import charts_runs, numbers, texts
from ratchet.web.counting import Tally
from ratchet.web.run_rows import Asked, name_of, seconds, usd

MOST_SCORES = 8
"""Rows of the table of scores; the export has all."""
_SHADES = 5


def overview(run: Run, tally: Tally, figures: Mapping[str, Any]) -> dict[str, Any]:
    """What stands above the rows: scores, facts and times, arm by arm; of a run under way what counts alone can say."""
    arms = list(run.arms)
    summary = figures.get("summary")
    return {
        "arms": arms_of(run),
        "scores": [] if summary is None else _scores(summary, arms),
        "facts": _facts(tally, summary, arms, figures),
        "times": _times(figures.get("latency_s"), arms, "Latency"),
        "has_figures": summary is not None,
        "notes": [] if summary is None else summary["notes"],
    }


def arms_of(run: Run) -> list[dict[str, Any]]:
    """The run's arms as templates name them."""
    return [
        {"name": arm, "index": index, "baseline": arm == run.baseline} for index, arm in enumerate(run.arms)
    ]


def more(run: Run, figures: Mapping[str, Any]) -> dict[str, Any] | None:
    """What stands behind "More figures"; None while there is none of it."""
    summary = figures.get("summary")
    if summary is None:
        return None
    arms = list(run.arms)
    return {
        "errors": _errors(summary, arms),
        "first_tokens": _times(figures.get("ttft_s"), arms, "Time to first token"),
        "distributions": [found for score in figures["scores"] if (found := _distribution(score, arms))],
        "labels": [found for name in _label_scores(summary) if (found := _by_label(summary, name, arms))],
        "confusion": [_confusion(matrix, arms) for matrix in figures["confusion"]],
        "worst": [_worst(row, arms) for row in summary["worst"]],
        "reasons": _reasons(summary, arms),
    }


def _scores(summary: Mapping[str, Any], arms: Sequence[str]) -> list[dict[str, Any]]:
    names = dict.fromkeys(name for arm in arms for name in summary["arms"][arm]["scores"])
    found: list[dict[str, Any]] = []
    for name in list(names)[:MOST_SCORES]:
        each = [summary["arms"][arm]["scores"].get(name) for arm in arms]
        known = [s["estimate"] for s in each if s and s["estimate"]]
        kinds = {s["kind"] for s in each if s}
        rate = kinds == {"rate"}
        unit = numbers.level_unit(name, [e["value"] for e in known], rate=rate)
        cells: list[dict[str, str]] = []
        levels: list[charts_runs.Level | None] = []
        for arm, score in zip(arms, each, strict=True):
            cell, level = _level(arm, score, unit)
            cells.append(cell)
            levels.append(level)
        found.append(
            {
                "name": name,
                "what": "passed" if rate else "mean" if known else "labels",
                "dimension": next((s["dimension"] for s in each if s), ""),
                "cells": cells,
                "plot": charts_runs.levels(levels, label=f"{texts.visible(name)}, with 95 % intervals")
                if known
                else "",
            }
        )
    return found


def _level(
    arm: str, score: Mapping[str, Any] | None, unit: numbers.Unit
) -> tuple[dict[str, str], charts_runs.Level | None]:
    if not score or not score["estimate"]:
        macro = (score or {}).get("measures", {}).get("macro_f1")
        return {"value": "–" if macro is None else f"F1 {macro:.3f}", "span": "", "n": ""}, None
    estimate = score["estimate"]
    span = unit.span(estimate["low"], estimate["high"], signed=False)
    value = unit.level(estimate["value"])
    level = charts_runs.Level(
        arm=texts.visible(arm), estimate=estimate["value"], low=estimate["low"], high=estimate["high"],
        text=f"{value} {span}, n {estimate['n']:,}",
    )  # fmt: skip
    return {"value": value, "span": span, "n": f"n {estimate['n']:,}"}, level


def _facts(
    tally: Tally, summary: Mapping[str, Any] | None, arms: Sequence[str], figures: Mapping[str, Any]
) -> list[dict[str, Any]]:
    counted = [tally.arms[arm] for arm in arms]
    rows: list[tuple[str, list[str]]] = [
        ("Answers", [f"{c.rows:,}" if c.rows >= c.planned else f"{c.rows:,} of {c.planned:,}" for c in counted]),
        ("Errors", [_share(c.failed, c.rows) for c in counted]),
        ("Cost", [usd(c.cost_usd) for c in counted]),
        ("Cost per 1,000", [usd(1000 * c.cost_usd / (c.rows - c.unpriced)) if c.cost_usd is not None and c.rows > c.unpriced else "–" for c in counted]),
    ]  # fmt: skip
    first = figures.get("ttft_s") or {"arms": {}}
    if first["arms"]:
        rows.append(("First token p50", [_quantile(first, arm, "p50") for arm in arms]))
    rows.append(("Tokens in", [numbers.count(c.input_tokens) for c in counted]))
    rows.append(("Tokens out", [numbers.count(c.output_tokens) for c in counted]))
    for name in ("refused", "unparsable", "cached"):
        if summary is not None and any(summary["arms"][arm][name] for arm in arms):
            rows.append(
                (
                    name.capitalize(),
                    [_share(summary["arms"][a][name], summary["arms"][a]["rows"]) for a in arms],
                )
            )
    return [
        {"name": name, "cells": cells, "bad": name == "Errors" and tally.failed > 0} for name, cells in rows
    ]


def _quantile(times: Mapping[str, Any], arm: str, name: str) -> str:
    found = times["arms"].get(arm)
    return seconds(found["quantiles"][name]) if found else "–"


def _share(part: int, of: int) -> str:
    return f"{part:,} ({100 * part / of:.1f} %)" if part and of else f"{part:,}"


def _times(found: Mapping[str, Any] | None, arms: Sequence[str], name: str) -> dict[str, Any] | None:
    """A histogram with its quantiles, and these as a table; None where nothing was timed."""
    if not found or not found["arms"]:
        return None
    timed = [arm for arm in arms if arm in found["arms"]]
    chart = charts_runs.times(
        [
            charts_runs.Times(arm=texts.visible(arm), counts=found["arms"][arm]["counts"], quantiles=found["arms"][arm]["quantiles"])
            for arm in timed
        ],
        found["edges"],
        beyond=bool(found["beyond"]),
        label=f"{name} by arm, with p50, p90, p95 and p99",
        tick=lambda value: "0" if value == 0 else seconds(value),
    )  # fmt: skip
    names = list(found["arms"][timed[0]]["quantiles"])
    return {
        "name": name,
        "chart": chart,
        "names": names,
        "rows": [
            {
                "arm": arm,
                "index": arms.index(arm),
                "cells": [seconds(found["arms"][arm]["quantiles"][q]) for q in names],
            }
            for arm in timed
        ],
    }


def _errors(summary: Mapping[str, Any], arms: Sequence[str]) -> list[dict[str, Any]]:
    kinds = dict.fromkeys(kind for arm in arms for kind in summary["arms"][arm]["errors"])
    rows = [
        {
            "kind": kind,
            "word": kind.replace("_", " "),
            "query": Asked(error=kind).query(),
            "cells": [
                {
                    "count": summary["arms"][arm]["errors"].get(kind, 0),
                    "query": Asked(error=kind, arm=arm).query(),
                }
                for arm in arms
            ],
        }
        for kind in kinds
    ]
    return sorted(rows, key=lambda row: -sum(cell["count"] for cell in row["cells"]))


def _distribution(score: Mapping[str, Any], arms: Sequence[str]) -> dict[str, Any] | None:
    edges = score["edges"]
    bars: list[charts_runs.Bars] = []
    for index, bar in enumerate(score["bars"]):
        if edges:
            label = f"{edges[index]:.3g} to {edges[index + 1]:.3g}"
        elif score["kind"] == "bool":
            label = "passed" if bar["value"] else "failed"
        else:
            label = texts.visible(bar["label"]) if "label" in bar else f"{bar['value']:.4g}"
        bars.append(charts_runs.Bars(label=label, counts=[bar["counts"].get(arm, 0) for arm in arms]))
    name = name_of({"name": str(score["name"]), "source": str(score["source"])})
    chart = charts_runs.distribution(
        bars,
        [texts.visible(arm) for arm in arms],
        label=f"How often each value of {texts.visible(name)} was given, by arm",
        edges=(edges[0], edges[-1]) if edges else None,
        tick=lambda value: f"{value:.3g}",
    )
    if not chart:
        return None
    unscored = sum(score["unscored"].values())
    return {
        "name": name,
        "chart": chart,
        "unscored": unscored,
        "query": Asked(score=f"{score['column']}|none").query(),
    }


def _label_scores(summary: Mapping[str, Any]) -> list[str]:
    return list(
        dict.fromkeys(
            name for arm in summary["arms"].values() for name, s in arm["scores"].items() if s["by_label"]
        )
    )


def _by_label(summary: Mapping[str, Any], name: str, arms: Sequence[str]) -> dict[str, Any] | None:
    """Precision, recall and F1 of each label, arm by arm."""
    found: dict[str, dict[str, Mapping[str, Any]]] = {}
    for arm in arms:
        for row in (summary["arms"][arm]["scores"].get(name) or {"by_label": ()})["by_label"]:
            found.setdefault(row["label"], {})[arm] = row
    if not found:
        return None
    ordered = sorted(found.items(), key=lambda item: -max(row["support"] for row in item[1].values()))
    rows = [
        {
            "label": label,
            "support": max(row["support"] for row in by_arm.values()),
            "cells": [
                [_ratio(by_arm.get(arm), measure) for measure in ("precision", "recall", "f1")]
                for arm in arms
            ],
        }
        for label, by_arm in ordered[:40]
    ]
    macro = [
        (summary["arms"][arm]["scores"].get(name) or {"measures": {}})["measures"].get("macro_f1")
        for arm in arms
    ]
    return {"name": name, "rows": rows, "left_out": max(0, len(ordered) - 40),
            "macro": ["–" if value is None else f"{value:.3f}" for value in macro]}  # fmt: skip


def _ratio(row: Mapping[str, Any] | None, measure: str) -> str:
    return "–" if row is None or row[measure] is None else f"{row[measure]:.3f}"


def _confusion(matrix: Mapping[str, Any], arms: Sequence[str]) -> dict[str, Any]:
    tables: list[dict[str, Any]] = []
    for arm in arms:
        counts = matrix["arms"].get(arm)
        if not counts or not any(map(sum, counts)):
            continue
        rows: list[dict[str, Any]] = []
        for index, (label, row) in enumerate(zip(matrix["labels"], counts, strict=True)):
            total = max(1, sum(row))
            cells = [
                {
                    "n": n,
                    "shade": min(_SHADES - 1, int(_SHADES * n / total)) if n else None,
                    "right": k == index,
                }
                for k, n in enumerate(row)
            ]
            rows.append({"label": label, "cells": cells})
        tables.append({"arm": arm, "index": arms.index(arm), "rows": rows})
    return {"name": matrix["name"], "labels": matrix["labels"], "tables": tables}


def _worst(row: Mapping[str, Any], arms: Sequence[str]) -> dict[str, Any]:
    missed = [f"{name} {_shown(value)}" for name, value in row["missed"].items()]
    return {
        "id": row["trace_id"],
        "example": row["example_id"],
        "arm": row["arm"],
        "index": arms.index(row["arm"]) if row["arm"] in arms else 0,
        "why": row["error"].replace("_", " ") if row["error"] else ", ".join(missed),
        "error": bool(row["error"]),
        "query": Asked(row=row["trace_id"]).query(),
    }


def _shown(value: Any) -> str:
    if value is None:
        return "not scored"
    if isinstance(value, bool):
        return "passed" if value else "failed"
    return f"{value:.3g}" if isinstance(value, (int, float)) else texts.cut(str(value), 40)


def _reasons(summary: Mapping[str, Any], arms: Sequence[str]) -> list[dict[str, Any]]:
    """Why answers have no score, the most frequent reasons of each score."""
    counted: dict[tuple[str, str], list[int]] = {}
    for k, arm in enumerate(arms):
        for name, score in summary["arms"][arm]["scores"].items():
            for reason, n in score["reasons"].items():
                counted.setdefault((name, reason), [0] * len(arms))[k] += n
    ordered = sorted(counted.items(), key=lambda item: -sum(item[1]))[:8]
    return [
        {"score": name, "reason": texts.cut(reason, 200), "cells": cells} for (name, reason), cells in ordered
    ]


def progress_bar(tally: Tally) -> Markup:
    """How much of the run is done, as a bar."""
    return charts_runs.share_bar(tally.share, label=f"{tally.rows:,} of {tally.planned:,} answers")
