"""Recorded results in numbers, for `ratchet score`: tables of arms, and trec_eval's lines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ratchet.cli.options import echo_json
from ratchet.errors import PlanError, UnknownNameError

if TYPE_CHECKING:
    from ratchet.cli.file_options import FileOptions
    from ratchet.tabular.rankings import Judged


def files(
    paths: Sequence[str], options: FileOptions, *, baseline: str | None, as_json: bool, root: Path
) -> int:
    """Print every arm of these files in numbers."""
    from ratchet import tabular
    from ratchet.cli.file_options import spec_of
    from ratchet.tabular.descriptions import describe

    arms = tabular.load_alone(paths, spec_of(options, root=root), root=root)
    if baseline is not None and baseline not in arms:
        raise UnknownNameError("arm", baseline, arms)
    found = describe(arms, baseline=baseline)
    if as_json:
        echo_json(found)
    else:
        click.echo("\n".join(_lines(found)))
    return 0


def retrieval(paths: Sequence[str], options: FileOptions, *, as_json: bool, per_query: bool) -> int:
    """Print the metrics of these TREC runs, in trec_eval's own form."""
    from ratchet.tabular import arm_files, rankings
    from ratchet.tabular.specs import Spec

    if options.qrels is None:
        raise click.UsageError("--run needs the judgements it is held against: --qrels FILE")
    if not paths:
        raise PlanError("no run was given; expected --run FILE")
    qrels = rankings.read_qrels(options.qrels)
    names = [name for text in options.metrics or ("official",) for name in rankings.names_of(text)]
    names = list(dict.fromkeys(names))
    judged: dict[str, Judged] = {
        name: rankings.judge(
            qrels, rankings.read_run(path), names, level=options.relevance_level, complete=options.complete
        )
        for name, path in arm_files(paths, Spec())
    }
    if as_json:
        echo_json({name: _ranking_json(found, per_query=per_query) for name, found in judged.items()})
        return 0
    for place, found in enumerate(judged.values()):
        if place:
            click.echo()
        click.echo("\n".join(_trec_lines(found, official=not options.metrics, per_query=per_query)))
    return 0


def _ranking_json(found: Judged, *, per_query: bool) -> dict[str, Any]:
    made: dict[str, Any] = {"runid": found.tag, "num_q": len(found.queries), "metrics": found.summary()}
    if per_query:
        made["queries"] = {
            query: {name: values[place] for name, values in found.values.items()}
            for place, query in enumerate(found.queries)
        }
    return made


def _trec_lines(found: Judged, *, official: bool, per_query: bool) -> Iterator[str]:
    if per_query:
        for place, query in enumerate(found.queries):
            for name, values in found.values.items():
                if name != "gm_map":
                    yield _trec_line(name, query, values[place])
    if official:
        yield f"{'runid':<22}\tall\t{found.tag}"
        yield f"{'num_q':<22}\tall\t{len(found.queries)}"
    for name, value in found.summary().items():
        yield _trec_line(name, "all", value)


def _trec_line(name: str, query: str, value: float) -> str:
    from ratchet.cli.tables import safe

    text = f"{value:.0f}" if name.startswith("num_") else f"{value:.4f}"
    return f"{name:<22}\t{safe(query)}\t{text}"


def _lines(found: Mapping[str, Any]) -> Iterator[str]:
    """One block of at most as many arms as fit."""
    from ratchet.cli.run import width
    from ratchet.cli.tables import table

    arms: Mapping[str, Any] = found["arms"]
    room = max(1, (width() - 24) // 20)
    names = list(arms)
    for start in range(0, len(names), room):
        block = names[start : start + room]
        rows = list(_rows({name: arms[name] for name in block}))
        if "changed" in found:
            rows += _changed_rows(found["changed"], found["baseline"], block)
        yield table(("", *block), rows, width=width())
        yield ""
    yield from _slice_lines(arms, width())
    if any(arm["failed"] or arm["unparsable"] for arm in arms.values()):
        yield "Without an answer, a row has not passed. Means and quantiles of other numbers leave"
        yield "failed rows out; 'with failures' counts them: as 0, or as infinite where less is better."


def _rows(arms: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    each = list(arms.values())
    yield "rows", *(f"{arm['rows']:,}" for arm in each)
    yield "examples", *(f"{arm['examples']:,}" for arm in each)
    if any(arm["repeats"] > 1 for arm in each):
        yield "repeats", *(str(arm["repeats"]) for arm in each)
    for what in ("failed", "unparsable", "refused", "cached"):
        if any(arm[what] for arm in each):
            yield what, *(_failed(arm) if what == "failed" else f"{arm[what]:,}" for arm in each)
    for name in dict.fromkeys(name for arm in each for name in arm["metrics"]):
        yield from _metric_rows(name, [arm["metrics"].get(name) for arm in each])
    for name in dict.fromkeys(name for arm in each for name in arm["agreement"]):
        cells = [arm["agreement"].get(name) for arm in each]
        yield (
            f"agreement {name}",
            *(f"{100 * c['share']:.4g} % ({c['same']:,}/{c['examples']:,})" if c else "-" for c in cells),
        )


def _failed(arm: Mapping[str, Any]) -> str:
    kinds = ", ".join(f"{kind} {count:,}" for kind, count in list(arm["error_kinds"].items())[:2])
    return f"{arm['failed']:,} ({kinds})" if kinds else f"{arm['failed']:,}"


def _metric_rows(name: str, found: Sequence[Mapping[str, Any] | None]) -> Iterator[tuple[str, ...]]:
    if any(metric and metric["kind"] == "bool" for metric in found) or "@" in name or "^" in name:
        yield name, *(_share(metric) for metric in found)
        return
    yield name, *(_number(metric, "mean") for metric in found)
    if "." not in name and any(metric and metric.get("p50") is not None for metric in found):
        for key in ("p50", "p95", "p99"):
            yield f"  {key}", *(_number(metric, key) for metric in found)
            if any(metric and key in metric.get("with_failures", {}) for metric in found):
                yield "    with failures", *(_with_failures(metric, key) for metric in found)


def _share(metric: Mapping[str, Any] | None) -> str:
    if metric is None or metric["mean"] is None:
        return "-"
    if "passes" in metric:
        return f"{100 * metric['mean']:.2f} % ({metric['passes']:,}/{metric['of']:,})"
    whole, _, places = f"{100 * metric['mean']:.6f}".partition(".")
    return f"{whole}.{places.rstrip('0').ljust(1, '0')} %"


def _number(metric: Mapping[str, Any] | None, key: str) -> str:
    value = metric.get(key) if metric else None
    return "-" if value is None else f"{value:,.1f}" if abs(value) >= 1000 else f"{value:.4g}"


def _with_failures(metric: Mapping[str, Any] | None, key: str) -> str:
    if metric is None:
        return "-"
    if "with_failures" not in metric:
        return _number(metric, key)
    value = metric["with_failures"].get(key)
    return "infinite" if value is None else _number(metric["with_failures"], key)


def _changed_rows(
    changed: Mapping[str, Any], baseline: str, block: Sequence[str]
) -> Iterator[tuple[str, ...]]:
    names = dict.fromkeys(metric for arm in changed.values() for metric in arm if metric != "examples")
    for metric in names:
        cells = [changed.get(name, {}).get(metric) for name in block]
        yield (
            f"changed {metric}",
            *(
                "baseline" if name == baseline else f"{100 * cell['share']:.2f} %" if cell else "-"
                for name, cell in zip(block, cells, strict=True)
            ),
        )


def _slice_lines(arms: Mapping[str, Any], width: int) -> Iterator[str]:
    from ratchet.cli.tables import table

    slices = dict.fromkeys(key for arm in arms.values() for key in arm.get("slices", {}))
    for key in slices:
        values = dict.fromkeys(value for arm in arms.values() for value in arm["slices"].get(key, {}))
        metrics = dict.fromkeys(name for arm in arms.values() for name in arm["metrics"])
        for metric in metrics:
            rows: list[tuple[str, ...]] = []
            for value in values:
                cells = [
                    arm["slices"].get(key, {}).get(value, {}).get("metrics", {}).get(metric)
                    for arm in arms.values()
                ]
                shares = [_share(c) if c and c["kind"] == "bool" else _number(c, "mean") for c in cells]
                rows.append((value or "(none)", *shares))
            yield table((f"{metric} by {key}", *arms), rows, width=width)
            yield ""
