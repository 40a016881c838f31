from __future__ import annotations

import json
from pathlib import Path

import pytest

from ratchet import codec, reports
from ratchet.errors import UnknownNameError
from ratchet.records import Verdict

from .samples import HOSTILE, evidence, verdict


@pytest.mark.parametrize(
    ("name", "start"),
    [
        ("v.json", "{"), ("v.md", "> [!CAUTION]"), ("v.html", "<!doctype html>"), ("v.junit.xml", "<?xml"),
        ("v.csv", "verdict,"), ("V.HTML", "<!doctype html>"), ("junit.xml", "<?xml"),
    ],
)  # fmt: skip
def test_the_ending_chooses_the_format(tmp_path: Path, name: str, start: str) -> None:
    reports.write(verdict(), evidence(), tmp_path / "new" / name)
    assert (tmp_path / "new" / name).read_text("utf-8").startswith(start)


@pytest.mark.parametrize("name", [f"v.{kind}" for kind in reports.FORMATS])
def test_every_format_takes_hostile_text_and_no_evidence(tmp_path: Path, name: str) -> None:
    reports.write(verdict(text=HOSTILE), None, tmp_path / name)
    reports.write(verdict(text=HOSTILE), evidence(text=HOSTILE), tmp_path / name)
    (tmp_path / name).read_bytes().decode()


def test_an_unknown_ending_names_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match=r"no report format named 'pdf'(?s:.*)junit\.xml"):
        reports.write(verdict(), evidence(), tmp_path / "v.pdf")


def test_json_is_versioned_and_holds_the_whole_verdict(tmp_path: Path) -> None:
    reports.write(verdict(), evidence(), tmp_path / "v.json")
    data = json.loads((tmp_path / "v.json").read_text("utf-8"))
    assert (data["format"], data["version"]) == ("ratchet.verdict", 1)
    assert data["arms"] == {"baseline": "champion", "candidate": "challenger"}
    assert codec.decode(Verdict, data["verdict"]) == verdict()
