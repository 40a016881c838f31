from __future__ import annotations

import json
from pathlib import Path

import pytest

from ratchet.errors import DatasetError
from ratchet.simulated.answers import Answer, AnswerKey, load_answers


def find(key: AnswerKey, user: str, system: str = "You are helpful.") -> object:
    row = key.find([{"role": "system", "content": system}, {"role": "user", "content": user}])
    return row and row.answer


def test_white_space_does_not_matter_to_an_exact_match() -> None:
    key = AnswerKey([Answer(prompt="Is  this\n spam?", answer="yes")])
    assert find(key, " Is this spam?\n") == "yes"
    assert find(key, "Is this spam? No") is None


def test_an_exact_match_may_be_the_whole_prompt_or_the_last_user_message() -> None:
    key = AnswerKey(
        [Answer(prompt="Be terse.\n\nIs it?", answer="whole"), Answer(prompt="Why?", answer="last")]
    )
    assert find(key, "Is it?", "Be terse.") == "whole"
    assert find(key, "Is it?", "Be long.") is None
    assert find(key, "Why?", "anything") == "last"


def test_contained_text_is_found_anywhere_in_any_message() -> None:
    key = AnswerKey([Answer(contains="int main(void) { return 0; }", answer="none")])
    assert find(key, "Review:\n<code>int main(void)\n{ return 0; }</code> Thanks") == "none"
    assert find(key, "Which?", "Program: int main(void) { return 0; }") == "none"
    assert find(key, "Review: int main(void) { return 1; }") is None


@pytest.mark.parametrize("text", ["TICKET-7", "猫が好き", "x", "?!", "naïve"])
def test_a_single_word_is_found_even_inside_another(text: str) -> None:
    key = AnswerKey([Answer(contains=text, answer="it")])
    assert find(key, f"before{text}after") == "it"


def test_parts_of_a_message_are_read_like_plain_text() -> None:
    key = AnswerKey([Answer(prompt="What is this?", answer="a cat")])
    content = [{"type": "image_url", "image_url": {"url": "x"}}, {"type": "text", "text": "What is this?"}]
    row = key.find([{"role": "user", "content": content}])
    assert row is not None
    assert row.answer == "a cat"


def test_the_longest_contained_text_wins_then_the_first() -> None:
    rows = [
        Answer(contains="order 12", answer="short"),
        Answer(contains="order 12 of March", answer="long"),
        Answer(contains="order 12 of March", answer="late"),
    ]
    assert find(AnswerKey(rows), "About order 12 of March: where is it?") == "long"


def test_every_row_of_many_alike_is_told_apart() -> None:
    head = "#include <stdio.h> int main(void) { return "
    key = AnswerKey([Answer(contains=f"{head}{n} ; }}", answer=n) for n in range(3000)])
    assert [find(key, f"Program: {head}{n} ; }} Which?") for n in (0, 7, 1234, 2999)] == [0, 7, 1234, 2999]
    assert find(key, f"Program: {head}3000 ; }} Which?") is None


def test_a_look_up_tries_few_rows_however_many_there_are() -> None:
    key = AnswerKey([Answer(contains=f"the request number {n} came in", answer=n) for n in range(6000)])
    longest = max(len(rows) for rows in key._anchored.rows.values())
    assert longest <= 20


@pytest.mark.parametrize("kind", ["jsonl", "json", "csv", "yaml"])
def test_every_format_gives_the_same_key(tmp_path: Path, kind: str) -> None:
    row = {"contains": "the late parcel", "answer": "refund", "labels": ["refund", "ship"], "difficulty": 0.5}
    texts = {
        "jsonl": json.dumps(row) + "\n\n",
        "json": json.dumps([row]),
        "csv": "contains,answer,labels,difficulty\nthe late parcel,refund,refund|ship,0.5\n",
        "yaml": "- {contains: the late parcel, answer: refund, labels: [refund, ship], difficulty: 0.5}\n",
    }
    path = tmp_path / f"key.{kind}"
    path.write_text(texts[kind])
    found = load_answers(path).find([{"role": "user", "content": "Where is the late parcel?"}])
    assert found == Answer(
        contains="the late parcel", answer="refund", labels=("refund", "ship"), difficulty=0.5
    )


def test_whole_messages_may_stand_in_a_row(tmp_path: Path) -> None:
    path = tmp_path / "key.jsonl"
    messages = [{"role": "system", "content": "Be terse."}, {"role": "user", "content": "Is it?"}]
    path.write_text(json.dumps({"messages": messages, "answer": "yes"}))
    assert find(load_answers(path), "Is it?", "Be terse.") == "yes"


@pytest.mark.parametrize(
    ("name", "text", "place", "message"),
    [
        ("k.jsonl", '{"prompt": "a", "answer": "b"}\n{"prompt": "a"', "k.jsonl:2", "not JSON"),
        ("k.jsonl", '{"prompt": "a"}', "column 'answer'", "no answer"),
        ("k.jsonl", '{"answer": "b"}', "column 'prompt'", "needs prompt, messages or contains"),
        ("k.jsonl", '{"prompt": 3, "answer": "b"}', "column 'prompt'", "expected text"),
        ("k.jsonl", '{"prompt": "a", "answer": "b", "difficulty": "hard"}', "difficulty", "a number from 0"),
        ("k.jsonl", "[1]", "k.jsonl:1", "expected a mapping"),
        ("k.json", "{}", "k.json", "expected a list of rows"),
        ("k.yaml", "- [", "k.yaml", "not YAML"),
        ("k.txt", "x", "k.txt", "expected .jsonl"),
        ("k.csv", "prompt,answer\n,yes\n", "k.csv:2", "needs prompt"),
    ],
)
def test_a_wrong_key_names_file_line_and_column(
    tmp_path: Path, name: str, text: str, place: str, message: str
) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(DatasetError) as caught:
        load_answers(path)
    assert place in str(caught.value)
    assert message in str(caught.value)
