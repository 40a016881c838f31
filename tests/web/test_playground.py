from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from ratchet import projects
from ratchet.stores.sqlite import SQLiteStore
from ratchet.web.access import Person

from .samples import Sample

if TYPE_CHECKING:
    from starlette.testclient import TestClient

COLUMN = {
    "model": "simulated/instant",
    "params": {"max_tokens": 30},
    "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Say {word}"}],
}


def played(client: TestClient, column: Any, given: Any, **more: Any) -> list[dict[str, Any]]:
    answer = client.post("/playground/answer", json={"column": column, "input": given, **more})
    assert answer.status_code == 200, answer.text
    return [json.loads(line) for line in answer.text.splitlines()]


def refusal(client: TestClient, path: str, data: Any) -> str:
    answer = client.post(path, json=data, headers={"Accept": "application/json"})
    assert answer.status_code == 400, answer.text
    return answer.json()["what"]


def test_an_answer_comes_in_pieces_and_is_kept_as_a_trace(client: TestClient, page_store: Sample) -> None:
    events = played(client, COLUMN, {"word": "hello"}, example_id="e1")
    assert "start" in events[0]
    assert sum("text" in event for event in events) > 1
    end = events[-1]["end"]
    assert end["error"] is None
    assert end["output_tokens"] > 0
    assert end["ttft_s"] <= end["latency_s"]
    with SQLiteStore(page_store.store, read_only=True) as store:
        trace = store.trace(end["trace"])
    assert trace is not None
    assert trace.output == "".join(event.get("text", "") for event in events)
    assert trace.input == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Say hello"},
    ]
    assert (trace.example_id, trace.metadata["playground"]) == ("e1", "ann")
    assert client.get(f"/traces/{end['trace']}").status_code == 200


@pytest.mark.parametrize(
    ("column", "said"),
    [
        ({**COLUMN, "model": "opnai/gpt-4o"}, "Did you mean 'openai'"),
        ({**COLUMN, "model": ""}, "needs a model"),
        ({**COLUMN, "model": "recorded/x"}, "reads files or runs code"),
        ({**COLUMN, "model": "os.path:join/x"}, "reads files or runs code"),
        ({**COLUMN, "variant": "gone"}, "not in the project; known: champion, challenger"),
        ({**COLUMN, "messages": [{"role": "wizard", "content": "x"}]}, "message 1 needs a role"),
        ({**COLUMN, "params": []}, "params is list, expected dict"),
        ({**COLUMN, "syntax": "mustache"}, "expected format or jinja"),
        ("x", "expected an object"),
    ],
)
def test_a_wrong_column_is_refused_with_what_was_expected(client: TestClient, column: Any, said: str) -> None:
    assert said in refusal(client, "/playground/answer", {"column": column, "input": ""})


def test_a_variable_that_the_input_lacks_is_told_in_the_column(client: TestClient) -> None:
    end = played(client, COLUMN, {"wrod": "hello"})[-1]["end"]
    assert "word" in end["error"]["message"]
    assert "wrod" in end["error"]["message"]


def test_a_missing_key_is_told_by_its_name(client: TestClient) -> None:
    end = played(client, {**COLUMN, "model": "openai/gpt-4o"}, {"word": "x"})[-1]["end"]
    assert "OPENAI_API_KEY" in end["error"]["message"]


def test_a_key_of_the_env_file_is_used_and_never_shown(client: TestClient, page_store: Sample) -> None:
    (page_store.root / ".env").write_text(
        "OPENAI_API_KEY=sk-planted-secret\nOPENAI_BASE_URL=http://127.0.0.1:9/v1\n"
    )
    answer = client.post(
        "/playground/answer", json={"column": {**COLUMN, "model": "openai/gpt-4o"}, "input": {"word": "x"}}
    )
    assert '"kind":"connection"' in answer.text.replace(" ", "")
    assert "planted" not in answer.text


def test_hostile_output_comes_rendered_and_sanitised(client: TestClient) -> None:
    events = played(
        client,
        {**COLUMN, "messages": [{"role": "user", "content": "{word}"}]},
        {"word": "<img src=x onerror=alert(1)>"},
    )
    assert "onerror=" not in events[-1]["end"]["html"].replace("&lt;img src=x onerror=", "")


def test_examples_are_drawn_by_the_seed_and_never_from_the_test_split(
    client: TestClient, page_store: Sample
) -> None:
    dataset = page_store.run.task.dataset.id

    def drawn(seed: int) -> list[str]:
        found = client.get(f"/playground/examples?dataset={dataset}&k=12&seed={seed}").json()
        return [row["id"] for row in found]

    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)
    seen = {id for seed in range(20) for id in drawn(seed)}
    assert len(seen) > 30
    assert max(seen) < "ticket-040"
    assert client.get("/playground/examples?dataset=gone").status_code == 404


def test_a_link_brings_back_what_stood_in_the_columns(client: TestClient) -> None:
    state = {"columns": [COLUMN, {**COLUMN, "model": "simulated/slow"}], "input": "</script><b>x"}
    page = client.get("/playground?state=" + quote(json.dumps(state))).text
    assert "simulated/slow" in page
    assert "</script><b>x" not in page
    kept = client.post("/playground/keep", json=state).json()["saved"]
    assert "simulated/slow" in client.get(f"/playground?saved={kept}").text
    assert client.post("/playground/keep", json=state).json()["saved"] == kept


@pytest.mark.parametrize(
    ("query", "said"),
    [("saved=gone", "keeps no playground"), ("trace=gone", "no answer"), ("variant=gone", "known: champion, challenger"),
     ("state={", "JSON"), ("state=[]", "no JSON object"), ('state={"columns":[]}', "1 to 4 columns")],
)  # fmt: skip
def test_a_link_that_says_nothing_useful_is_told_and_leaves_an_empty_column(
    client: TestClient, query: str, said: str
) -> None:
    page = client.get(f"/playground?{query}")
    assert page.status_code == 200
    assert said in page.text
    assert "play-column" in page.text


def test_a_trace_opens_word_for_word_with_its_braces_as_text(client: TestClient, page_store: Sample) -> None:
    with SQLiteStore(page_store.store) as store:
        trace = next(store.traces(page_store.run.id))
        store.write(
            [
                trace.replace(
                    id="b" * 32, example_id="braces", input=[{"role": "user", "content": 'Give {"a": 1}'}]
                )
            ]
        )
    page = client.get(f"/playground?trace={'b' * 32}").text
    assert r"Give {{\"a\": 1}}" in page
    end = played(client, {**COLUMN, "messages": [{"role": "user", "content": 'Give {{"a": 1}}'}]}, "")[-1][
        "end"
    ]
    assert end["error"] is None


def test_a_column_becomes_a_variant_that_the_project_runs(client: TestClient, page_store: Sample) -> None:
    path = page_store.root / "ratchet.yaml"
    before = path.read_text()
    saved = client.post("/playground/save", json={"name": "brief", "column": COLUMN}).json()
    assert saved == {"name": "brief", "file": "ratchet.yaml", "prompt": "prompts/brief.yaml"}
    project = projects.load(path)
    variant = projects.ready(project, {"brief": project.variants["brief"]})["brief"]
    assert variant.model == "simulated/instant"
    assert variant.params == {"max_tokens": 30}
    assert [m["content"] for m in variant.prompt.messages] == ["Be brief.", "Say {word}"]  # type: ignore[union-attr]
    assert all(line in path.read_text().splitlines() for line in before.splitlines()), (
        "what stood there stands there"
    )
    assert "there is a variant 'brief' already" in refusal(
        client, "/playground/save", {"name": "brief", "column": COLUMN}
    )


def test_a_jinja_column_is_saved_as_a_jinja_prompt(client: TestClient, page_store: Sample) -> None:
    column = {**COLUMN, "syntax": "jinja", "messages": [{"role": "user", "content": "Say {{ word|upper }}"}]}
    assert (
        client.post("/playground/save", json={"name": "loud", "column": column}).json()["prompt"]
        == "prompts/loud.yaml.j2"
    )
    project = projects.load(page_store.root / "ratchet.yaml")
    assert projects.ready(project, {"loud": project.variants["loud"]})["loud"].prompt.syntax == "jinja"  # type: ignore[union-attr]


@pytest.mark.parametrize("name", ["", "../up", "a b", "1st", "x" * 65, "a: {b}"])
def test_a_name_that_is_none_writes_nothing(client: TestClient, page_store: Sample, name: str) -> None:
    before = (page_store.root / "ratchet.yaml").read_text()
    assert "name" in refusal(client, "/playground/save", {"name": name, "column": COLUMN})
    assert (page_store.root / "ratchet.yaml").read_text() == before


def test_without_a_project_the_entry_comes_back_as_text(client: TestClient, page_store: Sample) -> None:
    import dataclasses

    app: Any = client.app
    app.state.settings = dataclasses.replace(app.state.settings, project_file=None)
    snippet = client.post("/playground/save", json={"name": "brief", "column": COLUMN}).json()["snippet"]
    assert snippet.startswith("variants:\n  brief:\n")


def test_a_file_that_text_cannot_be_put_into_is_left_and_the_entry_shown(
    client: TestClient, page_store: Sample
) -> None:
    path = page_store.root / "ratchet.yaml"
    path.write_text("variants: {one: {model: simulated/instant, prompt: 'Say {word}'}}\n")
    said = refusal(client, "/playground/save", {"name": "brief", "column": COLUMN})
    assert "no line `variants:`" in said
    assert "model: simulated/instant" in said
    assert not (page_store.root / "prompts" / "brief.yaml").exists()


def test_only_admins_spend_money_and_change_the_project(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ratchet.web import pages

    monkeypatch.setattr(pages, "person", lambda request: Person(name="eve", role="label", is_local=False))
    for path in ("/playground/answer", "/playground/save"):
        assert client.post(path, json={"column": COLUMN, "input": "", "name": "x"}).status_code == 403
    assert "takes the role admin" in client.get("/playground").text
