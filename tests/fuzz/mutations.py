"""Files made hostile: bytes spoilt, values replaced, or traps laid; all drawn from the generator given."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from typing import Any

Json = Any

DEEP = 3000
ODD_VALUES: Sequence[Json] = (
    None, True, False, 0, -1, 1, 10**9, -(10**18), 10**40, 1e308, -0.0, float("inf"), float("nan"), 0.1, "", " ", "\n",
    "x" * 5000, "a\0b", "../../../etc/passwd", "/", "/dev/null", ".", "~", "-", "{", "}}", "{question", "{x.__class__}",
    "{question.__class__.__mro__}", "{question!z}", "{question:>999999999}", "{0}", "{}", "{{ ''.__class__ }}", "%s", "\ud800",
    "\u202eright to left", "=cmd|'/c calc'!A0", "no", "2024-01-01", "1e5", "openai/", "/gpt", "nobody/model", "openai/instant",
    "os:system", "reviewer:nothing", "reviewer", "reviewer:answer", "exact_match", "champion", "ratchet.yaml", "data.csv",
    [], {}, [[]], [None], {"": None}, {"a": {}}, ["x"], [1, "a", None], {"use": "exact_match"}, {"judge": {}}, [{}],
)  # fmt: skip
ODD_KEYS = (
    "",
    "extends",
    "__class__",
    "model",
    "target",
    "path",
    "a.b",
    "\ud800",
    "x" * 300,
    "0",
    "null",
    "<<",
)
TEMPLATES = (
    "{__class__}", "{question.__class__}", "{question[__class__]}", "{question.format}", "{question!r:>99999999}",
    "{question:{topic}}", "{question[0]}", "{question.0.0}", "{{question}", "{question}}", "{", "}", "{}", "{0}", "{!r}",
    "{question:0>9999}", "{input}", "{input.question}", "{missing}", "{question.missing}", "{ question }", "{question\n}",
    "{{ ''.__class__ }}", "{{ question.__class__.__mro__[1].__subclasses__() }}", "{{ question|attr('__class__') }}",
    "{{ cycler.__init__.__globals__ }}", "{{ self.__init__ }}", "{{ [].__class__.__base__ }}", "{% import 'os' as os %}",
    "{% include '/etc/passwd' %}", "{% extends 'x' %}", "{{ 'a' * 10**10 }}", "{{ 10**10**10 }}", "{{ range(10**12)|list }}",
    "{% for i in range(10**9) %}x{% endfor %}", "{{ range(99999)|join }}{{ range(99999)|join }}",
    "{% for i in range(99999) %}{% for j in range(99999) %}{% for k in range(99999) %}x{% endfor %}{% endfor %}{% endfor %}",
    "{% macro f() %}{{ f() }}{{ f() }}{% endmacro %}{{ f() }}", "{% set x = namespace(a='ab') %}{{ x.a }}", "{% if %}",
    "{% set ns = namespace(a='ab') %}{% for i in range(40) %}{% set ns.a = ns.a ~ ns.a %}{% endfor %}{{ ns.a }}",
    "{{ question|replace('', 'x' * 9) }}", "{{ '%999999999d'|format(1) }}", "{{ 'a'.center(10**9) }}", "{{ undefined.a.b }}",
    "{{ question|batch(1)|list|tojson }}", "{{ dict(a=question)|xmlattr }}", "{{ question|wordwrap(0) }}", "{{ 1/0 }}",
    "{{ question.split('')[0] }}", "{% filter upper %}{{ question }}{% endfilter %}", "{# unclosed", "{{ unclosed", "{% raw %}",
    "{{ question|indent(10**9) }}", "{{ (" * 200, "{{ " + "(" * 500 + "1" + ")" * 500 + " }}", "{{ " + "-" * 2000 + "1 }}",
    "{{ question|map('upper')|list }}", "{{ lipsum(n=10**6) }}", "{{ namespace }}", "{{ caller() }}", "{{ loop }}",
    "{{ question|urlize }}", "{{ question|striptags }}", "{{ ('<' * 99999)|striptags }}", "{{ ('a' * 99999)|urlize }}",
    "{% for a in question recursive %}{{ loop(question) }}{% endfor %}", "{{ question|round }}", "{{ question|sum }}",
)  # fmt: skip


def spoil_bytes(data: bytes, rng: random.Random) -> bytes:
    """The bytes with a few of them changed, cut, doubled, swapped or written in another encoding."""
    for _ in range(rng.choice((1, 1, 1, 2, 5, 20))):
        data = rng.choice(_BYTES)(data, rng)
    return data


def _flip(data: bytes, rng: random.Random) -> bytes:
    if not data:
        return b"\x00"
    at = rng.randrange(len(data))
    return data[:at] + bytes([data[at] ^ (1 << rng.randrange(8))]) + data[at + 1 :]


def _truncate(data: bytes, rng: random.Random) -> bytes:
    return data[: rng.randrange(len(data) + 1)]


def _cut(data: bytes, rng: random.Random) -> bytes:
    start = rng.randrange(len(data) + 1)
    return data[:start] + data[start + rng.choice((1, 3, 20)) :]


def _insert(data: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(data) + 1)
    piece = rng.choice(
        (b"\x00", b"\xff", b"\xed\xa0\x80", b"\xef\xbb\xbf", b'"', b"'", b"{", b"}", b"[", b",", b":", b"\n", b"\r", b"\t",
         b"&a ", b"*a", b"*missing", b"!!python/object/apply:os.system [id]", b"!!binary x", b"!x ", b"<<: *a", b"- ", b"? ",
         b"---\n", b"...\n", b"#", b"%YAML 3.0\n", b"9" * 5000, b"1e999", b"NaN", b"\\ud800", b"\\", b"\xe2\x80\xae", b"\x1b[2J",
         b"{question.__class__}", b"{{ ''.__class__ }}", b"\xc2\x85", b"\xe2\x80\xa8")
    )  # fmt: skip
    return data[:at] + piece + data[at:]


def _swap_lines(data: bytes, rng: random.Random) -> bytes:
    lines = data.split(b"\n")
    first, second = rng.randrange(len(lines)), rng.randrange(len(lines))
    lines[first], lines[second] = lines[second], lines[first]
    return b"\n".join(lines)


def _double_line(data: bytes, rng: random.Random) -> bytes:
    lines = data.split(b"\n")
    at = rng.randrange(len(lines))
    return b"\n".join([*lines[: at + 1], *lines[at:]])


def _drop_line(data: bytes, rng: random.Random) -> bytes:
    lines = data.split(b"\n")
    del lines[rng.randrange(len(lines))]
    return b"\n".join(lines)


def _indent_line(data: bytes, rng: random.Random) -> bytes:
    lines = data.split(b"\n")
    at = rng.randrange(len(lines))
    lines[at] = rng.choice((b" ", b"  ", b"\t", b"      ")) + lines[at]
    return b"\n".join(lines)


def _reencode(data: bytes, rng: random.Random) -> bytes:
    text = data.decode("utf-8", "replace")
    return text.encode(rng.choice(("utf-16", "utf-16-be", "utf-32", "cp1252", "utf-7")), "replace")


def _replace_all(data: bytes, rng: random.Random) -> bytes:
    return rng.choice(
        (
            b"",
            b"\n",
            b"\x00" * 100,
            b"null",
            b"[]",
            b"{}",
            b'""',
            b"0",
            b"---\n---\n",
            b"\xff\xfe",
            b"\x1f\x8b\x08broken",
            b"PAR1PAR1",
        )
    )


_BYTES: Sequence[Callable[[bytes, random.Random], bytes]] = (
    _flip, _flip, _flip, _truncate, _cut, _insert, _insert, _insert, _swap_lines, _double_line, _drop_line, _indent_line,
    _reencode, _replace_all,
)  # fmt: skip


def spoil_value(value: Json, rng: random.Random) -> Json:
    """The value with one thing in it replaced, dropped, doubled, renamed or put somewhere else."""
    if not isinstance(value, (dict, list)) or not value or rng.random() < 0.08:
        return rng.choice(ODD_VALUES)
    if isinstance(value, list):
        at = rng.randrange(len(value))
        if rng.random() < 0.2:
            return rng.choice(
                (value[:at] + value[at + 1 :], [*value, value[at]], [value[at]] * 300, {"0": value[at]})
            )
        return [spoil_value(item, rng) if i == at else item for i, item in enumerate(value)]
    key = rng.choice(list(value))
    if rng.random() < 0.25:
        rest = {k: v for k, v in value.items() if k != key}
        return rng.choice(
            (rest, {**value, rng.choice(ODD_KEYS): value[key]}, {**rest, f"{key}s": value[key]}, {**rest, key.upper(): value[key]},
             {**value, rng.choice(list(value)): value[key]}, {**value, key: [value[key]]}, {**value, key: value})
        )  # fmt: skip
    return {k: spoil_value(v, rng) if k == key else v for k, v in value.items()}


def spoil_template(text: str, rng: random.Random) -> str:
    """The text with a template in it that must not work."""
    trap = rng.choice(TEMPLATES)
    at = rng.randrange(len(text) + 1)
    return rng.choice((trap, text[:at] + trap + text[at:], f"{text}\n{trap}"))


def bomb(rng: random.Random, suffix: str) -> bytes:
    """A file that is small and wants to be big, or to be read for ever."""
    nested = rng.choice((b"[", b'{"a":', b"- ", b"{a: ", b"a:\n  " * 2))
    choices = [
        nested * DEEP,
        b"[" * DEEP + b"]" * DEEP,
        b'{"a":' * DEEP + b"1" + b"}" * DEEP,
        b"a: &a [x,x,x,x,x,x,x,x,x]\n"
        + b"".join(
            b"%c: &%c [%s]\n" % (name, name, b",".join([b"*%c" % (name - 1)] * 9))
            for name in range(ord("b"), ord("l"))
        ),
        b"a: &a\n  b: *a\n",
        b"&a [*a]",
        b"variants: &v\n  x: {<<: *v}\n",
        b"a: " + b"9" * 100_000,
        b'{"a": ' + b"9" * 100_000 + b"}",
        b'[{"id": 1e400, "question": -1E+99999}]',
        b'"' + b"\\" * 99_999,
        b"a," * 50_000 + b"\n" + b'"' * 50_001,
        b"? " * DEEP + b"x",
        b"? {a: b}\n: c\n? [1]\n: d\n",
        b"a: !!python/object/apply:os.system ['id']\n",
        b"- !!set {a, b}\n- !!omap [a: 1]\n- !!binary aGk=\n- !!timestamp 2024-01-01\n",
        b"x: 0x" + b"f" * 50_000,
        b"{" * 5000 + b"}" * 5000,
        b"#" * 100_000,
        b"\r" * 50_000,
        b"a: |\n" + b" " * 50_000,
        b"---\n" * 20_000,
        json.dumps({str(i): i for i in range(20_000)}).encode(),
    ]
    if suffix in (".csv", ".tsv"):
        choices += [
            b"id,question,id\n1,a,2\n",
            b"id,question\n" + b'"' * 9,
            b"id\n" + b"x" * 200_000,
            b'id,"que\nstion"\n1,"a\n',
        ]
    return rng.choice(choices)
