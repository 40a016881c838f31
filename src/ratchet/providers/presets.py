"""Where each vendor is called, under which variables, and how its wire differs from OpenAI's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """What is known of a vendor. Key variables are tried in order; `needs_key` says whether one must be set."""

    base_url: str | None = None
    key_env: tuple[str, ...] = ()
    needs_key: bool = True
    url_env: tuple[str, ...] = ()
    """The vendor's own variables for the base URL, after `<NAME>_BASE_URL`."""
    path: str = ""
    """Added to a base URL that has no path: what the vendor's own SDK adds."""
    stream_usage: bool = True
    """Takes `stream_options: {"include_usage": true}`."""
    key_header: Literal["authorization", "api-key", "x-api-key", "x-goog-api-key"] = "authorization"
    option_env: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    """Options that the environment may give: option name to variables."""


PRESETS: dict[str, Preset] = {
    "openai": Preset(
        base_url="https://api.openai.com/v1",
        key_env=("OPENAI_API_KEY",),
        url_env=("OPENAI_API_BASE",),
        option_env={"organization": ("OPENAI_ORG_ID",), "project": ("OPENAI_PROJECT_ID",)},
    ),
    "openai-responses": Preset(
        base_url="https://api.openai.com/v1",
        key_env=("OPENAI_API_KEY",),
        url_env=("OPENAI_BASE_URL", "OPENAI_API_BASE"),
        option_env={"organization": ("OPENAI_ORG_ID",), "project": ("OPENAI_PROJECT_ID",)},
    ),
    "azure": Preset(
        key_env=("AZURE_OPENAI_API_KEY", "AZURE_API_KEY", "AZURE_OPENAI_AD_TOKEN"),
        url_env=("AZURE_OPENAI_ENDPOINT", "AZURE_OPENAI_BASE_URL", "AZURE_API_BASE"),
        key_header="api-key",
        option_env={"api_version": ("OPENAI_API_VERSION", "AZURE_API_VERSION")},
    ),
    "together": Preset(
        base_url="https://api.together.xyz/v1",
        key_env=("TOGETHER_API_KEY", "TOGETHERAI_API_KEY"),
        path="/v1",
    ),
    "groq": Preset(base_url="https://api.groq.com/openai/v1", key_env=("GROQ_API_KEY",), path="/openai/v1"),
    "mistral": Preset(
        base_url="https://api.mistral.ai/v1",
        key_env=("MISTRAL_API_KEY",),
        path="/v1",
        stream_usage=False,  # says its usage unasked, and refuses fields that it doesn't know
    ),
    "deepseek": Preset(base_url="https://api.deepseek.com", key_env=("DEEPSEEK_API_KEY",)),
    "openrouter": Preset(
        base_url="https://openrouter.ai/api/v1", key_env=("OPENROUTER_API_KEY",), path="/api/v1"
    ),
    "anyscale": Preset(
        base_url="https://api.endpoints.anyscale.com/v1", key_env=("ANYSCALE_API_KEY",), path="/v1"
    ),
    "fireworks": Preset(
        base_url="https://api.fireworks.ai/inference/v1", key_env=("FIREWORKS_API_KEY",), path="/inference/v1"
    ),
    "vllm": Preset(
        base_url="http://localhost:8000/v1", key_env=("VLLM_API_KEY",), needs_key=False, path="/v1"
    ),
    "lmstudio": Preset(
        base_url="http://localhost:1234/v1",
        key_env=("LMSTUDIO_API_KEY", "LM_API_TOKEN"),
        needs_key=False,
        path="/v1",
    ),
    "ollama": Preset(
        base_url="http://localhost:11434",
        key_env=("OLLAMA_API_KEY",),
        needs_key=False,
        url_env=("OLLAMA_HOST",),
    ),
    "anthropic": Preset(
        base_url="https://api.anthropic.com",
        key_env=("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"),
        key_header="x-api-key",
    ),
    "gemini": Preset(
        base_url="https://generativelanguage.googleapis.com",
        key_env=("GEMINI_API_KEY", "GOOGLE_API_KEY"),
        url_env=("GOOGLE_GEMINI_BASE_URL",),
        key_header="x-goog-api-key",
    ),
    "vertex": Preset(
        key_env=("VERTEX_ACCESS_TOKEN", "GOOGLE_OAUTH_ACCESS_TOKEN"),
        needs_key=False,  # else google-auth or gcloud is asked
        url_env=("GOOGLE_VERTEX_BASE_URL",),
        option_env={
            "project": ("VERTEX_AI_GCP_PROJECT", "GOOGLE_CLOUD_PROJECT", "GCLOUD_PROJECT"),
            "location": ("VERTEX_AI_GCP_LOCATION", "GOOGLE_CLOUD_LOCATION", "GOOGLE_CLOUD_REGION"),
        },
    ),
    "bedrock": Preset(
        key_env=("AWS_BEARER_TOKEN_BEDROCK",),
        needs_key=False,  # else botocore finds credentials
        url_env=("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", "AWS_ENDPOINT_URL"),
        option_env={"region": ("AWS_REGION", "AWS_DEFAULT_REGION"), "profile": ("AWS_PROFILE",)},
    ),
    "recorded": Preset(needs_key=False),
    "simulated": Preset(needs_key=False),
    "function": Preset(needs_key=False),
}
