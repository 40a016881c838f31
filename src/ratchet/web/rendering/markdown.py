"""Markdown without HTML, without images and without anything that hides, then sanitised once more."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from markupsafe import Markup, escape

from ratchet.reports import texts
from ratchet.web.rendering import code
from ratchet.web.rendering.links import link_to

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.token import Token

MOST_RENDERED = 4_000
"""Longer text is shown as it is: Markdown has inputs that take time out of proportion."""
MOST_BRACKETS = 400
"""Each opening one may be tried as a link up to the end of its paragraph."""
MOST_ADDRESS = 200
"""Characters of an address that is shown and can't be clicked."""

MOST_NESTED = 60
# deeper than Markdown is read: it would leave out what stands inside
_DEEP = re.compile(r"^(?:(?:[ \t]*[>*+-][ \t]){20}|(?:[ \t]*>){20}|[ \t]{40})", re.MULTILINE)
_TAGS = {
    "a", "blockquote", "br", "code", "div", "em", "hr", "li", "ol", "p", "pre", "s", "span", "strong", "table", "tbody",
    "td", "th", "thead", "tr", "ul",
}  # fmt: skip
_CLASSES = {
    "a": {"md-link"},
    "div": {"md-wide", "plain-text"},
    "p": {f"md-h{level}" for level in range(1, 7)} | {"md-heading"},
    "span": {"hidden-char", "md-host", "md-image", "md-language", *code.CLASSES},
    "td": {"n", "middle"},
    "th": {"n", "middle"},
    "code": {"md-address"},
}


def rendered(text: str) -> Markup:
    """The text as Markdown, safe to put into a page, in under 0.1 s whatever it holds.

    A longer text than `MOST_RENDERED` characters is cut there and stands as it is; `blocks.block` gives the rest. HTML stands as text, a picture as its description and address, a link beside its host. Reference definitions
    stand as text too: nothing the text holds is left out.
    """
    if len(text) > MOST_RENDERED or text.count("[") > MOST_BRACKETS or _DEEP.search(text):
        rest = len(text) - MOST_RENDERED
        more = Markup("<p>{} more characters</p>").format(f"{rest:,}") if rest > 0 else Markup("")
        return Markup('<div class="plain-text">{}</div>{}').format(texts.inert(text[:MOST_RENDERED]), more)
    return sanitised(_parser().render(text.replace("\r\n", "\n")))


def sanitised(html: str) -> Markup:
    """Only the tags, attributes and classes that our own rendering makes; a second wall behind the first."""
    import nh3

    return Markup(
        nh3.clean(
            html.encode("utf-8", "replace").decode(),  # half a surrogate pair is no text there
            tags=_TAGS,
            attributes={"a": {"href", "target"}, "ol": {"start"}},
            allowed_classes=_CLASSES,
            url_schemes={"http", "https", "mailto"},
            link_rel="noopener noreferrer nofollow",
            strip_comments=True,
        )
    )


@cache
def _parser() -> MarkdownIt:
    from markdown_it import MarkdownIt

    made = MarkdownIt(
        "commonmark", {"html": False, "linkify": False, "breaks": True, "maxNesting": MOST_NESTED}
    )
    made.enable(["table", "strikethrough"])
    # what a reader would not see: definitions of addresses, raw HTML; our own rendering shows a null character
    made.disable(["reference", "html_block", "html_inline", "normalize"])
    renderer: Any = made.renderer
    renderer.rules.update(
        text=_text, code_inline=_code_inline, fence=_fence, code_block=_code_block, image=_image, link_open=_link_open,
        link_close=_link_close, heading_open=_heading_open, heading_close=_heading_close, th_open=_cell_open,
        td_open=_cell_open, table_open=_table_open, table_close=_table_close,
    )  # fmt: skip
    return made


def _text(tokens: Sequence[Token], at: int, options: Any, env: Any) -> str:
    return texts.inert(tokens[at].content)


def _code_inline(tokens: Sequence[Token], at: int, options: Any, env: Any) -> str:
    return f"<code>{texts.inert(tokens[at].content)}</code>"


def _fence(tokens: Sequence[Token], at: int, options: Any, env: Any) -> str:
    info = tokens[at].info.strip()
    shown = code.highlighted(tokens[at].content, info.split(maxsplit=1)[0] if info else "")
    label = f'<span class="md-language">{texts.inert(info)}</span>' if info else ""
    return f"{label}<pre><code>{shown}</code></pre>"


def _code_block(tokens: Sequence[Token], at: int, options: Any, env: Any) -> str:
    return f"<pre><code>{texts.inert(tokens[at].content)}</code></pre>"


def _image(tokens: Sequence[Token], at: int, options: Any, env: Any) -> str:
    """What the picture is said to show, and where it would come from: nothing is fetched."""
    token = tokens[at]
    return f'<span class="md-image">picture: {texts.inert(token.content)} {_address(_attribute(token, "src"))}</span>'


def _link_open(tokens: Sequence[Token], at: int, options: Any, env: Any) -> str:
    link = link_to(_attribute(tokens[at], "href"))
    return f'<a class="md-link" target="_blank" href="{escape(link.href)}">' if link else ""


def _link_close(tokens: Sequence[Token], at: int, options: Any, env: Any) -> str:
    address = _attribute(_opening(tokens, at), "href")
    link = link_to(address)
    if link is None:
        return f" {_address(address)}"
    title = _attribute(_opening(tokens, at), "title")
    return (
        f'</a> <span class="md-host">{texts.inert(f"{link.host} “{title}”" if title else link.host)}</span>'
    )


def _opening(tokens: Sequence[Token], at: int) -> Token:
    depth = 0
    while True:
        depth += {"link_close": 1, "link_open": -1}.get(tokens[at].type, 0)
        if not depth:
            return tokens[at]
        at -= 1


def _heading_open(tokens: Sequence[Token], at: int, options: Any, env: Any) -> str:
    # a paragraph: the page's outline is the page's own
    return f'<p class="md-heading md-{tokens[at].tag}">'


def _heading_close(tokens: Sequence[Token], at: int, options: Any, env: Any) -> str:
    return "</p>\n"


def _cell_open(tokens: Sequence[Token], at: int, options: Any, env: Any) -> str:
    side = _attribute(tokens[at], "style")
    name = "n" if "right" in side else "middle" if "center" in side else ""
    return f'<{tokens[at].tag} class="{name}">' if name else f"<{tokens[at].tag}>"


def _table_open(tokens: Sequence[Token], at: int, options: Any, env: Any) -> str:
    return '<div class="md-wide"><table>\n'


def _table_close(tokens: Sequence[Token], at: int, options: Any, env: Any) -> str:
    return "</table></div>\n"


def _address(address: str) -> str:
    return f'<code class="md-address">{texts.inert(texts.cut(address, MOST_ADDRESS))}</code>'


def _attribute(token: Token, name: str) -> str:
    return str(token.attrs.get(name) or "")
