"""A store with one run whose money is known to the cent."""

from __future__ import annotations

from pathlib import Path

from ratchet.records import Dataset, Failure, Price, Run, Score, Task, Trace, Variant
from ratchet.scorers.text import exact_match
from ratchet.stores import open_store
from ratchet.stores.sqlite import SQLiteStore

DEAR = Price(
    input_usd_per_mtok=10.0,
    output_usd_per_mtok=100.0,
    cached_usd_per_mtok=1.0,
    source="list A",
    as_of="2026-01-01",
)
CHEAP = Price(input_usd_per_mtok=1.0, output_usd_per_mtok=10.0, source="list B")


def run_of(id: str = "run", arms: tuple[str, ...] = ("old", "new")) -> Run:
    return Run(
        id=id,
        name="trial",
        task=Task(dataset=Dataset(id="d" * 32, count=40), scorers=(exact_match,)),
        arms={name: Variant(model=f"openai/{name}") for name in arms},
        baseline=arms[0],
        prices=dict(zip(arms, (DEAR, CHEAP), strict=False)),
    )


def a_call(run: Run, arm: str, number: int, cost_usd: float | None, **changes: object) -> Trace:
    fields = {"input_tokens": 1000, "output_tokens": 100, "created_at": float(number), **changes}
    return Trace(
        id=f"{run.id}-{arm}-{number:03d}".ljust(32, "0"), run_id=run.id, arm=arm, example_id=f"e{number}", cost_usd=cost_usd, **fields,  # type: ignore[arg-type]
    )  # fmt: skip


def filled(folder: Path) -> SQLiteStore:
    """40 examples: `old` costs 2 cents a call and is right 3 times in 4, `new` 0.2 cents and right half the time.

    One call of `new` needed a second attempt (as dear as the first), one failed for nothing; a judge cost 5 cents.
    """
    store = open_store(folder / "costs.db")
    assert isinstance(store, SQLiteStore)
    run = run_of()
    store.save_run(run)
    for n in range(40):
        old = a_call(run, "old", n, 0.02)
        new = a_call(run, "new", n, 0.004 if n == 0 else 0.002, attempts=2 if n == 0 else 1)
        if n == 1:
            failure = Failure(kind="timeout", message="slow")
            new = new.replace(cost_usd=0.0, error=failure, input_tokens=None, output_tokens=None)
        store.write(
            [
                old,
                new,
                Score(trace_id=old.id, name="exact_match", value=n % 4 > 0, by="exact_match@1"),
                Score(
                    trace_id=new.id,
                    name="exact_match",
                    value=None if n == 1 else n % 2 > 0,
                    by="exact_match@1",
                ),
            ]
        )
    store.write([Trace(id="j" * 32, run_id=run.id, cost_usd=0.05)])
    store.set_run_state(run.id, "finished")
    return store
