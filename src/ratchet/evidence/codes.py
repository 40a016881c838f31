"""Small numbers for values that repeat."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any


class Codes:
    """Small numbers for values that repeat."""

    def __init__(self) -> None:
        self.values: list[Any] = []
        self._numbers: dict[Hashable, int] = {}

    def of(self, value: Hashable) -> int:
        number = self._numbers.get(value)
        if number is None:
            number = self._numbers[value] = len(self.values)
            self.values.append(value)
        return number

    def find(self, value: Hashable) -> int | None:
        return self._numbers.get(value)

    def __len__(self) -> int:
        return len(self.values)
