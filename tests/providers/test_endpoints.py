"""Which vendor, where, with which key: `ratchet.providers` itself."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ratchet.errors import ConfigError, MissingKeyError, UnknownNameError
from ratchet.plugins import PROVIDERS
from ratchet.ports import Request
from ratchet.providers import check_keys, endpoint_for, make, missing_keys, split_model
from ratchet.providers.http import Http
from ratchet.providers.presets import PRESETS
from ratchet.records import Limits, Variant

from .conftest import HELLO, Wire


@pytest.mark.parametrize(
    ("model", "provider", "name"),
    [
        ("openai/gpt-4o", "openai", "gpt-4o"),
        ("openai:gpt-4o", "openai", "gpt-4o"),
        ("ollama/llama3:8b", "ollama", "llama3:8b"),
        ("ollama:llama3:8b", "ollama", "llama3:8b"),
        ("openrouter/meta/llama-3:free", "openrouter", "meta/llama-3:free"),
        ("openai:org/model", "openai", "org/model"),
        ("bedrock/anthropic.claude-v2:1", "bedrock", "anthropic.claude-v2:1"),
        ("my.package:Echo/any/name", "my.package:Echo", "any/name"),
        ("tools/echo.py:Echo/small", "tools/echo.py:Echo", "small"),
    ],
)
def test_a_model_says_whose_it_is(model: str, provider: str, name: str) -> None:
    assert split_model(model) == (provider, name)


def test_an_unknown_provider_is_told_with_the_nearest_known() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'openai'"):
        split_model("opnai/gpt-4o")


@pytest.mark.parametrize("model", ["gpt-4o", "", "openai/"])
def test_a_model_without_provider_or_name_says_what_to_write(model: str) -> None:
    with pytest.raises(ConfigError):
        split_model(model)


def test_every_provider_has_a_preset_and_a_class_that_can_be_imported() -> None:
    assert PROVIDERS.keys() <= PRESETS.keys()
    for target in set(PROVIDERS.values()):
        module, _, name = target.partition(":")
        assert hasattr(__import__(module, fromlist=[name]), name)


def test_key_and_base_url_come_from_the_vendors_variables() -> None:
    environ = {"OPENAI_API_KEY": " sk-1\n", "OPENAI_BASE_URL": "http://localhost:9/v1/"}
    endpoint = endpoint_for(Variant(model="openai/gpt-4o", limits=Limits(rpm=5)), environ)
    assert endpoint.api_key is not None
    assert endpoint.api_key.reveal() == "sk-1"
    assert endpoint.base_url == "http://localhost:9/v1"
    assert endpoint.limits.rpm == 5
    assert "sk-1" not in repr(endpoint)
    assert "sk-1" not in endpoint.key


@pytest.mark.parametrize("provider", sorted(PROVIDERS.keys() - {"recorded", "simulated"}))
def test_each_providers_base_url_can_be_pointed_elsewhere(provider: str) -> None:
    name = provider.upper().replace("-", "_")
    endpoint = endpoint_for(Variant(model=f"{provider}/m"), {f"{name}_BASE_URL": "http://127.0.0.1:9/x"})
    assert endpoint.base_url == "http://127.0.0.1:9/x"
    here = endpoint_for(
        Variant(model=f"{provider}/m", base_url="http://127.0.0.1:1/y"), {f"{name}_BASE_URL": "http://z"}
    )
    assert here.base_url == "http://127.0.0.1:1/y"


@pytest.mark.parametrize(
    ("model", "variable", "value", "base_url"),
    [
        ("azure/m", "AZURE_OPENAI_ENDPOINT", "https://r.openai.azure.com/", "https://r.openai.azure.com"),
        ("gemini/m", "GOOGLE_GEMINI_BASE_URL", "http://h:1", "http://h:1"),
        ("bedrock/m", "AWS_ENDPOINT_URL_BEDROCK_RUNTIME", "http://h:1", "http://h:1"),
        ("ollama/m", "OLLAMA_HOST", "0.0.0.0:11434", "http://0.0.0.0:11434"),
        ("openai-responses/m", "OPENAI_BASE_URL", "http://h:1/v1", "http://h:1/v1"),
        ("groq/m", "GROQ_BASE_URL", "http://h:1", "http://h:1/openai/v1"),
        ("vllm/m", "VLLM_BASE_URL", "http://h:1/", "http://h:1/v1"),
        ("groq/m", "", "", "https://api.groq.com/openai/v1"),
    ],
)
def test_base_urls_are_read_in_the_vendors_own_spelling(
    model: str, variable: str, value: str, base_url: str
) -> None:
    assert endpoint_for(Variant(model=model), {variable: value}).base_url == base_url


def test_vertex_reads_project_and_location_from_the_environment() -> None:
    environ = {"VERTEX_AI_GCP_PROJECT": "p", "VERTEX_AI_GCP_LOCATION": "l", "VERTEX_ACCESS_TOKEN": "t"}
    options = endpoint_for(Variant(model="vertex/gemini-2.5-pro"), environ).options
    assert (options["project"], options["location"]) == ("p", "l")


def test_a_base_url_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigError, match="not an http"):
        endpoint_for(Variant(model="openai/m", base_url="ftp://x"), {})


def test_all_missing_keys_are_told_at_once() -> None:
    variants = {
        "a": Variant(model="openai/gpt-4o"),
        "b": Variant(model="anthropic/claude"),
        "c": Variant(model="groq/llama", api_key_env="MY_GROQ"),
        "local": Variant(model="openai/x", base_url="http://localhost:8000/v1"),
        "ollama": Variant(model="ollama/x"),
        "has": Variant(model="together/x"),
        "function": Variant(target="m:f"),
    }
    environ = {"TOGETHER_API_KEY": "t", "GROQ_API_KEY": "not asked for"}
    assert [m.variant for m in missing_keys(variants, environ)] == ["a", "b", "c"]
    with pytest.raises(MissingKeyError) as caught:
        check_keys(variants, environ)
    for expected in (
        "a (openai): set OPENAI_API_KEY",
        "b (anthropic): set ANTHROPIC_API_KEY or",
        "set MY_GROQ",
    ):
        assert expected in str(caught.value)
    assert caught.value.variables[0] == "OPENAI_API_KEY"


def test_a_plugin_is_built_with_what_it_asks_for(
    wire: Wire, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = tmp_path / "echo_plugin.py"
    module.write_text(
        "from ratchet.ports import Chunk\n"
        "class Echo:\n"
        "    def __init__(self, endpoint):\n        self.prefix = endpoint.options['prefix']\n"
        "    async def generate(self, request):\n"
        "        yield Chunk(text=self.prefix + request.messages[-1]['content'])\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    variant = Variant(model="echo_plugin:Echo/any", options={"prefix": "> "})

    async def use(_: str, http: Http) -> str:
        provider = make(endpoint_for(variant, {}), http)
        return "".join(
            [chunk.text async for chunk in provider.generate(Request(model="any", messages=HELLO))]
        )

    assert wire.run(use) == "> Hello"


def test_choosing_an_endpoint_loads_no_http_library() -> None:
    code = (
        "import sys; from ratchet.providers import endpoint_for; from ratchet.records import Variant;"
        "endpoint_for(Variant(model='openai/x'), {}); sys.exit('aiohttp' in sys.modules or 'botocore' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
