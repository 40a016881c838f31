"""Older configs of every client and aspect, in both spellings, against the simulated server over HTTP."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from ratchet import runs
from ratchet.llm_validator import PreparedRun, load, to_runs, write_results
from ratchet.ports import Store
from ratchet.records import Run
from ratchet.simulated.answers import Answer, AnswerKey
from ratchet.simulated.server import SimulatedServer, serve_in_thread
from ratchet.stores import open_store

from .conftest import Folder, Json, article, tool

KEY = AnswerKey(
    [
        Answer(contains="my card is blocked", answer="card"),
        Answer(contains="where is my parcel", answer="parcel"),
        Answer(contains="money back please", answer="refund"),
        Answer(contains="Call for Oslo", answer='{"name": "weather", "parameters": {"city": "Oslo"}}'),
        Answer(
            contains="code_quality",
            answer='{"reason": "does it", "code_quality": "correct", "response_quality": "good"}',
        ),
        Answer(contains="10: ", answer="<reason>fine</reason><score>8</score>"),
    ]
)
BASE_URLS = {
    "openai": "OPENAI_BASE_URL",
    "anthropic": "ANTHROPIC_BASE_URL",
    "bedrock": "BEDROCK_BASE_URL",
    "together": "TOGETHER_BASE_URL",
    "vertex": "VERTEX_BASE_URL",
    "anyscale": "ANYSCALE_BASE_URL",
    "local": "OLLAMA_BASE_URL",
}
WIRES = {"together": "openai", "anyscale": "openai", "local": "ollama"}


@pytest.fixture(scope="module")
def server() -> Iterator[SimulatedServer]:
    with serve_in_thread(answers=KEY) as running:
        yield running


@pytest.fixture(autouse=True)
def _pointed_at_the_server(server: SimulatedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    for client, variable in BASE_URLS.items():
        monkeypatch.setenv(variable, server.base_url(WIRES.get(client, client)))
    monkeypatch.setenv("VERTEX_AI_GCP_PROJECT", "a-project")
    monkeypatch.setenv("VERTEX_AI_GCP_LOCATION", "europe-west1")


@pytest.fixture
def store(folder: Folder) -> Iterator[Store]:
    opened = open_store(folder.path / "runs.db")
    yield opened
    opened.close()


def answered(
    folder: Folder, store: Store, config: Json
) -> tuple[PreparedRun, Run, list[dict[str, str]], Json]:
    (prepared,) = to_runs([load(folder.config(config))])
    run = runs.run(prepared.task, prepared.arms, options=prepared.options, store=store)
    sheet, metrics, *_ = write_results(run, store, prepared)
    return prepared, run, _table(sheet), json.loads(metrics.read_text())


def _table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def spelt(spelling: str, **client: Json) -> Json:
    """A config in this spelling; in the mixed one, client and URL are the tool's and the rest is the article's."""
    if spelling == "article":
        return article(client_config=client)
    names = {"name": "client_name", "type": "client_type", "base_url": "model_base_url"}
    renamed = {names.get(key, key): value for key, value in client.items()}
    if spelling == "tool":
        return tool(client_config=renamed)
    return article(client_config={**renamed, "name": None})


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("spelling", ["article", "tool", "mixed"])
@pytest.mark.parametrize("client", BASE_URLS)
def test_every_client_answers_in_every_spelling(
    folder: Folder, store: Store, client: str, spelling: str, streaming: bool
) -> None:
    config = spelt(spelling, name=client, model_name="some-model")
    config["controller_config"]["use_streaming"] = streaming
    config["dataset_config"]["sanity_test"] = True
    config["evaluator_config"]["metrics"].append({"type": "accuracy", "aspect": "classification-all"})
    prepared, _, rows, totals = answered(folder, store, config)
    assert [(row["response"], row["correctness"], row["error"]) for row in rows] == [
        ("card", "True", ""), ("parcel", "True", ""), ("refund", "True", ""),
    ]  # fmt: skip
    assert prepared.warnings == ()
    assert totals["accuracy"]["correctness"]["correct"] == 3
    assert totals["cost"]["input_tokens"]["n"] == totals["cost"]["output_tokens"]["n"] == 3
    assert (totals["latency"]["ttft_s"] is not None) == streaming


@pytest.mark.parametrize("path", ["/api/chat", "/v1/chat/completions"])
def test_local_posts_to_the_full_url_whichever_shape_answers(
    folder: Folder, store: Store, server: SimulatedServer, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.delenv("OLLAMA_BASE_URL")
    client = {"client_name": "local", "client_type": "local", "model_base_url": f"{server.url}{path}"}
    _, _, rows, _ = answered(folder, store, tool(client_config=client))
    assert [row["response"] for row in rows[:3]] == ["card", "parcel", "refund"]


JUDGE = {"client_name": "anthropic", "client_type": "third_party_llm", "model_name": "a-judge"}
ASPECTS: dict[str, tuple[str, Json, dict[str, str]]] = {
    "codegen": (",ticket,category\n0,x,y\n", JUDGE, {"code_quality": "correct", "response_quality": "good", "reason": "does it"}),
    "code-generation": (",ticket,category\n0,x,y\n", JUDGE, {"code_quality": "correct", "response_quality": "good"}),
    "code-explanation": (",ticket,whole_func_string,category\n0,x,def f(): ...,y\n", JUDGE, {"score": "8.0", "reason": "fine"}),
    "qa": (",ticket,context,question,category\n0,x,c,q,y\n", JUDGE, {"score": "8.0", "reason": "fine"}),
    "summarization": (
        ",ticket,record,category\n0,x,r,y\n",
        JUDGE,
        {
            "accuracy_score": "8.0", "adherence_score": "8.0", "quality_score": "8.0",
            "accuracy_reason": "fine", "adherence_reason": "fine", "quality_reason": "fine",
        },
    ),
    "function-calling": (
        ",ticket,category\n0,Call for Oslo,\"{'name': 'weather', 'parameters': {'city': 'Oslo'}}\"\n",
        {},
        {"function_accuracy": "True", "argument_correctness": "True"},
    ),
    "classification-all": (",ticket,category\n0,my card is blocked, CARD\n", {}, {"correctness": "True"}),
    "cosine-similarity": (",ticket,category\n0,my card is blocked,card\n", {}, {"cosine_similarity": "1.0"}),
    "regex-all": (",ticket,category\n0,my card is blocked,x\n", {"patterns": ["^c", "d$"]}, {"regex_all": "True"}),
    "json-field": (",ticket,category\n0,Call for Oslo,\"{\"\"name\"\": \"\"weather\"\"}\"\n", {}, {"json_field_all": "True"}),
    "valid-json": (",ticket,category\n0,my card is blocked,x\n", {}, {"valid_json": "False"}),
    "json-structure": (
        ",ticket,category\n0,Call for Oslo,\"{\"\"name\"\": \"\"\"\", \"\"parameters\"\": {\"\"city\"\": \"\"\"\"}}\"\n",
        {},
        {"json_structure": "True"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("spelling", [article, tool])
@pytest.mark.parametrize("aspect", ASPECTS)
def test_every_aspect_gives_its_scores_on_the_row_it_judged(
    folder: Folder, store: Store, aspect: str, spelling: Json
) -> None:
    data, kwargs, expected = ASPECTS[aspect]
    folder.write("data.csv", data)
    metric = {"type": "accuracy", "aspect": aspect, "name": aspect, "kwargs": kwargs}
    prepared, _, (row,), totals = answered(folder, store, spelling(evaluator_config={"metrics": [metric]}))
    assert {name: row[name] for name in expected} == expected
    assert prepared.warnings == ()
    if kwargs.get("client_name"):
        assert totals["cost"]["judge_calls_whole_run"] == (3 if aspect == "summarization" else 1)
        assert any("built-in prompt" in note for note in totals["notes"])


@pytest.mark.parametrize(
    ("type", "args", "expected"),
    [
        ("json_key", {"key": "name"}, "weather"),
        ("nested_key", {"keys": ["parameters", "city"]}, "Oslo"),
        ("split", {"delimiter": '"', "index": 1}, "name"),
        ("custom_answer", {"primary_key": "answer", "fallback_key": "name"}, "weather"),
    ],
)
def test_every_extraction_gives_the_answer_that_is_judged(
    folder: Folder, store: Store, type: str, args: Json, expected: str
) -> None:
    folder.write("data.csv", f",ticket,category\n0,Call for Oslo,{expected}\n")
    metrics = {"metrics": [{"type": "accuracy", "aspect": "classification-all"}]}
    controller = {"extraction_config": {"type": type, "args": args}}
    config = article(evaluator_config=metrics, controller_config=controller)
    _, _, (row,), _ = answered(folder, store, config)
    assert (row["extracted_response"], row["correctness"]) == (expected, "True")


def test_two_files_run_as_arms_on_the_same_rows(folder: Folder, store: Store) -> None:
    configs = [article(), tool(client_config={"client_name": "anthropic", "model_name": "b"})]
    (prepared,) = to_runs([load(folder.config(value, f"{n}.json")) for n, value in enumerate(configs)])
    run = runs.run(prepared.task, prepared.arms, options=prepared.options, store=store)
    sheets = [path for path in write_results(run, store, prepared) if path.suffix == ".csv"]
    one, other = (_table(sheet) for sheet in sheets)
    assert [row["index"] for row in one] == [row["index"] for row in other] == ["10", "11", "12", "13"]
    assert run.baseline == "openai-gpt-4o-mini"
