"""What a load test sends, notes and says of itself: shots, samples in columns, vitals and health.

Times are seconds from the start of the test on the machine's monotonic clock, NaN where a thing never happened.
Everything merges exactly: the samples of N processes are those that one process would have kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Literal, Protocol, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from ratchet.records import FailureKind

Floats: TypeAlias = NDArray[np.float64]
Singles: TypeAlias = NDArray[np.float32]
Integers: TypeAlias = NDArray[np.int64]
Flags: TypeAlias = NDArray[np.bool_]
Mode: TypeAlias = Literal["open", "closed"]
Ending: TypeAlias = Literal["done", "interrupted"]
Resource: TypeAlias = Literal["cpu", "event loop", "schedule", "sockets", "memory"]

ERROR_KINDS: tuple[str, ...] = ("", *get_args(FailureKind), "interrupted")
"""`Samples.error` is a place in this tuple: 0 is no error. "interrupted": cut short by Ctrl-C, no fault of the server."""
INTERRUPTED = len(ERROR_KINDS) - 1
MAX_GAPS = 20_000_000
"""Token gaps kept in all, 80 MB; past it, those of every second, fourth… request (see `Samples.gap_stride`)."""
_MOST_STRIDE = 2**32
_BLOCK = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Shot:
    """One request to send."""

    index: int
    """Its place in the whole schedule, over all arms and processes: unique, from 0."""
    arm: int
    """Place of its arm in the test's list of arms."""
    at_s: float = 0.0
    """Intended start; a closed loop doesn't look at it."""
    body: bytes = field(repr=False)
    """What `Target.body` made of the request."""
    warm_up: bool = False
    """Sent and kept, and left out of every figure."""


class Shots(Protocol):
    """Gives the shots of one process; can be pickled, so that other processes can call it.

    **Order**: by `at_s`, within a part. **Parts**: part p of n holds the shots with `index % n == p`, and nothing
    else depends on n: the parts together are the schedule. **Memory**: made one at a time, bodies too.
    """

    def __call__(self, part: int, parts: int) -> Iterator[Shot]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Slo:
    """What a request must hold to count as good, in seconds, each from the intended start; None: no limit."""

    ttft_s: float | None = None
    tpot_s: float | None = None
    """Mean time per output token after the first."""
    e2e_s: float | None = None
    gap_s: float | None = None
    """The longest wait between two tokens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """One row for each request that was scheduled, in the order of `index`.

    A row that never got an answer is a row all the same: dropped requests would flatter the server.
    """

    arms: tuple[str, ...]
    index: Integers
    arm: NDArray[np.int16]
    scheduled_s: Floats
    """The intended start; in a closed loop, when the user was free."""
    dispatched_s: Floats
    """When the generator took the request up; later than `scheduled_s` only by its own lateness."""
    sent_s: Floats
    """When its bytes were written, connection made."""
    first_token_s: Floats
    """NaN too where the answer did not stream."""
    last_token_s: Floats
    last_byte_s: Floats
    """The end: the answer's last byte, or when it failed or was given up."""
    connect_s: Singles
    """Time spent on a new connection; 0 where one was kept alive."""
    max_gap_s: Singles
    """The longest of the row's token gaps, kept for every row; NaN where there is none."""
    chunks: NDArray[np.int32]
    """Events that carried tokens."""
    input_tokens: NDArray[np.int32]
    """As the server counts, cached ones included; -1 where it did not say."""
    output_tokens: NDArray[np.int32]
    """As the server counts, reasoning ones included; -1 where it did not say."""
    cached_tokens: NDArray[np.int32]
    status: NDArray[np.int16]
    """Of HTTP; 0 where none came."""
    error: NDArray[np.int8]
    """Place in ERROR_KINDS; 0: none."""
    received_bytes: Integers
    warm_up: Flags
    gaps: Singles
    """Seconds between neighbouring tokens, flat: those of row i are `gaps[offsets[i]:offsets[i + 1]]`. Tokens that
    came in one read have gaps of 0."""
    offsets: Integers
    gap_stride: int = 1
    """Only rows whose index is a multiple of this keep their gaps: 1 unless there are more than MAX_GAPS."""

    def __len__(self) -> int:
        return len(self.index)

    @property
    def ok(self) -> Flags:
        return self.error == 0

    @property
    def ttft_s(self) -> Floats:
        """From the intended start to the first token."""
        return self.first_token_s - self.scheduled_s

    @property
    def ttft_from_send_s(self) -> Floats:
        """From the bytes written to the first token: the server's own part, blind to what waits outside it."""
        return self.first_token_s - self.sent_s

    @property
    def e2e_s(self) -> Floats:
        """From the intended start to the end, failed requests too."""
        return self.last_byte_s - self.scheduled_s

    @property
    def e2e_from_send_s(self) -> Floats:
        return self.last_byte_s - self.sent_s

    @property
    def tpot_s(self) -> Floats:
        """Mean time per output token after the first, by the server's count of tokens, else by events.

        NaN where the answer has one token or did not stream.
        """
        tokens = np.where(self.output_tokens > 0, self.output_tokens, self.chunks).astype(np.float64)
        tokens[tokens < 2] = np.nan
        return (self.last_token_s - self.first_token_s) / (tokens - 1)

    @property
    def lag_s(self) -> Floats:
        """How late the generator itself was."""
        return self.dispatched_s - self.scheduled_s

    def meets(self, slo: Slo) -> Flags:
        """Whether each request succeeded within every limit; what can't be measured has missed it.

        An answer of one token has no time per token after the first and no gap, so it can't miss those.
        """
        good = self.ok
        limits = ((slo.ttft_s, self.ttft_s), (slo.e2e_s, self.e2e_s))
        for limit, values in limits:
            if limit is not None:
                good = good & (values <= limit)  # NaN is never within
        alone = (self.chunks == 1) & (self.output_tokens <= 1)
        for limit, values in ((slo.tpot_s, self.tpot_s), (slo.gap_s, self.max_gap_s)):
            if limit is not None:
                good = good & ((values <= limit) | alone)
        return good

    def gaps_of(self, row: int) -> Singles:
        return self.gaps[self.offsets[row] : self.offsets[row + 1]]

    def select(self, rows: Flags) -> Samples:
        """Only these rows, as in `samples.select(samples.arm == 0)`."""
        lengths = np.diff(self.offsets)
        columns = {name: getattr(self, name)[rows] for name in COLUMNS}
        offsets = np.concatenate(([0], np.cumsum(lengths[rows]))).astype(np.int64)
        return replace(self, **columns, gaps=self.gaps[np.repeat(rows, lengths)], offsets=offsets)

    def measured(self) -> Samples:
        """Without the warm-up and without what Ctrl-C cut short."""
        return self.select(~self.warm_up & (self.error != INTERRUPTED))


_APART = frozenset({"arms", "gaps", "offsets", "gap_stride"})
COLUMNS: tuple[str, ...] = tuple(f.name for f in fields(Samples) if f.name not in _APART)
"""The names of the columns with one value a row."""


def merge(parts: Sequence[Samples], *, max_gaps: int = MAX_GAPS) -> Samples:
    """The samples that one process would have kept of what several saw.

    Raises:
        ValueError: No part is given, or they differ in their arms.
    """
    if not parts or any(part.arms != parts[0].arms for part in parts):
        raise ValueError(f"expected parts of one test, with equal arms; got {[part.arms for part in parts]}")
    stride = max(part.gap_stride for part in parts)
    parts = [thinned(part, stride) for part in parts]
    index = np.concatenate([part.index for part in parts])
    order = np.argsort(index, kind="stable")
    lengths = np.concatenate([np.diff(part.offsets) for part in parts])
    starts = np.cumsum(lengths) - lengths
    merged = replace(
        parts[0],
        **{name: np.concatenate([getattr(part, name) for part in parts])[order] for name in COLUMNS},
        gaps=_gathered([part.gaps for part in parts], starts[order], lengths[order]),
        offsets=np.concatenate(([0], np.cumsum(lengths[order]))).astype(np.int64),
        gap_stride=stride,
    )
    return fitted(merged, max_gaps)


def _gathered(parts: Sequence[Singles], starts: Integers, lengths: Integers) -> Singles:
    """These stretches of the parts laid end to end, one after another; in blocks, for memory's sake."""
    source = parts[0] if len(parts) == 1 else np.concatenate(parts)
    gathered = np.empty(int(lengths.sum()), np.float32)
    filled = 0
    for first in range(0, len(lengths), _BLOCK):
        length = lengths[first : first + _BLOCK]
        # where each value stood: its stretch's start plus its place in the stretch
        shift = starts[first : first + _BLOCK] - (np.cumsum(length) - length)
        places = np.repeat(shift, length) + np.arange(int(length.sum()))
        gathered[filled : filled + len(places)] = source[places]
        filled += len(places)
    return gathered


def fitted(samples: Samples, max_gaps: int) -> Samples:
    """Thinned until at most so many gaps are left, or those of the very first row alone."""
    while len(samples.gaps) > max_gaps and samples.gap_stride < _MOST_STRIDE:
        samples = thinned(samples, 2 * samples.gap_stride)
    return samples


def thinned(samples: Samples, stride: int) -> Samples:
    """The same rows, with the gaps of those alone whose index is a multiple of `stride`.

    Whole rows stay or go by their index, whatever their values: what stays is a fair sample, and the same one
    however many processes took part.
    """
    if stride == samples.gap_stride:
        return samples
    keep = samples.index % stride == 0
    lengths = np.diff(samples.offsets)
    offsets = np.concatenate(([0], np.cumsum(np.where(keep, lengths, 0)))).astype(np.int64)
    return replace(samples, gaps=samples.gaps[np.repeat(keep, lengths)], offsets=offsets, gap_stride=stride)


@dataclass(frozen=True, slots=True, kw_only=True)
class Vitals:
    """What the generator noted of itself; one value a process where it is a tuple."""

    wall_s: tuple[float, ...]
    cpu_s: tuple[float, ...]
    peak_cpu_share: tuple[float, ...]
    """The highest share of a core in any one second."""
    starved_s: tuple[float, ...]
    """Time it was ready to run and the machine gave it no core (Linux alone; else 0)."""
    loop_delay_s: Singles
    """How late the event loop woke, probed all the time."""
    peak_sockets: tuple[int, ...]
    connections: int
    """Opened in all."""
    resent: int
    """Requests sent again because a kept connection had been closed by the server."""
    refused: int
    """Requests that could not leave: no socket, no port, or no memory for the answer."""
    peak_memory_mb: tuple[float, ...]
    bare: bool = True
    """The client was the bare one; False where an arm is a function or another in-process provider."""


def merge_vitals(parts: Sequence[Vitals]) -> Vitals:
    return Vitals(
        wall_s=tuple(v for part in parts for v in part.wall_s),
        cpu_s=tuple(v for part in parts for v in part.cpu_s),
        peak_cpu_share=tuple(v for part in parts for v in part.peak_cpu_share),
        starved_s=tuple(v for part in parts for v in part.starved_s),
        loop_delay_s=np.sort(np.concatenate([part.loop_delay_s for part in parts])),
        peak_sockets=tuple(v for part in parts for v in part.peak_sockets),
        connections=sum(part.connections for part in parts),
        resent=sum(part.resent for part in parts),
        refused=sum(part.refused for part in parts),
        peak_memory_mb=tuple(v for part in parts for v in part.peak_memory_mb),
        bare=all(part.bare for part in parts),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Shortage:
    """A resource of the generator that bent the result."""

    resource: Resource
    reason: str
    """A sentence with the figures and what to do about it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """Whether the result speaks of the server, or of the generator."""

    valid: bool
    shortages: tuple[Shortage, ...]
    lag_p50_s: float
    lag_p99_s: float
    lag_max_s: float
    loop_delay_p50_s: float
    loop_delay_p99_s: float
    loop_delay_max_s: float
    cpu_share: float
    """Of one core: the mean of the busiest process."""
    peak_cpu_share: float
    starved_share: float
    processes: int
    peak_sockets: int
    connections: int
    resent: int
    refused: int
    peak_memory_mb: float
    notes: tuple[str, ...] = ()
    """What a reader should know though nothing was short."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorCount:
    """How often an arm's requests failed in one way, warm-up left out."""

    arm: str
    kind: str
    status: int | None
    message: str
    """Cleaned of keys and control characters; empty where the ways were too many to tell apart."""
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """Where a test stands; the arrays hold up to 500 a process of the answers that ended since the last tick."""

    elapsed_s: float
    sent: int
    in_flight: int
    done: int
    failed: int
    arm: Integers
    ttft_s: Floats
    e2e_s: Floats
    error: Integers
    """Places in ERROR_KINDS."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One load test at one offered load."""

    samples: Samples
    vitals: Vitals
    health: Health
    mode: Mode
    started_at: float
    """Unix time of the test's second 0."""
    elapsed_s: float
    """From second 0 to the last answer, or to the cut-off."""
    errors: tuple[ErrorCount, ...] = ()
    """Commonest first."""
    ended: Ending = "done"
