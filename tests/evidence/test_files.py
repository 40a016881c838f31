from __future__ import annotations

import gzip
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ratchet.checks import no_worse
from ratchet.errors import PlanError
from ratchet.evidence import Evidence, read, write
from ratchet.verdicts import decide, decide_aa, verify
from verdicts.made import arm, column, evidence

CHECKS = [no_worse("exact", margin_pp=2), no_worse("label", measure="macro_f1", margin_pp=3)]


def made() -> Evidence:
    rng = np.random.default_rng(2)

    def one(name: str) -> Any:
        labels = tuple(
            (None if i % 50 == 0 else frozenset({"ab"[int(rng.integers(2))]}), frozenset({"ab"[i % 2]}))
            for i in range(200)
        )
        return arm(
            name,
            {
                "exact": (rng.random(200) < 0.8).astype(float),
                "cost_usd": rng.lognormal(-5, 1, 200),
                "label": column("label", np.full(200, np.nan), kind="labels", labels=labels),
            },
            failed=rng.random(200) < 0.02,
            repeats=2,
            answers=tuple([None, "a", 1, True, 1.5, "1"][i % 6] for i in range(200)),
        )

    data = evidence(one("old"), one("new"), groups=np.arange(100) // 4)
    return replace(
        data, checks=tuple(CHECKS), slices={"language": tuple("de" if i % 2 else "" for i in range(100))}
    )


@pytest.mark.parametrize("name", ["e.json", "e.json.gz"])
def test_what_is_written_is_read_back_to_the_last_bit(tmp_path: Path, name: str) -> None:
    data = made()
    verdict = decide(data)
    write(data, verdict, tmp_path / "folder" / name)
    again, kept = read(tmp_path / "folder" / name)
    assert kept == verdict
    assert (again.examples, again.contents, again.slices, again.checks) == (
        data.examples, data.contents, dict(data.slices), data.checks,
    )  # fmt: skip
    for arm_name, one in data.arms.items():
        other = again.arms[arm_name]
        assert [type(a) for a in other.answers] == [type(a) for a in one.answers]
        assert other.answers == one.answers
        assert np.array_equal(other.failed, one.failed)
        for key, found in one.columns.items():
            assert np.array_equal(found.values, other.columns[key].values, equal_nan=True)
            assert found.labels == other.columns[key].labels
            assert (found.kind, found.dimension, found.by) == (
                other.columns[key].kind, other.columns[key].dimension, other.columns[key].by,
            )  # fmt: skip


def test_equal_evidence_gives_equal_bytes(tmp_path: Path) -> None:
    data = made()
    for name in ("one.json.gz", "two.json.gz"):
        write(data, decide(data), tmp_path / name)
    assert (tmp_path / "one.json.gz").read_bytes() == (tmp_path / "two.json.gz").read_bytes()


def test_verify_makes_the_same_verdict_from_the_file_alone(tmp_path: Path) -> None:
    data = made()
    for checks in (None, CHECKS, [no_worse("exact", margin_pp=9)]):
        write(
            data, decide(data, checks=checks, seed=4, alpha=0.1).replace(created_at=99.0), tmp_path / "e.json"
        )
        found = verify(tmp_path / "e.json")
        assert found.same, found.differences
    write(data, decide_aa(data, baseline="old", candidate="new"), tmp_path / "e.json")
    assert verify(tmp_path / "e.json").same


def test_verify_names_what_was_changed(tmp_path: Path) -> None:
    data = made()
    write(data, decide(data), tmp_path / "e.json")
    text = json.loads((tmp_path / "e.json").read_text())
    text["verdict"]["outcome"] = "ship"
    text["verdict"]["results"][0]["estimate"] = 0.5
    (tmp_path / "e.json").write_text(json.dumps(text))
    found = verify(tmp_path / "e.json")
    assert not found.same
    assert any(line.startswith("outcome: written 'ship', made again ") for line in found.differences)
    assert any(line.startswith("results[0].estimate: written 0.5") for line in found.differences)


def test_a_changed_score_changes_the_verdict_made_again(tmp_path: Path) -> None:
    data = made()
    write(data, decide(data), tmp_path / "e.json")
    text = json.loads((tmp_path / "e.json").read_text())
    text["evidence"]["arms"]["new"]["columns"]["exact"]["values"][:40] = [0] * 40
    (tmp_path / "e.json").write_text(json.dumps(text))
    assert any("results[0]" in line for line in verify(tmp_path / "e.json").differences)


def damaged(change: Any) -> bytes:
    import orjson

    from ratchet.evidence.files import FORMAT, VERSION, encode

    data = orjson.loads(
        orjson.dumps(
            {"format": FORMAT, "version": VERSION, "evidence": encode(made())},
            option=orjson.OPT_SERIALIZE_NUMPY,
        )
    )
    change(data["evidence"])
    return json.dumps(data).encode()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda e: e["arms"]["new"].update(failed="01"), "expected 200 times 0 or 1"),
        (lambda e: e["arms"]["new"]["example"].__setitem__(0, 10**6), "an index outside the 100 examples"),
        (lambda e: e["arms"]["new"]["repeat"].__setitem__(0, -1), "a repeat below 0"),
        (lambda e: e["arms"]["new"]["repeat"].__setitem__(0, 10**30), "something that is no number"),
        (lambda e: e["arms"]["new"]["columns"]["exact"]["values"].pop(), "199 entries, expected 200"),
        (lambda e: e["arms"]["new"]["columns"]["exact"].update(values="x"), "expected a list of numbers"),
        (lambda e: e["arms"]["new"]["columns"]["exact"].update(dimension="speed"), "'speed' is no dimension"),
        (lambda e: e["arms"]["new"]["answers"]["codes"].__setitem__(0, 99), "a number without its value"),
        (lambda e: e.update(arms=[1]), "list, expected a mapping"),
        (lambda e: e.update(examples=[1, 2]), "expected a list of str"),
        (lambda e: e.update(checks=[{"metric": "x"}]), "rule"),
    ],
)
def test_a_damaged_file_is_refused_by_what_is_wrong(tmp_path: Path, change: Any, message: str) -> None:
    (tmp_path / "e.json").write_bytes(damaged(change))
    with pytest.raises(PlanError, match=message):
        read(tmp_path / "e.json")


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b"\x1f\x8b\x08garbage", b'{"format": "ratchet.evidence", "version": 99}']
)
def test_what_is_no_evidence_file_is_refused(tmp_path: Path, body: bytes) -> None:
    (tmp_path / "e.json").write_bytes(body)
    with pytest.raises(PlanError, match="is no evidence file"):
        read(tmp_path / "e.json")


def test_evidence_without_a_verdict_can_be_read_but_not_verified(tmp_path: Path) -> None:
    write(made(), None, tmp_path / "e.json.gz")
    assert gzip.decompress((tmp_path / "e.json.gz").read_bytes()).startswith(b'{"format":"ratchet.evidence"')
    assert read(tmp_path / "e.json.gz")[1] is None
    with pytest.raises(PlanError, match="without a verdict"):
        verify(tmp_path / "e.json.gz")
