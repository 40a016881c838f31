"""How a simulated model behaves: skill, words, price, pace and limits."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias, cast

from ratchet import codec
from ratchet.errors import ConfigError, UnknownNameError, did_you_mean
from ratchet.records import Json, Price

_Z95 = 1.6448536269514722  # the 95th percentile of the standard normal


@dataclass(frozen=True, slots=True, kw_only=True)
class Delay:
    """A distribution of seconds."""

    kind: Literal["constant", "uniform", "lognormal"] = "constant"
    low_s: float = 0.0
    """The constant; the lower end; or the median."""
    high_s: float = 0.0
    """The upper end; or the 95th percentile."""

    @property
    def instant(self) -> bool:
        return self.kind == "constant" and self.low_s == 0.0

    def draw(self, rng: random.Random) -> float:
        """One value in seconds."""
        if self.kind == "constant":
            return self.low_s
        if self.kind == "uniform":
            return rng.uniform(self.low_s, self.high_s)
        return self.low_s * math.exp(math.log(self.high_s / self.low_s) / _Z95 * rng.gauss(0.0, 1.0))

    def __str__(self) -> str:
        mark = {"constant": "", "uniform": "..", "lognormal": "~"}[self.kind]
        return f"{self.low_s:g}" + (f"{mark}{self.high_s:g}" if mark else "")


NO_DELAY = Delay()


def parse_delay(value: Json, *, key: str = "delay") -> Delay:
    """The delay that this says.

    `0.4` is constant, `"0.2..0.6"` uniform, `"0.4~1.2"` lognormal with median and 95th percentile;
    `{p50: 0.4, p95: 1.2}` says the same as the last.

    Raises:
        ConfigError: Anything else, a negative number, or a 95th percentile below the median.
    """
    try:
        if isinstance(value, Mapping):
            entry = cast("Mapping[str, Any]", value)
            kind, low, high = "lognormal", float(entry["p50"]), float(entry["p95"])
        elif isinstance(value, str) and ".." in value:
            kind, (low, high) = "uniform", (float(part) for part in value.split("..", 1))
        elif isinstance(value, str) and "~" in value:
            kind, (low, high) = "lognormal", (float(part) for part in value.split("~", 1))
        else:
            kind, low, high = "constant", float(value), 0.0
    except (ValueError, TypeError, KeyError):
        raise ConfigError(
            f"{value!r} is not a delay; expected seconds (0.4), a range (0.2..0.6) or median~p95 (0.4~1.2)",
            key=key,
        ) from None
    upper = low if kind == "constant" else high
    floor = 0.0 if kind != "lognormal" else 1e-9
    if not (math.isfinite(upper) and floor <= low <= upper):
        raise ConfigError(f"{value!r} is not a delay: expected finite seconds, 0 or more, in order", key=key)
    return Delay(kind=kind, low_s=low, high_s=high)


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """How one simulated model behaves; nothing here depends on time or place."""

    name: str
    skill: float = 1.0
    """Probability of the right answer at difficulty 0, where an answer key knows it."""
    slope: float = 2.0
    """How many logits of that are lost per unit of difficulty."""
    noise: float = 0.0
    """Share of examples whose answer is drawn anew at each repeat; the others always answer alike."""
    verbosity: int = 0
    """Words of explanation beside the answer, where the answer is not JSON."""
    format: str = ""
    """Where they stand: text with `{answer}` and `{explanation}`; default: explanation, blank line, answer."""
    reasoning_tokens: int = 0
    """Hidden output tokens reported (and priced) with each answer."""
    cached_share: float = 0.0
    """Share of the input tokens reported as read from a cache."""
    ttft_s: Delay = NO_DELAY
    """Request received to first token."""
    gap_s: Delay = NO_DELAY
    """Between two chunks of tokens."""
    tokens_per_chunk: int = 4
    rpm: float | None = None
    """Requests per minute before the server answers 429."""
    tpm: float | None = None
    """Tokens per minute, input and output, before the server answers 429."""
    price: Price | None = None

    def p_right(self, difficulty: float) -> float:
        """Probability of the right answer at this difficulty (0 easy, 1 hard)."""
        if self.skill <= 0.0 or self.skill >= 1.0:
            return self.skill
        logit = math.log(self.skill / (1.0 - self.skill)) - self.slope * difficulty
        return 1.0 / (1.0 + math.exp(-max(-700.0, min(700.0, logit))))

    @property
    def instant(self) -> bool:
        return self.ttft_s.instant and self.gap_s.instant


PROFILES: Mapping[str, Profile] = {
    profile.name: profile
    for profile in (
        Profile(name="instant"),
        Profile(
            name="champion",
            skill=0.97,
            slope=2.2,
            noise=0.06,
            ttft_s=Delay(kind="lognormal", low_s=0.25, high_s=0.60),
            gap_s=Delay(kind="lognormal", low_s=0.015, high_s=0.04),
            price=Price(input_usd_per_mtok=2.5, output_usd_per_mtok=10.0, source="simulated"),
        ),
        Profile(
            name="challenger",
            skill=0.94,
            slope=2.6,
            noise=0.10,
            ttft_s=Delay(kind="lognormal", low_s=0.10, high_s=0.25),
            gap_s=Delay(kind="lognormal", low_s=0.006, high_s=0.015),
            price=Price(input_usd_per_mtok=0.4, output_usd_per_mtok=1.6, source="simulated"),
        ),
    )
}
"""The profiles that ship: "champion" is strong, slow and dear, "challenger" cheaper and faster, "instant" never waits
and, given an answer key, is never wrong."""

Setting: TypeAlias = str | int | float | Delay | Price | None

_KNOWN = tuple(f.name for f in fields(Profile) if f.name != "name")
_RANGES: Mapping[str, tuple[float, float]] = {
    "skill": (0, 1),
    "slope": (-100, 100),
    "noise": (0, 1),
    "verbosity": (0, 10_000),
    "reasoning_tokens": (0, 1_000_000),
    "cached_share": (0, 1),
    "tokens_per_chunk": (1, 10_000),
    "rpm": (0, math.inf),
    "tpm": (0, math.inf),
}
_WHOLE = ("verbosity", "reasoning_tokens", "tokens_per_chunk")


def make_profile(name: str, settings: Mapping[str, Json], *, base: str = "instant") -> Profile:
    """The profile of this name: `base` (one that ships) with these settings changed.

    Raises:
        ConfigError: A setting is unknown or out of range; the message names it.
        UnknownNameError: No shipped profile has the base's name.
    """
    base = str(settings.get("base", base))
    if base not in PROFILES:
        raise UnknownNameError("simulated profile", base, PROFILES)
    values = {key: _setting(key, value, name) for key, value in settings.items() if key != "base"}
    return replace(PROFILES[base], name=name, **cast("dict[str, Any]", values))


def _setting(key: str, value: Json, name: str) -> Setting:
    place = f"profile {name!r}, {key}"
    if key not in _KNOWN:
        raise ConfigError(
            f"no setting of this name. Known: {', '.join(_KNOWN)}.{did_you_mean(key, _KNOWN)}", key=place
        )
    if key in ("ttft_s", "gap_s"):
        return parse_delay(value, key=place)
    if key == "price":
        return _price(value, place)
    if key == "format":
        if not isinstance(value, str) or "{answer}" not in value:
            raise ConfigError(f"{value!r} is not a format; expected text that holds {{answer}}", key=place)
        return value
    if value is None and key in ("rpm", "tpm"):
        return None
    low, high = _RANGES[key]
    try:
        number = math.nan if value is None else float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not low <= number <= high:
        raise ConfigError(f"{value!r} is not a number from {low:g} to {high:g}", key=place)
    return int(number) if key in _WHOLE else number


def _price(value: Json, place: str) -> Price | None:
    """From `{input_usd_per_mtok: …}` or "input/output" in dollars per million tokens."""
    if value is None:
        return None
    try:
        if isinstance(value, str):
            given, made = (float(part) for part in value.split("/", 1))
            return Price(input_usd_per_mtok=given, output_usd_per_mtok=made, source="simulated")
        return codec.decode(Price, value)
    except (ValueError, codec.CodecError) as error:
        raise ConfigError(
            f"{value!r} is not a price; expected INPUT/OUTPUT in dollars per million tokens ({error})",
            key=place,
        ) from None


def parse_profile(text: str) -> Profile:
    """The profile in `NAME=settings`, as in `quick=challenger,skill=0.8,ttft_s=0.1~0.3,price=0.1/0.4`.

    The first setting may be the name of a shipped profile to start from.
    """
    name, _, rest = text.partition("=")
    parts = [part.strip() for part in rest.split(",") if part.strip()]
    settings: dict[str, Json] = {}
    for index, part in enumerate(parts):
        key, equals, value = part.partition("=")
        if not equals and index == 0:
            settings["base"] = key
        elif not equals:
            raise ConfigError(f"{part!r} is not a setting; expected key=value", key=f"profile {name!r}")
        else:
            settings[key.strip()] = value.strip()
    return make_profile(name.strip(), settings)


def load_profiles(path: str | Path) -> dict[str, Profile]:
    """The profiles in a YAML or JSON file: name to settings.

    Raises:
        ConfigError: The file can't be read, or a setting is wrong.
    """
    import yaml

    try:
        data = yaml.safe_load(Path(path).read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"can't be read: {error}", file=path) from None
    if not isinstance(data, dict):
        raise ConfigError("expected a mapping of profile names to settings", file=path)
    profiles: dict[str, Profile] = {}
    for name, settings in cast("dict[object, object]", data).items():
        if not isinstance(settings, Mapping):
            raise ConfigError(f"profile {name!r} is {settings!r}, expected a mapping of settings", file=path)
        try:
            profiles[str(name)] = make_profile(str(name), cast("Mapping[str, Json]", settings))
        except ConfigError as error:
            raise ConfigError(error.message, file=path, key=error.key) from None
    return profiles


def read_profiles(text: str) -> dict[str, Profile]:
    """Profiles from what `--profile` takes: a file, `NAME=settings`, or a shipped name."""
    if text in PROFILES:
        return {text: PROFILES[text]}
    if Path(text).is_file():
        return load_profiles(text)
    if "=" in text:
        profile = parse_profile(text)
        return {profile.name: profile}
    raise UnknownNameError(
        "simulated profile", text, PROFILES, hint="Or a YAML file, or NAME=skill=0.9,ttft_s=0.2~0.5"
    )
