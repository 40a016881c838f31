"""Who trained a model, told by its name: a judge is to be of another family than what it judges."""

from __future__ import annotations

import re

_FAMILIES = (
    ("OpenAI", r"gpt|chatgpt|\bo[134]\b|davinci"), ("Anthropic", r"claude"), ("Google", r"gemini|gemma|palm"),
    ("Meta", r"llama"), ("Mistral", r"mistral|mixtral|codestral|magistral|ministral"), ("Qwen", r"qwen|qwq"),
    ("DeepSeek", r"deepseek"), ("Cohere", r"command-|cohere"), ("xAI", r"grok"), ("Microsoft", r"\bphi-"),
    ("Amazon", r"\bnova-|titan"), ("Zhipu", r"\bglm"), ("Moonshot", r"kimi"),
)  # fmt: skip


def family_of(model: str | None) -> str | None:
    """Who trained this model, by its name; its own name where that says nothing; None without a model."""
    if not model:
        return None
    name = model.partition("/")[2] or model
    return next((family for family, pattern in _FAMILIES if re.search(pattern, name.casefold())), name)
