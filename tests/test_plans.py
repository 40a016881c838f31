from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import islice, pairwise, permutations

import pytest

from ratchet.plans import Block, blocks, order
from ratchet.records import Example


def examples(count: int) -> list[Example]:
    return [Example(id=f"q{i}", input={}) for i in range(count)]


@pytest.mark.parametrize("arms", [["a", "b"], ["baseline", "candidate"], ["a", "aa"], ["x1", "x2", "x3"]])
def test_every_order_of_the_arms_is_equally_likely(arms: list[str]) -> None:
    draws = 6000
    seen = Counter(tuple(order(arms, f"0/q{i}/0")) for i in range(draws))
    expected = draws / len(list(permutations(arms)))
    chi2 = sum((seen[p] - expected) ** 2 / expected for p in permutations(arms))
    assert chi2 < 25, seen  # at most 5 degrees of freedom: p < 0.0002


def test_orders_of_neighbours_are_independent() -> None:
    firsts = [order(["a", "b"], f"0/q{i}/0")[0] == "a" for i in range(6000)]
    repeats = sum(x == y for x, y in pairwise(firsts))
    assert 2800 < repeats < 3200
    by_repeat = [order(["a", "b"], f"0/q{i}/0") == order(["a", "b"], f"0/q{i}/1") for i in range(6000)]
    assert 2800 < sum(by_repeat) < 3200


def test_an_order_depends_on_the_draw_alone() -> None:
    assert order(["a", "b", "c"], "1/x/0") == order(["c", "a", "b"], "1/x/0")


def test_a_seed_gives_one_plan() -> None:
    def plan(seed: int) -> list[Block]:
        return list(blocks(examples(30), ["a", "b"], repeats=2, seed=seed))

    assert plan(1) == plan(1)
    assert plan(1) != plan(2)


def test_all_items_of_an_example_stand_together_each_once() -> None:
    made = list(blocks(examples(10), ["a", "b", "c"], repeats=3, seed=0))
    assert [block.example.id for block in made] == [f"q{i}" for i in range(10)]
    wanted = {(arm, repeat) for arm in "abc" for repeat in range(3)}
    for block in made:
        assert len(block.items) == 9
        assert set(block.items) == wanted
        assert [repeat for _, repeat in block.items] == [0, 0, 0, 1, 1, 1, 2, 2, 2]


def test_what_is_done_is_left_out_and_the_rest_keeps_its_order() -> None:
    whole = list(blocks(examples(3), ["a", "b"], repeats=2, seed=0))
    done = {("a", "q0", 0), *((arm, "q1", repeat) for arm in "ab" for repeat in range(2))}
    rest = list(blocks(examples(3), ["a", "b"], repeats=2, seed=0, done=done))
    assert [block.example.id for block in rest] == ["q0", "q2"]
    assert rest[0].items == tuple(item for item in whole[0].items if item != ("a", 0))
    assert rest[1] == whole[2]


def test_a_plan_of_a_million_examples_is_made_as_it_is_read() -> None:
    read: list[int] = []

    def stream() -> Iterator[Example]:
        for i in range(1_000_000):
            read.append(i)
            yield Example(id=str(i), input={})

    assert len(list(islice(blocks(stream(), ["a"], repeats=1, seed=0), 5))) == 5
    assert len(read) == 5
