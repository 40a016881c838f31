"""Answers that fit what was asked, for requests no answer key knows; and wrong ones for those it knows."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

from ratchet import codec
from ratchet.errors import CodecError
from ratchet.records import Json

_FILLER = """
the input follows common practice and each step keeps to its own task so the result can be read checked and
changed without surprise while names stay close to what they stand for and no part depends on order that is
not stated here
"""
_WORDS = tuple(_FILLER.split())
_LISTED = re.compile(
    r"(?:labels?|categor(?:y|ies)|classes|options|intents?|one of|choose (?:from|between)|either)\b[^:\n\[(]{0,60}?"
    r"(?::|\bof\b|\bfrom\b|\bare\b|(?=[\[(]))\s*[\[(]?\s*(?P<items>[^\n.\])]+)",
    re.IGNORECASE,
)
_BULLETS = re.compile(
    r"(?:labels|categories|classes|options|intents)\b[^\n]*:\s*\n(?P<items>(?:\s*(?:[-*•]|\d+[.)])\s*[^\n]+\n?)+)",
    re.IGNORECASE,
)
_RANGE = re.compile(r"\b(\d{1,3})\s*(?:-|–|to|and)\s*(\d{1,3})\b")
_KEY = re.compile(r"[\"'](\w+)[\"']\s*:\s*(?P<hint>.*?)(?=,?\s*[\"']\w+[\"']\s*:|\n|$)")


def answer(prompt: str, response_format: Json, rng: random.Random) -> str:
    """Text in the format asked: an instance of the schema, JSON, tagged verdict, label, or a short sentence."""
    if response_format:
        schema = schema_of(response_format)
        if schema is not None:
            return codec.dumps(instance(schema, rng)).decode()
        return codec.dumps(_json_asked(prompt, rng) or {"answer": prose(6, rng)}).decode()
    if "<score>" in prompt:
        return f"<reason>{prose(14, rng)}</reason>\n<score>{_score(prompt, rng)}</score>"
    if re.search(r"\bJSON\b", prompt) and (asked := _json_asked(prompt, rng)):
        return codec.dumps(asked).decode()
    if labels := listed_labels(prompt):
        return rng.choice(labels)
    return f"This is a simulated answer: {prose(rng.randint(10, 24), rng)}."


def prose(words: int, rng: random.Random) -> str:
    """So many words of filler."""
    start = rng.randrange(len(_WORDS))
    text = " ".join(_WORDS[(start + i) % len(_WORDS)] for i in range(words))
    return text[:1].upper() + text[1:]


def listed_labels(prompt: str) -> list[str]:
    """The labels that a prompt lists ("one of: a, b, c", or bullets under "Labels:"), else none."""
    if found := _BULLETS.search(prompt):
        lines = found["items"].strip().splitlines()
        items = [re.sub(r"^\s*(?:[-*•]|\d+[.)])\s*", "", line) for line in lines]
        return [re.split(r"\s*[:(–]\s*|\s+-\s+", item)[0].strip(" `\"'*") for item in items]
    for found in _LISTED.finditer(prompt):
        items = re.split(r"\s*(?:,|;|/|\||\bor\b|\band\b)\s*", found["items"])
        items = [item.strip(" `\"'*:{}") for item in items]
        items = [item for item in items if item]
        if len(items) >= 2 and all(len(item) <= 40 for item in items):
            return items
    return []


def _score(prompt: str, rng: random.Random) -> str:
    if found := _RANGE.search(prompt):
        low, high = sorted((int(found[1]), int(found[2])))
        return str(rng.randint(low, high))
    return rng.choice(listed_labels(prompt) or ["1", "2", "3", "4", "5"])


def _json_asked(prompt: str, rng: random.Random) -> dict[str, Json]:
    """An object with the keys that the prompt shows, as in `"quality": "good / fair / bad"`."""
    values: dict[str, Json] = {}
    for found in _KEY.finditer(prompt):
        hint = found["hint"].strip().rstrip(",}")
        choices = [part.strip(" `\"'<>[]{}") for part in re.split(r"\s*(?:/|\||,|\bor\b)\s*", hint)]
        choices = [choice for choice in choices if choice and len(choice) <= 30]
        if bounds := _RANGE.search(hint):
            values[found[1]] = rng.randint(*sorted((int(bounds[1]), int(bounds[2]))))
        elif re.search(r"true|false|boolean", hint, re.IGNORECASE):
            values[found[1]] = rng.random() < 0.5
        elif re.search(r"reason|explan|comment", found[1]) or len(choices) < 2:
            values[found[1]] = prose(10, rng)
        else:
            values[found[1]] = rng.choice(choices)
    return values


def schema_of(response_format: Json) -> dict[str, Json] | None:
    """The JSON schema in an OpenAI `response_format`, or None."""
    if not isinstance(response_format, Mapping):
        return None
    entry = cast("Mapping[str, Any]", response_format)
    wrapped = entry.get("json_schema")
    if not isinstance(wrapped, Mapping):
        return None
    schema = cast("Mapping[str, Any]", wrapped).get("schema")
    return cast("dict[str, Json]", schema) if isinstance(schema, dict) else None


def fit(text: str, schema: dict[str, Json] | None, rng: random.Random) -> str:
    """An answer's text in the JSON that was asked for: as it is where it is JSON, else as the first text property."""
    try:
        if isinstance(codec.parse(text), (dict, list)):
            return text
    except CodecError:
        pass
    if schema is None:
        return codec.dumps({"answer": text}).decode()
    value = instance(schema, rng)
    if isinstance(value, dict):
        entry = cast("dict[str, Json]", value)
        named = [name for name in ("answer", "label", "category", "output", "result") if name in entry]
        texts = [name for name, item in entry.items() if isinstance(item, str)]
        if name := next(iter(named or texts), None):
            entry[name] = text
    return codec.dumps(cast("Json", value)).decode()


def instance(schema: Json, rng: random.Random) -> Json:
    """A value that the JSON schema allows; `$ref` within the schema is followed, to a bounded depth."""
    return _Instances(schema, rng).make(schema, 0)


class _Instances:
    def __init__(self, root: Json, rng: random.Random) -> None:
        self.root = root
        self.rng = rng

    def make(self, schema: Json, depth: int) -> Json:
        if not isinstance(schema, Mapping) or depth > 12:
            return None if depth > 12 else "text"
        entry = self._merged(cast("Mapping[str, Any]", schema))
        if "const" in entry:
            return entry["const"]
        if entry.get("enum"):
            return self.rng.choice(entry["enum"])
        if options := entry.get("anyOf") or entry.get("oneOf"):
            kept = [each for each in options if each.get("type") != "null"] or options
            return self.make(kept[0] if depth > 6 else self.rng.choice(kept), depth + 1)
        kind = entry.get("type") or ("object" if "properties" in entry else "string")
        if isinstance(kind, list):
            kind = next((each for each in cast("list[str]", kind) if each != "null"), "null")
        kind = str(kind).lower()
        if kind == "object":
            return self._object(entry, depth)
        if kind == "array":
            return self._array(entry, depth)
        if kind in ("integer", "number"):
            return self._number(entry, kind)
        if kind == "boolean":
            return self.rng.random() < 0.5
        return None if kind == "null" else self._string(entry)

    def _merged(self, entry: Mapping[str, Any]) -> dict[str, Any]:
        """The schema with `$ref` and `allOf` resolved."""
        merged = dict(entry)
        for _ in range(8):
            reference = merged.pop("$ref", None)
            if not isinstance(reference, str):
                break
            merged = {**self._at(reference), **merged}
        for part in merged.pop("allOf", ()):
            part = self._merged(part)
            properties = {**merged.get("properties", {}), **part.get("properties", {})}
            required = [*merged.get("required", ()), *part.get("required", ())]
            merged = {**part, **merged}
            if properties:
                merged |= {"properties": properties, "required": required}
        return merged

    def _at(self, reference: str) -> dict[str, Any]:
        value: Any = self.root
        for part in reference.removeprefix("#").strip("/").split("/"):
            value = value.get(part.replace("~1", "/").replace("~0", "~"), {}) if part else value
        return value if isinstance(value, dict) else {}

    def _object(self, entry: dict[str, Any], depth: int) -> dict[str, Json]:
        properties = entry.get("properties") or {}
        required = entry.get("required") or []
        names = [name for name in properties if name in required or depth < 4]
        made = {name: self.make(properties[name], depth + 1) for name in names}
        return made | {name: "text" for name in required if name not in made}

    def _array(self, entry: dict[str, Any], depth: int) -> list[Json]:
        if prefix := entry.get("prefixItems"):
            return [self.make(each, depth + 1) for each in prefix]
        low = int(entry.get("minItems", 0))
        high = max(low, min(int(entry.get("maxItems", low + 2)), low + 2))
        items = entry.get("items", {"type": "string"})
        if entry.get("uniqueItems") and isinstance(items, dict) and "enum" in items:
            allowed = cast("list[Json]", items["enum"])
            return self.rng.sample(allowed, min(len(allowed), max(low, 1)))
        count = low if depth > 6 else self.rng.randint(max(low, min(1, high)), high)
        return [self.make(items, depth + 1) for _ in range(count)]

    def _number(self, entry: dict[str, Any], kind: str) -> int | float:
        low, high = entry.get("minimum"), entry.get("maximum")
        if (above := entry.get("exclusiveMinimum")) is not None:
            low = above + (1 if kind == "integer" else 0.5)
        if (below := entry.get("exclusiveMaximum")) is not None:
            high = below - (1 if kind == "integer" else 0.5)
        low = low if low is not None else (high - 10 if high is not None else 0)
        high = high if high is not None else low + 10
        step = entry.get("multipleOf")
        if step:
            first = -(-low // step) * step
            return first if kind == "number" else int(first)
        return (
            self.rng.randint(int(low), max(int(low), int(high)))
            if kind == "integer"
            else round(self.rng.uniform(low, high), 3)
        )

    def _string(self, entry: dict[str, Any]) -> str:
        known = {
            "date-time": "2026-01-31T12:00:00Z",
            "date": "2026-01-31",
            "time": "12:00:00Z",
            "email": "someone@example.com",
            "uri": "https://example.com/",
            "uuid": "00000000-0000-4000-8000-000000000000",
            "ipv4": "192.0.2.1",
            "ipv6": "2001:db8::1",
            "hostname": "example.com",
        }
        if found := known.get(entry.get("format", "")):
            return found
        low = int(entry.get("minLength", 0))
        high = int(entry.get("maxLength", max(low, 80)))
        text = prose(self.rng.randint(2, 6), self.rng)
        while len(text) < low:
            text += " " + prose(6, self.rng)
        return text[:high]


def wrong_answer(right: Json, wrong: Sequence[Json], vocabulary: Sequence[str], rng: random.Random) -> Json:
    """An answer that is not the right one: of `wrong`, of the vocabulary, or the right one spoiled."""
    others = [each for each in wrong if each != right]
    if others:
        return rng.choice(others)
    if isinstance(right, list):
        return _wrong_set(cast("list[Json]", right), vocabulary, rng)
    labels = [label for label in vocabulary if label != right]
    if labels and not isinstance(right, dict):
        return rng.choice(labels)
    return _spoil(right, rng)


def _wrong_set(right: list[Json], vocabulary: Sequence[str], rng: random.Random) -> list[Json]:
    """One label dropped or one added."""
    missing = [label for label in vocabulary if label not in right]
    if right and (not missing or rng.random() < 0.5):
        index = rng.randrange(len(right))
        return right[:index] + right[index + 1 :]
    return [*right, rng.choice(missing)] if missing else [*right, "other"]


def _spoil(value: Json, rng: random.Random) -> Json:
    if isinstance(value, bool):
        return not value
    if isinstance(value, (int, float)):
        return value + rng.choice((-2, -1, 1, 2, 10))
    if isinstance(value, dict):
        entry = dict(cast("dict[str, Json]", value))
        if entry:
            name = rng.choice(sorted(entry))
            entry[name] = _spoil(entry[name], rng)
        return entry or {"wrong": True}
    if isinstance(value, list):
        return cast("list[Json]", value)[:-1] or ["wrong"]
    text = str(value)
    if re.fullmatch(r"-?\d+", text):
        return str(int(text) + rng.choice((-2, -1, 1, 2, 10)))
    words = text.split()
    if len(words) >= 4:
        return " ".join(words[: len(words) // 2])
    return f"not {text}"
