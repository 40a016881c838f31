"""A way to call judges about the kept answers of a run, outside the run itself."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from ratchet import planning, providers
from ratchet.ports import Ask, Store
from ratchet.records import Run, Variant
from ratchet.workers import open_engine


@asynccontextmanager
async def asking(
    run: Run,
    store: Store,
    models: Sequence[Variant],
    *,
    root: Path,
    concurrency: int = 16,
    use_cache: bool = True,
) -> AsyncGenerator[Ask]:
    """An `Ask` with the run's limits, retries, prices and cache; its calls are kept with the run's id and no arm.

    Raises:
        MissingKeyError: A model's key is not set.
    """
    place = planning.place(store, root)
    providers.check_keys({f"judge {model.model}": model for model in models}, place.environ)
    options = planning.Options(concurrency=concurrency, use_cache=use_cache)
    plan = planning.Plan(run=run.replace(arms={}), arms=(), done={}, examples=0, budget=options.budget)
    async with open_engine(plan, options, place, None) as (worker, _):
        yield worker.ask
