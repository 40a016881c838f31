from __future__ import annotations

import pytest

from ratchet.errors import ConfigError, ScorerError
from ratchet.patterns import compile_pattern, find


def test_the_first_the_last_or_the_whole_match_is_found() -> None:
    pattern = compile_pattern(r"\d+")
    assert find(pattern, "a1 b22")[0] == "1"
    assert find(pattern, "a1 b22", last=True)[0] == "22"
    assert find(pattern, "a1", whole=True) is None
    assert find(pattern, "none", last=True) is None


@pytest.mark.parametrize("last", [False, True])
def test_a_search_that_would_not_end_is_stopped_and_named(last: bool) -> None:
    with pytest.raises(ScorerError, match="without nested repetition"):
        find(compile_pattern("(a|aa)+$"), "a" * 80 + "!", last=last)


def test_a_malformed_pattern_says_where() -> None:
    with pytest.raises(ConfigError, match=r"'\(' is not a regular expression: missing \) at position 1"):
        compile_pattern("(")
