from __future__ import annotations

import random
from pathlib import Path

import pytest

from ratchet.errors import ConfigError, UnknownNameError
from ratchet.records import Price
from ratchet.simulated.profiles import PROFILES, Delay, Profile, make_profile, parse_delay, read_profiles


def quantile(delay: Delay, p: float) -> float:
    rng = random.Random(1)
    return sorted(delay.draw(rng) for _ in range(20_000))[int(p * 20_000)]


def test_a_lognormal_delay_has_the_median_and_95th_percentile_it_names() -> None:
    delay = parse_delay("0.4~1.2")
    assert quantile(delay, 0.5) == pytest.approx(0.4, rel=0.03)
    assert quantile(delay, 0.95) == pytest.approx(1.2, rel=0.06)
    assert parse_delay({"p50": 0.4, "p95": 1.2}) == delay


def test_a_uniform_delay_stays_in_its_range_and_a_constant_one_never_varies() -> None:
    uniform = parse_delay("0.2..0.6")
    assert 0.2 <= quantile(uniform, 0) < quantile(uniform, 0.999) <= 0.6
    assert {parse_delay(0.3).draw(random.Random(seed)) for seed in range(9)} == {0.3}
    assert str(uniform) == "0.2..0.6"


@pytest.mark.parametrize("value", ["fast", "0.6..0.2", "2~1", "0~1", -1, None, "nan", {"p50": 1}, "1e999"])
def test_a_wrong_delay_is_named(value: object) -> None:
    with pytest.raises(ConfigError, match="is not a delay"):
        parse_delay(value)


def test_skill_falls_with_difficulty_and_perfect_skill_never_does() -> None:
    profile = Profile(name="x", skill=0.9, slope=2.0)
    assert profile.p_right(0) == pytest.approx(0.9)
    assert profile.p_right(0) > profile.p_right(0.5) > profile.p_right(1)
    assert profile.p_right(1) == pytest.approx(1 / (1 + (1 / 9) * 2.718281828**2))
    assert Profile(name="x", skill=1).p_right(1) == 1
    assert Profile(name="x", skill=0).p_right(0) == 0


def test_the_champion_is_stronger_slower_and_dearer_than_the_challenger() -> None:
    champion, challenger = PROFILES["champion"], PROFILES["challenger"]
    assert champion.p_right(0.3) > challenger.p_right(0.3)
    assert champion.ttft_s.low_s > challenger.ttft_s.low_s
    assert champion.price is not None
    assert challenger.price is not None
    assert champion.price.output_usd_per_mtok > challenger.price.output_usd_per_mtok


def test_settings_on_the_command_line_start_from_a_shipped_profile() -> None:
    (profile,) = read_profiles("quick=challenger,skill=0.8,ttft_s=0.1..0.3,price=0.1/0.4,rpm=60").values()
    assert profile.name == "quick"
    assert (profile.skill, profile.rpm, profile.slope) == (0.8, 60, PROFILES["challenger"].slope)
    assert str(profile.ttft_s) == "0.1..0.3"
    assert profile.price == Price(input_usd_per_mtok=0.1, output_usd_per_mtok=0.4, source="simulated")


def test_a_file_holds_several_profiles(tmp_path: Path) -> None:
    path = tmp_path / "profiles.yaml"
    path.write_text(
        "slow: {base: champion, gap_s: 0.1}\nplain:\n  verbosity: 12\n  ttft_s: {p50: 0.1, p95: 0.2}\n"
    )
    profiles = read_profiles(str(path))
    assert profiles["slow"].skill == PROFILES["champion"].skill
    assert profiles["slow"].gap_s == Delay(low_s=0.1)
    assert profiles["plain"].verbosity == 12


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: {skil: 1}", "Did you mean 'skill'"),
        ("a: {skill: 2}", "2 is not a number from 0 to 1"),
        ("a: {price: cheap}", "INPUT/OUTPUT"),
        ("a: {format: plain}", "{answer}"),
        ("a: 3", "expected a mapping of settings"),
        ("- a", "expected a mapping of profile names"),
        ("a: [", "can't be read"),
    ],
)
def test_a_wrong_file_names_the_place_and_what_was_expected(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "profiles.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_profiles(str(path))
    assert str(path) in str(caught.value)
    assert message in str(caught.value)


def test_an_unknown_profile_or_base_suggests_a_known_one() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'champion'"):
        read_profiles("champoin")
    with pytest.raises(UnknownNameError, match="Did you mean 'challenger'"):
        make_profile("x", {"base": "chalenger"})
