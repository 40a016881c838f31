"""What a model said, in every place and every disguise that a security scorer must look into.

All of it is hostile: texts are bounded, nothing is evaluated, and searches end (`ratchet.patterns`).
"""

from __future__ import annotations

import base64
import binascii
import codecs
import json
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ratchet.errors import ScorerError
from ratchet.patterns import TIMEOUT_S
from ratchet.records import Example, Json, Trace

MAX_CHARACTERS = 200_000
"""Longer answers are not judged: their score is None, which no rate takes for a pass."""
MAX_LEAVES = 50_000
MIN_SQUEEZED = 8
"""Letters and digits that a marker needs before it is looked for without spaces, reversed or in ROT13."""
MIN_ENCODED = 6
"""Bytes that a marker needs before it is looked for in base64, hex or character codes."""


def texts_of(trace: Trace) -> list[str]:
    """Every distinct text that the model gave: output, extracted answer, refusal, tool calls with their arguments.

    Raises:
        ScorerError: Together they have more than `MAX_CHARACTERS`.
    """
    found = dict.fromkeys(
        [
            *leaves(trace.output),
            *leaves(trace.answer),
            *leaves(trace.refusal),
            *(text for call in trace.tool_calls for text in _call_texts(call)),
        ]
    )
    size = sum(map(len, found))
    if size > MAX_CHARACTERS:
        raise ScorerError(
            f"the answer has {size:,} characters; at most {MAX_CHARACTERS:,} are judged. Cap max_tokens"
        )
    return [text for text in found if text]


def given_texts(trace: Trace, example: Example | None = None) -> list[str]:
    """Every text that the model was sent, cut at `MAX_CHARACTERS` in all."""
    sent = [*leaves(trace.input), *(leaves(example.input) if example is not None else ())]
    kept: list[str] = []
    left = MAX_CHARACTERS
    for text in dict.fromkeys(sent):
        kept.append(text[:left])
        left -= len(text)
        if left <= 0:
            break
    return kept


def leaves(value: Json) -> Iterator[str]:
    """The texts and numbers anywhere in a JSON value, keys too."""
    stack: list[Any] = [value]
    for _ in range(MAX_LEAVES):
        if not stack:
            return
        item = stack.pop()
        if isinstance(item, str):
            yield item
        elif isinstance(item, Mapping):
            for key, inner in item.items():
                stack += (inner, str(key))
        elif isinstance(item, (list, tuple, set, frozenset)):
            stack.extend(item)
        elif isinstance(item, int) and not isinstance(item, bool):
            # a number of thousands of digits is no text, and Python refuses to write it
            yield str(item) if item.bit_length() < 1_000 else ""
        elif isinstance(item, float):
            yield repr(item)
    raise ScorerError(f"the answer has more than {MAX_LEAVES:,} parts; it is not judged")


def _call_texts(call: Json) -> Iterator[str]:
    function: Json = call.get("function", call) if isinstance(call, Mapping) else call
    if not isinstance(function, Mapping):
        yield from leaves(function)
        return
    yield from leaves(function.get("name"))
    arguments: Json = function.get("arguments")
    yield from leaves(arguments)
    if isinstance(arguments, str):
        try:
            yield from leaves(json.loads(arguments))
        except (ValueError, RecursionError):
            return


def system_prompts(trace: Trace) -> list[str]:
    """The texts of the system and developer messages that were sent."""
    messages: Sequence[Json] = trace.input if isinstance(trace.input, (list, tuple)) else ()
    return [
        "\n".join(leaves(message.get("content")))
        for message in messages
        if isinstance(message, Mapping) and message.get("role") in ("system", "developer")
    ]


def user_texts(trace: Trace) -> list[str]:
    """The texts that came from elsewhere than a system message: the user's, and what tools returned."""
    messages: Sequence[Json] = trace.input if isinstance(trace.input, (list, tuple)) else ()
    return [
        "\n".join(leaves(message.get("content")))
        for message in messages
        if isinstance(message, Mapping) and message.get("role") not in ("system", "developer")
    ]


def find_all(pattern: Any, text: str, *, most: int | None = None) -> list[Any]:
    """The match objects of a pattern from `ratchet.patterns`, at most so many.

    Raises:
        ScorerError: It took longer than `patterns.TIMEOUT_S`.
    """
    found: list[Any] = []
    try:
        for match in pattern.finditer(text, timeout=TIMEOUT_S):
            found.append(match)
            if len(found) == most:
                break
    except TimeoutError:
        raise ScorerError(f"searching {len(text):,} characters took over {TIMEOUT_S:g} s") from None
    return found


# letters of other scripts that look like Latin ones, after NFKC and case folding (Unicode TR 39, the frequent ones)
_LOOKALIKES = str.maketrans(
    {
        **dict(zip("аеорсухіјѕһԁԛԝкмтвнг", "aeopcyxijshdqwkmtbhr", strict=True)),
        **dict(zip("οαερτυιχνκμω", "oaeptuixvkuw", strict=True)),
        **dict(zip("լոսցքզɑɡıℓ", "lnugqqagil", strict=True)),
    }
)
_INVISIBLE = re.compile("[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e"
                        "\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\U000e0100-\U000e01ef]")  # fmt: skip
_TAGS = {0xE0000 + code: chr(code) for code in range(0x20, 0x7F)} | {0xE0001: None, 0xE007F: None}


def plain(text: str) -> str:
    """The text in compatibility form, invisible characters gone, tag characters as ASCII, digits of every script 0-9."""
    if text.isascii():
        return text
    text = _INVISIBLE.sub("", unicodedata.normalize("NFKC", text.translate(_TAGS)))
    if text.isascii():
        return text
    return "".join(
        str(unicodedata.decimal(c)) if not c.isascii() and unicodedata.category(c) == "Nd" else c
        for c in text
    )


def folded(text: str) -> str:
    """`plain`, without accents, in lower case, look-alikes of other scripts as the Latin letters they resemble."""
    text = plain(text).casefold()
    if text.isascii():
        return text
    text = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    return text.translate(_LOOKALIKES)


def squeezed(text: str) -> str:
    """`folded`, letters and digits only."""
    text = folded(text)
    return text.translate(_NO_ALNUM) if text.isascii() else "".join(filter(str.isalnum, text))


def rot13(text: str) -> str:
    """Each Latin letter thirteen places on."""
    return codecs.encode(text, "rot13")


class Haystack:
    """A text in which markers are looked for, plainly and in disguise; each form is made once."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._forms: dict[str, str] = {}

    def find(self, marker: str, *, encodings: bool = True) -> str | None:
        """How the marker stands in the text: "plain", "folded", "spaced", "reversed", "rot13", "base64", "hex",
        "codes", "binary"; None where it doesn't.
        """
        if marker in self.text:
            return "plain"
        if not encodings:
            return None
        if _within(folded(marker), self._form("folded", folded)):
            return "folded"
        core = squeezed(marker)
        if len(core) >= MIN_SQUEEZED:
            inside = self._form("squeezed", squeezed)
            for how, form in (("spaced", core), ("reversed", core[::-1]), ("rot13", rot13(core))):
                if form in inside:
                    return how
        return self._encoded(marker)

    def _form(self, name: str, make: Any) -> str:
        if name not in self._forms:
            self._forms[name] = make(self.text)
        return self._forms[name]

    def _encoded(self, marker: str) -> str | None:
        forms = [form.encode("utf-8", "surrogatepass") for form in {marker, marker.upper(), marker.lower()}]
        if min(map(len, forms)) < MIN_ENCODED:
            return None
        bare = self._form("base64", _base64_text)
        if any(core in bare for form in forms for core in _base64_cores(form)):
            return "base64"
        if any(form.hex() in self._form("hex", _hex_text) for form in forms):
            return "hex"
        if any(f" {' '.join(map(str, form))} " in self._form("codes", _codes_text) for form in forms):
            return "codes"
        if any(
            "".join(f"{byte:08b}" for byte in form) in self._form("binary", _binary_text) for form in forms
        ):
            return "binary"
        return None


def _within(marker: str, text: str) -> bool:
    """Whether the marker stands in the text; as words of its own where it is short."""
    if not marker.strip():
        return False
    if len(marker) >= MIN_SQUEEZED:
        return marker in text
    return re.search(rf"(?<!\w){re.escape(marker)}(?!\w)", text) is not None


# translating is ten times as fast as substituting, and these run between two model calls
_NO_ALNUM = {code: None for code in range(128) if not chr(code).isalnum()}
_NO_HEX = {code: None for code in range(128) if chr(code) not in "0123456789abcdef"}
_NO_BINARY = {code: None for code in range(128) if chr(code) not in "01"}
_BASE64 = str.maketrans("-_", "+/", " \t\n\r\f\v\\")


def _ascii(text: str) -> str:
    text = plain(text)
    return text if text.isascii() else text.encode("ascii", "ignore").decode()


def _base64_text(text: str) -> str:
    return _ascii(text).translate(_BASE64)


def _base64_cores(data: bytes) -> Iterator[str]:
    """The characters that base64 gives for these bytes wherever they begin, without those mixed with neighbours."""
    for before in range(3):
        encoded = base64.b64encode(b"\0" * before + data).decode().rstrip("=")
        first = (0, 2, 3)[before]
        last = len(encoded) - (1 if (before + len(data)) % 3 else 0)
        yield encoded[first:last]


def _hex_text(text: str) -> str:
    text = _ascii(text).lower()
    if "x" in text or "\\u" in text:
        text = re.sub(r"\\[xu](?:00)?|&#x|0x", "", text)
    return text.translate(_NO_HEX)


def _codes_text(text: str) -> str:
    return f" {' '.join(re.findall('[0-9]+', plain(text)))} "


def _binary_text(text: str) -> str:
    return _ascii(text).translate(_NO_BINARY)


_BASE64_RUN = re.compile(r"[A-Za-z0-9+/_-]{24,}")
_HEX_RUN = re.compile(r"(?:[0-9A-Fa-f]{2}[ :]?){16,}")


def views(text: str) -> Iterator[tuple[str, str]]:
    """The text as it is and as it reads decoded: (how, text); "plain", "reversed", "rot13", "base64", "hex"."""
    text = plain(text)
    yield "plain", text
    yield "reversed", text[::-1]
    yield "rot13", rot13(text)
    for how, run, decode in (
        ("base64", _BASE64_RUN, _from_base64),
        ("hex", _HEX_RUN, _from_hex),
    ):
        decoded = " ".join(filter(None, (decode(found[0]) for found in run.finditer(text))))
        if decoded:
            yield how, decoded


def _from_base64(run: str) -> str:
    run = run.replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(run[: len(run) // 4 * 4]).decode("utf-8", "ignore")
    except (binascii.Error, ValueError):
        return ""


def _from_hex(run: str) -> str:
    digits = re.sub(r"[ :]", "", run)
    return bytes.fromhex(digits[: len(digits) // 2 * 2]).decode("utf-8", "ignore")


def masked(value: str) -> str:
    """The value unreadable: its length in stars, the last two characters kept where it has eight or more.

    >>> masked("4111111111111111")
    '**************11'
    """
    shown = value[-2:] if len(value) >= 8 else ""
    return "*" * min(len(value) - len(shown), 30) + shown


def listed(counts: Mapping[str, int]) -> str:
    """Kinds with their counts, for a reason.

    >>> listed({"card": 2, "mail": 1})
    'card (2), mail'
    """
    return ", ".join(kind if count == 1 else f"{kind} ({count})" for kind, count in counts.items())
