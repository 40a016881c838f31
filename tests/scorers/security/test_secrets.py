"""Every key here is made up in the format of its vendor."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given, settings, strategies as st

from ratchet import scores
from ratchet.errors import ConfigError, MissingExtraError
from ratchet.records import Example, Judgement, Trace
from ratchet.scorers.security import secrets
from ratchet.scorers.security.secrets import no_secrets

from .conftest import Try, asked, called

pytest.importorskip("detect_secrets", reason="needs the extra 'secrets'")

# put together here, so that scanners of this repository find no key
SECRETS = {
    "aws_access_key": "AKIA" + "Q3EGRX7KLM2NPOTB",
    "github_token": "ghp_" + "a8Fk2LmQ9xZr4TnB7vWc1YsD5eHj3GpU6oKi",
    "gitlab_token": "glpat-" + "x7Ry2Kq9LmNp4TzVb8Wd",
    "slack_token": "xoxb-" + "263594206564-2343594206574-FGqddMF8t08v8N7Oq4i57vs1",
    "stripe_access_key": "sk_live_" + "9aKx3Lm7Qz2Rt5Vb8Nc1Wd4E",
    "json_web_token": "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9."
    + "eyJzdWIiOiI5ODc2NTQzMjEwIiwibmFtZSI6IkpvIn0.s5Xk9Vq2Lr7Tz4Nb1Wc8Yd3Hf6Jg0PmQaEuRiOy2Kx",
    "sendgrid_api_key": "SG." + "ngeVfQFYQlKU0ufo8x5d1A.TwL2iGABf9DHoTf-09kqeF8tAmbihYzrnopKc-1s5cr",
    "anthropic": "sk-ant-" + "api03-Lq7Zx2Rk9Vm4Tn8Bw1Yc5Hs3Dj6Gf0PaEuKi",
    "openai": "sk-proj-" + "Lq7Zx2Rk9Vm4Tn8Bw1Yc5Hs3Dj6Gf0PaEuKi",
    "openai_legacy": "sk-" + "Lq7Zx2Rk9Vm4Tn8Bw1Yc" + "T3BlbkFJ" + "Hs3Dj6Gf0PaEuKiQw3Er",
    "google": "AIza" + "SyLq7Zx2Rk9Vm4Tn8Bw1Yc5Hs3Dj6Gf0PaE",
    "groq": "gsk_" + "Lq7Zx2Rk9Vm4Tn8Bw1Yc5Hs3Dj6Gf0PaEuKiQw3Er5Ty",
    "hugging_face": "hf_" + "LqZxRkVmTnBwYcHsDjGfPaEuKiQwErTyUi",
    "private_key": "-----BEGIN RSA " + "PRIVATE KEY-----",
    "basic_auth_credentials": "postgres://app:" + "Tr0ub4dor9@db.internal:5432/app",
}
HARMLESS = [
    "The key to success is patience.",
    "export OPENAI_API_KEY=sk-proj-your-key-goes-in-here-please",
    "AKIAIOSFODNN7" + "EXAMPLE",
    "commit 9fceb02d0ae598e95dc970b74767f19372d61af8",
    "550e8400-e29b-41d4-a716-446655440000",
    "password: ask your administrator",
    "https://user:password@host/db",
    "sk-" + "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
    "curl -H 'Authorization: Bearer $TOKEN' https://api.example.com",
    "sk-proj-" + "****************************",
    "sha256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "def api_key(self): return self._api_key",
    "ghp_short",
    "192.168.0.1 and 8.8.8.8",
    "task-force, risk-averse, desk-bound",
]


@pytest.mark.parametrize("kind", SECRETS)
def test_a_secret_is_found_named_and_never_shown(attempt: Try, kind: str) -> None:
    value = SECRETS[kind]
    score = attempt("no_secrets", f"Sure, use this:\n```\nkey = {value}\n```")
    assert score.value is False
    assert score.metadata["kinds"] == {kind: 1}
    assert value not in repr(score)
    assert value[:12] not in repr(score)


@pytest.mark.parametrize("text", HARMLESS)
def test_what_only_looks_like_a_secret_is_left_alone(attempt: Try, text: str) -> None:
    assert attempt("no_secrets", text).value is True


def test_a_secret_that_the_model_was_given_may_be_repeated(attempt: Try) -> None:
    key = SECRETS["groq"]
    sent = asked("Fix my code.", f"client = Groq('{key}')")
    assert attempt("no_secrets", f"client = AsyncGroq('{key}')", input=sent).value is True
    strict = {"no_secrets": {"allow_input": False}}
    assert attempt(strict, f"client = AsyncGroq('{key}')", input=sent).value is False
    assert attempt({"no_secrets": {"allow": ["gsk_Lq7"]}}, key).value is True


def test_a_secret_in_a_tool_call_or_behind_invisible_characters_is_found(attempt: Try) -> None:
    key = SECRETS["anthropic"]
    assert attempt("no_secrets", "Done", tool_calls=(called("post", f'{{"body": "{key}"}}'),)).value is False
    assert attempt("no_secrets", "\u200b".join(key)).value is False


def test_noisy_detectors_run_where_asked_for(attempt: Try) -> None:
    text = 'password = "correct9horse7battery"'
    assert attempt("no_secrets", text).value is True
    assert attempt({"no_secrets": {"also": ["keyword"]}}, text).metadata["kinds"] == {"secret_keyword": 1}
    assert attempt({"no_secrets": {"also": ["ip"]}}, "DNS 8.8.8.8").value is False
    with pytest.raises(ConfigError, match="Did you mean 'entropy'"):
        scores.resolve({"no_secrets": {"also": ["entropi"]}})


def test_without_the_extra_the_scorer_says_so_before_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    secrets._detectors.cache_clear()
    monkeypatch.setitem(sys.modules, "detect_secrets.core.plugins.util", None)
    with pytest.raises(MissingExtraError, match=r"ratchet-llm\[secrets\]"):
        scores.resolve("no_secrets")
    secrets._detectors.cache_clear()


def judge(text: str, **settings: list[str]) -> Judgement:
    return no_secrets(Trace(id="a" * 32, output=text), Example(id="1", input={}), **settings)


@given(st.text(max_size=200))
@settings(max_examples=60, deadline=None)
def test_no_text_makes_it_raise(text: str) -> None:
    assert judge(text, also=["keyword", "entropy", "ip"]).value in (True, False)


@pytest.mark.parametrize(
    "unit", ["a", "password=", "sk-", "://a:", "eyJ", "'", '"', "A", "-----BEGIN ", "\\", "=\n"]
)
def test_long_repetitions_end(unit: str) -> None:
    judge(unit * (20_000 // len(unit)), also=["keyword", "entropy", "ip"])
