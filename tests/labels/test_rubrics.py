"""Rubrics: what may be said, by which keys, in which version."""

from __future__ import annotations

import pytest

from ratchet.errors import ConfigError
from ratchet.labels import rubrics
from ratchet.ports import Store
from ratchet.records import Run, Score


def test_good_and_bad_are_one_key_each() -> None:
    found = rubrics.passing("quality")
    assert [(c.key, c.value) for c in found.choices] == [("g", True), ("b", False)]
    assert found.read("good") is True
    assert found.read(False) is False
    with pytest.raises(ValueError, match=r"expected Good \| Bad"):
        found.read(1.0)


def test_labels_get_digits_and_keys_of_their_own() -> None:
    found = rubrics.of_labels("tone", ["kind", "p=plain", "rude"])
    assert [(c.key, c.label) for c in found.choices] == [("1", "kind"), ("p", "plain"), ("2", "rude")]
    assert found.read("PLAIN") == "plain"
    with pytest.raises(ValueError, match="Did you mean 'rude'"):
        found.read("rud")


def test_many_labels_are_a_set_and_none_of_them_is_an_answer_too() -> None:
    found = rubrics.of_labels("smells", ["DRY", "SRP"], many=True)
    assert found.read(["SRP", "dry"]) == frozenset({"DRY", "SRP"})
    assert found.read([]) == frozenset()
    with pytest.raises(ValueError, match="a list of"):
        found.read(7)


def test_a_short_scale_has_a_key_for_each_step_and_a_long_one_a_field() -> None:
    short, long = rubrics.of_scale("grade", 1, 5), rubrics.of_scale("grade", 0, 100)
    assert [c.key for c in short.choices] == list("12345")
    assert short.read(3) == 3.0
    assert long.choices == ()
    assert long.read("12.5") == 12.5
    for bad in (101, "x", True, float("nan"), None, 10**400):
        with pytest.raises(ValueError, match="from 0 to 100"):
            long.read(bad)
    assert rubrics.of_scale("grade", 0, 1e12).choices == ()


@pytest.mark.parametrize(
    ("labels", "why"),
    [
        (["one"], "expected 2 to 20"),
        (["a", "a"], "stands twice"),
        (["u=undo", "b"], "can't be used"),
        (["1=a", "1=b"], "stands twice"),
    ],
)
def test_labels_that_can_not_be_given_are_refused(labels: list[str], why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        rubrics.of_labels("tone", labels)


@pytest.mark.parametrize(
    ("asked", "kind", "keys"),
    [
        ("", "pass", "gb"),
        ("pass", "pass", "gb"),
        ("1-5", "scale", "12345"),
        ("a,b,c", "one", "123"),
        ("many:a,b", "many", "12"),
    ],
)
def test_short_text_asks_for_a_rubric(asked: str, kind: str, keys: str) -> None:
    found = rubrics.parse("quality", asked)
    assert found.kind == kind
    assert "".join(choice.key for choice in found.choices) == keys


@pytest.mark.parametrize("asked", ["nonsense", "5-1", "many:", "a-b"])
def test_text_that_asks_for_no_rubric_says_what_would(asked: str) -> None:
    with pytest.raises(ConfigError, match="expected"):
        rubrics.parse("quality", asked)


def test_an_edit_is_a_new_version_and_the_old_one_stays(store: Store) -> None:
    first = rubrics.of_labels("tone", ["kind", "rude"], text="When in doubt, kind.")
    rubrics.keep(store, first, by="ann")
    second = rubrics.edited(first, text="When in doubt, rude.", labels="1=kind\n2=rude\nplain")
    rubrics.keep(store, second, by="ben")
    assert first.version != second.version
    assert rubrics.load(store, "tone") == second
    assert rubrics.load(store, "tone", first.version) == first
    assert rubrics.load(store, "tone", "f" * 12) is None
    assert [(version, by) for version, _, by in rubrics.versions(store, "tone")] == [
        (first.version, "ann"),
        (second.version, "ben"),
    ]


def test_keeping_the_same_rubric_again_makes_no_version(store: Store) -> None:
    rubrics.keep(store, rubrics.passing("quality"))
    rubrics.keep(store, rubrics.passing("quality"))
    assert len(rubrics.versions(store, "quality")) == 1


def test_what_is_asked_by_default_is_what_the_scorer_could_say(store: Store, run: Run) -> None:
    assert rubrics.default_for(run, store, "quality").kind == "pass"
    assert rubrics.default_for(run, store, "new").kind == "pass"
    assert rubrics.default_for(run, store, "grade").kind == "scale"
    trace = next(store.rows(run.id)).id
    store.write([Score(trace_id=trace, name="smells", value=frozenset({"DRY", "SRP"}), by="s@1")])
    many = rubrics.default_for(run, store, "smells")
    assert (many.kind, [c.value for c in many.choices]) == ("many", ["DRY", "SRP"])
