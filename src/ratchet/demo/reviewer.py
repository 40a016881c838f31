"""A reviewer without a model: reads a C program and names the clean-code principles it breaks, by stated rules.

The thresholds below were set on half of the demo's problems; docs/demo.md tells how it does on the others.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ratchet import spans

REPEATED_TOKENS = 26
"""Two stretches of so many tokens that differ only in names and values are a repetition."""
REPEATED_IN_A_ROW = 3
"""So many statements of one shape, directly after one another…"""
ROW_TOKENS = 12
"""…of at least so many tokens each, are one too."""
COMPUTING_OPERATIONS = 3
"""A function that reads, prints and does so much arithmetic has three jobs."""
LONG_FUNCTION_TOKENS = 150
"""A function that does two kinds of work at this length has too many."""
MAGIC_NUMBERS = 2
"""So many unexplained numbers (each counted as often as it stands there) are too many."""
PLAIN_NUMBERS = frozenset({0.0, 1.0, 2.0})
"""Numbers that need no name."""
POOR_NAME_SHARE = 0.45
"""A program whose names are poor to this share is badly named."""

REASONS = {
    "dry": "the same steps stand in more than one place",
    "srp": "a function reads, computes and prints",
    "magic_constants": "numbers stand in the code without a name",
    "naming": "names do not say what they stand for",
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
_TYPES = frozenset(
    "void char short int long float double signed unsigned bool size_t struct enum union const static".split()
)
_KEYWORDS = _TYPES | frozenset(
    "if else for while do switch case default break continue return goto sizeof typedef volatile extern".split()
)
_READS = frozenset("scanf fscanf sscanf getchar getc fgetc gets fgets getline fread".split())
_PRINTS = frozenset("printf fprintf puts putchar putc fputs fputc".split())
_ARITHMETIC = frozenset("+ - * / % += -= *= /= %= ++ --".split())
_INDICES = frozenset("i j k n x y c".split())
_WORDLESS = re.compile(
    r"(?:[a-z]|[a-z]{0,2}\d+|(.)\1+\d*|\w*[a-zA-Z]{2}\d|foo|bar|baz|bla(?:h|b)?|blub|thing|stuff|te?mp|data|val|value|"
    r"res|arr|str|xyz|do(?:It|_it|Stuff|_stuff|Math|Everything)|func|process|handle|go|calc|compute|check|get|show|"
    r"getData)\d*"
)
"""Names that say nothing: one letter, letters with a number, the same letter again, and words for anything."""


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
    """The principles that `row["program"]` breaks: `{"labels": [...], "reasons": {label: why}}`, as models are asked.

    Text that is no C gives what can be made of it; nothing raises.
    """
    with spans.span("lex") as step:
        tokens = lex(str(row.get("program", "")))
        found = functions(tokens)
        step.set(tokens=len(tokens), functions=len(found))
    with spans.span("rules") as step:
        broken = {
            "dry": repeats_itself(found),
            "srp": any(has_many_jobs(function) for function in found),
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


def repeats_itself(found: Sequence[Function]) -> bool:
    """Whether a long stretch of code stands twice, or several statements of one shape in a row."""
    seen: dict[tuple[str, ...], int] = {}
    position = 0
    for function in found:
        shape = [_shape(token) for token in function.body]
        for start in range(len(shape) - REPEATED_TOKENS + 1):
            first = seen.setdefault(tuple(shape[start : start + REPEATED_TOKENS]), position + start)
            if position + start >= first + REPEATED_TOKENS:
                return True
        position += len(shape) + REPEATED_TOKENS
        if _longest_row(_statements(shape)) >= REPEATED_IN_A_ROW:
            return True
    return False


def has_many_jobs(function: Function) -> bool:
    """Whether one function reads, computes and prints, or is long and does two of these."""
    names = {token.text for token in function.body if token.kind == "name"}
    reads, prints = bool(names & _READS), bool(names & _PRINTS)
    operations = sum(token.text in _ARITHMETIC for token in _outside_loop_heads(function.body))
    computes = operations >= COMPUTING_OPERATIONS
    return (reads and prints and computes) or (
        len(function.body) >= LONG_FUNCTION_TOKENS and reads + prints + computes >= 2
    )


def count_magic_numbers(found: Sequence[Function]) -> int:
    """Numbers in the code of functions, but for plain ones, tables and the values of constants."""
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
                total += _number(token.text) not in PLAIN_NUMBERS
    return total


def poor_name_share(tokens: Sequence[Token]) -> float:
    """Share of the declared names that say nothing; 0 where nothing is declared."""
    names = set(_declared(tokens)) - {"main"}
    poor = sum(bool(_WORDLESS.fullmatch(name)) and name not in _INDICES for name in names)
    return poor / len(names) if names else 0.0


def _declared(tokens: Sequence[Token]) -> Iterator[str]:
    """Names after a type, and those after a comma in the same declaration."""
    declaring = depth = 0
    previous = Token("", "")
    for index, token in enumerate(tokens):
        depth += (token.text in "([{") - (token.text in ")]}")
        if token.text in _TYPES:
            declaring, level = 1, depth
        elif token.kind == "name" and token.text not in _KEYWORDS:
            after_type = previous.text in _TYPES or previous.text == "*" or previous.kind == "name"
            if declaring and after_type and _text(tokens, index + 1) in ("=", ";", ",", ")", "[", "("):
                yield token.text
            elif declaring and previous.text == "," and depth == level:
                yield token.text
        elif token.text in (";", "{", ")"):
            declaring = 0
        previous = token
    return


def _outside_loop_heads(body: Sequence[Token]) -> Iterator[Token]:
    index = 0
    while index < len(body):
        if body[index].text == "for":
            index = _closing(body, index + 1)
        else:
            yield body[index]
        index += 1


def _statements(shape: Sequence[str]) -> list[tuple[str, ...]]:
    """Pieces that end in a semicolon or a brace."""
    pieces: list[tuple[str, ...]] = []
    start = 0
    for index, text in enumerate(shape, 1):
        if text in (";", "{", "}"):
            pieces.append(tuple(shape[start:index]))
            start = index
    return pieces


def _longest_row(pieces: Sequence[tuple[str, ...]]) -> int:
    longest = length = 0
    previous: tuple[str, ...] = ()
    for piece in pieces:
        length = length + 1 if piece == previous else 1
        if len(piece) >= ROW_TOKENS:
            longest = max(longest, length)
        previous = piece
    return longest


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
