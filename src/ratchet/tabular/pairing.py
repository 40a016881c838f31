"""Tables become evidence: rows in order, repeats numbered, what is missing counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ratchet import codec
from ratchet.errors import PairingError, StatisticsError
from ratchet.evidence import (
    DIMENSIONS,
    FACTS,
    LOWER_IS_BETTER,
    ArmData,
    Column,
    Evidence,
    Floats,
    Ints,
    short_answer,
)
from ratchet.tabular.loading import Loaded
from ratchet.tabular.specs import Spec
from ratchet.tabular.tables import Examples, Table

Digests = np.ndarray[Any, np.dtype[np.uint64]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One arm's rows put in order of (example, repeat), with places for those that are missing."""

    rows: Ints
    """Index into the table; -1 for a row that is missing."""
    example: Ints
    repeat: Ints
    repeats: int
    """The most that any example has."""
    missing: int

    def take(self, values: Floats) -> Floats:
        """These values in order; NaN for rows that are missing."""
        taken = values[self.rows]
        taken[self.rows < 0] = np.nan
        return taken

    def flags(self, flags: bytearray, *, absent: bool) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """These flags in order; `absent` for rows that are missing."""
        taken = np.frombuffer(bytes(flags), np.uint8).astype(np.bool_)[self.rows]
        taken[self.rows < 0] = absent
        return taken

    @property
    def starts(self) -> Ints:
        """Where each example's rows begin."""
        return np.flatnonzero(np.diff(self.example, prepend=-1))


def order_of(table: Table, ids: Mapping[str, int], *, max_repeats: int | None, pad: bool) -> Order:
    """The order of this table's rows; `ids` are the examples with their indices.

    Raises:
        PairingError: Two rows have one id and one repeat.
    """
    examples = len(ids)
    example, label = np.array(table.example, np.int64), np.array(table.repeat, np.int64)
    rank = _ranks(table.repeats)[label]
    rows = np.lexsort((rank, example)).astype(np.int64)
    example, rank = example[rows], rank[rows]
    twice = np.flatnonzero((example[1:] == example[:-1]) & (rank[1:] == rank[:-1]))
    if twice.size:
        raise _duplicate(table, ids, (int(rows[twice[0]]), int(rows[twice[0] + 1])), len(twice))
    counts = np.bincount(example, minlength=examples)
    place = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
    if max_repeats is not None:
        kept = place < max_repeats
        rows, example, place = rows[kept], example[kept], place[kept]
        counts = np.minimum(counts, max_repeats)
    repeats = int(counts.max()) if len(rows) else 0
    lacking = repeats - counts if pad else np.zeros_like(counts)
    missing = int(lacking.sum())
    if missing:
        absent = np.repeat(np.arange(examples), lacking)
        offset = np.arange(missing) - np.repeat(np.cumsum(lacking) - lacking, lacking)
        rows = np.concatenate([rows, np.full(missing, -1)])
        example = np.concatenate([example, absent])
        place = np.concatenate([place, counts[absent] + offset])
        order = np.lexsort((place, example))
        rows, example, place = rows[order], example[order], place[order]
    return Order(
        rows=rows,
        example=example.astype(np.int64),
        repeat=place.astype(np.int64),
        repeats=repeats,
        missing=missing,
    )


def _ranks(labels: Mapping[str, int]) -> Ints:
    """The rank of each repeat's label: as numbers where all are, else as texts."""
    try:
        order = sorted(labels, key=float)
    except ValueError:
        order = sorted(labels)
    ranks = np.zeros(max(1, len(labels)), np.int64)
    for rank, label in enumerate(order):
        ranks[labels[label]] = rank
    return ranks


def _duplicate(table: Table, ids: Mapping[str, int], pair: tuple[int, int], count: int) -> PairingError:
    first, second = pair
    id = next(id for id, code in ids.items() if code == table.example[first])
    lines = f"lines {table.line[first]} and {table.line[second]}"
    label = next((label for label, code in table.repeats.items() if code == table.repeat[first]), "0")
    repeat = f" and repeat {label!r}" if len(table.repeats) > 1 else ""
    more = f" ({count:,} such pairs)" if count > 1 else ""
    return PairingError(
        f"arm {table.name!r} has two rows for example {id!r}{repeat}: {lines}{more}. "
        "Name the column that tells repeats apart (--repeat COLUMN), number them as they come (--number-repeats), "
        "or add to the id (--id A,B)"
    )


def evidence_of(loaded: Loaded, spec: Spec, names: Sequence[str]) -> Evidence:
    """The evidence of arms that share their examples.

    Raises:
        PairingError: A duplicate row, too many missing rows, or repeats that can't be compared.
    """
    examples = loaded.examples[names[0]]
    tables = [loaded.tables[name] for name in names]
    orders = {table.name: _ordered(table, examples, spec, pad=True) for table in tables}
    warnings = _check_missing(orders, examples, spec)
    _check_repeats(orders, loaded, spec)
    conflicts = ", ".join(f"{name} ({count:,} rows)" for name, count in examples.slice_conflicts.items())
    if conflicts:
        warnings.append(
            f"Slices differ between rows of one example; the first row's value is used: {conflicts}."
        )
    groups, grouped = _groups(examples)
    arms = {name: arm_data(loaded, name, orders[name], spec) for name in names}
    # what is expected tells a change, but many questions have one answer: only with the question is it the content
    asked = loaded.layout.asked
    contents = tuple(f"{content:016x}" if content and asked else "" for content in examples.contents)
    dataset_id = codec.content_id([list(examples.index), list(contents)])
    return Evidence(
        examples=tuple(examples.index),
        groups=groups,
        grouped=grouped,
        contents=contents,
        slices={name: tuple(texts) for name, texts in examples.slices.items()},
        arms=arms,
        checks=spec.checks,
        facts={
            "source": "files",
            "files": list(loaded.sources),
            "columns": loaded.layout.mapping(),
            "dataset_id": dataset_id,
            "task_id": codec.content_id(
                [dataset_id, loaded.layout.mapping(), [codec.encode(c) for c in spec.checks]]
            ),
            "run_ids": [],
            "interleaved": spec.interleaved,
            "scorers": {name: by for judge in loaded.judges.values() for name, by in judge.by.items()},
            "repeats": max((order.repeats for order in orders.values()), default=1),
        },
        warnings=tuple(warnings),
    )


def _ordered(table: Table, examples: Examples, spec: Spec, *, pad: bool) -> Order:
    return order_of(table, examples.index, max_repeats=spec.max_repeats, pad=pad)


def _check_missing(orders: Mapping[str, Order], examples: Examples, spec: Spec) -> list[str]:
    """Warnings about missing rows.

    Raises:
        PairingError: An arm lacks more than the declared share.
    """
    warnings: list[str] = []
    for name, order in orders.items():
        if not order.missing:
            continue
        share = order.missing / len(order.rows)
        absent = np.unique(order.example[order.rows < 0])
        wanted = set(absent[:3].tolist())
        ids = [id for id, code in examples.index.items() if code in wanted]
        shown = ", ".join(map(repr, ids)) + (", …" if len(absent) > 3 else "")
        what = (
            f"arm {name!r} lacks {order.missing:,} of {len(order.rows):,} rows ({share:.1%}), as of {shown}"
        )
        if share > spec.max_missing:
            hint = "; do the ids mean the same in both?" if share > 0.4 else ""
            raise PairingError(
                f"{what}; expected at most {spec.max_missing:.1%}{hint}. "
                "Rows that failed belong in the file, with their error; --max-missing SHARE allows more, counted as failed"
            )
        warnings.append(f"{what[0].upper()}{what[1:]}; they count as failed.")
    return warnings


def _check_repeats(orders: Mapping[str, Order], loaded: Loaded, spec: Spec) -> None:
    """Refuse agreement over different numbers of repeats."""
    if not spec.stability and not spec.agreement:
        return
    found = {name: order.repeats for name, order in orders.items()}
    if len(set(found.values())) > 1:
        shown = ", ".join(f"{name} {n}" for name, n in found.items())
        raise PairingError(
            f"total agreement falls with the number of repeats, and the arms have {shown}; "
            f"expected as many in each: --max-repeats {min(found.values())}"
        )


def _groups(examples: Examples) -> tuple[Ints, bool]:
    """The cluster of each example; those without a group stand alone."""
    codes: dict[object, int] = {}
    groups = np.array(
        [
            codes.setdefault(i if group is None else group, len(codes))
            for i, group in enumerate(examples.groups)
        ],
        np.int64,
    )
    return groups, len(codes) < len(groups)


def alone(loaded: Loaded, name: str, spec: Spec) -> Evidence:
    """The evidence of one arm by itself, its rows as they are: nothing is counted as missing."""
    examples = loaded.examples[name]
    order = _ordered(loaded.tables[name], examples, spec, pad=False)
    groups, grouped = _groups(examples)
    return Evidence(
        examples=tuple(examples.index),
        groups=groups,
        grouped=grouped,
        contents=(),
        slices={key: tuple(texts) for key, texts in examples.slices.items()},
        arms={name: arm_data(loaded, name, order, spec)},
        facts={"repeats": order.repeats},
    )


def arm_data(loaded: Loaded, name: str, order: Order, spec: Spec) -> ArmData:
    """One table as an arm of the evidence."""
    table, judge = loaded.tables[name], loaded.judges.get(name)
    failed = order.flags(table.failed, absent=True)
    columns: dict[str, Column] = {}
    for metric in table.metrics.values():
        values = np.array(metric.values, np.float64)
        labels = judge.labels.get(metric.name) if judge is not None else None
        if np.isnan(values).all() and not labels and metric.name in FACTS:
            continue
        by = judge.by.get(metric.name) if judge is not None else None
        columns[metric.name] = Column(
            name=metric.name,
            values=order.take(values),
            kind="bool" if metric.kind.is_bool and metric.name not in FACTS else "number",
            dimension=_dimension(metric.name, judge.dimensions.get(metric.name) if judge else None, spec),
            higher_is_better=metric.name not in LOWER_IS_BETTER and metric.name not in spec.lower_is_better,
            by=by or "",
            labels=tuple(labels[row] if row >= 0 else (None, frozenset[str]()) for row in order.rows.tolist())
            if labels
            else (),
        )
    _add_stability(columns, table, order, spec)
    kinds = Counter(table.error_kinds)
    if order.missing:
        kinds["missing"] += order.missing
    rows = order.rows.tolist()
    answers = (
        tuple(short_answer(table.answers[row]) if row >= 0 else None for row in rows) if table.answers else ()
    )
    unparsable = order.flags(table.unparsable, absent=False)
    if answers and (failed.any() or unparsable.any()):
        gone = (failed | unparsable).tolist()
        answers = tuple(None if no else answer for answer, no in zip(answers, gone, strict=True))
    return ArmData(
        name=name,
        variant_id=codec.content_id({"arm": name, "files": [source["sha256"] for source in loaded.sources]}),
        example=order.example,
        repeat=order.repeat,
        failed=failed,
        refused=order.flags(table.refused, absent=False),
        unparsable=unparsable,
        cached=order.flags(table.cached, absent=False),
        columns=columns,
        answers=answers,
        error_kinds=dict(kinds.most_common()),
    )


def _dimension(name: str, given: Any, spec: Spec) -> Any:
    return spec.dimensions.get(name) or given or DIMENSIONS.get(name, "accuracy")


def _add_stability(columns: dict[str, Column], table: Table, order: Order, spec: Spec) -> None:
    """The columns that need all repeats of an example: agreement, and pass@k."""
    scores = {name: column for name, column in columns.items() if name not in FACTS}
    if spec.stability or spec.agreement:
        if order.repeats < 2:
            raise StatisticsError(
                f"arm {table.name!r} has one row an example; agreement needs repeats: name their column (--repeat)"
            )
        for name, digests in table.digests.items():
            taken = np.array(digests, np.uint64)[order.rows]
            taken[order.rows < 0] = 0
            _add(columns, f"agreement.{name}", _agree(taken, order), "stability")
        if not table.digests:
            for name, column in scores.items():
                bits = np.where(np.isnan(column.values), np.nan, column.values + 0.0).view(np.uint64).copy()
                bits = np.where(np.isnan(column.values), np.uint64(0), bits + np.uint64(1))
                _add(columns, f"agreement.{name}", _agree(bits, order), "stability")
    for name, column in scores.items():
        if spec.measures and column.kind != "bool":
            raise StatisticsError(
                f"{spec.measures[0].name} needs passes and fails; the values of {name!r} are other numbers"
            )
        for measure in spec.measures:
            _add(
                columns,
                f"{name}.{measure.name}",
                _pass(column.values, order, measure.k, every=measure.every),
                None,
            )


def _add(columns: dict[str, Column], name: str, values: Floats, dimension: Any) -> None:
    kind = "bool" if dimension == "stability" else "number"
    columns[name] = Column(name=name, values=values, kind=kind, dimension=dimension or "accuracy")


def _agree(digests: Digests, order: Order) -> Floats:
    """1 a row whose example has all its repeats, all equal; a missing answer (0) equals nothing."""
    starts = order.starts
    low, high = np.minimum.reduceat(digests, starts), np.maximum.reduceat(digests, starts)
    sizes = np.diff(starts, append=len(digests))
    same = (low == high) & (low != 0) & (sizes == order.repeats)
    return np.repeat(same.astype(np.float64), sizes)


def _pass(values: Floats, order: Order, k: int, *, every: bool) -> Floats:
    """pass@k or pass^k of each row's example; a row without a score is a fail."""
    from ratchet.stats.stability import pass_at_k, pass_hat_k

    starts = order.starts
    sizes = np.diff(starts, append=len(values))
    passed = np.add.reduceat(np.nan_to_num(values, nan=0.0), starts)
    return np.repeat((pass_hat_k if every else pass_at_k)(passed, sizes, k), sizes)
