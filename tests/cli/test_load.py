from __future__ import annotations

import io
import re
from pathlib import Path

import numpy as np
import pytest

from ratchet.cli.load_display import LoadDisplay, spark
from ratchet.cli.load_options import parse_slos
from ratchet.cli.tables import cell_width
from ratchet.loads.records import Tick
from ratchet.simulated.server import SimulatedServer

from .conftest import Ratchet, lay

SYNTHETIC = ("load", "-m", "openai/instant", "--synthetic", "8:4")
SHORT = (*SYNTHETIC, "--rate", "40", "--count", "20")

LOADED = """\
variants:
  champion: {model: openai/instant, prompt: 'Answer: {question}', price: {input_usd_per_mtok: 1, output_usd_per_mtok: 2}}
  challenger: {extends: champion, params: {temperature: 0}}
tasks:
  questions:
    dataset: rows.jsonl
    scorers: [exact_match]
    checks:
      - {no_worse: exact_match, margin_pp: 2}
      - {at_most: latency_s, p: 95, limit: 30}
      - {no_worse: goodput, margin_pp: 50}
"""


def measured(code: int) -> bool:
    """Whether the command got as far as a result: this machine may have been too busy for a valid one."""
    return code in (0, 4)


def test_a_load_ends_with_figures_of_eighty_columns_and_the_next_command(
    ratchet: Ratchet, project: Path, server: SimulatedServer
) -> None:
    found = ratchet(*SHORT, "--slo", "ttft=5", "--slo", "e2e=10s")
    assert measured(found.code)
    assert server.stats().requests == 20
    lines = found.out.splitlines()
    assert max(map(cell_width, lines)) <= 80
    assert "goodput 100.0 %" in found.out
    assert "20 requests, none failed" in found.out
    assert "first token" in found.out, "answers stream unless told otherwise"
    assert "Next: ratchet show " in found.out
    assert "40 requests/s Poisson, open loop: 20 calls to openai/instant" in found.err


def test_json_is_one_document_and_names_the_run(
    ratchet: Ratchet, project: Path, server: SimulatedServer
) -> None:
    found = ratchet(*SHORT, "--json")
    assert found.json["format"] == "ratchet.load"
    assert found.json["result"]["arms"]["openai/instant"]["scheduled"] == 20
    listed = ratchet("list", "--json").json
    assert found.json["run"] == listed[0]["id"]


def test_a_dry_run_shows_calls_and_dollars_and_calls_nothing(
    ratchet: Ratchet, project: Path, server: SimulatedServer
) -> None:
    lay(project, text=LOADED)
    found = ratchet("load", "--rate", "20", "--duration", "60s", "--dry-run", "--arrivals", "constant")
    assert found.code == 0
    assert "2,400 calls to champion, challenger, in about 60 s, about $" in found.err
    assert "Nothing was called." in found.out
    said = ratchet(
        "load", "--rate", "20", "--duration", "60s", "--dry-run", "--arrivals", "constant", "--json"
    ).json
    assert (said["calls"], said["load"]) == (2400, "20 requests/s constant, open loop")
    assert said["cost_usd"] > 0
    assert server.stats().requests == 0


def test_a_task_is_loaded_with_its_variants_and_judged_by_those_checks_that_load_can_answer(
    ratchet: Ratchet, project: Path, server: SimulatedServer
) -> None:
    lay(project, count=40, text=LOADED)
    found = ratchet("load", "--rate", "40", "--count", "80", "--json")
    assert set(found.json["result"]["arms"]) == {"champion", "challenger"}
    if found.json["valid"]:
        (verdict,) = found.json["verdicts"]
        assert {result["check"]["metric"] for result in verdict["results"]} == {
            "latency_s",
            "goodput",
            "error",
        }
        assert any("measured at 40 requests/s Poisson, open loop" in text for text in verdict["warnings"])
        assert found.code in (0, 1, 3)
    else:
        assert found.code == 4
    verdict = ratchet("compare", "--json").json["verdict"]
    assert verdict["inputs"]["environment"]["load"] == "40 requests/s Poisson, open loop"


def test_one_variant_of_a_project_can_be_loaded_alone(
    ratchet: Ratchet, project: Path, server: SimulatedServer
) -> None:
    lay(project, text=LOADED)
    found = ratchet("load", "-V", "challenger", "--users", "2", "--count", "10", "--json")
    assert list(found.json["result"]["arms"]) == ["challenger"]
    assert found.json["result"]["load"] == "2 users, closed loop"
    assert "no variant named 'nobody'" in ratchet("load", "-V", "nobody", "--rate", "1", "--count", "1").err


def test_reports_are_written_in_every_format(
    ratchet: Ratchet, project: Path, server: SimulatedServer
) -> None:
    outputs = [f"out/r.{kind}" for kind in ("html", "json", "csv", "md")]
    found = ratchet(*SHORT, *(part for path in outputs for part in ("-o", path)))
    assert measured(found.code)
    assert all((project / path).stat().st_size > 200 for path in outputs)
    assert ratchet(*SHORT, "-o", "r.pdf").code == 2


def test_a_server_that_refuses_everything_exits_with_4(
    ratchet: Ratchet, project: Path, server: SimulatedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ratchet.simulated.server import serve_in_thread

    with serve_in_thread(faults=["500"]) as broken:
        monkeypatch.setenv("OPENAI_BASE_URL", broken.base_url("openai"))
        found = ratchet(*SHORT)
    assert found.code == 4
    assert "20 failed (server 20)" in found.out
    assert "20 x server HTTP 500" in found.err


def test_goodput_that_is_asked_for_decides_the_exit(
    ratchet: Ratchet, project: Path, server: SimulatedServer
) -> None:
    found = ratchet(*SHORT, "--slo", "e2e=0.000001", "--goodput", "0.9")
    assert found.code in (1, 4)
    if found.code == 1:
        assert "0.0% of requests were good, less than --goodput 0.9" in found.err


def test_recorded_arrivals_and_recorded_requests_can_be_replayed(
    ratchet: Ratchet, project: Path, server: SimulatedServer
) -> None:
    (project / "times.csv").write_text("timestamp\n10.0\n10.1\n10.3\n")
    found = ratchet(*SYNTHETIC, "--replay", "times.csv", "--json")
    assert found.json["result"]["load"].startswith("replay of 3 arrivals")
    assert found.json["result"]["arms"]["openai/instant"]["scheduled"] == 3
    lay(project, count=4)
    assert ratchet("run", "-v", "champion").code == 0
    again = ratchet(
        "load", "-m", "openai/instant", "--from-run", "last", "--replay", "last", "--speed", "10", "--json"
    )
    assert again.json["result"]["arms"]["openai/instant"]["scheduled"] == 4


def test_a_sweep_tells_each_step_and_stops(ratchet: Ratchet, project: Path, server: SimulatedServer) -> None:
    found = ratchet(
        *SYNTHETIC,
        "--sweep",
        "--start",
        "100",
        "--step",
        "200ms",
        "--slo",
        "e2e=0.000001",
        "-o",
        "s.html",
        "--json",
    )
    assert found.code in (1, 4)
    (sweep,) = found.json["sweeps"]
    assert 1 <= len(sweep["steps"]) <= 8
    assert "highest_rate" not in sweep, "nothing was held"
    assert re.search(r"openai/instant: [\d.]+ requests/s for \d+ s: 0\.0 % good", found.err)
    assert (project / "s.html").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "no load; expected one of --rate"),
        (("--rate", "5"), "a load without end: give a duration"),
        (("--rate", "5", "--users", "2", "--count", "1"), "--rate and --users together"),
        (("--rate", "5", "--duration", "soon"), "--duration 'soon'; expected a time"),
        (("--rate", "5", "--duration", "2s", "--warmup", "3s"), "a warm-up of 3 s leaves nothing"),
        (("--rate", "5", "--count", "9", "--slo", "speed=3"), "names: ttft, tpot, e2e, gap"),
        (("--rate", "5", "--count", "9", "--dataset", "x.jsonl"), "--dataset and --synthetic"),
        (("--sweep", "--rate", "5"), "--sweep chooses the rate: leave out --rate"),
        (("--rate", "5", "--count", "9", "--budget", "1"), "the price of openai/instant is unknown"),
    ],
)
def test_wrong_use_exits_with_2_and_says_what_was_expected(
    ratchet: Ratchet, project: Path, server: SimulatedServer, options: tuple[str, ...], said: str
) -> None:
    found = ratchet(*SYNTHETIC, *options)
    assert found.code == 2
    assert said in found.err
    assert server.stats().requests == 0


def test_objectives_are_read_with_their_units() -> None:
    slo = parse_slos(["ttft=0.5", "e2e=5s", "tpot=50ms", "gap=1"])
    assert (slo.ttft_s, slo.e2e_s, slo.tpot_s, slo.gap_s) == (0.5, 5.0, 0.05, 1.0)


# --- the display ----------------------------------------------------------------------------------------------


def tick(elapsed_s: float, latencies: list[float], failed: int = 0) -> Tick:
    n = len(latencies)
    return Tick(
        elapsed_s=elapsed_s, sent=100, in_flight=3, done=97, failed=failed, arm=np.arange(n) % 2,
        ttft_s=np.array(latencies) / 2, e2e_s=np.array(latencies), error=np.zeros(n, np.int64),
    )  # fmt: skip


def test_a_terminal_shows_a_chart_an_arm_that_moves() -> None:
    stream = io.StringIO()
    display = LoadDisplay(["one", "two"], total_s=60, calls=200, stream=stream, live=True)
    for second in range(3):
        display(tick(second + 1, [0.1 * (second + 1), 0.5]))
    display.close()
    text = stream.getvalue()
    assert text.count("\x1b[3A") == 2, "it draws over its own three lines"
    last = text.rsplit("\x1b[3A", 1)[1].replace("\x1b[2K", "").splitlines()
    assert re.match(r"one +▃▆█ e2e 300 ms, worst 300 ms", last[0])
    assert last[2] == "3 s of 60 s, 100 of 200 sent, 3 in flight, 97 done, 32.3/s"
    assert max(map(cell_width, last)) <= 80


def test_without_a_terminal_there_are_plain_lines_and_the_last_state() -> None:
    stream = io.StringIO()
    display = LoadDisplay(["one"], total_s=None, calls=None, stream=stream, live=False)
    for second in range(5):
        display(tick(second + 1, [0.1], failed=2))
    display.close()
    display.close()
    assert stream.getvalue() == "5 s, 100 sent, 3 in flight, 97 done, 19.4/s, 2 failed\n"


def test_bars_are_of_the_highest_value_and_blank_where_nothing_ended() -> None:
    assert spark([0.1, 0.2, None, 0.4], 4) == "▂▄ █"
    assert spark([None, 0.0], 5) == "  "
    assert len(spark([1.0] * 100, 10)) == 10


def test_the_help_shows_how_to_begin(ratchet: Ratchet) -> None:
    found = ratchet("load", "--help")
    assert found.code == 0
    assert "ratchet load TASK --rate 20 --duration 60s" in found.out
    assert max(map(cell_width, found.out.splitlines())) <= 80


def test_a_function_can_be_loaded_as_a_model_can(
    ratchet: Ratchet, project: Path, server: SimulatedServer
) -> None:
    lay(project)
    found = ratchet("load", "questions", "-V", "rules", "--rate", "20", "--count", "8", "--json")
    arm = found.json["result"]["arms"]["rules"]
    assert (arm["scheduled"], arm["failed"]) == (8, 0)
    assert server.stats().requests == 0
