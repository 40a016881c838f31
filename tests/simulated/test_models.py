from __future__ import annotations

import asyncio
import json
from typing import Any

import jsonschema
import pytest

from ratchet.ports import Chunk, Request, Usage
from ratchet.records import Price
from ratchet.simulated.answers import Answer, AnswerKey
from ratchet.simulated.models import SimulatedModel, cost, count_tokens, load_model
from ratchet.simulated.profiles import Delay, Profile


def user(text: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": text}]


def labelled(count: int, difficulty: float = 0.0) -> AnswerKey:
    return AnswerKey(
        [
            Answer(prompt=f"Case {n}", answer="abc"[n % 3], labels=("a", "b", "c"), difficulty=difficulty)
            for n in range(count)
        ]
    )


def share_right(model: SimulatedModel, count: int, repeat: int = 0) -> float:
    return (
        sum(model.respond(user(f"Case {n}"), repeat=repeat).text == "abc"[n % 3] for n in range(count))
        / count
    )


def test_the_share_of_right_answers_is_the_skill_at_the_difficulty() -> None:
    profile = Profile(name="m", skill=0.8, slope=2.0, noise=0.2)
    for difficulty in (0.0, 0.7):
        model = SimulatedModel(profile, answers=labelled(3000, difficulty))
        assert share_right(model, 3000) == pytest.approx(profile.p_right(difficulty), abs=0.03)


def test_only_the_noisy_share_of_answers_varies_between_repeats() -> None:
    model = SimulatedModel(Profile(name="m", skill=0.5, noise=0.3), answers=labelled(1500))
    varying = 0
    for n in range(1500):
        varying += len({model.respond(user(f"Case {n}"), repeat=repeat).text for repeat in range(12)}) > 1
    assert varying / 1500 == pytest.approx(0.3, abs=0.05)


def test_without_noise_every_repeat_answers_alike() -> None:
    model = SimulatedModel(Profile(name="m", skill=0.5), answers=labelled(50))
    for n in range(50):
        assert len({model.respond(user(f"Case {n}"), repeat=repeat).text for repeat in range(5)}) == 1


def test_seed_model_messages_and_repeat_decide_everything() -> None:
    profile = Profile(name="m", skill=0.5, noise=1.0, ttft_s=Delay(kind="lognormal", low_s=0.1, high_s=0.3))

    def plans(seed: int, name: str = "m") -> list[Any]:
        model = SimulatedModel(profile, answers=labelled(40), seed=seed)
        return [model.respond(user(f"Case {n}"), repeat=1, model=name) for n in range(40)]

    assert plans(1) == plans(1)
    assert [p.text for p in plans(1)] != [p.text for p in plans(2)]
    assert [p.text for p in plans(1)] != [p.text for p in plans(1, "other")]


def test_an_explicit_seed_replaces_the_repeat() -> None:
    model = SimulatedModel(Profile(name="m", skill=0.5, noise=1.0), answers=labelled(30))
    for n in range(30):
        first, second = (model.respond(user(f"Case {n}"), {"seed": 5}, repeat=r).text for r in (0, 1))
        assert first == second


def test_wrong_answers_come_from_the_row_or_its_labels_and_are_never_right() -> None:
    rows = [
        Answer(prompt="listed", answer="a", wrong=("x", "y", "a")),
        Answer(prompt="labels", answer="a", labels=("a", "b")),
        Answer(prompt="set", answer=["a", "b"], labels=("a", "b", "c")),
        Answer(prompt="number", answer=4),
        Answer(prompt="object", answer={"n": 1, "s": "t"}),
    ]
    model = SimulatedModel(Profile(name="m", skill=0.0, noise=1.0), answers=AnswerKey(rows))

    def answers(prompt: str) -> set[str]:
        return {model.respond(user(prompt), repeat=repeat).text for repeat in range(30)}

    assert answers("listed") == {"x", "y"}
    assert answers("labels") == {"b"}
    assert answers("set") == {'["a"]', '["b"]', '["a","b","c"]'}
    assert "4" not in answers("number")
    assert '{"n":1,"s":"t"}' not in answers("object")


def test_a_text_answer_fits_the_json_that_was_asked_for() -> None:
    schema = {"type": "object", "properties": {"label": {"type": "string"}, "n": {"type": "integer"}}}
    form = {"type": "json_schema", "json_schema": {"name": "v", "schema": schema}}
    model = SimulatedModel(Profile(name="m"), answers=AnswerKey([Answer(prompt="Q", answer="dry")]))
    assert json.loads(model.respond(user("Q"), response_format=form).text)["label"] == "dry"
    assert json.loads(model.respond(user("Q"), response_format={"type": "json_object"}).text) == {
        "answer": "dry"
    }


def test_verbosity_adds_words_where_the_format_says_and_never_to_json() -> None:
    key = AnswerKey([Answer(prompt="Q", answer="dry"), Answer(prompt="J", answer={"a": 1})])
    plain = SimulatedModel(Profile(name="m", verbosity=20), answers=key)
    text = plain.respond(user("Q")).text
    assert text.endswith("\n\ndry")
    assert len(text.split()) == 21
    tagged = Profile(name="m", verbosity=5, format="<a>{answer}</a> {explanation}")
    assert SimulatedModel(tagged, answers=key).respond(user("Q")).text.startswith("<a>dry</a> ")
    assert plain.respond(user("J")).text == '{"a":1}'


@pytest.mark.parametrize(
    ("prompt", "allowed"),
    [
        ("Classify. Labels: spam, ham, other.\nText: hi", {"spam", "ham", "other"}),
        ("Answer with one of [yes, no].", {"yes", "no"}),
        ("Pick.\nCategories:\n- billing: money\n- tech\n\nText: x", {"billing", "tech"}),
    ],
)
def test_without_a_key_a_listed_label_is_chosen(prompt: str, allowed: set[str]) -> None:
    model = SimulatedModel(Profile(name="m", noise=1.0))
    seen = {model.respond(user(prompt), repeat=repeat).text for repeat in range(30)}
    assert seen == allowed


def test_without_a_key_a_judge_gets_the_shape_it_asks_for() -> None:
    model = SimulatedModel(Profile(name="m"))
    tagged = model.respond(user("Rate from 0 to 10 in <reason> and <score> tags.")).text
    assert 0 <= int(tagged.split("<score>")[1].split("</score>")[0]) <= 10
    asked = 'Reply in JSON: {"reason": "...", "code_quality": "correct / incomplete / wrong", "ok": true}'
    verdict = json.loads(model.respond(user(asked)).text)
    assert verdict["code_quality"] in ("correct", "incomplete", "wrong")
    assert isinstance(verdict["ok"], bool)
    assert verdict["reason"]


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#/$defs/n", "$defs": {"n": {"type": "integer", "exclusiveMinimum": 3, "maximum": 5}}},
        {"anyOf": [{"type": "null"}, {"type": "string", "minLength": 120, "maxLength": 130}]},
        {"type": "array", "minItems": 3, "maxItems": 4, "items": {"enum": ["a", 2, None]}},
        {"allOf": [{"properties": {"a": {"const": 1}}, "required": ["a"]}, {"required": ["b"]}]},
        {"type": ["number", "null"], "minimum": -2.5, "maximum": -1.5},
        {
            "type": "object",
            "properties": {"when": {"type": "string", "format": "date"}},
            "required": ["when"],
        },
        {"type": "array", "prefixItems": [{"type": "boolean"}, {"type": "number", "multipleOf": 0.5}]},
        {
            "$defs": {"t": {"properties": {"kids": {"type": "array", "items": {"$ref": "#/$defs/t"}}}}},
            "$ref": "#/$defs/t",
        },
    ],
)
def test_an_instance_is_valid_against_its_schema(schema: dict[str, Any]) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "v", "schema": schema}}
    model = SimulatedModel(Profile(name="m", noise=1.0))
    for repeat in range(20):
        jsonschema.validate(
            json.loads(model.respond(user("x"), response_format=form, repeat=repeat).text), schema
        )


def test_cost_is_the_usage_at_the_profiles_price() -> None:
    price = Price(
        input_usd_per_mtok=1,
        output_usd_per_mtok=10,
        cached_usd_per_mtok=0.1,
        reasoning_usd_per_mtok=20,
        request_usd=0.5,
    )
    usage = Usage(input_tokens=1000, output_tokens=100, cached_tokens=400, reasoning_tokens=30)
    expected = 0.5 + (600 * 1 + 400 * 0.1 + 70 * 10 + 30 * 20) / 1e6
    assert cost(Profile(name="m", price=price), usage) == pytest.approx(expected)
    assert cost(Profile(name="m"), usage) is None


def test_chunks_add_up_and_every_later_one_has_its_gap() -> None:
    profile = Profile(name="m", tokens_per_chunk=2, ttft_s=Delay(low_s=0.5), gap_s=Delay(low_s=0.1))
    plan = SimulatedModel(profile).respond(user("Tell me"))
    pieces = list(plan.pieces())
    assert "".join(text for _, text in pieces) == plan.text
    assert all(count_tokens(text) <= 2 for _, text in pieces)
    assert [wait_s for wait_s, _ in pieces] == [0.5] + [0.1] * (len(pieces) - 1)
    assert plan.latency_s == pytest.approx(0.5 + 0.1 * (len(pieces) - 1))


def chunks(model: SimulatedModel, request: Request) -> list[Chunk]:
    async def read() -> list[Chunk]:
        return [chunk async for chunk in model.stream(request)]

    return asyncio.run(read())


def test_in_process_a_stream_and_a_whole_answer_say_the_same() -> None:
    model = load_model("demo", settings={"price": "1/2"}, seed=3)
    request = Request(model="demo", messages=user("Tell me"))
    (whole,) = chunks(model, request)
    streamed = chunks(model, Request(model="demo", messages=user("Tell me"), stream=True))
    assert "".join(chunk.text for chunk in streamed) == whole.text
    assert (whole.usage, whole.model) == (streamed[-1].usage, "demo-simulated")
    assert whole.cost_usd == streamed[-1].cost_usd
    assert whole.metadata["simulated"] is True


def test_a_named_model_is_the_shipped_profile_with_settings_changed() -> None:
    assert load_model("champion").profile.skill == 0.97
    assert load_model("champion", settings={"skill": 0.5}).profile.skill == 0.5
    assert load_model("anything").profile.instant
