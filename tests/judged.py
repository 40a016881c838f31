"""A run of two arms, judged by a simulated model over HTTP, whose truth is known: for tests of calibration."""

from __future__ import annotations

import csv
import json
import random
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ratchet import datasets, runs, scores
from ratchet.ports import Store
from ratchet.records import Run, Task, Variant
from ratchet.simulated.answers import Answer, AnswerKey
from ratchet.simulated.profiles import parse_profile
from ratchet.simulated.server import SimulatedServer, serve_in_thread

Human = Callable[[str], bool]
_SAYS = {True: '{"reason": "looks right", "score": true}', False: '{"reason": "looks wrong", "score": false}'}


@dataclass(frozen=True)
class Judged:
    """The run, and what is true of each output."""

    run: Run
    truth: dict[str, bool]
    server: SimulatedServer

    def person(self, error: float = 0.0, seed: int = 0) -> Human:
        """Somebody who mislabels this share of the answers."""
        rng = random.Random(seed)
        return lambda output: self.truth[output] ^ (rng.random() < error)


def reply_of(arm: str, number: int, *, longer: bool = False) -> str:
    code = {"champion": 3, "challenger": 7}[arm]
    return f"reply {number * 11 + code} of the desk" + (" with many more words that say nothing new" * longer)


@contextmanager
def judged_run(
    store: Store,
    folder: Path,
    *,
    count: int = 80,
    profile: str = "critic=instant,skill=0.9",
    model: str = "critic",
    right: tuple[float, float] = (0.8, 0.6),
    longer: bool = False,
) -> Generator[Judged]:
    """`count` questions answered by two functions; the judge is right as often as its profile's skill says."""
    rng = random.Random(5)
    truth: dict[str, bool] = {}
    key: list[Answer] = []
    replies: dict[str, list[str]] = {}
    for arm, share in zip(("champion", "challenger"), right, strict=True):
        replies[arm] = [reply_of(arm, i, longer=longer and arm == "challenger") for i in range(count)]
        for output in replies[arm]:
            truth[output] = rng.random() < share
            key.append(
                Answer(contains=output, answer=_SAYS[truth[output]], wrong=(_SAYS[not truth[output]],))
            )
    path = folder / "desk.jsonl"
    path.write_text(
        "".join(
            json.dumps(
                {
                    "id": f"q{i}",
                    "input": {"number": i},
                    "expected": "=a reply",
                    "metadata": {"topic": "ab"[i % 2]},
                }
            )
            + "\n"
            for i in range(count)
        )
    )
    with serve_in_thread(profiles=[parse_profile(profile)], answers=AnswerKey(key), seed=3) as server:
        judge = {"judge": {"model": f"openai/{model}", "base_url": server.base_url("openai")}}
        task = Task(dataset=datasets.load(path), scorers=(scores.resolve(judge),), name="desk")
        arms = {
            arm: Variant(target=lambda row, arm=arm: replies[arm][row["number"]], version=arm)
            for arm in replies
        }
        yield Judged(runs.run(task, arms, store=store, root=folder), truth, server)


def fill(sheet: Path, human: Human, *, skip: Sequence[int] = ()) -> None:
    """Write a person's labels into a sheet."""
    with sheet.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for number, row in enumerate(rows):
        row["label"] = "" if number in skip else "yes" if human(row["output"]) else "no"
    with sheet.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
