"""Hostile text as safe HTML: Markdown, code, JSON and raw text."""

from __future__ import annotations

import json
import re
import time
from html.parser import HTMLParser
from pathlib import Path

import pytest

from ratchet.web import assets, rendering
from ratchet.web.rendering.code import CLASSES
from ratchet.web.rendering.json_trees import MOST_VALUES
from ratchet.web.rendering.links import link_to

from .hostile import SAMPLES

ALLOWED_TAGS = {
    "a", "blockquote", "br", "code", "details", "div", "em", "hr", "li", "ol", "p", "pre", "s", "small", "span",
    "strong", "summary", "table", "tbody", "td", "th", "thead", "tr", "ul",
}  # fmt: skip
ALLOWED_ATTRIBUTES = {"class", "href", "rel", "target", "start", "open"}


class Seen(HTMLParser):
    """The tags, attributes and text of a page's part."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str]] = []
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.mark.parametrize("view", rendering.VIEWS)
@pytest.mark.parametrize("name", SAMPLES)
def test_no_hostile_text_becomes_anything_but_text_and_a_link(name: str, view: str) -> None:
    html = rendering.block(SAMPLES[name], view=view).html
    seen = Seen(html)
    assert seen.tags <= ALLOWED_TAGS
    assert {name for name, _ in seen.attributes} <= ALLOWED_ATTRIBUTES
    for attribute, value in seen.attributes:
        if attribute == "href":
            assert re.match(r"https?://[a-z0-9.-]+([/?#]|$)", value)
    assert not re.search(
        "[\x00-\x08\x1b\u200b-\u200f\u202a-\u202e\u2066-\u2069\U000e0000-\U000e0fff\ud800-\udfff]", html
    )


@pytest.mark.parametrize("name", SAMPLES)
def test_what_is_rendered_leaves_no_word_of_the_text_out(name: str) -> None:
    text = SAMPLES[name][: rendering.MOST_RENDERED]
    seen = Seen(rendering.rendered(text))
    shown = " ".join(
        [seen.text, *(value for _, value in seen.attributes)]
    ).lower()  # an address is in its link
    if "&" in text or "\\" in text or "%" in text:
        return  # written otherwise by entities, escapes or addresses
    missing = [word for word in re.findall(r"[a-z]{4,}", text.lower()) if word not in shown]
    assert missing == []


@pytest.mark.parametrize(
    "text",
    ["x" * 5_000_000, "[" * 5_000_000, "*" * 5_000_000, "> " * 2_500_000, "`" * 5_000_000, "\u200b" * 5_000_000,
     "<a " * 1_600_000, "&#x202e;" * 600_000, "[" * 2_500_000 + "]" * 2_500_000, "a\u0301" * 2_500_000],
    ids=["x", "brackets", "stars", "quotes", "ticks", "hidden", "tags", "entities", "json", "marks"],
)  # fmt: skip
def test_five_megabytes_cost_no_more_than_their_first_page(text: str) -> None:
    rendering.rendered("warm")
    html = rendering.rendered(text)
    block = rendering.block(text)
    assert len(html) < 200_000
    assert len(block.html) < 200_000
    assert block.chars == len(text)
    assert block.end < block.chars


def test_a_megabyte_of_every_markdown_sign_is_cut_before_it_is_read() -> None:
    started = time.process_time()
    for sign in "[*_`~<>&|!#-+\\(":
        rendering.rendered(sign * 1_000_000)
    assert time.process_time() - started < 5  # each alone took minutes when read whole


def test_a_link_shows_its_host_and_gives_nothing_away() -> None:
    html = rendering.rendered("[your bank](https://evil.test/a?b=c)")
    assert 'href="https://evil.test/a?b=c"' in html
    assert 'rel="noopener noreferrer nofollow"' in html
    assert '<span class="md-host">evil.test</span>' in html


def test_a_link_in_other_letters_is_shown_as_punycode() -> None:
    assert "xn--80ak6aa92e.com" in rendering.rendered("[apple](https://аррӏе.com)")


@pytest.mark.parametrize(
    "address",
    ["javascript:alert(1)", "data:text/html,x", "https://user@evil.test", "https://a.test\\@b.test", "//evil.test",
     "file:///etc/passwd", "https://", "https://a b", "http://[::1", "x" * 3000, "mailto:", "ftp://a.test"],
)  # fmt: skip
def test_an_address_that_is_unclear_is_no_link(address: str) -> None:
    assert link_to(address) is None


def test_mail_and_plain_addresses_are_links() -> None:
    assert link_to("mailto:ann@example.test") is not None
    found = link_to("HTTPS://Example.TEST:8443/a?b#c")
    assert found is not None
    assert (found.href, found.host) == ("https://example.test:8443/a?b#c", "example.test:8443")


def test_a_picture_is_its_description_and_address() -> None:
    html = rendering.rendered("![chart](https://evil.test/p.png)")
    assert "<img" not in html
    assert "chart" in html
    assert "https://evil.test/p.png" in html


def test_code_is_coloured_by_classes_alone() -> None:
    html = rendering.rendered("```python\ndef f(x):\n    return 'a'  # b\n```")
    classes = set(re.findall(r'class="(k-[a-z]+)"', html))
    assert {"k-keyword", "k-text", "k-comment"} <= classes <= CLASSES
    assert "style=" not in html


def test_markdown_says_what_it_means() -> None:
    html = rendering.rendered(
        "# Title\n\n**bold** and `code`\n\n| a | b |\n|--:|---|\n| 1 | 2 |\n\n1. one\n2. two"
    )
    for part in (
        '<p class="md-heading md-h1">Title',
        "<strong>bold",
        "<code>code",
        '<td class="n">1',
        "<li>one",
    ):
        assert part in html


def test_a_json_output_opens_as_a_tree_and_prints_prettily() -> None:
    block = rendering.block('{"a": {"b": [1, true, null, "x"]}}')
    assert block.view == "json"
    assert block.html.count("<details open>") == 3
    assert Seen(rendering.block({"a": 1}, view="raw").html).text == '{\n  "a": 1\n}'


def test_a_tree_is_bounded_in_size_and_depth() -> None:
    wide = rendering.json_tree({f"k{i}": i for i in range(50_000)})
    assert wide.count("<li>") <= MOST_VALUES
    assert "more</li>" in wide
    deep = rendering.json_tree(json.loads('{"a":' * 500 + "1" + "}" * 500))
    assert deep.count("<details") <= 40
    assert "… 1 keys" in deep


def test_a_bare_word_or_broken_json_has_no_tree() -> None:
    assert rendering.block("12").views == ("rendered", "raw")
    assert rendering.block('{"a": ').views == ("rendered", "raw")


def test_a_long_text_goes_on_where_it_was_cut() -> None:
    text = "".join(f"line {i}\n" for i in range(20_000))
    block, whole = rendering.block(text, view="raw"), ""
    while True:
        whole += Seen(block.html).text
        if block.end == block.chars:
            break
        block = rendering.block(text, view="raw", start=block.end)
    assert whole == text


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_the_colours_of_code_and_json_can_be_read_in_both_themes() -> None:
    static = Path(assets.__file__).parent
    css = (static / "static" / "blocks.css").read_text("utf-8")
    tokens = (static.parent / "reports" / "static" / "app.css").read_text("utf-8")
    pair = r"light-dark\((#[0-9a-f]+),(#[0-9a-f]+)\)"
    backgrounds = [re.search(rf"--{name}:{pair}", tokens) for name in ("sunken", "surface")]
    accent = re.search(rf"--accent:{pair}", tokens)
    colours = [*re.findall(rf"\.[kj]-[a-z]+\{{color:{pair}", css), *([accent.groups()] if accent else [])]
    assert len(colours) == 4
    for background in backgrounds:
        assert background is not None
        for colour in colours:
            for theme in (0, 1):
                ground = background.group(theme + 1)
                ground = ground if len(ground) == 7 else "#" + "".join(2 * c for c in ground[1:])
                assert contrast(colour[theme], ground) >= 4.5, (colour[theme], ground)
