"""A small project that was really run: two arms on 60 tickets of 20 customers, repeated, with failures, and its verdict."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from ratchet import projects, runs, verdicts
from ratchet.evidence import from_runs
from ratchet.records import Limits, Run, Variant, Verdict
from ratchet.simulated.answers import Answer, AnswerKey
from ratchet.simulated.server import SimulatedServer, serve_in_thread
from ratchet.stores.sqlite import SQLiteStore
from ratchet.web import verdict_pages

COUNT = 60
TOPICS = ("billing", "account", "security")
_ANSWERS: Mapping[str, str] = {
    "billing": "This is a billing question. Open Settings, then Billing; the refund reaches your card within 5 business days.",
    "account": "This is an account question. An admin of your team must approve the request before it takes effect.",
    "security": "This is a security question. Rotate the key before you remove the old one, so that no traffic is lost.",
}
_PROFILES = (
    "champion=champion,skill=0.95,ttft_s=0.002,gap_s=0.0005",
    "challenger=challenger,skill=0.75,ttft_s=0.001,gap_s=0.0005",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What a test finds on the disk."""

    root: Path
    """The project's folder, with its ratchet.yaml."""
    store: Path
    run: Run
    verdict: Verdict
    verdict_id: str
    """As it stands in the address of its page."""


def question(i: int) -> str:
    """What ticket number `i` asks."""
    topic = TOPICS[i % 3]
    return f"Ticket {i}: how do I handle {topic} for our workspace? We have {100 + 7 * i} seats and the renewal is in {i % 28 + 2} days."


def build(root: Path) -> Sample:
    """Lay the project, run it, judge it."""
    rows = (
        {
            "id": f"ticket-{i:03d}",
            "question": question(i),
            "expected": TOPICS[i % 3],
            "customer": f"customer-{i // 3}",
            "topic": TOPICS[i % 3],
            "split": "test" if i >= 40 else "dev",
        }
        for i in range(COUNT)
    )
    root.mkdir(parents=True, exist_ok=True)
    (root / "tickets.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    (root / projects.FILE_NAME).write_text(_PROJECT, "utf-8")
    job = projects.job(projects.load(root / projects.FILE_NAME), "tickets")
    (root / ".ratchet").mkdir()
    with SQLiteStore(root / ".ratchet" / "ratchet.db") as store, _served() as server:
        arms = {name: _placed(variant, server) for name, variant in job.arms.items()}
        os.environ["RATCHET_SAMPLE_KEY"] = "not-a-key"
        try:
            run = runs.run(
                job.task,
                arms,
                options=runs.Options(name="first", baseline="champion", use_cache=False, concurrency=32),
                store=store,
                root=root,
            )
        finally:
            del os.environ["RATCHET_SAMPLE_KEY"]
        evidence = from_runs(store, run)
        verdict = verdicts.decide(evidence).replace(created_at=time.time())
        kept = verdict_pages.keep(store, verdict, evidence)
        assert kept is not None
    return Sample(
        root=root, store=root / ".ratchet" / "ratchet.db", run=run, verdict=verdict, verdict_id=kept.id
    )


def _served() -> AbstractContextManager[SimulatedServer]:
    answers = AnswerKey(
        [
            Answer(
                contains=question(i),
                answer=_ANSWERS[TOPICS[i % 3]],
                wrong=tuple(_ANSWERS[topic] for topic in TOPICS if topic != TOPICS[i % 3]),
                difficulty=(i % 7) / 10,
            )
            for i in range(COUNT)
        ]
    )
    return serve_in_thread(profiles=list(_PROFILES), answers=answers, faults=["500:0.012"], seed=3)


def _placed(variant: Variant, server: SimulatedServer) -> Variant:
    """The variant, called over HTTP: so some calls fail, and none is tried again."""
    return variant.replace(
        model=(variant.model or "").replace("simulated/", "openai/"),
        base_url=server.base_url("openai"),
        api_key_env="RATCHET_SAMPLE_KEY",
        limits=Limits(retries=0),
    )


_PROJECT = """\
project: tickets
variants:
  champion:
    model: simulated/champion
    prompt: 'You sort tickets. Which topic is this? {question}'
    stream: true
    price: {input_usd_per_mtok: 2.0, output_usd_per_mtok: 8.0}
  challenger:
    extends: champion
    model: simulated/challenger
    price: {input_usd_per_mtok: 0.5, output_usd_per_mtok: 2.0}
baseline: champion
tasks:
  tickets:
    dataset: {path: tickets.jsonl, id: id, expected: expected, group: customer, split: split, metadata: [topic]}
    scorers: [contains]
    checks: [{no_worse: contains, margin_pp: 5}, {better: cost_usd, relative: true, margin: 0.3}]
    repeats: 2
"""
