"""Rows of samples gathered as answers end, in memory that grows by some 100 bytes a request and 4 a token."""

from __future__ import annotations

from array import array
from collections import Counter
from dataclasses import dataclass

import numpy as np

from ratchet.errors import ProviderError
from ratchet.loads import records
from ratchet.loads.answers import Answer, gaps_s
from ratchet.loads.records import ERROR_KINDS, ErrorCount, Floats, Integers, Samples
from ratchet.ports import Usage

_CODES = {kind: code for code, kind in enumerate(ERROR_KINDS)}
_TYPES = {
    "index": "q", "arm": "h", "scheduled_s": "d", "dispatched_s": "d", "sent_s": "d", "first_token_s": "d",
    "last_token_s": "d", "last_byte_s": "d", "connect_s": "f", "max_gap_s": "f", "chunks": "i", "input_tokens": "i",
    "output_tokens": "i", "cached_tokens": "i", "status": "h", "error": "b", "received_bytes": "q", "warm_up": "b",
}  # fmt: skip
_MOST = 2**31 - 1
_EXAMPLES = 50
"""Different errors that are told apart; further ones are counted by kind alone."""
NAN = float("nan")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """One request as it went; times are of `perf_counter_ns`, 0 where a thing did not happen."""

    index: int
    arm: int
    warm_up: bool
    scheduled_ns: int
    dispatched_ns: int
    sent_ns: int
    ended_ns: int
    connect_ns: int = 0
    status: int = 0
    received_bytes: int = 0


class Recorder:
    """Keeps what each request came to; `samples` gives it in columns."""

    def __init__(self, arms: tuple[str, ...], start_ns: int, *, max_gaps: int = records.MAX_GAPS) -> None:
        self.arms = arms
        self.start_ns = start_ns
        self._max_gaps = max_gaps
        self._stride = 1
        self._columns = {name: array(code) for name, code in _TYPES.items()}
        self._gaps = array("f")
        self._lengths = array("i")
        self._errors: Counter[tuple[int, str, int, str]] = Counter()
        self.failed = 0

    def __len__(self) -> int:
        return len(self._lengths)

    def since(self, first: int, *, step: int = 1) -> tuple[Integers, Floats, Floats, Integers]:
        """(arm, ttft_s, e2e_s, error code) of every `step`th row from this one on."""
        part = slice(first, None, step)
        arm, scheduled, token, end, error = (
            np.array(self._columns[name][part])
            for name in ("arm", "scheduled_s", "first_token_s", "last_byte_s", "error")
        )
        return arm.astype(np.int64), token - scheduled, end - scheduled, error.astype(np.int64)

    def add(self, fact: Fact, answer: Answer) -> None:
        """Keep one request that has ended."""
        tokens = answer.tokens_ns
        gaps = gaps_s(tokens)
        error = answer.error
        code = 0 if error is None else _CODES.get(error.kind, _CODES["protocol"])
        usage = answer.usage or Usage()
        columns = self._columns
        start = self.start_ns
        columns["index"].append(fact.index)
        columns["arm"].append(fact.arm)
        columns["scheduled_s"].append((fact.scheduled_ns - start) / 1e9)
        columns["dispatched_s"].append((fact.dispatched_ns - start) / 1e9)
        columns["sent_s"].append((fact.sent_ns - start) / 1e9 if fact.sent_ns else NAN)
        columns["first_token_s"].append((tokens[0] - start) / 1e9 if tokens else NAN)
        columns["last_token_s"].append((tokens[-1] - start) / 1e9 if tokens else NAN)
        columns["last_byte_s"].append((fact.ended_ns - start) / 1e9)
        columns["connect_s"].append(fact.connect_ns / 1e9)
        columns["max_gap_s"].append(max(gaps) if gaps else NAN)
        columns["chunks"].append(len(tokens))
        columns["input_tokens"].append(_count(usage.input_tokens))
        columns["output_tokens"].append(_count(usage.output_tokens))
        columns["cached_tokens"].append(_count(usage.cached_tokens))
        columns["status"].append(fact.status)
        columns["error"].append(code)
        columns["received_bytes"].append(fact.received_bytes)
        columns["warm_up"].append(fact.warm_up)
        if error is not None and not fact.warm_up:
            self._count_error(fact, error, code)
        if fact.index % self._stride:
            gaps = []
        self._lengths.append(len(gaps))
        self._gaps.extend(gaps)
        if len(self._gaps) > self._max_gaps:
            self._thin()

    def _count_error(self, fact: Fact, error: ProviderError, code: int) -> None:
        self.failed += 1
        key = (fact.arm, ERROR_KINDS[code], fact.status or error.status or 0, str(error))
        if key not in self._errors and len(self._errors) >= _EXAMPLES:
            key = (*key[:3], "")
        self._errors[key] += 1

    def _thin(self) -> None:
        thin = records.fitted(self.samples(), self._max_gaps)
        self._stride = thin.gap_stride
        self._gaps = array("f", thin.gaps.tobytes())
        self._lengths = array("i", np.diff(thin.offsets).astype(np.int32).tobytes())

    @property
    def errors(self) -> tuple[ErrorCount, ...]:
        """Commonest first."""
        return tuple(
            ErrorCount(arm=self.arms[arm], kind=kind, status=status or None, message=message, count=count)
            for (arm, kind, status, message), count in self._errors.most_common()
        )

    def samples(self) -> Samples:
        """All rows so far, in the order in which they ended; the recorder takes no more while they are used."""
        # views of the same memory
        columns = {name: np.asarray(values) for name, values in self._columns.items()}
        columns["warm_up"] = columns["warm_up"].view(np.bool_)
        offsets = np.concatenate(([0], np.cumsum(np.array(self._lengths, np.int64)))).astype(np.int64)
        return Samples(
            arms=self.arms, gaps=np.asarray(self._gaps), offsets=offsets, gap_stride=self._stride, **columns
        )


def _count(tokens: int | None) -> int:
    return -1 if tokens is None else min(max(tokens, 0), _MOST)
