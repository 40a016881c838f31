"""The labelling screen's answers: who may do what, what is refused and why, and how fast."""

from __future__ import annotations

import json
import re
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from ratchet.labels import queues, rubrics
from ratchet.labels.queues import Queue, Recipe
from ratchet.records import Score
from ratchet.stores.sqlite import SQLiteStore

from .conftest import ORIGIN, csrf_of
from .samples import Sample

if TYPE_CHECKING:
    from starlette.testclient import TestClient

    from ratchet.web.settings import Settings


@pytest.fixture
def queue(page_store: Sample) -> Queue:
    return make(page_store, Recipe(n=60, score="quality", where={}))


def make(sample: Sample, recipe: Recipe) -> Queue:
    with SQLiteStore(sample.store) as store:
        return queues.build(sample.run, store, recipe, by="ann")


def human(sample: Sample) -> list[Score]:
    with SQLiteStore(sample.store) as store:
        return [score for score in store.scores() if score.source == "human"]


def label(client: TestClient, queue: Queue, position: int, value: Any, **body: Any) -> Any:
    return client.post(
        f"/label/{queue.id}/label", json={"position": position, "slot": 0, "value": value, **body},
        headers={"Accept": "application/json"},
    )  # fmt: skip


def test_without_queues_the_page_says_what_to_type(client: TestClient) -> None:
    text = client.get("/label").text
    assert "Nothing is queued for labelling yet." in text
    assert "ratchet label new -n 100 --score contains" in text


def test_the_form_makes_a_queue_and_leads_to_it(client: TestClient, page_store: Sample) -> None:
    fields = {
        "run": page_store.run.id,
        "order": "worst",
        "metric": "contains",
        "score": "quality",
        "n": "7",
        "per_item": "2",
    }
    answer = client.post("/label", data=fields, follow_redirects=False)
    assert answer.status_code == 303
    text = client.get(answer.headers["location"]).text
    assert '0</b> of <span id="label-total">14<' in text
    assert "Is B good?" in text or "Is A good?" in text
    assert "Worst change first" in client.get("/label").text


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"run": "nope"}, "the run is &#39;nope&#39;"),
        ({"n": "many"}, "n is &#39;many&#39;, expected a whole number"),
        ({"where": "billing"}, "expected name=value"),
        ({"rubric": "whatever"}, "expected pass, a scale such as 1-5"),
        ({"arm": "chalenger"}, "Did you mean &#39;challenger&#39;"),
        ({"order": "worst", "metric": "nothing"}, "no example has a number"),
    ],
)
def test_a_field_that_can_not_be_used_is_told_and_what_was_typed_stays(
    client: TestClient, page_store: Sample, changes: dict[str, str], why: str
) -> None:
    fields = {"run": page_store.run.id, "order": "random", "score": "kept name", **changes}
    answer = client.post("/label", data=fields)
    assert answer.status_code == 400
    assert why in answer.text
    assert 'value="kept name"' in answer.text


def test_a_link_from_a_verdict_fills_the_form(client: TestClient, page_store: Sample) -> None:
    from ratchet.verdicts import keeping
    from ratchet.verdicts.keeping import Source

    with SQLiteStore(page_store.store) as store:
        sources = {arm: Source(run_id=page_store.run.id, arm=arm) for arm in ("champion", "challenger")}
        kept = keeping.keep(store, page_store.verdict, view={"total": 60}, sources=sources)
    text = client.get(f"/label?verdict={kept.id}").text
    assert '<option value="worst" selected>' in text
    assert 'name="candidate" value="challenger"' in text
    assert 'name="metric" value="contains"' in text
    assert client.get("/label?verdict=nonsense").status_code == 200


def test_a_label_is_a_score_by_the_person_and_the_next_items_are_ready(
    client: TestClient, queue: Queue, page_store: Sample
) -> None:
    assert "label-card" in client.get(f"/label/{queue.id}").text
    found = client.get(f"/label/{queue.id}/next?most=4&have=0.0").json()
    assert [(i["position"], "html" in i) for i in found["items"]] == [
        (0, False),
        (1, True),
        (2, True),
        (3, True),
    ]
    answer = label(client, queue, 0, True, seconds=1.5, note="fine", token="a")
    assert answer.json()["done"] == 1
    (score,) = human(page_store)
    assert (score.by, score.value, score.reason, score.metadata["seconds"]) == ("ann", True, "fine", 1.5)
    assert label(client, queue, 0, True, seconds=1.5, token="a").status_code == 200, "sent again"
    assert label(client, queue, 0, False, token="b").status_code == 409
    assert len(human(page_store)) == 1


def test_without_scripts_a_form_labels_skips_and_undoes(
    client: TestClient, queue: Queue, page_store: Sample
) -> None:
    client.get(f"/label/{queue.id}")
    fields = {"form": "1", "position": "0", "slot": "0"}
    answer = client.post(f"/label/{queue.id}/label", data={**fields, "value": "true"}, follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, f"/label/{queue.id}")
    assert [score.value for score in human(page_store)] == [True]
    client.post(f"/label/{queue.id}/undo", data=fields)
    assert [score.value for score in human(page_store)] == [None]
    assert client.post(f"/label/{queue.id}/skip", data=fields, follow_redirects=False).status_code == 303
    assert 'name="position" value="0"' not in client.get(f"/label/{queue.id}").text


@pytest.mark.parametrize(
    ("body", "status", "why"),
    [
        ({"position": 0, "value": "maybe"}, 400, "expected Good | Bad"),
        ({"position": 9999, "value": True}, 404, "9999"),
        ({"position": "0", "value": True}, 404, "No item named"),
        ({"position": 0, "value": True, "rubric": "0" * 12}, 404, "version of the rubric"),
        ({"position": 10**30, "value": True}, 404, "No item named"),
    ],
)
def test_a_label_that_can_not_be_kept_says_why(
    client: TestClient, queue: Queue, page_store: Sample, body: dict[str, Any], status: int, why: str
) -> None:
    client.get(f"/label/{queue.id}/next")
    answer = client.post(
        f"/label/{queue.id}/label", json={"slot": 0, **body}, headers={"Accept": "application/json"}
    )
    assert answer.status_code == status
    assert why in answer.text
    assert human(page_store) == []


def test_a_body_that_is_no_object_is_refused(client: TestClient, queue: Queue) -> None:
    for text in ("[1]", "{", ""):
        answer = client.post(
            f"/label/{queue.id}/label", content=text,
            headers={"Content-Type": "application/json", "Accept": "application/json"},
        )  # fmt: skip
        assert answer.status_code in (400, 422)


def test_an_unknown_queue_is_not_found(client: TestClient) -> None:
    assert client.get("/label/nothing").status_code == 404


def test_an_item_that_was_given_on_is_refused_with_the_reason(client: TestClient, page_store: Sample) -> None:
    queue = make(page_store, Recipe(n=60, score="quality", lease_s=1.0))
    client.get(f"/label/{queue.id}")
    with SQLiteStore(page_store.store) as store:
        store.lease_items(queue.id, "ben", most=1, now=time.time() + 60, until=time.time() + 120)
    answer = label(client, queue, 0, True)
    assert answer.status_code == 409
    assert "Item 1 is with somebody else by now." in answer.text


def test_what_judges_said_comes_with_the_answer_to_a_label_and_not_before(
    client: TestClient, queue: Queue, page_store: Sample
) -> None:
    with SQLiteStore(page_store.store) as store:
        item = next(store.label_items(queue.id))
        store.write(
            [
                Score(
                    trace_id=item.trace_id,
                    name="quality",
                    value=False,
                    source="judge",
                    by="critic@1",
                    reason="SECRET reason",
                )
            ]
        )
    before = client.get(f"/label/{queue.id}").text + client.get(f"/label/{queue.id}/next").text
    assert "SECRET" not in before
    assert "drawn at random" not in before, "nor why the item is here"
    html = label(client, queue, 0, True).json()["html"]
    assert "critic" in html
    assert "SECRET reason" in html


def test_a_quick_label_is_kept_from_any_screen(client: TestClient, page_store: Sample) -> None:
    with SQLiteStore(page_store.store) as store:
        trace = next(store.rows(page_store.run.id)).id
    body = {"trace_id": trace, "name": "contains", "value": False, "note": "cut short"}
    assert client.post("/label/quick", json=body).json() == {"saved": True, "value": False}
    (score,) = human(page_store)
    assert (score.name, score.value, score.reason, score.by) == ("contains", False, "cut short", "ann")
    bad = client.post("/label/quick", json={**body, "trace_id": "no"}, headers={"Accept": "application/json"})
    assert (bad.status_code, "no trace" in bad.text) == (400, True)


@pytest.mark.parametrize("kind", ["jsonl", "csv", "json"])
def test_labels_are_exported_and_brought_back_in_each_format(
    client: TestClient, queue: Queue, page_store: Sample, kind: str
) -> None:
    client.get(f"/label/{queue.id}/next")
    label(client, queue, 0, True, note="=1+1")
    answer = client.get(f"/label/{queue.id}/export?format={kind}")
    assert answer.headers["content-disposition"] == f'attachment; filename="labels-{queue.id}.{kind}"'
    (kept,) = human(page_store)
    text = re.sub(rf"\b{kept.by}\b", "ben", answer.text)
    sent = client.post("/label/import", json={"name": f"../x/labels.{kind}", "text": text, "by": ""})
    assert sent.json() == {"saved": 1}
    assert sorted(score.by for score in human(page_store)) == ["ann", "ben"]


def test_an_export_of_an_unknown_format_and_a_bad_import_say_what_would_do(
    client: TestClient, page_store: Sample
) -> None:
    assert "expected one of jsonl, csv, json" in client.get("/label/export?format=xlsx").text
    bad = client.post(
        "/label/import",
        json={"name": "x.csv", "text": "a,b\n", "by": ""},
        headers={"Accept": "application/json"},
    )
    assert bad.status_code == 400
    assert "there is no such column" in json.dumps(bad.json())


def test_the_rubric_gets_versions_and_labels_keep_theirs(
    client: TestClient, queue: Queue, page_store: Sample
) -> None:
    client.get(f"/label/{queue.id}/next")
    with SQLiteStore(page_store.store) as store:
        first = rubrics.load(store, "quality")
    assert first is not None
    client.post(f"/label/{queue.id}/rubric", data={"text": "Good is <b>short</b>."})
    text = client.get(f"/label/{queue.id}").text
    assert "version 2" in text
    assert "Good is &lt;b&gt;short&lt;/b&gt;." in text
    label(client, queue, 0, True, rubric=first.version)
    label(client, queue, 1, True)
    versions = [score.metadata["rubric_version"] for score in human(page_store)]
    assert versions[0] == first.version
    assert versions[1] != first.version


def test_agreement_of_two_people_stands_in_the_list_and_beside_the_item(
    client: TestClient, page_store: Sample
) -> None:
    from ratchet.labels import giving
    from ratchet.labels.giving import Answer

    queue = make(page_store, Recipe(n=12, score="quality", arms=("champion",), per_item=2))
    with SQLiteStore(page_store.store) as store:
        for person in ("ann", "ben"):
            for item in giving.lease(store, queue, person, most=12):
                value = item.position % 3 != 0
                giving.give(
                    store,
                    queue,
                    item,
                    person,
                    Answer(position=item.position, slot=item.slot, value=value, seconds=4.0),
                )
    assert "kappa 1.00" in client.get("/label").text
    text = client.get(f"/label/{queue.id}/agreement").text
    assert "100%" in text
    assert "You: 12 labels, 4.0 s each, about 900 an hour" in text


def test_roles_decide_who_looks_labels_and_makes_queues(settings: Settings, page_store: Sample) -> None:
    from starlette.testclient import TestClient

    from ratchet.web.access import add_token
    from ratchet.web.app import create_app

    queue = make(page_store, Recipe(n=5, score="quality"))
    with SQLiteStore(page_store.store) as store:
        tokens = {role: add_token(store, role, role) for role in ("view", "label", "admin")}
    with_tokens = replace(settings, allowed_hosts=("ratchet.example",))
    allowed: dict[str, list[int]] = {}
    for role, token in tokens.items():
        with TestClient(create_app(with_tokens), base_url=ORIGIN) as client:
            page = client.get("/login").text
            client.headers["X-CSRF-Token"] = page.split('<meta name="csrf" content="')[1].split('"')[0]
            client.post("/login", data={"token": token})
            client.headers["X-CSRF-Token"] = csrf_of(client)
            client.headers["Accept"] = "application/json"
            allowed[role] = [
                client.get(f"/label/{queue.id}").status_code,
                client.get(f"/label/{queue.id}/next").status_code,
                client.post("/label/quick", json={}).status_code,
                client.post(
                    f"/label/{queue.id}/rubric", data={"text": "x"}, follow_redirects=False
                ).status_code,
                client.post("/label/import", json={"name": "a.jsonl", "text": ""}).status_code,
                client.post("/label", data={}).status_code,
            ]
    assert allowed == {
        "view": [200, 403, 403, 403, 403, 403],
        "label": [200, 200, 400, 403, 403, 403],
        "admin": [200, 200, 400, 303, 200, 400],
    }


def test_somebody_who_only_looks_takes_no_item(
    settings: Settings, client: TestClient, queue: Queue, page_store: Sample
) -> None:
    with SQLiteStore(page_store.store) as store:
        assert store.label_progress(queue.id, now=0.0).leased == 0
    client.get(f"/label/{queue.id}/agreement")
    client.get("/label")
    with SQLiteStore(page_store.store) as store:
        assert store.label_progress(queue.id, now=0.0).leased == 0


def test_labelling_held_out_examples_is_a_look_at_them_once_a_person(
    client: TestClient, queue: Queue, page_store: Sample
) -> None:
    client.get("/label")
    dataset = page_store.run.task.dataset.id
    with SQLiteStore(page_store.store) as store:
        assert store.looks(dataset) == [], "to see the list is not to look"
        client.get(f"/label/{queue.id}")
        client.get(f"/label/{queue.id}")
        (look,) = store.looks(dataset)
    assert (look.split, look.by, look.what) == ("test", "ann", f"labelled in the queue {queue.id}")


def test_a_request_without_the_page_s_token_labels_nothing(
    client: TestClient, queue: Queue, page_store: Sample
) -> None:
    client.get(f"/label/{queue.id}/next")
    client.headers["X-CSRF-Token"] = "wrong"
    assert label(client, queue, 0, True).status_code == 403
    assert human(page_store) == []
