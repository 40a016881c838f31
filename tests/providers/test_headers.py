from __future__ import annotations

import pytest

from ratchet.errors import ConfigError
from ratchet.ports import Endpoint, Secret
from ratchet.providers.headers import make_headers


def test_a_variable_in_a_header_is_filled_in_and_counts_as_a_secret() -> None:
    endpoint = Endpoint(
        provider="openai", options={"headers": {"X-Gateway": "token ${GATEWAY}", "X-Plain": 1}}
    )
    headers, secrets = make_headers(endpoint, key_header="authorization", environ={"GATEWAY": "s3cr3t\n"})
    assert (headers["X-Gateway"], headers["X-Plain"]) == ("token s3cr3t", "1")
    assert secrets == ("s3cr3t",)
    assert "s3cr3t" not in endpoint.key


def test_a_variable_that_is_not_set_is_named() -> None:
    endpoint = Endpoint(provider="openai", options={"headers": {"X-Gateway": "${GATEWAY}"}})
    with pytest.raises(ConfigError, match=r"'X-Gateway' wants \$\{GATEWAY\}"):
        make_headers(endpoint, key_header="authorization", environ={})


def test_headers_that_are_no_object_are_refused() -> None:
    with pytest.raises(ConfigError, match="headers is list"):
        make_headers(Endpoint(provider="openai", options={"headers": ["a"]}), key_header="authorization")


@pytest.mark.parametrize(
    ("key_header", "options", "expected"),
    [
        ("authorization", {}, {"Authorization": "Bearer k"}),
        ("x-api-key", {}, {"x-api-key": "k"}),
        ("x-api-key", {"auth": "bearer"}, {"Authorization": "Bearer k"}),
    ],
)
def test_the_key_goes_where_the_vendor_looks(
    key_header: str, options: dict[str, str], expected: dict[str, str]
) -> None:
    endpoint = Endpoint(provider="x", api_key=Secret("k"), options=options)
    headers, secrets = make_headers(endpoint, key_header=key_header)
    assert headers == {"Content-Type": "application/json", **expected}
    assert secrets == ("k",)
