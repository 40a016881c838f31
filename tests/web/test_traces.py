"""The page of one answer: by its own facts, over HTTP and in a browser."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from ratchet import datasets
from ratchet.records import Failure, Price, Score, Span, Trace
from ratchet.stores.sqlite import SQLiteStore
from ratchet.web import trace_facts

from .conftest import OpenPage
from .samples import Sample

if TYPE_CHECKING:
    from starlette.testclient import TestClient

ID = "a" * 32
PRICE = Price(
    input_usd_per_mtok=2.0,
    output_usd_per_mtok=8.0,
    cached_usd_per_mtok=0.5,
    source="list",
    as_of="2026-01-01",
)


def trace(**facts: object) -> Trace:
    return Trace(id=ID, **facts)  # type: ignore[arg-type]


def rows(sample: Sample, *, arm: str = "champion", failed: bool = False) -> list[str]:
    with SQLiteStore(sample.store, read_only=True) as store:
        found = [r for r in store.rows(sample.run.id, arm=arm) if (r.error_kind is not None) == failed]
        return [r.id for r in sorted(found, key=lambda r: (r.example_id or "", r.repeat))]


# what is said


def test_the_time_is_split_at_the_first_token() -> None:
    said = trace_facts.where_time_went(trace(latency_s=2.0, ttft_s=0.5, output_tokens=30))
    assert (
        said
        == "2.00 s from request to last byte: 500 ms (25 %) to the first token, 1.50 s after it for 30 tokens at 19 tokens a second."
    )


def test_waiting_and_failed_attempts_are_named() -> None:
    failure = Failure(kind="rate_limit", message="slow down")
    span = Span(
        trace_id=ID,
        id="b" * 16,
        name="chat",
        duration_ns=3 * 10**9,
        attributes={"ratchet.attempt": 1},
        error=failure,
    )
    said = trace_facts.where_time_went(trace(latency_s=1.0, queue_s=4.0, spans=(span,)))
    assert "The attempt that failed (rate_limit) took 3.00 s." in said
    assert "it waited 4.00 s for limits and retries" in said


def test_a_cached_answer_took_and_cost_nothing() -> None:
    found = trace(cached=True, cost_usd=0.0)
    assert "no call was made" in trace_facts.where_time_went(found)
    assert trace_facts.what_it_cost(found, PRICE).sentence.startswith("Nothing")


def test_the_cost_is_split_as_its_price_list_splits_it() -> None:
    found = trace(
        input_tokens=1000, cached_tokens=400, output_tokens=100, reasoning_tokens=25, cost_usd=0.0022
    )
    cost = trace_facts.what_it_cost(found, PRICE)
    split = {line.name: (line.tokens, line.usd) for line in cost.lines}
    assert split["input"] == (600, pytest.approx(0.0012))
    assert split["input from the cache"] == (400, pytest.approx(0.0002))
    assert split["output"] == (75, pytest.approx(0.0006))
    assert split["reasoning"] == (25, pytest.approx(0.0002))
    assert sum(line.usd or 0 for line in cost.lines) == pytest.approx(0.0022)
    assert (
        cost.sentence == "55 % for input, 9 % for input from the cache, 27 % for output, 9 % for reasoning."
    )
    assert cost.source == "list, as of 2026-01-01"


def test_a_price_above_a_threshold_counts_for_the_whole_request() -> None:
    price = PRICE.replace(above_tokens=500, above=Price(input_usd_per_mtok=4.0, output_usd_per_mtok=16.0))
    cost = trace_facts.what_it_cost(trace(input_tokens=1000, output_tokens=0, cost_usd=0.004), price)
    assert cost.lines[0].usd_per_mtok == 4.0


def test_what_no_token_explains_is_put_down_to_failed_attempts() -> None:
    cost = trace_facts.what_it_cost(
        trace(input_tokens=1000, output_tokens=0, cost_usd=0.004, attempts=2), PRICE
    )
    assert cost.sentence == "50 % for input, 50 % for attempts that failed."


def test_an_unknown_price_is_said_and_never_zero() -> None:
    cost = trace_facts.what_it_cost(trace(input_tokens=5, output_tokens=5), None)
    assert cost.total_usd is None
    assert cost.sentence == "Unknown: no price is known for this model."


@pytest.mark.parametrize(
    ("facts", "word"),
    [
        ({}, "Answered"),
        ({"error": Failure(kind="timeout", message="x")}, "Failed"),
        ({"refusal": "no"}, "Refused"),
        ({"answer_error": "no JSON"}, "Unparsable"),
        ({"finish_reason": "length"}, "Cut short"),
    ],
)
def test_the_outcome_is_a_word(facts: dict[str, object], word: str) -> None:
    assert trace_facts.outcome(trace(**facts)).word == word


def test_messages_keep_roles_and_calls_and_odd_inputs_stay_whole() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "search", "arguments": '{"q": 1}'}}
    given = [{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
             {"role": "assistant", "content": None, "tool_calls": [call]},
             {"role": "tool", "tool_call_id": "c1", "content": "found"}]  # fmt: skip
    found = trace_facts.messages(trace(input=given))
    assert [(m.role, m.content) for m in found] == [("user", "a\nb"), ("assistant", None), ("tool", "found")]
    assert (found[1].calls[0].name, found[1].calls[0].arguments) == ("search", '{"q": 1}')
    assert trace_facts.messages(trace(input=["not", "messages"])) == []
    assert trace_facts.messages(trace(input={"question": 1})) == []


def test_a_newer_score_stands_for_the_older_ones_and_people_come_first() -> None:
    scores = [Score(trace_id=ID, name="judge", value=0.2, source="judge", by="j@1"),
              Score(trace_id=ID, name="judge", value=0.9, source="judge", by="j@1"),
              Score(trace_id=ID, name="good", value=True, source="human", by="ann")]  # fmt: skip
    lines = trace_facts.score_lines(scores)
    assert [(line.score.name, line.value, len(line.older)) for line in lines] == [
        ("good", "pass", 0),
        ("judge", "0.9", 1),
    ]


# over HTTP


def test_the_page_shows_what_was_sent_expected_and_scored(client: TestClient, page_store: Sample) -> None:
    text = client.get(f"/traces/{rows(page_store)[0]}").text
    for part in (
        "Where its time went",
        "What it cost",
        "You sort tickets",
        "Expected",
        "billing",
        "contains@1",
        "set in the project",
    ):
        assert part in text


def test_a_failed_answer_names_its_error(client: TestClient, page_store: Sample) -> None:
    failed = rows(page_store, failed=True) or rows(page_store, arm="challenger", failed=True)
    text = client.get(f"/traces/{failed[0]}").text
    assert "Failed" in text
    assert "status 500" in text


def test_the_answers_of_one_example_lead_to_one_another(client: TestClient, page_store: Sample) -> None:
    first, second = rows(page_store)[:2]
    assert f'href="/traces/{second}" rel="next"' in client.get(f"/traces/{first}").text
    assert f'href="/traces/{first}" rel="prev"' in client.get(f"/traces/{second}").text


def test_a_missing_trace_and_a_missing_part_are_said(client: TestClient, page_store: Sample) -> None:
    assert client.get("/traces/nothing").status_code == 404
    answer = client.get(f"/traces/{rows(page_store)[0]}/text?part=nothing")
    assert answer.status_code == 404
    assert "output" in answer.text


def test_the_scores_are_exported(client: TestClient, page_store: Sample) -> None:
    answer = client.get(f"/traces/{rows(page_store)[0]}/scores?format=jsonl")
    assert json.loads(answer.text.splitlines()[0])["name"] == "contains"


def add(client: TestClient, trace_id: str, **fields: str) -> str:
    answer = client.post(f"/traces/{trace_id}/add", data=fields, follow_redirects=True)
    return answer.text


def test_an_example_is_added_as_a_new_version_beside_the_old_one(
    client: TestClient, page_store: Sample
) -> None:
    dataset, trace_id = page_store.run.task.dataset, rows(page_store)[0]
    old = (page_store.root / "tickets.jsonl").read_bytes()
    given = json.dumps({"question": "changed"})
    text = add(client, trace_id, dataset=dataset.id, input=given, expected="account")
    assert "now has 61 examples" in text
    assert "tickets-v2.jsonl" in text
    assert (page_store.root / "tickets.jsonl").read_bytes() == old
    with SQLiteStore(page_store.store) as store:
        target = store.ref("datasets/tickets")
        assert target is not None
        versions = datasets.lineage(store, target)
    assert [v.count for v in versions][:1] == [61]
    assert versions[0].parent == dataset.id
    assert trace_id in versions[0].made_by
    example = list(datasets.examples(versions[0]))[-1]
    assert (example.input, example.expected) == ({"question": "changed"}, "account")
    assert example.metadata["origin"]["trace"] == trace_id
    assert example.metadata["origin"]["by"] == "ann"


def test_a_second_example_starts_from_the_version_before(client: TestClient, page_store: Sample) -> None:
    first, second = rows(page_store)[0], rows(page_store)[2]
    add(client, first, name="regressions", expected="billing")
    with SQLiteStore(page_store.store) as store:
        made = store.ref("datasets/regressions")
    assert made is not None
    text = add(client, second, dataset=made, expected="account")
    assert "now has 2 examples" in text
    names = sorted(p.name for p in (page_store.root / "datasets").iterdir())
    assert names == ["regressions-v2.jsonl", "regressions.jsonl"]


@pytest.mark.parametrize("name", ["../../evil", "/etc/x", "", "a b", "..", "x" * 65, "a/b"])
def test_a_name_that_is_no_name_writes_nothing(client: TestClient, page_store: Sample, name: str) -> None:
    before = sorted(str(p) for p in page_store.root.rglob("*.jsonl"))
    answer = client.post(f"/traces/{rows(page_store)[0]}/add", data={"name": name, "expected": "x"})
    assert answer.status_code == 422
    assert "is no name for a dataset" in answer.text
    assert sorted(str(p) for p in page_store.root.rglob("*.jsonl")) == before


def test_a_dataset_outside_the_project_is_not_written(
    client: TestClient, page_store: Sample, tmp_path: Path
) -> None:
    outside = tmp_path / "outside.jsonl"
    outside.write_text('{"id": "1", "input": "a"}\n', "utf-8")
    with SQLiteStore(page_store.store) as store:
        dataset = datasets.load(outside)
        datasets.register(store, dataset)
    answer = client.post(f"/traces/{rows(page_store)[0]}/add", data={"dataset": dataset.id, "expected": "x"})
    assert answer.status_code == 422
    assert "outside the project" in answer.text
    assert [p.name for p in tmp_path.glob("*.jsonl")] == ["outside.jsonl"]


def test_a_link_out_of_the_project_is_not_followed(
    client: TestClient, page_store: Sample, tmp_path: Path
) -> None:
    (tmp_path / "elsewhere").mkdir()
    (page_store.root / "datasets").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    answer = client.post(f"/traces/{rows(page_store)[0]}/add", data={"name": "mine", "expected": "x"})
    assert answer.status_code == 422
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_an_input_that_was_an_object_must_stay_json(client: TestClient, page_store: Sample) -> None:
    answer = client.post(
        f"/traces/{rows(page_store)[0]}/add", data={"name": "n", "input": "{", "expected": "x"}
    )
    assert answer.status_code == 422
    assert "The input must stay JSON" in answer.text
    assert 'value="n"' in answer.text


def test_a_trace_is_added_once(client: TestClient, page_store: Sample) -> None:
    trace_id, dataset = rows(page_store)[0], page_store.run.task.dataset
    add(client, trace_id, dataset=dataset.id, expected="x")
    with SQLiteStore(page_store.store) as store:
        newest = store.ref("datasets/tickets")
    assert newest is not None
    answer = client.post(f"/traces/{trace_id}/add", data={"dataset": newest, "expected": "x"})
    assert answer.status_code == 422
    assert "already holds this trace" in answer.text


def test_opening_an_answer_to_a_held_out_example_is_a_look(client: TestClient, page_store: Sample) -> None:
    held_out = rows(page_store)[-1]
    for _ in range(2):
        client.get(f"/traces/{held_out}")
    client.get(f"/traces/{rows(page_store)[0]}")
    with SQLiteStore(page_store.store) as store:
        looks = store.looks(page_store.run.task.dataset.id)
    assert [(look.by, look.split) for look in looks] == [("ann", "test")]


# in a browser


@pytest.mark.slow
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_what_it_cost_and_where_its_time_went_are_in_the_first_view(
    open_page: OpenPage, site: str, page_store: Sample, theme: str
) -> None:
    page = open_page(theme=theme)
    page.goto(f"{site}/traces/{rows(page_store)[0]}")
    for name in ("Where its time went", "What it cost", "Output", "Expected"):
        box = page.get_by_role("heading", name=name).bounding_box()
        assert box is not None
        assert box["y"] + box["height"] < 900
    assert page.locator(".figure").count() == 2
    assert page.locator(".waterfall tbody tr").count() >= 1


@pytest.mark.slow
@pytest.mark.parametrize("width", [360, 768, 1000, 1101, 1440])
def test_nothing_is_wider_than_the_window(
    open_page: OpenPage, site: str, page_store: Sample, width: int
) -> None:
    page = open_page(width=width)
    page.goto(f"{site}/traces/{rows(page_store)[0]}")
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.slow
def test_keys_move_between_answers_and_change_the_view_in_the_address(
    open_page: OpenPage, site: str, page_store: Sample
) -> None:
    first, second = rows(page_store)[:2]
    page = open_page()
    page.goto(f"{site}/traces/{first}")
    page.keyboard.press("v")
    expect(page.locator("#block-output a[data-view=raw]")).to_have_attribute("aria-current", "true")
    assert "output.as=raw" in page.url
    again = open_page()
    again.goto(page.url)
    expect(again.locator("#block-output .block-text.raw")).to_be_visible()
    page.keyboard.press("j")
    page.wait_for_url(f"**/traces/{second}")
    page.keyboard.press("k")
    page.wait_for_url(f"**/traces/{first}")


@pytest.mark.slow
def test_an_example_is_added_by_keyboard(open_page: OpenPage, site: str, page_store: Sample) -> None:
    page = open_page()
    page.goto(f"{site}/traces/{rows(page_store)[0]}")
    page.keyboard.press("a")
    expect(page.locator("#add-dataset")).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.type("regressions")
    page.keyboard.press("Enter")
    expect(page.locator(".done")).to_contain_text("regressions now has 1 examples")
    assert (page_store.root / "datasets" / "regressions.jsonl").exists()
