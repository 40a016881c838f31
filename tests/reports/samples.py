"""A small comparison, made by hand: a verdict with its evidence."""

from __future__ import annotations

import numpy as np

from ratchet.checks import at_most, better, no_worse
from ratchet.evidence import ArmData, Column, Evidence
from ratchet.records import CheckResult, Verdict

TOPICS = ("billing", "account", "api")
IDS = {"champion": "a" * 32, "challenger": "b" * 32, "mini": "c" * 32, "reviewer": "d" * 32}
HOSTILE = (
    '" onmouseover="alert(3)" x="'
    "<script>alert(1)</script><img src=x onerror=alert(2)>\"'`|{{7*7}}{% raw %} @octocat #12 [x](https://evil.test)"
    " www.evil.test \x1b[31m\x00\u202eabc\u200b\U000e0041\ud800 </textarea></style></script>]]> =cmd()"
)


def evidence(
    n: int = 60, *, arms: tuple[str, ...] = ("champion", "challenger"), text: str = "", repeats: int = 1
) -> Evidence:
    """`text` is appended to every id, slice and name of a fact."""
    rng = np.random.default_rng(5)
    data: dict[str, ArmData] = {}
    for k, name in enumerate(arms):
        example = np.repeat(np.arange(n), repeats)
        m = len(example)
        passed = (rng.random(m) > 0.2 + 0.2 * (k % 2)).astype(float)
        failed = np.zeros(m, np.bool_)
        failed[0] = k == 1
        none = np.zeros(m, np.bool_)
        columns = {
            "exact_match": Column(name="exact_match", values=np.where(failed, np.nan, passed), kind="bool"),
            "judge": Column(name="judge", values=np.clip(rng.normal(0.7 - 0.02 * k, 0.1, m), 0, 1)),
            "cost_usd": Column(
                name="cost_usd",
                values=rng.lognormal(-6.5 - k % 2, 0.2, m),
                dimension="cost",
                higher_is_better=False,
            ),
        }
        data[name] = ArmData(
            name=name, variant_id=IDS.get(name, name), example=example, repeat=np.tile(np.arange(repeats), n),
            failed=failed, refused=none, unparsable=none, cached=none, columns=columns,
        )  # fmt: skip
    return Evidence(
        examples=tuple(f"ticket-{i}{text}" for i in range(n)),
        groups=np.arange(n),
        grouped=False,
        contents=("",) * n,
        slices={f"topic{text}": tuple(TOPICS[i % 3] + text for i in range(n))},
        arms=data,
        facts={"dataset_id": "9f" * 16 + text, "seeds": {"run": 7}},
    )


def results(*, text: str = "") -> tuple[CheckResult, ...]:
    """A passed primary, a failed guard, an open guard, a passed limit and a report."""
    return (
        CheckResult(
            check=better("cost_usd", ratio=0.7), outcome="passed", estimate=-0.41, low=-0.43, high=-0.387,
            level=0.9, baseline_value=0.00158, candidate_value=0.00093, n=60, method="ratio of means" + text,
        ),
        CheckResult(
            check=no_worse("exact_match", margin_pp=2), outcome="failed", estimate=-0.171, low=-0.201, high=-0.14,
            level=0.9, baseline_value=0.741, candidate_value=0.57, n=60, reason="shown worse" + text,
        ),
        CheckResult(
            check=no_worse("judge" + text, margin=0.03), outcome="open", estimate=-0.012, low=-0.041, high=0.017,
            level=0.9, baseline_value=0.752, candidate_value=0.74, n=60, needed_n=1400,
        ),
        CheckResult(
            check=at_most("latency_s", p=95, limit=2.0), outcome="passed", estimate=1.62, low=1.52, high=1.77,
            level=0.9, baseline_value=2.01, candidate_value=1.62, n=60,
        ),
        CheckResult(
            check=no_worse("output_tokens", role="report"), outcome="reported", estimate=-7.7, low=-9.9, high=-5.4,
            level=0.9, baseline_value=96.3, candidate_value=88.6, n=60,
        ),
    )  # fmt: skip


def verdict(outcome: str = "hold", *, text: str = "") -> Verdict:
    """`text` is appended to every free text."""
    return Verdict(
        outcome=outcome,  # type: ignore[arg-type]
        task_id="ef" * 16,
        baseline=IDS["champion"],
        candidate=IDS["challenger"],
        results=results(text=text),
        run_ids=("0193-aa" + text,),
        reasons=("exact_match is shown worse" + text,),
        warnings=("prices were read on different days" + text,),
        inputs={"alpha": 0.05, "rules" + text: "77" * 16 + text},
        created_at=1_700_000_000.0,
    )
