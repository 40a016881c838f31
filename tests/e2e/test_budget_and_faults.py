"""A storm of mixed faults over every wire: each row once, each failure counted, no budget passed, an end in time."""

from __future__ import annotations

import json
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from ratchet.records import Trace
from ratchet.simulated.server import serve_in_thread
from ratchet.stores import open_store

from .commands import kept, lay, once, ratchet, summary

ROWS = 30
WIRES = {
    "openai": ("openai/m", "openai"), "responses": ("openai-responses/m", "openai"), "anthropic": ("anthropic/m", "anthropic"),
    "gemini": ("gemini/m", "gemini"), "vertex": ("vertex/m", "vertex"), "bedrock": ("bedrock/m", "bedrock"), "ollama": ("ollama/m", "ollama"),
}  # fmt: skip
OPTIONS = {"vertex": ", options: {project: p, location: l}", "bedrock": ", options: {region: us-east-1}"}
URLS = {"openai": "OPENAI", "openai-responses": "OPENAI_RESPONSES"}
KEYS = {
    "OPENAI_API_KEY": "k", "ANTHROPIC_API_KEY": "k", "GEMINI_API_KEY": "k", "VERTEX_ACCESS_TOKEN": "k",
    "AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "k",
}  # fmt: skip
STORM = [
    "429:0.06,retry=ms,after=0.01", "429:0.02,retry=date,after=0", "500:0.04", "503:0.02,retry=reset,after=0.01", "529:0.02", "hang:0.01",
    "drop:0.02", "cut:0.03", "malformed:0.03", "html:0.02", "error_event:0.02", "empty:0.03", "wrong_usage:0.03", "refusal:0.03",
    "content_filter:0.02", "close:0.05", "drip:0.01,gap=0.005", "400:0.03", "408:0.01", "413:0.01",
]  # fmt: skip
KNOWN = {"rate_limit", "timeout", "connection", "server", "protocol", "bad_request"}


def arms(more: str = "") -> str:
    limits = f"limits: {{retries: 2, total_s: 0.6, first_token_s: 0.6}}, params: {{max_tokens: 20}}{more}"
    return ", ".join(
        f"{wire}{'-streaming' * stream}: {{model: {model}, prompt: 'Answer: {{question}}', stream: {str(stream).lower()}, {limits}{OPTIONS.get(wire, '')}}}"
        for wire, (model, _) in WIRES.items()
        for stream in (False, True)
    )


def everywhere(server_url: dict[str, str]) -> dict[str, str]:
    """Every vendor's base URL, and keys."""
    urls = {}
    for model, base in WIRES.values():
        provider = model.partition("/")[0]
        urls[f"{URLS.get(provider, provider.upper())}_BASE_URL"] = server_url[base]
    return {**urls, **KEYS}


def traces(folder: Path) -> list[Trace]:
    with closing(open_store(folder / ".ratchet" / "ratchet.db", read_only=True)) as store:
        (run,) = store.runs()
        return list(store.traces(run.id))


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_a_storm_over_every_wire_leaves_each_row_once_and_counts_each_failure(
    project: Path, seed: int
) -> None:
    folder = lay(project, ROWS, variants=arms())
    with serve_in_thread(faults=STORM, seed=seed) as server:
        environment = everywhere({base: server.base_url(base) for _, base in WIRES.values()})
        done = ratchet(folder, "run", "-j", "24", "--json", **environment)
        stats = server.stats()
    assert done.returncode == 4, done.stderr
    found = summary(done)
    assert found["state"] == "finished"
    rows = kept(folder)
    assert once(rows)
    expected = {
        (f"{wire}{'-streaming' * s}", f"q{i}") for wire in WIRES for s in (False, True) for i in range(ROWS)
    }
    assert {(row.arm, row.example_id) for row in rows} == expected
    failed = [trace for trace in traces(folder) if trace.error is not None]
    assert failed
    assert {trace.error.kind for trace in failed if trace.error} <= KNOWN
    assert all(trace.error and trace.error.message for trace in failed)
    by_arm = Counter(trace.arm for trace in failed)
    counted = {name: arm["failed"] for name, arm in found["summary"]["arms"].items()}
    assert counted == {name: by_arm[name] for name in counted}
    for name, arm in found["summary"]["arms"].items():
        kinds = Counter(trace.error.kind for trace in failed if trace.error and trace.arm == name)
        assert arm["errors"] == dict(kinds)
    attempts = sum(trace.attempts for trace in traces(folder))
    # a call whose connection broke before it was answered may be one the server never saw
    assert stats.requests <= attempts
    assert stats.peak_in_flight <= 24
    assert all(
        sum("ratchet.attempt" in span.attributes for span in trace.spans) == trace.attempts
        for trace in traces(folder)
    )


def test_failed_rows_are_tried_again_when_asked_and_then_every_row_is_whole(project: Path) -> None:
    folder = lay(project, 10, variants=arms())
    with serve_in_thread(faults=["400:0.3", "413:0.1"], seed=4) as server:
        environment = everywhere({base: server.base_url(base) for _, base in WIRES.values()})
        done = ratchet(folder, "run", "-j", "24", "--json", **environment)
        assert done.returncode == 4, done.stderr
        command = done.stderr.rpartition("try them again with: ratchet ")[2].split()
    good = {row.id for row in kept(folder) if row.error_kind is None}
    with serve_in_thread() as server:
        environment = everywhere({base: server.base_url(base) for _, base in WIRES.values()})
        done = ratchet(folder, *command, "--json", **environment)
    assert done.returncode == 0, done.stderr
    rows = kept(folder)
    assert once(rows)
    assert len(rows) == 10 * 2 * len(WIRES)
    assert [row.error_kind for row in rows] == [None] * len(rows)
    assert good <= {row.id for row in rows}


@pytest.mark.slow
def test_a_budget_holds_through_a_storm_and_all_arms_stop_at_the_same_example(project: Path) -> None:
    price = ", price: {input_usd_per_mtok: 1000, output_usd_per_mtok: 1000}"
    folder = lay(project, ROWS, variants=arms(price))
    with serve_in_thread(
        faults=["429:0.1,retry=ms,after=0.01", "cut:0.1", "malformed:0.1", "500:0.1"], seed=2
    ) as server:
        environment = everywhere({base: server.base_url(base) for _, base in WIRES.values()})
        done = ratchet(
            folder, "run", "-j", "24", "--budget-usd", "5", "--max-errors", "1000", "--json", **environment
        )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["state"], found["reason"]) == ("stopped", "the budget is used up")
    rows = kept(folder)
    spent = sum(row.cost_usd or 0 for row in rows)
    assert 1 < spent <= 5
    reached = {arm: {row.example_id for row in rows if row.arm == arm} for arm in {row.arm for row in rows}}
    assert len(reached) == 2 * len(WIRES)
    assert len({frozenset(examples) for examples in reached.values()}) == 1
