"""A reviewer without a model: reads a C program and names the clean-code principles it breaks, by a linter's rules.

The rules count and compare; they know no words and look at one function at a time. Their thresholds were set on
half of the demo's problems; docs/demo.md tells how they do on the other half, and what they miss.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ratchet import spans

REPEATED_TOKENS = 20
"""Two stretches of one function, so long, that differ only in names and values repeat each other."""
MAGIC_NUMBERS = 3
"""So many numbers other than 0 and 1 in the code of functions are too many."""
SHORT_NAME = 3
"""Names with fewer letters are poor, like those that end in a digit."""
POOR_NAME_SHARE = 0.3
"""A program whose names are poor to this share is badly named."""

REASONS = {
    "dry": "a function repeats a stretch of code",
    "srp": "a function reads, loops and prints",
    "magic_constants": "numbers stand in the code without a name",
    "naming": "many names are too short or numbered",
}

_TOKEN = re.compile(
    r"""
      (?P<space>\s+|//[^\n]*|/\*.*?\*/)
    | (?P<directive>^[ \t]*\#(?:\\\n|[^\n])*)
    | (?P<string>"(?:\\.|[^"\\])*")
    | (?P<character>'(?:\\.|[^'\\])*')
    | (?P<number>(?:0[xX][0-9a-fA-F]+|(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)[uUlLfF]*)
    | (?P<name>[A-Za-z_]\w*)
    | (?P<operator><<=|>>=|\.\.\.|->|\+\+|--|&&|\|\||[-+*/%&|^<>=!]=|<<|>>|.)
    """,
    re.VERBOSE | re.DOTALL | re.MULTILINE,
)


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_TYPES = _words(
    "void char short int long float double signed unsigned bool size_t struct enum union const static"
)
_KEYWORDS = _TYPES | _words(
    "if else for while do switch case default break continue return goto sizeof typedef"
)
_READS = _words("scanf fscanf sscanf getchar getc fgetc gets fgets getline fread")
_PRINTS = _words("printf fprintf puts putchar putc fputs fputc")
_LOOPS = _words("for while do")
_INDICES = _words("i j k n x y c")


@dataclass(frozen=True, slots=True)
class Token:
    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class Function:
    name: str
    parameters: Sequence[Token]
    body: Sequence[Token]
    """Without its outer braces."""


def review(row: Mapping[str, Any]) -> dict[str, Any]:
    """The principles that `row["program"]` breaks, in the shape that models are asked for: `{"labels", "reasons"}`.

    Of text that is no C it makes what it can.
    """
    with spans.span("lex") as step:
        tokens = lex(str(row.get("program", "")))
        found = functions(tokens)
        step.set(tokens=len(tokens), functions=len(found))
    with spans.span("rules") as step:
        broken = {
            "dry": any(repeats_itself(function) for function in found),
            "srp": any(does_all_at_once(function) for function in found),
            "magic_constants": count_magic_numbers(found) >= MAGIC_NUMBERS,
            "naming": poor_name_share(tokens) >= POOR_NAME_SHARE,
        }
        labels = [label for label, is_broken in broken.items() if is_broken]
        step.set(labels=labels)
    return {"labels": labels, "reasons": {label: REASONS[label] for label in labels}}


def lex(program: str) -> list[Token]:
    """The tokens of a C program, without comments and preprocessor lines."""
    return [
        Token(match.lastgroup or "operator", match.group())
        for match in _TOKEN.finditer(program)
        if match.lastgroup not in ("space", "directive")
    ]


def functions(tokens: Sequence[Token]) -> list[Function]:
    """The functions that are defined, not those only declared."""
    found: list[Function] = []
    index = 0
    while index < len(tokens):
        if tokens[index].text == "{":  # of a struct, an enum or a table
            index = _closing(tokens, index) + 1
            continue
        if tokens[index].kind == "name" and _text(tokens, index + 1) == "(":
            close = _closing(tokens, index + 1)
            if _text(tokens, close + 1) == "{":
                end = _closing(tokens, close + 1)
                body = tokens[close + 2 : end]
                found.append(Function(tokens[index].text, tokens[index + 2 : close], body))
                index = end
        index += 1
    return found


def repeats_itself(function: Function) -> bool:
    """Whether a long stretch of it stands there twice."""
    shape = [_shape(token) for token in function.body]
    first_at: dict[tuple[str, ...], int] = {}
    for start in range(len(shape) - REPEATED_TOKENS + 1):
        stretch = tuple(shape[start : start + REPEATED_TOKENS])
        if start - first_at.setdefault(stretch, start) >= REPEATED_TOKENS:
            return True
    return False


def does_all_at_once(function: Function) -> bool:
    """Whether it reads, loops and prints: three jobs."""
    names = {token.text for token in function.body if token.kind == "name"}
    return all(names & job for job in (_READS, _LOOPS, _PRINTS))


def count_magic_numbers(found: Sequence[Function]) -> int:
    """Numbers in the code of functions, but for 0 and 1, tables and the values of constants."""
    total = 0
    for function in found:
        table = 0
        constant = False
        for before, token in zip([Token("", ""), *function.body], function.body, strict=False):
            if token.text == "{" and before.text == "=":
                table += 1
            elif table:
                table += (token.text == "{") - (token.text == "}")
            elif token.text in ("const", "enum"):
                constant = True
            elif token.text == ";":
                constant = False
            elif token.kind == "number" and not constant:
                total += _number(token.text) not in (0.0, 1.0)
    return total


def poor_name_share(tokens: Sequence[Token]) -> float:
    """Share of the declared names that are too short or numbered; 0 where nothing is declared."""
    names = set(_declared(tokens)) - {"main"}
    poor = sum((len(name) < SHORT_NAME or name[-1].isdigit()) and name not in _INDICES for name in names)
    return poor / len(names) if names else 0.0


def _declared(tokens: Sequence[Token]) -> Iterator[str]:
    """Names after a type, and those after a comma in the same declaration."""
    declared_at = -1
    depth = 0
    before = Token("", "")
    for index, token in enumerate(tokens):
        depth += (token.text in "([{") - (token.text in ")]}")
        if token.text in _TYPES:
            declared_at = depth
        elif token.text in (";", "{", ")"):
            declared_at = -1
        elif token.kind == "name" and token.text not in _KEYWORDS and declared_at >= 0:
            first = before.text in _TYPES or before.text == "*" or before.kind == "name"
            ends = _text(tokens, index + 1) in ("=", ";", ",", ")", "[", "(")
            if (first and ends) or (before.text == "," and depth == declared_at):
                yield token.text
        before = token


def _shape(token: Token) -> str:
    """What a token is once names and values are taken away; calls of the library stay themselves."""
    if token.kind == "name":
        known = token.text in _KEYWORDS or token.text in _READS or token.text in _PRINTS
        return token.text if known else "name"
    return token.text if token.kind == "operator" else token.kind


def _number(text: str) -> float:
    digits = text.rstrip("uUlL")
    try:
        return float(int(digits, 16)) if digits[:2].lower() == "0x" else float(digits.rstrip("fF"))
    except ValueError:
        return -1.0


def _text(tokens: Sequence[Token], index: int) -> str:
    return tokens[index].text if index < len(tokens) else ""


def _closing(tokens: Sequence[Token], index: int) -> int:
    """Where the bracket that opens at `index` closes; the end where it doesn't."""
    depth = 0
    for at in range(index, len(tokens)):
        depth += (tokens[at].text in "([{") - (tokens[at].text in ")]}")
        if depth == 0:
            return at
    return len(tokens)
