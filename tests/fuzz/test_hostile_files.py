"""A thousand hostile files: each gives a result, or a message that names the place."""

from __future__ import annotations

import copy
import json
import random
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from ratchet.simulated.server import serve_in_thread

from .mutations import Json, bomb, spoil_bytes, spoil_template, spoil_value
from .shell import LONGEST_S, Result, Shell

MOST_GROWTH_BYTES = 400 * 2**20
COLUMNS = {"id": "id", "input": ["question", "topic"], "expected": "answer", "group": "customer"}
ROWS: list[dict[str, Json]] = [
    {
        "id": "1",
        "question": "Where is my parcel?",
        "topic": "post",
        "answer": "billing",
        "customer": "a",
        "size": "1",
    },
    {
        "id": "2",
        "question": "My card, 'the \"blue\" one', is blocked",
        "topic": "card",
        "answer": "bug",
        "customer": "b",
        "size": "2",
    },
    {
        "id": "3",
        "question": "Größe?\nzweite Zeile",
        "topic": "größe",
        "answer": "ähnlich",
        "customer": "a",
        "size": "30",
    },
]
PROMPT = [
    {
        "name": "plain",
        "system": "You sort questions.",
        "user": "About {topic}: {question}",
        "examples": [{"user": "a {{b}}", "assistant": "c"}],
    },
    {"name": "judge", "user": 'Is "{answer}" good? {question}'},
]
TEMPLATE = "About {{ topic }}:\n{% for word in question.split() %}{{ word }} {% endfor %}\n"
CONFIG: dict[str, Json] = {
    "project": "fuzz",
    "baseline": "champion",
    "variants": {
        "champion": {"model": "openai/instant", "prompt": "prompt.yaml#plain", "params": {"temperature": 0, "max_tokens": 16}, "limits": {"retries": 1, "total_s": 5}, "price": {"input_usd_per_mtok": 1, "output_usd_per_mtok": 2}},
        "challenger": {"extends": "champion", "model": "openai/other", "stream": True, "tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}], "response_format": {"type": "json_object"}},
        "rules": {"target": "reviewer:answer", "version": "1"},
    },
    "tasks": {
        "sort": {
            "dataset": {"path": "data.jsonl", **COLUMNS, "metadata": ["size"], "types": {"size": "int"}, "on_bad_row": "stop"},
            "variants": ["champion", "challenger", "rules"],
            "repeats": 2,
            "concurrency": 4,
            "seed": 3,
            "budget_tokens": 100000,
            "budget_usd": 1.5,
            "extract": {"regex": {"pattern": "(\\w+)"}},
            "arm_extract": {"rules": {"json_key": {"key": "answer"}}},
            "scorers": ["exact_match", {"contains": {"text": "a"}}, {"use": "regex", "name": "words", "pattern": "\\w+"}, "reviewer:is_short", {"classification": {"vocabulary": ["billing", "bug"]}}],
            "checks": [{"no_worse": "exact_match", "margin_pp": 2}, {"better": "cost_usd", "ratio": 0.7}, {"at_most": "latency_s", "p": 95, "limit": 2.0}],
        }
    },
}  # fmt: skip
OLDER: dict[str, Json] = {
    "project": "bank",
    "task_config": {"name": "tickets"},
    "client_config": {"name": "openai", "type": "research", "model_name": "gpt", "model_options": {"temperature": 0, "max_tokens": 64}},
    "prompt_config": {"name": "classify", "path": "older.yaml", "version": "1"},
    "evaluator_config": {"metrics": [{"type": "cost"}, {"type": "latency"}, {"type": "accuracy", "aspect": "classification-all"}]},
    "dataset_config": {"data_path": "data.csv", "label_col": "answer"},
    "controller_config": {"parallelism": 4, "use_streaming": False, "save_path": "out", "extraction_config": {"type": "json_key", "args": {"key": "answer"}}},
}  # fmt: skip
OLDER_PROMPT = [
    {"name": "classify", "system": {"value": 'Say {{"label": …}}.'}, "user": {"value": "{question}"}}
]
MODULE = """
def answer(row):
    return {"answer": str(row)[:20]}

def is_short(trace):
    return len(str(trace.output)) < 50
"""
DEFECT = re.compile(
    r"Traceback|defect in Ratchet|Exception ignored|never retrieved|never awaited|[a-z]Warning: "
)
WHOLE_FILE = re.compile(
    r"holds no examples|not Parquet that can be read|is not a whole gzip file|which task\?|nested too deeply|is empty|holds several prompts|NaN is not"
    r"|: found .*, expected {messages: "
)
# told before a file is looked into
WITHOUT_A_FILE = re.compile(r"MissingKeyError: .* not set:\n  \S|PlanError: a budget of .* the price of ")


class Case:
    """One folder with one hostile file, and how it is run."""

    def __init__(self, folder: Path, seed: str) -> None:
        self.folder = folder
        self.seed = seed
        self.rng = random.Random(seed)
        self.file = ""
        self.args: list[str] = []
        self.config = copy.deepcopy(CONFIG)
        (folder / "prompt.yaml").write_text(json.dumps(PROMPT))
        (folder / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))

    def lay(self, name: str, data: bytes) -> None:
        self.file = name
        (self.folder / name).write_bytes(data)

    def run(self, shell: Shell) -> None:
        if self.file != "ratchet.yaml":
            (self.folder / "ratchet.yaml").write_text(json.dumps(self.config))
        self.check(shell.run(self.folder, "run", *self.args, "--json"))

    def check(self, result: Result) -> None:
        said = f"seed {self.seed!r}, exit {result.code}, {result.took_s:.1f} s: {self.folder / self.file}\n{result.err}"
        assert result.code in range(5), said  # 1 and 3 are verdicts on a run that went well
        assert not DEFECT.search(result.err), said
        assert result.took_s < LONGEST_S, said
        assert result.grown_bytes < MOST_GROWTH_BYTES, f"{result.grown_bytes} bytes: {said}"
        if result.out:
            json.loads(result.out)
        else:
            assert result.code == 2, said
            assert WITHOUT_A_FILE.match(result.err) or self.names_its_place(result.err), f"no place: {said}"

    def names_its_place(self, message: str) -> bool:
        """Whether it names one of the files, and in it a line, key or column where there is one."""
        for file in self.folder.iterdir():
            if re.search(rf"{re.escape(file.name)}(:\d+|, \S|#\S+: |: not JSON: .* line \d+)", message):
                return True
            if file.name in message and WHOLE_FILE.search(message):
                return True
        return False


def config(case: Case) -> None:
    text = yaml.safe_dump(CONFIG, sort_keys=False, allow_unicode=True).encode()
    kind = case.rng.random()
    if kind < 0.4:
        text = spoil_bytes(text, case.rng)
    elif kind < 0.95:
        text = json.dumps(spoil_value(CONFIG, case.rng), indent=case.rng.choice((None, 1))).encode()
    else:
        text = bomb(case.rng, ".yaml")
    case.lay("ratchet.yaml", text)
    # repeats may be a billion, which is no mistake: then only the plan is made
    case.args = case.rng.choice((["--limit", "2", "--repeat", "1"], ["--dry-run"]))


def dataset(case: Case) -> None:
    suffix = case.rng.choice((".csv", ".tsv", ".json", ".jsonl", ".yaml", ".parquet"))
    rows = copy.deepcopy(ROWS)
    kind = case.rng.random()
    if 0.5 < kind < 0.9:
        rows = spoil_value(rows, case.rng)
    data = bomb(case.rng, suffix) if kind >= 0.9 else WRITERS[suffix](rows)
    if kind <= 0.5:
        data = spoil_bytes(data, case.rng)
    case.lay(f"data{suffix}", data)
    section = case.config["tasks"]["sort"]["dataset"]
    section["path"] = case.file
    section["on_bad_row"] = case.rng.choice(("stop", "skip"))
    if case.rng.random() < 0.3:
        del section["types"]
    case.args = ["--limit", "3", "--repeat", "1", "-v", case.rng.choice(("champion", "rules"))]


def _table(rows: Any, delimiter: str) -> bytes:
    import csv
    import io

    file = io.StringIO()
    writer = csv.writer(file, delimiter=delimiter)
    writer.writerow(list(ROWS[0]))
    for row in rows if isinstance(rows, list) else [rows]:
        writer.writerow(list(row.values()) if isinstance(row, dict) else [row])
    return file.getvalue().encode("utf-8", "surrogatepass")


def _parquet(rows: Any) -> bytes:
    import io

    import pyarrow
    import pyarrow.parquet

    try:
        table = pyarrow.Table.from_pylist(rows)
    except (pyarrow.ArrowException, TypeError, ValueError, AttributeError, OverflowError, LookupError):
        table = pyarrow.Table.from_pylist(ROWS)
    file = io.BytesIO()
    try:
        pyarrow.parquet.write_table(table, file)
    except pyarrow.ArrowException:
        return b"PAR1"
    return file.getvalue()


WRITERS: dict[str, Callable[[Any], bytes]] = {
    ".csv": lambda rows: _table(rows, ","),
    ".tsv": lambda rows: _table(rows, "\t"),
    ".json": lambda rows: json.dumps(rows, indent=1).encode(),
    ".jsonl": lambda rows: b"".join(
        json.dumps(row).encode() + b"\n" for row in (rows if isinstance(rows, list) else [rows])
    ),
    ".yaml": lambda rows: yaml.safe_dump(rows, allow_unicode=True).encode("utf-8", "surrogatepass"),
    ".parquet": _parquet,
}


def prompt(case: Case) -> None:
    suffix = case.rng.choice((".yaml", ".json", ".j2", ".yaml.j2", ".txt"))
    kind = case.rng.random()
    if suffix in (".j2", ".txt"):
        text = TEMPLATE if suffix == ".j2" else "About {topic}: {question}\n"
        text = spoil_template(text, case.rng) if kind < 0.6 else text
        data = text.encode()
    else:
        value = copy.deepcopy(PROMPT[:1])
        if suffix == ".yaml.j2":
            value[0] |= {"user": TEMPLATE, "examples": []}
        if kind < 0.4:
            value[0]["user"] = spoil_template(str(value[0]["user"]), case.rng)
        elif kind < 0.6:
            value = spoil_value(value, case.rng)
        data = json.dumps(value, indent=1).encode()
    if 0.6 <= kind < 0.95:
        data = spoil_bytes(data, case.rng)
    case.lay(f"hostile{suffix}", data if kind < 0.95 else bomb(case.rng, suffix))
    case.config["variants"]["champion"]["prompt"] = case.file
    case.args = ["--limit", "2", "--repeat", "1", "-v", "champion"]


def older(case: Case) -> None:
    (case.folder / "older.yaml").write_text(json.dumps(OLDER_PROMPT))
    (case.folder / "data.csv").write_bytes(WRITERS[".csv"](ROWS))
    text = json.dumps(OLDER, indent=1).encode()
    kind = case.rng.random()
    if kind < 0.4:
        text = spoil_bytes(text, case.rng)
    else:
        text = json.dumps(spoil_value(OLDER, case.rng)).encode() if kind < 0.95 else bomb(case.rng, ".json")
    case.lay("older.json", text)
    case.args = ["--config-path", case.file, "--limit", "2"]


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    modules = tmp_path_factory.mktemp("modules")
    (modules / "reviewer.py").write_text(MODULE)
    with (
        serve_in_thread(seed=1) as server,
        Shell(OPENAI_BASE_URL=server.base_url("openai"), FUZZ_MODULES=str(modules)) as running,
    ):
        yield running


def every(lay: Callable[[Case], None], shell: Shell, folder: Path, seeds: range) -> None:
    """Run each case; folders of those that went well are removed, the others stay with pytest's."""
    failures: list[str] = []
    for seed in seeds:
        place = folder / f"{seed}"
        place.mkdir()
        case = Case(place, f"{lay.__name__}/{seed}")
        lay(case)
        try:
            case.run(shell)
        except AssertionError as error:
            failures.append(str(error).split("\nassert ")[0])
        else:
            shutil.rmtree(place)
    assert not failures, f"{len(failures)} of {len(seeds)} cases:\n\n" + "\n\n".join(failures[:20])


FEW, MANY = range(40), range(40, 334)
AMOUNTS = [pytest.param(FEW, id="few"), pytest.param(MANY, id="many", marks=pytest.mark.slow)]


@pytest.mark.parametrize("seeds", AMOUNTS)
@pytest.mark.parametrize("lay", [config, dataset, prompt, older])
def test_a_hostile_file_gives_a_result_or_a_message_that_names_the_place(
    shell: Shell, tmp_path: Path, lay: Callable[[Case], None], seeds: range
) -> None:
    every(lay, shell, tmp_path, seeds)
