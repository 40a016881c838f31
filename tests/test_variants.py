from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import pytest

from ratchet import codec, variants
from ratchet.errors import ConfigError, PromptError
from ratchet.records import Prompt, Variant


def reply(row: Any) -> str:
    return "yes"


def other(row: Any) -> str:
    return "no"


@functools.wraps(reply)
def wrapped(row: Any) -> str:
    return reply(row)


class Agent:
    def __init__(self, word: str = "") -> None:
        self.word = word

    def __call__(self, row: Any) -> str:
        return self.word

    def answer(self, row: Any) -> str:
        return self.word


agent = Agent("one")


@pytest.mark.parametrize("variant", [Variant(), Variant(model="openai/x", target="a:b")])
def test_a_variant_is_a_model_or_a_function_and_never_both(variant: Variant) -> None:
    with pytest.raises(ConfigError, match="either a model"):
        variants.resolve(variant)


def test_a_prompt_is_read_once_and_a_resolved_variant_stays(project: Path) -> None:
    (project / "p.yaml").write_text("system: Be brief.\nuser: 'Hi {name}'\n")
    resolved = variants.resolve(Variant(model="openai/x", prompt="p.yaml"), root=project)
    assert isinstance(resolved.prompt, Prompt)
    assert [message["role"] for message in resolved.prompt.messages] == ["system", "user"]
    assert variants.resolve(resolved, root=project) == resolved
    assert codec.content_id(resolved) == codec.content_id(
        variants.resolve(Variant(model="openai/x", prompt="p.yaml"), root=project)
    )
    with pytest.raises(PromptError):
        variants.resolve(Variant(model="openai/x", prompt="missing.yaml"), root=project)


def test_a_target_is_found_and_versioned_by_its_source(project: Path) -> None:
    resolved = variants.resolve(Variant(target=f"{__name__}:reply"))
    assert resolved.function is reply
    assert (resolved.version or "").startswith("source:")
    assert resolved.version == variants.version_of(reply) != variants.version_of(other)


def test_a_declared_version_wins(project: Path) -> None:
    (project / "declared.py").write_text("def f(row): return 1\nf.__version__ = '7'\n")
    assert variants.resolve(Variant(target="declared:f")).version == "7"
    assert variants.resolve(Variant(target="declared:f", version="8")).version == "8"


def test_a_changed_source_is_another_variant(project: Path) -> None:
    ids = set[str]()
    for number in range(2):
        (project / f"edit_{number}.py").write_text(f"def f(row): return {number}\n")
        resolved = variants.resolve(Variant(target=f"edit_{number}:f"))
        ids.add(codec.content_id(resolved.replace(target="edit:f")))
    assert len(ids) == 2


def test_a_target_that_is_no_function_is_refused(project: Path) -> None:
    (project / "not_callable.py").write_text("f = 3\n")
    with pytest.raises(ConfigError, match="'not_callable:f' is int, expected a function"):
        variants.resolve(Variant(target="not_callable:f"))


@pytest.mark.parametrize(
    "variant",
    [
        Variant(model="openai/x"),
        Variant(target=reply),
        Variant(target=Agent.answer),
        Variant(target=f"{__name__}:reply"),
        Variant(target=f"{__name__}:agent", function=agent),
        Variant(target=f"{__name__}:agent.answer", function=agent.answer),
    ],
    ids=lambda v: str(v.target),
)
def test_what_its_name_leads_back_to_can_be_found_by_another_process(variant: Variant) -> None:
    assert variants.importable(variant)


@pytest.mark.parametrize(
    "variant",
    [
        Variant(target=lambda row: row),
        Variant(target=functools.partial(reply)),
        Variant(target=Agent("two")),
        Variant(target=agent.answer),
        Variant(target=wrapped),
        Variant(target="__main__:reply"),
    ],
    ids=lambda v: str(v.target),
)
def test_what_holds_state_or_has_no_name_can_not(variant: Variant) -> None:
    assert not variants.importable(variant)


def test_a_local_function_can_not_be_found_again() -> None:
    def local(row: Any) -> str:
        return "x"

    assert not variants.importable(Variant(target=local))


def test_equal_arms_are_numbered() -> None:
    assert variants.twins({"a": "v1", "b": "v2", "c": "v1", "d": "v1"}) == {"a": 0, "b": 0, "c": 1, "d": 2}
    assert variants.twins({}) == {}
