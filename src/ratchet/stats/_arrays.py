"""Checks and groupings shared by the statistics: values to arrays, ids to codes, rows to examples."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ratchet.errors import PairingError, StatisticsError

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Ids = Sequence[Hashable] | NDArray[Any]


def as_values(values: ArrayLike, name: str, *, infinite: bool = False) -> FloatArray:
    """One-dimensional float64 array of `values`; NaN (and infinity, unless legal here) is an error with its row."""
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise StatisticsError(
            f"{name} holds something that is not a number ({error}). Expected numbers only."
        ) from None
    if array.ndim != 1 or array.size == 0:
        raise StatisticsError(f"{name} has shape {array.shape}; expected a list of at least one number.")
    bad = np.isnan(array) if infinite else ~np.isfinite(array)
    if bad.any():
        row = int(np.argmax(bad))
        raise StatisticsError(
            f"{name}[{row}] is {array[row]}; expected {'a number' if infinite else 'a finite number'}. "
            "Score the failure as a fail, or leave the row out of both arms and count it."
        )
    return array


def check_level(level: float) -> float:
    """`level` itself when it lies strictly between 0 and 1."""
    if not 0.0 < level < 1.0:
        raise StatisticsError(f"level is {level}; expected a share between 0 and 1, such as 0.95.")
    return level


def check_counts(successes: int, n: int) -> None:
    """Raise unless 0 <= successes <= n and n >= 1."""
    if n < 1 or not 0 <= successes <= n:
        raise StatisticsError(
            f"{successes} of {n} is not a proportion; expected 0 <= successes <= n and n >= 1."
        )


def _sorted_unique(ids: list[Hashable]) -> list[Hashable]:
    distinct: Iterable[Any] = set(ids)
    try:
        return sorted(distinct)
    except TypeError:
        return sorted(distinct, key=lambda key: (type(key).__name__, repr(key)))


def as_codes(ids: Ids, n: int, name: str) -> tuple[IntArray, list[Hashable]]:
    """A code 0..k-1 for each id and the k ids in sorted order, so that shuffled rows give the same codes."""
    if len(ids) != n:
        raise PairingError(f"{name} has {len(ids)} entries for {n} rows; expected one a row.")
    if isinstance(ids, np.ndarray) and ids.dtype.kind in "iub":
        unique, codes = np.unique(ids, return_inverse=True)
        return codes.astype(np.int64), cast("list[Hashable]", unique.tolist())
    listed = cast("list[Hashable]", ids.tolist() if isinstance(ids, np.ndarray) else list(ids))
    keys = _sorted_unique(listed)
    index = {key: code for code, key in enumerate(keys)}
    return np.fromiter((index[key] for key in listed), dtype=np.int64, count=n), keys


def sums_by(codes: IntArray, values: FloatArray, count: int) -> FloatArray:
    """The sum of `values` within each code 0..count-1."""
    return np.asarray(np.bincount(codes, weights=values, minlength=count), dtype=np.float64)


def as_groups(groups: Ids | None, n: int) -> tuple[IntArray | None, int]:
    """The group code of each row and how many groups there are; no codes where no group repeats."""
    if groups is None:
        return None, n
    codes, keys = as_codes(groups, n, "groups")
    return (codes, len(keys)) if len(keys) < n else (None, n)


@dataclass(frozen=True, slots=True, kw_only=True)
class Examples:
    """Rows reduced to examples: column means over the repeats, the group of each, and how many rows each had."""

    columns: tuple[FloatArray, ...]
    groups: IntArray | None
    n_groups: int
    repeats: IntArray

    @property
    def n(self) -> int:
        """How many examples there are."""
        return len(self.repeats)


def as_examples(columns: Sequence[FloatArray], examples: Ids | None, groups: Ids | None) -> Examples:
    """Average each column over the rows of one example; groups in which every example stands alone are dropped.

    Raises PairingError when columns differ in length or one example lies in two groups.
    """
    n_rows = len(columns[0])
    for column in columns[1:]:
        if len(column) != n_rows:
            raise PairingError(
                f"The arms have {n_rows} and {len(column)} rows; expected the same (example, repeat) rows in both."
            )
    group_codes, group_keys = as_codes(groups, n_rows, "groups") if groups is not None else (None, [])
    if examples is None:
        means, repeats = tuple(columns), np.ones(n_rows, dtype=np.int64)
    else:
        codes, keys = as_codes(examples, n_rows, "examples")
        repeats = np.bincount(codes, minlength=len(keys)).astype(np.int64)
        means = tuple(sums_by(codes, column, len(keys)) / repeats for column in columns)
        if group_codes is not None:
            first = np.zeros(len(keys), dtype=np.int64)
            first[codes] = group_codes
            astray = np.flatnonzero(first[codes] != group_codes)
            if astray.size:
                raise PairingError(
                    f"Example {keys[codes[astray[0]]]!r} lies in two groups ({group_keys[group_codes[astray[0]]]!r} "
                    f"and {group_keys[first[codes[astray[0]]]]!r}); expected one group an example."
                )
            group_codes = first
    if group_codes is None or len(group_keys) == len(repeats):
        return Examples(columns=means, groups=None, n_groups=len(repeats), repeats=repeats)
    return Examples(columns=means, groups=group_codes, n_groups=len(group_keys), repeats=repeats)
