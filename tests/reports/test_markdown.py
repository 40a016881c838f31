from __future__ import annotations

import html
import re

from ratchet.reports import markdown

from .samples import HOSTILE, evidence, verdict


def test_a_hold_opens_with_a_caution_and_the_sentence() -> None:
    first, second = markdown.render(verdict(), evidence()).splitlines()[:2]
    assert first == "> [!CAUTION]"
    assert second.startswith("> **Hold**: challenger should not replace champion: exact\\_match -17.1 pp")


def test_each_check_is_a_row_of_the_table() -> None:
    text = markdown.render(verdict(), evidence())
    assert (
        "| `exact_match` | at most 2 pp worse | 74.1 % | 57.0 % | **-17.1 pp** &#91;-20.1, -14.0&#93; | 60 | ✕ **failed** |"
        in text
    )


def test_flips_and_slices_fold() -> None:
    text = markdown.render(verdict(), evidence())
    assert text.count("<details>") == text.count("</details>") == 3
    assert "by slice</summary>" in text
    assert "| `ticket-" in text


def test_hostile_text_makes_no_html_mention_link_or_reference() -> None:
    text = markdown.render(verdict(text=HOSTILE), evidence(text=HOSTILE))
    inert = (
        r"\\[\\`*_{}\[\]<>#|~$&]|(`+)(?!`).*?(?<!`)\1(?!`)"  # escapes and code spans, as Markdown reads them
    )
    prose = html.unescape(re.sub(inert, "", text))
    assert set(re.findall(r"<[^>]*>", prose)) <= {
        "<details>",
        "</details>",
        "<summary>",
        "</summary>",
        "<code>",
        "</code>",
    }
    assert not re.search(r"@\w|#\d|https?://|www\.|!\[|\]\(", prose)


def test_a_code_span_holds_whatever_backticks_it_is_given() -> None:
    assert markdown.code("a`b") == "``a`b``"
    assert markdown.code("`` x") == "``` `` x ```"
    assert markdown.code("a|b\nc") == "`a¦b c`"


def test_a_long_verdict_stays_within_what_github_takes() -> None:
    many = verdict().replace(inputs={f"k{i}": "x" * 90 for i in range(2000)})
    assert len(markdown.render(many, evidence())) < 65_536
