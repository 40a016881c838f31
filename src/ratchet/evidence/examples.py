"""The examples behind the rows: their order, contents, groups and metadata."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from ratchet import codec, plans
from ratchet.errors import DatasetError, PairingError
from ratchet.evidence.arms import ArmColumns
from ratchet.evidence.codes import Codes
from ratchet.evidence.records import MAX_SLICES, Ints
from ratchet.records import Example, Run


class Examples:
    """The examples that were tried, in the dataset's order, with their contents and metadata."""

    def __init__(self, tried: Codes, runs: list[Run], *, rest: Sequence[int] | None = None) -> None:
        """`rest` is the order of those that no dataset gives a place, where it is known."""
        self.warnings: list[str] = []
        self._tried = tried
        place: dict[int, int] = {}
        contents: dict[int, str] = {}
        self._group: dict[int, str] = {}
        metadata = _Slices()
        read: set[str] = set()
        for run in runs:
            if run.task.dataset.id in read:
                continue
            read.add(run.task.dataset.id)
            for code, example in self._stream(run):
                content = content_of(example)
                if contents.setdefault(code, content) != content:
                    raise PairingError(
                        f"example {example.id!r} has another content in run {run.id} than in {runs[0].id}; "
                        "compare runs of one dataset, or give changed examples new ids"
                    )
                if code not in place:
                    place[code] = len(place)
                    metadata.add(len(place) - 1, example)
                if example.group is not None:
                    self._group.setdefault(code, example.group)
        for code in rest or range(len(tried)):
            place.setdefault(code, len(place))
        self.order = np.array([place[code] for code in range(len(tried))], np.int64)
        by_place = sorted(range(len(tried)), key=place.__getitem__)
        self.ids: tuple[str, ...] = tuple(str(tried.values[code]) for code in by_place)
        self.contents = tuple(contents.get(code, "") for code in by_place)
        self.slices = metadata.finish(len(by_place))

    def _stream(self, run: Run) -> Iterator[tuple[int, Example]]:
        """The run's examples that were tried; none, with a warning, where the file has changed or gone."""
        try:
            for example in plans.selected(run):
                code = self._tried.find(example.id)
                if code is not None:
                    yield code, example
        except (DatasetError, OSError) as error:
            self.warnings.append(
                f"The dataset of run {run.id} can't be read any more, so contents and metadata are unknown: {error}"
            )

    def groups(self, arms: Iterable[ArmColumns]) -> Ints:
        """The cluster of each example; those without a group stand alone."""
        named = dict(self._group)
        for arm in arms:
            for code, group in arm.groups.items():
                named.setdefault(code, group)
        codes = Codes()
        groups = np.zeros(len(self.order), np.int64)
        for place, code in enumerate(np.argsort(self.order, kind="stable").tolist()):
            groups[place] = codes.of(("group", named[code]) if code in named else ("example", code))
        return groups


class _Slices:
    """Metadata of few distinct values, as text an example."""

    def __init__(self) -> None:
        self._codes: dict[str, Codes] = {}
        self._values: dict[str, dict[int, int]] = {}
        self._dropped: set[str] = set()

    def add(self, place: int, example: Example) -> None:
        for key, value in (*example.metadata.items(), ("split", example.split)):
            if key in self._dropped or value is None:
                continue
            if not isinstance(value, (str, bool, int, float)):
                self._drop(key)
                continue
            codes = self._codes.setdefault(key, Codes())
            code = codes.of(value if isinstance(value, str) else codec.canonical(value).decode())
            if len(codes) > MAX_SLICES:
                self._drop(key)
            else:
                self._values.setdefault(key, {})[place] = code

    def _drop(self, key: str) -> None:
        self._dropped.add(key)
        self._codes.pop(key, None)
        self._values.pop(key, None)

    def finish(self, count: int) -> dict[str, tuple[str, ...]]:
        return {
            key: tuple(
                self._codes[key].values[found[place]] if place in found else "" for place in range(count)
            )
            for key, found in self._values.items()
            if len(self._codes[key]) > 1
        }


def content_of(example: Example) -> str:
    """16 hex digits of the hash of what is asked and expected; id, metadata and group are outside it."""
    body = codec.canonical([codec.plain(example.input), codec.plain(example.expected)])
    return hashlib.sha256(body).hexdigest()[:16]
