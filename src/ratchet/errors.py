"""Every error Ratchet raises.

    RatchetError
    ├── ConfigError            a config, prompt file or option is wrong; names file, line and key
    │   └── PromptError        a prompt can't be read or filled in
    ├── DatasetError           a dataset or one of its rows is wrong; names file, line and column
    ├── UnknownNameError       a name matches nothing; carries what is known and the nearest match
    ├── MissingExtraError      an optional dependency is not installed; names the extra
    ├── MissingKeyError        one or more API keys are not set
    ├── ProviderError          one call failed; becomes data on the trace inside a run
    ├── ScorerError            one scorer failed; becomes a Score of None inside a run
    ├── CodecError             bytes or values don't fit the record they should become
    ├── PlanError              a run can't start or resume as asked
    ├── StoreError             the store can't be used
    │   ├── StoreBusyError     another process holds it
    │   ├── StoreReadOnlyError it can't be written
    │   ├── StoreFullError     no space left
    │   └── StoreVersionError  written by a newer Ratchet, or not by Ratchet at all
    ├── TrackerError           an experiment tracker can't be written to
    ├── StatisticsError        numbers that a method can't take
    │   └── PairingError       two sides don't come from the same examples
    └── VerdictError           a release is not licensed by its verdict

A message says what happened with the values, what was expected, and the next step. The command line
prints it without a traceback.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


class RatchetError(Exception):
    """The root; catch it to catch all of ours."""


class _PlacedError(RatchetError, ValueError):
    """An error in a file; `file`, `line` and `key` are None where they don't apply."""

    def __init__(
        self,
        message: str,
        *,
        file: str | Path | None = None,
        line: int | None = None,
        key: str | None = None,
    ) -> None:
        self.file = str(file) if file is not None else None
        self.line = line
        self.key = key
        self.message = message
        place = self.file or ""
        if line is not None:
            place = f"{place}:{line}" if place else f"line {line}"
        if key:
            place = f"{place}, {key}" if place else key
        super().__init__(f"{place}: {message}" if place else message)


class ConfigError(_PlacedError):
    """A config file, prompt file or option that can't be used."""


class PromptError(ConfigError):
    """A prompt that can't be read, or can't be filled in from an example."""


class DatasetError(_PlacedError):
    """A dataset that can't be read, or a row that doesn't fit; `key` is the column, `value` what stood there."""

    def __init__(
        self,
        message: str,
        *,
        file: str | Path | None = None,
        line: int | None = None,
        column: str | None = None,
        value: object = None,
    ) -> None:
        super().__init__(message, file=file, line=line, key=column and f"column {column!r}")
        self.column = column
        self.value = value


class UnknownNameError(RatchetError, LookupError):
    """A name that matches nothing known."""

    def __init__(self, kind: str, name: str, known: Iterable[str], *, hint: str = "") -> None:
        self.kind = kind
        self.name = name
        self.known = tuple(known)
        lines = [f"no {kind} named {name!r}."]
        if self.known:
            lines.append(f"  Known: {', '.join(self.known)}.{did_you_mean(name, self.known)}")
        if hint:
            lines.append(f"  {hint}")
        super().__init__("\n".join(lines))


class MissingExtraError(RatchetError, ImportError):
    """An optional dependency that is not installed."""

    def __init__(self, what: str, extra: str) -> None:
        self.extra = extra
        super().__init__(f"{what} needs an extra that is not installed: pip install 'ratchet-llm[{extra}]'")


class MissingKeyError(RatchetError):
    """API keys that are not set; `variables` are the environment variables looked at."""

    def __init__(self, message: str, *, variables: Iterable[str]) -> None:
        self.variables = tuple(variables)
        super().__init__(message)


class ProviderError(RatchetError):
    """One call to a model failed.

    `kind` is one of `ratchet.records.FailureKind`. `retryable` says whether the same call may succeed later.
    The message must never hold a key: providers pass server text through `ratchet.policy.redact`.
    """

    def __init__(
        self,
        message: str,
        *,
        kind: str,
        retryable: bool = False,
        status: int | None = None,
        retry_after_s: float | None = None,
        request_id: str | None = None,
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.retryable = retryable
        self.status = status
        self.retry_after_s = retry_after_s
        self.request_id = request_id


class ScorerError(RatchetError):
    """A scorer that can't judge what it was given."""


class CodecError(RatchetError, ValueError):
    """Bytes or values that don't fit the record they should become; `path` leads to the value."""

    def __init__(self, message: str, *, path: tuple[str | int, ...] = ()) -> None:
        self.path = path
        self.message = message
        super().__init__(f"{dotted(path)}: {message}" if path else message)


class PlanError(RatchetError):
    """A run that can't start or resume as asked."""


class StoreError(RatchetError):
    """The store can't be used; `path` names it."""

    def __init__(self, message: str, *, path: str | Path | None = None) -> None:
        super().__init__(message)
        self.path = str(path) if path is not None else None


class StoreBusyError(StoreError):
    """Another process holds the store."""


class StoreReadOnlyError(StoreError):
    """The store can't be written."""


class StoreFullError(StoreError):
    """No space is left for the store."""


class StoreVersionError(StoreError):
    """The store was written by a newer Ratchet, or not by Ratchet."""


class TrackerError(RatchetError):
    """An experiment tracker that can't be written to; the run itself is in the store."""


class StatisticsError(RatchetError, ValueError):
    """Numbers that a method can't take."""


class PairingError(StatisticsError):
    """Two sides that don't come from the same examples."""


class VerdictError(RatchetError):
    """A release that its verdict doesn't license."""


def dotted(path: tuple[str | int, ...]) -> str:
    """A path as people write it.

    >>> dotted(("tasks", "tickets", "checks", 0))
    'tasks.tickets.checks[0]'
    """
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`" Did you mean 'x'?"`, or nothing where no known name is near."""
    import difflib  # 10 ms that `ratchet --help` need not pay

    near = difflib.get_close_matches(name, list(known), n=1)
    return f" Did you mean {near[0]!r}?" if near else ""
