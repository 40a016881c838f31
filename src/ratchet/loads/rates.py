"""What a load test in the store says an arm holds."""

from __future__ import annotations

from ratchet.errors import PlanError, UnknownNameError
from ratchet.loads.storing import load_of
from ratchet.ports import Store


def measured_rate(store: Store, run_id: str, arm: str) -> float:
    """Good answers a second that this arm gave in a load test: what it holds within its SLO.

    Raises:
        PlanError: The run is no load test, an invalid one, or too short for a rate.
        UnknownNameError: It has no such arm.
    """
    run = store.run(run_id)
    if run is None or load_of(run) is None:
        raise PlanError(f"run {run_id} is no load test; `ratchet load` makes one")
    if arm not in run.arms and len(run.arms) > 1:
        raise UnknownNameError("arm of the load test", arm, list(run.arms))
    tested = arm if arm in run.arms else next(iter(run.arms))
    if not run.environment.get("load_valid", "yes").startswith("yes"):
        raise PlanError(f"load test {run.name or run_id} is not valid ({run.environment['load_valid']})")
    times = {row.id: row.created_at for row in store.rows(run_id, arm=tested)}
    good = sum(
        1 for score in store.scores(run_id, name="goodput") if score.trace_id in times and score.value is True
    )
    span_s = max(times.values(), default=0.0) - min(times.values(), default=0.0)
    if span_s <= 0 or good < 2:
        raise PlanError(
            f"load test {run.name or run_id} holds {good} good answers over {span_s:.1f} s: too few for a rate"
        )
    return good / span_s
