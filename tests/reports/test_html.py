from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
from html.parser import HTMLParser
from typing import Any

import pytest

from ratchet.reports import examples, html
from ratchet.reports.examples import Detail

from .samples import HOSTILE, evidence, verdict


class Page(HTMLParser):
    """Tags, attributes and text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def packed(page: str) -> list[dict[str, Any]]:
    """The rows that a page carries."""
    found = re.search(r'<script type="application/gzip" id="rows">([^<]*)</script>', page)
    assert found is not None
    return json.loads(gzip.decompress(base64.b64decode(found[1])))["rows"]


def hostile_details(index: int) -> Detail:
    return Detail(
        input={"question": HOSTILE},
        expected=HOSTILE,
        outputs={"champion": [HOSTILE + "a"], "challenger": [HOSTILE + " b"]},
        reasons={"champion": {HOSTILE: HOSTILE}},
        errors={"challenger": HOSTILE},
    )


def test_the_verdict_comes_first_and_without_scripts() -> None:
    text = Page(html.render(verdict(), evidence()).split("<body>")[1]).text
    order = [
        "Hold",
        "challenger should not replace champion",
        "cost_usd",
        "by slice",
        "ticket-",
        "What it rests on",
    ]
    places = [text.index(part) for part in order]
    assert places == sorted(places)


def test_nothing_is_requested_and_only_the_inlined_code_may_run() -> None:
    page = html.render(verdict(), evidence())
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', page)
    assert policy.startswith("default-src &#39;none&#39;")
    assert "unsafe" not in policy
    for tag in ("style", 'script type="module"'):
        (inlined,) = re.findall(rf"<{tag}>(.*?)</{tag.split()[0]}>", page, re.DOTALL)
        assert base64.b64encode(hashlib.sha256(inlined.encode()).digest()).decode() in policy.replace(
            "&#43;", "+"
        )
    for _, attributes in Page(page).tags:
        assert not {"src", "srcset", "action", "style"} & attributes.keys()
        assert (attributes.get("href") or "#").startswith(("#", "data:,"))
    assert "http" not in re.sub(r"http-equiv", "", html.inline_script())


@pytest.mark.parametrize("details", [None, hostile_details])
def test_hostile_text_adds_no_element_and_no_handler(details: Any) -> None:
    page = html.render(verdict(text=HOSTILE), evidence(text=HOSTILE), details=details)
    fragments = packed(page)
    for text in (page, *(row["html"] + row["detail"] for row in fragments[:5])):
        tags = Page(text).tags
        assert not {"img", "textarea", "iframe", "object"} & {tag for tag, _ in tags}
        assert not [name for _, attributes in tags for name in attributes if name.startswith("on")]
        assert not {"\x1b", "\x00", "\u202e", "\u200b", "\U000e0041", "\ud800"} & set(text)
    assert len([tag for tag, _ in Page(page).tags if tag == "script"]) == 2


def test_hidden_characters_are_shown_by_their_code_points() -> None:
    page = html.render(verdict(), evidence(), details=hostile_details)
    assert '<span class="hidden-char">U+202E</span>' in packed(page)[0]["detail"]


def test_the_first_rows_stand_in_the_page_and_all_are_carried() -> None:
    page = html.render(verdict(), evidence(100))
    assert len(re.findall(r"<tr id=\"row-", page)) == html.FIRST_ROWS
    rows = packed(page)
    assert len(rows) == 100
    assert [row["gain"] for row in rows] == sorted(row["gain"] for row in rows)


def test_rows_say_what_they_are_filtered_by() -> None:
    rows = {row["i"]: row for row in packed(html.render(verdict(), evidence()))}
    assert "errored" in rows[0]["show"]
    worse = [row for row in rows.values() if "worse" in row["show"]]
    assert worse
    assert all("flipped" in row["show"] and row["gain"] < 0 for row in worse)


def test_above_the_most_rows_the_worst_and_the_best_are_kept_and_it_says_so() -> None:
    found = examples.pair(verdict(), evidence(300))
    assert found is not None
    kept = examples.chosen(found, most=40)
    assert len(set(kept.tolist())) == 40
    assert (found.gain[kept[:20]] == sorted(found.gain)[:20]).all()
    page = html.render(verdict(), evidence(300), most_rows=40)
    assert "the worst 20 and the best 20 of 300 examples" in page
    assert len(packed(page)) == 40


def test_huge_outputs_fold_and_the_rest_is_counted() -> None:
    def long(index: int) -> Detail:
        return Detail(outputs={"champion": ["x" * 5_000_000], "challenger": ["y" * 10]})

    page = html.render(verdict(), evidence(3), details=long)
    assert "36,000 more characters" in packed(page)[0]["detail"]
    assert "4,960,000 further characters are not in this file" in packed(page)[0]["detail"]
    assert len(page) < 200_000


def test_words_that_differ_are_marked() -> None:
    def details(index: int) -> Detail:
        return Detail(outputs={"champion": ["within 5 days"], "challenger": ["within 7 days"]})

    shown = packed(html.render(verdict(), evidence(3), details=details))[0]["detail"]
    assert "within <del>5</del> days" in shown
    assert "within <ins>7</ins> days" in shown


def test_repeats_stand_below_one_another() -> None:
    def details(index: int) -> Detail:
        return Detail(outputs={"champion": ["one", "two"], "challenger": ["three", "four"]})

    shown = packed(html.render(verdict(), evidence(3, repeats=2), details=details))[0]["detail"]
    assert shown.count("<h4>Repeat 2</h4>") == 2


def test_several_candidates_get_a_chart_of_quality_against_cost_and_their_verdicts() -> None:
    many = evidence(arms=("champion", "challenger", "mini", "reviewer"))
    other = verdict("ship").replace(candidate="c" * 32)
    page = html.render(verdict(), many, others=[other])
    assert 'class="chart scatter"' in page
    assert "Pareto front" in page
    assert "mini may replace champion" in Page(page).text
    assert 'class="chart scatter"' not in html.render(verdict(), evidence())


def test_a_verdict_without_evidence_is_a_page_too() -> None:
    page = html.render(verdict())
    assert "ratchet-rows class" not in page
    assert "-0.171" in page


def test_five_hundred_rows_weigh_under_300_kb() -> None:
    def details(index: int) -> Detail:
        words = " ".join(f"word{(index * 31 + k * k) % 997}" for k in range(60))
        return Detail(
            input=words, expected="yes", outputs={"champion": [words], "challenger": [words + " more"]}
        )

    assert len(html.render(verdict(), evidence(500), details=details)) < 300_000
