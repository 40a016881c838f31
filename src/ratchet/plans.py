"""What a run will do, computed before it does it: which items, in which order, at what likely price."""

from __future__ import annotations

import zlib
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass

from ratchet.records import Example

Key = tuple[str, str, int]
"""(arm, example id, repeat)."""


@dataclass(frozen=True, slots=True)
class Block:
    """What is still to do for one example: all of it starts together or not at all."""

    example: Example
    items: tuple[tuple[str, int], ...]
    """(arm, repeat) in the order to start them."""


def blocks(
    examples: Iterable[Example], arms: Sequence[str], *, repeats: int, seed: int, done: Container[Key] = ()
) -> Iterator[Block]:
    """The blocks of a run, lazily; the arms of each repeat stand together, in an order drawn from the seed.

    Args:
        done: Items that the run already holds.
    """
    for example in examples:
        items = tuple(
            (arm, repeat)
            for repeat in range(repeats)
            for arm in order(arms, f"{seed}/{example.id}/{repeat}")
            if (arm, example.id, repeat) not in done
        )
        if items:
            yield Block(example, items)


def order(arms: Sequence[str], draw: str) -> list[str]:
    """The arms in an order that depends on `draw` alone: uniform over draws, equal for equal draws.

    >>> order(["a", "b"], "7/example-1/0")
    ['b', 'a']
    """
    # FNV over CRC: CRC is linear, so that keys alike but for the arm's name would sort alike for every draw
    return sorted(arms, key=lambda arm: _mix(zlib.crc32(f"{arm}/{draw}".encode())))


def _mix(value: int) -> int:
    """Murmur3's finaliser (Appleby, public domain): spreads every input bit over the word."""
    value ^= value >> 16
    value = value * 0x85EBCA6B & 0xFFFFFFFF
    value ^= value >> 13
    value = value * 0xC2B2AE35 & 0xFFFFFFFF
    return value ^ value >> 16
