"""The cost case beside a verdict: what both arms cost and what the change saves. It reports and never decides."""

from __future__ import annotations

from ratchet import costs
from ratchet.costs import traffic
from ratchet.evidence import Evidence
from ratchet.records import Verdict

TRAFFIC = "traffic"
"""Of `Run.environment`: how often the product calls, as the task says it (`2M/month`)."""


def costed(verdict: Verdict, evidence: Evidence) -> Verdict:
    """The verdict with its cost case; as it is where no price is known, and for a noise check."""
    baseline, candidate = (str(verdict.inputs.get(side, "")) for side in ("baseline", "candidate"))
    if verdict.inputs.get("checks") == "a/a" or not {baseline, candidate} <= evidence.arms.keys():
        return verdict
    environment = evidence.facts.get("environment")
    stated = environment.get(TRAFFIC) if isinstance(environment, dict) else None
    found = costs.section(
        evidence,
        baseline=baseline,
        candidate=candidate,
        traffic=traffic.stated(stated) if isinstance(stated, str) else None,
    )
    return verdict.replace(cost_case=found)
