"""What a run will do, computed before it does it: which items, in which order, at what likely price."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass

from ratchet import datasets
from ratchet.records import Example, Run

Key = tuple[str, str, int]
"""(arm, example id, repeat)."""


@dataclass(frozen=True, slots=True)
class Block:
    """What is still to do for one example: all of it starts together or not at all."""

    example: Example
    items: tuple[tuple[str, int], ...]
    """(arm, repeat) in the order to start them."""


def blocks(
    examples: Iterable[Example],
    arms: Sequence[str],
    *,
    repeats: int,
    seed: int,
    done: Container[Key] = (),
    empty: bool = False,
) -> Iterator[Block]:
    """The blocks of a run, lazily; the arms of each repeat stand together, in an order drawn from the seed.

    Args:
        done: Items that the run already holds.
        empty: Also yield the blocks of which nothing is left to do.
    """
    for example in examples:
        items = tuple(
            (arm, repeat)
            for repeat in range(repeats)
            for arm in order(arms, f"{seed}/{example.id}/{repeat}")
            if (arm, example.id, repeat) not in done
        )
        if items or empty:
            yield Block(example, items)


def selected(run: Run) -> Iterator[Example]:
    """The examples that this run tries, in its order: the dataset's, or `shuffled` where it stops when decided."""
    found = datasets.examples(run.task.dataset, limit=run.limit, sample=run.sample, seed=run.seed)
    return shuffled(found, run.seed) if run.stop_when_decided else found


def selected_count(run: Run) -> int:
    """How many examples this run tries at most."""
    bounds = [bound for bound in (run.limit, run.sample) if bound is not None]
    return min([run.task.dataset.count, *bounds])


FIRST_LOOK = 50
LOOKS = 10


def looks(planned: int) -> tuple[int, ...]:
    """After how many examples of so many planned ones a run that stops when decided is judged: each tenth, from 50 on.

    The last is the end; with fewer than about 55 examples it is the only one.

    >>> looks(200)
    (60, 80, 100, 120, 140, 160, 180, 200)
    """
    tenths = sorted({-(-planned * k // LOOKS) for k in range(1, LOOKS)} - {planned})
    return (*(n for n in tenths if n >= FIRST_LOOK), planned)


def shuffled(examples: Iterable[Example], seed: int) -> Iterator[Example]:
    """The examples in an order drawn from the seed, so that the first so many are a random sample.

    The examples of a group stay together. All are held in memory.
    """
    yield from sorted(examples, key=lambda example: place_of(example.id, example.group, seed))


def place_of(example_id: str, group: str | None, seed: int) -> tuple[bytes, bytes]:
    """What `shuffled` sorts by."""
    owner = f"group/{group}" if group is not None else f"example/{example_id}"
    return _digest(f"{seed}/{owner}"), _digest(f"{seed}/{example_id}")


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


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
