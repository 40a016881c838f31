"""What people are asked: a rubric with its answers and their keys, kept in versions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, cast

from ratchet import codec, sheets
from ratchet.errors import ConfigError, did_you_mean
from ratchet.ports import Store
from ratchet.records import Json, Run, ScoreValue

Kind = Literal["pass", "one", "many", "scale", "pair"]
KINDS: Mapping[str, str] = {
    "pass": "good or bad",
    "one": "one label",
    "many": "any number of labels",
    "scale": "a number",
    "pair": "which of two is better",
}
RESERVED = frozenset("usndfxro?/")
"""Keys of the labelling screen itself."""
MAX_CHOICES = 20
MAX_TEXT = 20_000
_KEYS = "123456789abceghijklmpqtvwyz"
TIE = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One answer: the key that gives it, what it is called, and the score's value."""

    key: str
    label: str
    value: bool | float | str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rubric:
    """What is asked about each answer. Immutable: an edit is a new version."""

    name: str
    """The score's name."""
    kind: Kind
    choices: tuple[Choice, ...] = ()
    low: float | None = None
    high: float | None = None
    text: str = ""
    """When to give which answer, for people to read."""

    @property
    def version(self) -> str:
        """12 hex digits that change with every word of it."""
        return codec.content_id(self)[:12]

    def describe(self) -> str:
        """What may be said, in words."""
        if self.kind == "scale" and not self.choices:
            ends = self.low is not None and self.high is not None
            return f"a number from {self.low:g} to {self.high:g}" if ends else "a number"
        words = " | ".join(choice.label for choice in self.choices)
        return f"a list of {words}" if self.kind == "many" else words

    def read(self, said: Json) -> ScoreValue:
        """The score's value for this answer: a value itself, a choice's name, or for many a list of these.

        Raises:
            ValueError: None of the answers; the message says what was expected.
        """
        if self.kind == "many":
            given: Sequence[Json] = [said] if isinstance(said, str) else list(said) if isinstance(said, (list, tuple, set, frozenset)) else [None]  # fmt: skip
            return frozenset(str(self._one(item)) for item in given)
        if self.kind == "scale" and not self.choices:
            return self._number(said)
        return self._one(said)

    def _one(self, said: Json) -> bool | float | str:
        for choice in self.choices:
            if type(said) is type(choice.value) and said == choice.value:
                return choice.value
            if _is_number(said) and _is_number(choice.value) and float(said) == choice.value:
                return choice.value
        folded = said.strip().casefold() if isinstance(said, str) else None
        for choice in self.choices:
            if folded is not None and folded in (choice.label.casefold(), _plain(choice.value)):
                return choice.value
        hint = did_you_mean(str(said), [choice.label for choice in self.choices])
        raise ValueError(f"expected {self.describe()}.{hint}")

    def _number(self, said: Json) -> float:
        try:
            number = float(said) if not isinstance(said, bool) else float("nan")
        except (TypeError, ValueError, OverflowError):
            number = float("nan")
        low, high = self.low, self.high
        if number - number != 0 or (low is not None and number < low) or (high is not None and number > high):
            raise ValueError(f"expected {self.describe()}")
        return number


def _is_number(value: Json) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _plain(value: bool | float | str) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:g}" if isinstance(value, (int, float)) else value.casefold()


def passing(name: str, text: str = "") -> Rubric:
    """Good or bad: `g` and `b`."""
    choices = (Choice(key="g", label="Good", value=True), Choice(key="b", label="Bad", value=False))
    return Rubric(name=name, kind="pass", choices=choices, text=text)


def pairwise(name: str, text: str = "") -> Rubric:
    """Which of two answers is better; the value is the candidate's: 1 better, 0 worse, 0.5 a tie."""
    choices = (
        Choice(key="1", label="Left is better", value=1.0),
        Choice(key="2", label="Right is better", value=0.0),
        Choice(key="t", label="Tie", value=TIE),
    )
    return Rubric(name=name, kind="pair", choices=choices, text=text)


def of_labels(name: str, labels: Iterable[str], *, many: bool = False, text: str = "") -> Rubric:
    """One of these labels, or any number of them; a label written `k=name` is given by the key k.

    Raises:
        ConfigError: Too few or too many labels, one twice, or a key that is taken.
    """
    given = [codec.clean_text(label.strip()) for label in labels if label.strip()]
    pairs = [(k, name) if sep and len(k) == 1 else ("", whole) for whole in given for k, sep, name in [whole.partition("=")]]  # fmt: skip
    if not (1 if many else 2) <= len(pairs) <= MAX_CHOICES:
        raise ConfigError(
            f"the rubric {name!r} has {len(pairs)} labels, expected {1 if many else 2} to {MAX_CHOICES}"
        )
    taken = {key for key, _ in pairs if key}
    free = iter(key for key in _KEYS if key not in taken)
    choices = tuple(Choice(key=key or next(free), label=label, value=label) for key, label in pairs)
    return check(Rubric(name=name, kind="many" if many else "one", choices=choices, text=text))


def of_scale(name: str, low: float, high: float, *, text: str = "") -> Rubric:
    """A number in [low, high]; whole steps on digit keys where there are at most ten.

    Raises:
        ConfigError: high is not above low.
    """
    if not low < high:
        raise ConfigError(f"the scale of {name!r} is {low:g} to {high:g}, expected the lower end first")
    steps = high - low
    whole = float(low).is_integer() and float(steps).is_integer() and low >= 0 and high <= 9 and steps <= 9
    steps_on_keys = range(int(low), int(high) + 1) if whole else ()
    choices = tuple(Choice(key=str(n), label=str(n), value=float(n)) for n in steps_on_keys)
    return Rubric(name=name, kind="scale", choices=choices, low=low, high=high, text=text)


def check(rubric: Rubric) -> Rubric:
    """The same rubric.

    Raises:
        ConfigError: A key or a label that stands twice, or a key of the screen itself.
    """
    for what in ("key", "label"):
        seen: set[str] = set()
        for choice in rubric.choices:
            word = str(getattr(choice, what)).casefold()
            if word in seen:
                raise ConfigError(f"the {what} {word!r} stands twice in the rubric {rubric.name!r}")
            seen.add(word)
    for choice in rubric.choices:
        if len(choice.key) != 1 or choice.key.casefold() in RESERVED:
            raise ConfigError(
                f"the key {choice.key!r} of {choice.label!r} can't be used: expected one character, none of "
                f"{' '.join(sorted(RESERVED))}"
            )
    return rubric


def default_for(run: Run, store: Store, score: str) -> Rubric:
    """What this score's judge or scorer could have said; good or bad where nothing says more."""
    values = {s.value for s in store.scores(run.id, name=score) if s.value is not None}
    sets = [value for value in values if isinstance(value, frozenset)]
    if sets:
        return of_labels(score, sorted({label for value in sets for label in value}) or ["other"], many=True)
    if not values and sheets.scorer_of(run, score) is None:
        return passing(score)
    found = sheets.labels_for(run, score, values)
    if found.kind == "bool":
        return passing(score)
    if found.kind == "label":
        return of_labels(score, found.words) if len(found.words) > 1 else passing(score)
    if found.words:
        pairs = zip(_KEYS, found.words.items(), strict=False)
        choices = tuple(Choice(key=k, label=label, value=float(value)) for k, (label, value) in pairs)
        return Rubric(name=score, kind="scale", choices=choices)
    if found.low is not None and found.high is not None:
        return of_scale(score, found.low, found.high)
    numbers = [float(v) for v in values if isinstance(v, (int, float))]
    if numbers and min(numbers) >= 0.0 and max(numbers) <= 1.0:
        return passing(score)
    return Rubric(name=score, kind="scale")


def keep(store: Store, rubric: Rubric, *, by: str = "") -> str:
    """Keep this version and make it the newest of its name; its version.

    Raises:
        ConfigError: Its keys or its text can't be used.
    """
    check(rubric)
    if len(rubric.text) > MAX_TEXT:
        raise ConfigError(
            f"the rubric's text has {len(rubric.text):,} characters, expected at most {MAX_TEXT:,}"
        )
    content_id = codec.content_id(rubric)
    store.put_content("rubric", content_id, codec.encode(rubric))
    name = f"rubrics/{rubric.name}"
    while (current := store.ref(name)) != content_id:
        store.move_ref(name, content_id, expected=current, by=by)
    return rubric.version


def load(store: Store, name: str, version: str | None = None) -> Rubric | None:
    """The newest rubric of this name, or this version of it; None where there is none."""
    for found in reversed(_ids(store, name)) if version else [store.ref(f"rubrics/{name}")]:
        if found is not None and (version is None or found.startswith(version)):
            data = store.content(found)
            return None if data is None else codec.decode(Rubric, dict(data))
    return None


def _ids(store: Store, name: str) -> list[str]:
    return [move.new for move in store.ref_log(f"rubrics/{name}") if move.new]


def versions(store: Store, name: str) -> list[tuple[str, float, str]]:
    """(version, when, by whom) of every version, oldest first."""
    return [(m.new[:12], m.at, m.by) for m in store.ref_log(f"rubrics/{name}") if m.new]


def names(store: Store) -> list[str]:
    """Of every rubric in the store."""
    return [ref.removeprefix("rubrics/") for ref in store.refs("rubrics/")]


def edited(rubric: Rubric, *, text: str, labels: str | None = None) -> Rubric:
    """The rubric with another text and, where it has named labels, one label a line (`k=name` for a key of its own)."""
    text = codec.clean_text(text.replace("\r\n", "\n")).strip()
    if labels is None or rubric.kind not in ("one", "many"):
        return replace(rubric, text=text)
    return of_labels(rubric.name, labels.splitlines(), many=rubric.kind == "many", text=text)


def parse(name: str, asked: str, text: str = "") -> Rubric:
    """The rubric that short text asks for: `pass`, `1-5`, `a,b,c` for one label, `many:a,b,c`.

    Raises:
        ConfigError: None of these.
    """
    word = asked.strip()
    if word.casefold() in ("", "pass", "bool", "good/bad"):
        return passing(name, text)
    many, _, rest = word.partition(":")
    if many.casefold() == "many" and rest:
        return of_labels(name, rest.split(","), many=True, text=text)
    low, dash, high = word.partition("-")
    if dash:
        try:
            return of_scale(name, float(low), float(high), text=text)
        except ValueError as error:
            if isinstance(error, ConfigError):
                raise
    if "," in word:
        return of_labels(name, word.split(","), text=text)
    raise ConfigError(
        f"the rubric is {asked!r}, expected pass, a scale such as 1-5, labels a,b,c, or many:a,b,c"
    )


def criteria(rubric: Rubric) -> list[str]:
    """The labels that may be given or not, each a yes or no of its own; empty but for many."""
    return [cast("str", choice.value) for choice in rubric.choices] if rubric.kind == "many" else []
