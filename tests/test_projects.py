from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from ratchet import projects
from ratchet.budgets import Budget
from ratchet.errors import ConfigError, RatchetError, UnknownNameError
from ratchet.projects import Job, Project
from ratchet.records import Extraction, Prompt

WHOLE = """\
project: support-bot
store: runs/all.db
variants:
  champion:
    model: openai/gpt-4o
    prompt: prompts/support.yaml
    params: {temperature: 0, max_tokens: 512}
    limits: {rpm: 60}
  challenger: {extends: champion, model: anthropic/claude-sonnet-4-5, params: {max_tokens: 256}}
  rules: {target: "own_rules:reply"}
baseline: champion
tasks:
  tickets:
    dataset: {path: tickets.jsonl, expected: answer, group: customer, metadata: [lang]}
    variants: [challenger, champion]
    repeats: 5
    budget_usd: 5
    seed: 3
    concurrency: 8
    scorers: [exact_match, {contains: {text: refund}}]
    checks:
      - {no_worse: exact_match, margin_pp: 2}
      - {better: cost_usd, ratio: 0.7}
    extract: strip
    arm_extract: {champion: {json_key: {key: answer}}}
"""


@pytest.fixture
def folder(project: Path) -> Path:
    (project / "prompts").mkdir()
    (project / "prompts" / "support.yaml").write_text("user: 'Help: {text}'\n")
    (project / "tickets.jsonl").write_text(
        json.dumps({"text": "a", "answer": "b", "customer": "c", "lang": "en"}) + "\n"
    )
    (project / "own_rules.py").write_text("def reply(row): return 'x'\n")
    return project


def load(folder: Path, text: str) -> Project:
    (folder / "ratchet.yaml").write_text(text)
    return projects.load(folder / "ratchet.yaml")


def job(folder: Path, text: str, name: str | None = None) -> Job:
    return projects.job(load(folder, text), name)


def test_the_whole_file_becomes_records(folder: Path) -> None:
    project = load(folder, WHOLE)
    made = projects.job(project)
    assert list(made.arms) == ["champion", "challenger"], "the baseline first"
    assert (made.baseline, made.seed, made.concurrency, made.budget) == ("champion", 3, 8, Budget(usd=5))
    assert (made.task.name, made.task.repeats, made.task.dataset.count) == ("tickets", 5, 1)
    assert [scorer.name for scorer in made.task.scorers] == ["exact_match", "contains"]
    assert made.task.scorers[1].settings["text"] == "refund"
    assert [check.rule for check in made.task.checks] == ["no_worse", "better"]
    assert made.task.extraction == Extraction(kind="strip")
    assert made.task.arm_extraction["champion"].args == {"key": "answer"}
    assert project.store == str(folder / "runs" / "all.db")
    assert made.arms["champion"].limits.rpm == 60


def test_a_variant_takes_over_what_it_extends_and_changes_single_parameters(folder: Path) -> None:
    made = load(folder, WHOLE).variants["challenger"]
    assert made.model == "anthropic/claude-sonnet-4-5"
    assert made.params == {"temperature": 0, "max_tokens": 256}
    assert made.prompt == "prompts/support.yaml"


def test_a_chain_of_variants_is_followed_and_a_function_replaces_a_model(folder: Path) -> None:
    made = load(
        folder,
        "variants:\n  a: {model: openai/x, params: {seed: 1}}\n  b: {extends: a, stream: true}\n  c: {extends: b, target: 'own_rules:reply'}\n",
    )
    assert made.variants["b"].stream
    assert (made.variants["c"].model, made.variants["c"].target, made.variants["c"].stream) == (
        None,
        "own_rules:reply",
        True,
    )


def test_a_prompt_may_stand_in_the_file(folder: Path) -> None:
    made = load(
        folder,
        "variants:\n  a:\n    model: openai/x\n    prompt:\n      - {role: user, content: 'Hi {name}'}\n",
    ).variants["a"]
    assert made.prompt == Prompt(messages=({"role": "user", "content": "Hi {name}"},), name="a")


def test_the_file_is_found_from_any_folder_below(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load(folder, WHOLE)
    (folder / "a" / "b").mkdir(parents=True)
    assert projects.find(folder / "a" / "b") == folder / "ratchet.yaml"
    monkeypatch.chdir(folder / "a")
    assert projects.find() == folder / "ratchet.yaml"
    (folder / "a" / "ratchet.yaml").write_text("project: inner\n")
    assert projects.find() == folder / "a" / "ratchet.yaml", "the nearest one"


@pytest.mark.parametrize(("store", "at"), [(None, ".ratchet/ratchet.db"), ("x.db", "x.db")])
def test_a_store_stands_beside_the_file(folder: Path, store: str | None, at: str) -> None:
    assert load(folder, f"store: {store}\n" if store else "").store == str(folder / at)


def test_a_store_with_a_scheme_is_taken_as_it_is(folder: Path) -> None:
    assert load(folder, "store: sqlite:///x.db\n").store == "sqlite:///x.db"


def test_without_a_name_the_only_task_is_meant(folder: Path) -> None:
    assert job(folder, WHOLE).task.name == "tickets"
    two = WHOLE + "  other: {dataset: tickets.jsonl}\n"
    with pytest.raises(ConfigError, match=r"which task.*there are: tickets, other"):
        job(folder, two)
    assert job(folder, two, "other").task.name == "other"
    with pytest.raises(UnknownNameError, match="Did you mean 'tickets'"):
        job(folder, two, "tickts")


def test_bad_rows_may_be_skipped_from_outside(folder: Path) -> None:
    with (folder / "tickets.jsonl").open("a") as file:
        file.write("not json\n")
    project = load(folder, WHOLE)
    with pytest.raises(RatchetError, match=r"tickets\.jsonl:2"):
        projects.job(project)
    assert projects.job(project, on_bad_row="skip").task.dataset.skipped == 1


VARIANTS = "variants:\n  champion: {model: openai/x}\n"  # lines 1 and 2
TASK = VARIANTS + "tasks:\n  tickets:\n    dataset: {path: tickets.jsonl}\n"  # lines 3 to 5
WRONG = [
    ("- a\n", 1, None, "expected a mapping"),
    ("project: [1\n", None, None, "ratchet.yaml"),
    ("projct: x\n", 1, "projct", "unknown key 'projct'. Did you mean 'project'?"),
    ("project: 3\n", 1, "project", "3, expected text"),
    ("variants:\n  a: {model: openai/x, modle: y}\n", 2, "variants.a.modle", "Did you mean 'model'?"),
    ("variants:\n  a:\n    model: openai/x\n    params: high\n", 4, "variants.a.params", "'high', expected a mapping"),
    ("variants:\n  a:\n    model: openai/x\n    limits: {rpm: fast}\n", 4, "variants.a.limits.rpm", "'fast', expected a number"),
    ("variants:\n  a:\n    model: openai/x\n    limits: {rpm: .nan}\n", 4, "variants.a.limits.rpm", "nan, expected a finite number"),
    ("variants:\n  a:\n    model: openai/x\n    stream: 'yes'\n", 4, "variants.a.stream", "'yes', expected true or false"),
    ("variants:\n  a: {params: {}}\n", 2, "variants.a", "needs either a model (model: openai/gpt-4o) or a target"),
    ("variants:\n  a: {model: openai/x, target: 'm:f'}\n", 2, "variants.a", "needs either a model"),
    ("variants:\n  a: {extends: b}\n", 2, "variants.a.extends", "no variant named 'b'"),
    ("variants:\n  champion: {model: openai/x}\n  a: {extends: chmpion}\n", 3, "variants.a.extends", "Did you mean 'champion'?"),
    ("variants:\n  a: {extends: b}\n  b: {extends: c}\n  c: {extends: a}\n", None, None, "extends itself: a -> b -> c -> a"),
    ("variants:\n  a: {extends: a}\n", 2, "variants.a.extends", "extends itself: a -> a"),
    (VARIANTS + "baseline: champon\n", 3, "baseline", "Did you mean 'champion'?"),
    (TASK + "    repeats: 0\n", 6, "tasks.tickets.repeats", "0, expected 1 or more"),
    (TASK + "    repeats: 1.5\n", 6, "tasks.tickets.repeats", "1.5, expected a whole number"),
    (TASK + "    budget_usd: -1\n", 6, "tasks.tickets.budget_usd", "expected more than 0"),
    (TASK + "    budget_usd: .nan\n", 6, "tasks.tickets.budget_usd", "nan, expected a finite number"),
    (TASK + "    concurrency: 0\n", 6, "tasks.tickets.concurrency", "0, expected 1 to 10,000"),
    (TASK + "    variants: [champon]\n", 6, "tasks.tickets.variants[0]", "Did you mean 'champion'?"),
    (TASK + "    variants: []\n", None, "tasks.tickets", "there is no variant to run"),
    (TASK + "    baseline: champon\n", 6, "tasks.tickets.baseline", "Did you mean 'champion'?"),
    (TASK + "    scorers: [exact_mtch]\n", 6, "tasks.tickets.scorers[0]", "Did you mean 'exact_match'?"),
    (TASK + "    scorers:\n      - exact_match\n      - {contains: {txt: a}}\n", 8, "tasks.tickets.scorers[1]", "no setting 'txt'"),
    (TASK + "    checks:\n      - {no_worse: exact_match, margin_p: 2}\n", 7, "tasks.tickets.checks[0]", "Did you mean 'margin_pp'?"),
    (TASK + "    checks:\n      - {no_worse: exact_match, role: gard}\n", 7, "tasks.tickets.checks[0]", "Did you mean 'guard'?"),
    (TASK + "    extract: jsn_key\n", 6, "tasks.tickets.extract", "no extraction named 'jsn_key'"),
    (TASK + "    arm_extract: {champion: jsn_key}\n", 6, "tasks.tickets.arm_extract.champion", "no extraction named 'jsn_key'"),
    (TASK + "    arm_extract: {champon: strip}\n", 6, "tasks.tickets.arm_extract.champon", "Did you mean 'champion'?"),
    (TASK + "    extract: {json_key: {ky: a}}\n", 6, "tasks.tickets.extract", "has no argument 'ky'"),
    (VARIANTS + "tasks:\n  tickets:\n    dataset: {path: missing.jsonl}\n", None, None, "there is no such file"),
    (VARIANTS + "tasks:\n  tickets:\n    dataset: {path: tickets.jsonl, expcted: answer}\n", 5, "tasks.tickets.dataset.expcted", "Did you mean 'expected'?"),
    (VARIANTS + "tasks:\n  tickets:\n    dataset: {path: tickets.jsonl, types: {a: number}}\n", 5, "tasks.tickets.dataset.types.a", "expected one of 'str'"),
    (VARIANTS + "tasks:\n  tickets: {repeats: 2}\n", 4, "tasks.tickets.dataset", "nothing, expected"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "line", "key", "said"), WRONG, ids=[str(case[2] or case[3])[:50] for case in WRONG]
)
def test_an_error_names_the_file_the_line_and_the_key(
    folder: Path, text: str, line: int | None, key: str | None, said: str
) -> None:
    with pytest.raises(RatchetError) as caught:
        job(folder, text)
    message = str(caught.value)
    assert said in message
    assert "ratchet.yaml" in message or "missing.jsonl" in message
    if line is not None:
        assert getattr(caught.value, "line", None) == line, message
    if key is not None:
        assert getattr(caught.value, "key", None) == key, message


def test_a_file_that_can_not_be_read_says_why(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="can't be read: No such file"):
        projects.load(tmp_path / "ratchet.yaml")
    with pytest.raises(ConfigError, match="can't be read: Is a directory"):
        projects.load(tmp_path)


@pytest.mark.parametrize(
    ("variant", "key", "said"),
    [
        ("{model: gpt-4o}", "variants.a.model", "write 'provider/model'"),
        ("{model: opnai/x}", "variants.a.model", "Did you mean 'openai'?"),
        ("{target: 'own_rules:repl'}", "variants.a.target", "Did you mean 'reply'?"),
    ],
)
def test_what_a_variant_names_is_looked_for_before_the_first_call(
    folder: Path, variant: str, key: str, said: str
) -> None:
    project = load(folder, f"variants:\n  a: {variant}\n")
    with pytest.raises(RatchetError) as caught:
        projects.ready(project, project.variants)
    assert said in str(caught.value)
    assert (getattr(caught.value, "line", None), getattr(caught.value, "key", None)) == (2, key)


# --- the schema for editors ---------------------------------------------------------------------------------


def valid(data: Any) -> bool:
    return Draft202012Validator(projects.schema()).is_valid(data)


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(projects.schema())
    json.dumps(projects.schema())


@pytest.mark.parametrize("text", [WHOLE, "", TASK, "variants:\n  a: {model: openai/x, price: {input_usd_per_mtok: 1, output_usd_per_mtok: 2, above_tokens: 5, above: {input_usd_per_mtok: 2, output_usd_per_mtok: 3}}}\n"])  # fmt: skip
def test_the_schema_accepts_what_the_reader_accepts(folder: Path, text: str) -> None:
    load(folder, text)
    assert valid(yaml.safe_load(text) or {})


@pytest.mark.parametrize("text", [
    "projct: x\n", "project: 3\n", "variants:\n  a: {modle: x}\n", "variants:\n  a: {params: high}\n",
    "variants:\n  a: {limits: {rpm: fast}}\n", "variants:\n  a: {limits: {retries: 1.5}}\n", "variants:\n  a: {stream: 1}\n",
    "tasks:\n  t: {repeats: 2}\n", "tasks:\n  t: {dataset: {path: a, on_bad_row: ignore}}\n", "tasks:\n  t: {dataset: a, scorers: judge}\n",
    "variants:\n  a: {price: {input_usd_per_mtok: 1}}\n",
])  # fmt: skip
def test_the_schema_refuses_what_the_reader_refuses(folder: Path, text: str) -> None:
    with pytest.raises(ConfigError):
        load(folder, text)
    assert not valid(yaml.safe_load(text))
