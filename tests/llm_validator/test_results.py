from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from ratchet import runs
from ratchet.errors import ConfigError
from ratchet.llm_validator import load, render_row, to_runs, write_results, wrong_rows
from ratchet.llm_validator.prepared import PreparedRun
from ratchet.ports import Store
from ratchet.records import Run
from ratchet.simulated.answers import Answer, AnswerKey
from ratchet.simulated.server import SimulatedServer, serve_in_thread
from ratchet.stores import open_store

from .conftest import Folder, Json, article

KEY = AnswerKey(
    [
        Answer(contains="my card is blocked", answer="Card "),
        Answer(contains="where is my parcel", answer="=1+1"),
        Answer(contains="money back please", answer="refund"),
        Answer(contains="a question", answer="-5"),
    ]
)
CLASSIFY = {"metrics": [{"type": "accuracy", "aspect": "classification-all"}]}


@pytest.fixture
def store(folder: Folder) -> Iterator[Store]:
    opened = open_store(folder.path / "runs.db")
    yield opened
    opened.close()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimulatedServer]:
    with serve_in_thread(answers=KEY) as running:
        monkeypatch.setenv("OPENAI_BASE_URL", running.base_url("openai"))
        yield running


def done(folder: Folder, store: Store, *configs: Json) -> tuple[PreparedRun, Run]:
    (prepared,) = to_runs(
        [load(folder.config(value, f"{number}.json")) for number, value in enumerate(configs)]
    )
    return prepared, runs.run(prepared.task, prepared.arms, options=prepared.options, store=store)


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_every_row_keeps_its_index_its_answer_and_its_scores(
    folder: Folder, store: Store, server: SimulatedServer
) -> None:
    prepared, run = done(folder, store, article(evaluator_config=CLASSIFY))
    sheet, metrics, config = write_results(run, store, prepared)
    assert sheet == folder.path / "out/bank/tickets/openai-gpt-4o-mini" / f"{run.id}.csv"
    rows = table(sheet)
    assert [(row["index"], row["ticket"], row["label"]) for row in rows] == [
        ("10", "my card is blocked", "card"),
        ("11", "where is my parcel", "parcel"),
        ("12", "money back please", "refund"),
        ("13", "a question", "other"),
    ]
    assert [(row["response"], row["correctness"]) for row in rows] == [
        ("Card ", "True"), ("'=1+1", "False"), ("refund", "True"), ("-5", "False"),
    ]  # fmt: skip
    assert {row["success"] for row in rows} == {"True"}
    assert json.loads(rows[0]["messages"])[1] == {"role": "user", "content": "Ticket: my card is blocked"}
    assert json.loads(config.read_text())["project"] == "bank"
    totals = json.loads(metrics.read_text())
    correctness = totals["accuracy"]["correctness"]
    assert (correctness["correct"], correctness["wrong"]) == (2, 2)
    assert correctness["report"]["classes"]["card"] == {
        "precision": 1.0,
        "recall": 1.0,
        "f1": 1.0,
        "support": 1,
    }
    assert correctness["report"]["classes"]["parcel"]["recall"] == 0.0
    assert set(totals["latency"]["latency_s"]) == {"mean", "min", "max", "n"}
    assert totals["cost"]["input_tokens"]["n"] == 4
    assert totals["cost"]["total_usd"] > 0


def test_exact_text_is_written_where_no_spreadsheet_will_read_it(
    folder: Folder, store: Store, server: SimulatedServer
) -> None:
    prepared, run = done(folder, store, article())
    sheet = write_results(run, store, prepared, spreadsheet_safe=False)[0]
    assert table(sheet)[1]["response"] == "=1+1"


def test_a_failed_call_is_a_row_and_does_not_end_the_run(
    folder: Folder, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve_in_thread(answers=KEY, faults=["400:at=2"]) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url("openai"))
        prepared, run = done(folder, store, article(evaluator_config=CLASSIFY))
        sheet, metrics, _ = write_results(run, store, prepared)
    rows = table(sheet)
    assert len(rows) == 4
    (failed,) = (row for row in rows if row["success"] == "False")
    assert failed["error"].startswith("bad_request: ")
    assert failed["correctness"] == ""
    totals = json.loads(metrics.read_text())
    assert (totals["rows"], totals["succeeded"], totals["errors"]) == (4, 3, {"bad_request": 1})


def test_an_answer_that_can_not_be_extracted_is_no_success(
    folder: Folder, store: Store, server: SimulatedServer
) -> None:
    extraction = {"type": "split", "args": {"delimiter": "=", "index": 1}}
    prepared, run = done(folder, store, article(controller_config={"extraction_config": extraction}))
    rows = table(write_results(run, store, prepared)[0])
    assert [row["success"] for row in rows] == ["False", "True", "False", "False"]
    assert rows[1]["extracted_response"] == "1+1"
    assert "splitting at '=' gives 1 part" in rows[0]["error"]


def test_saved_inference_has_a_file_for_each_client(
    folder: Folder, store: Store, server: SimulatedServer
) -> None:
    save = {"save_inference": True}
    first = article(inference_only=True, controller_config=save)
    second = article(inference_only=True, controller_config=save, client_config={"model_name": "gpt-4o"})
    prepared, run = done(folder, store, first, second)
    written = write_results(run, store, prepared)
    assert [path.name for path in written if "inference" in path.name] == [
        "openai-inference-results.csv",
        "openai-gpt-4o-inference-results.csv",
    ]
    rows = table(folder.path / "out/openai-inference-results.csv")
    assert [row["response"] for row in rows] == ["Card ", "'=1+1", "refund", "-5"]
    assert not any("correctness" in row for row in rows)


def test_repeats_are_rows_of_their_own(folder: Folder, store: Store, server: SimulatedServer) -> None:
    stability = {"metrics": [{"type": "stability", "kwargs": {"repeats": 2}}]}
    prepared, run = done(
        folder, store, article(evaluator_config=stability, dataset_config={"sanity_test": True})
    )
    rows = table(write_results(run, store, prepared)[0])
    assert [(row["index"], row["repeat"]) for row in rows] == [
        (str(index), str(repeat)) for index in (10, 11, 12) for repeat in (0, 1)
    ]


def test_an_input_named_like_a_result_keeps_a_column_of_its_own(
    folder: Folder, store: Store, server: SimulatedServer
) -> None:
    folder.write("data.csv", ",ticket,response,category\n0,my card is blocked,mine,card\n")
    prepared, run = done(folder, store, article())
    (row,) = table(write_results(run, store, prepared)[0])
    assert (row["input_response"], row["response"]) == ("mine", "Card ")


def test_names_from_a_config_never_lead_out_of_the_folder(
    folder: Folder, store: Store, server: SimulatedServer
) -> None:
    config = article(
        project="../../up", task_config={"name": "/etc/x"}, client_config={"model_name": "a/../b"}
    )
    prepared, run = done(folder, store, config)
    for path in write_results(run, store, prepared):
        assert path.resolve().is_relative_to(folder.path / "out")


def test_wrong_rows_are_shown_with_their_reasons_and_on_demand_their_messages(
    folder: Folder, store: Store, server: SimulatedServer
) -> None:
    _, run = done(folder, store, article(evaluator_config=CLASSIFY))
    wrong = list(wrong_rows(run, store))
    assert [row.index for row in wrong] == ["11", "13"]
    short, long = render_row(wrong[0]), render_row(wrong[0], verbose=2)
    assert short.splitlines()[:3] == [
        "openai-gpt-4o-mini, row 11",
        "  response  =1+1",
        "  label     parcel",
    ]
    assert "correctness = false  ('=1+1' is not 'parcel')" in short
    assert "Ticket:" not in short
    assert "    user: Ticket: where is my parcel" in long


def test_control_characters_of_a_model_reach_no_terminal(
    folder: Folder, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = AnswerKey([Answer(contains="Ticket", answer="\x1b[31mred\x07")])
    with serve_in_thread(answers=key) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url("openai"))
        _, run = done(folder, store, article(evaluator_config=CLASSIFY))
    for row in wrong_rows(run, store):
        assert "\x1b" not in render_row(row, verbose=2)
        assert "\x07" not in render_row(row, verbose=2)


def test_a_folder_that_can_not_be_written_to_is_named_with_its_key(
    folder: Folder, store: Store, server: SimulatedServer
) -> None:
    prepared, run = done(folder, store, article(controller_config={"save_path": "data.csv/below"}))
    with pytest.raises(
        ConfigError, match=r"controller_config\.save_path: results can't be written to .*below"
    ):
        write_results(run, store, prepared)
