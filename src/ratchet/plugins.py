"""A string becomes a provider, a scorer or a store: built-in first, then an entry point, then "pkg.module:name".

Nothing is imported before its name is asked for.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.metadata
import importlib.util
import inspect
import sys
from collections.abc import Callable
from importlib.machinery import PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

from ratchet.errors import ConfigError, RatchetError, UnknownNameError

# a provider's name -> where its class is; presets of OpenAI-compatible servers are in `providers.presets`
COMPATIBLE = (
    "azure", "together", "groq", "mistral", "deepseek", "openrouter", "anyscale", "fireworks", "vllm", "lmstudio"
)  # fmt: skip
PROVIDERS = {
    **dict.fromkeys(COMPATIBLE, "ratchet.providers.openai_chat:OpenAIChat"),
    "openai": "ratchet.providers.openai_chat:OpenAIChat",
    "openai-responses": "ratchet.providers.openai_responses:OpenAIResponses",
    "anthropic": "ratchet.providers.anthropic:Anthropic",
    "gemini": "ratchet.providers.gemini:Gemini",
    "vertex": "ratchet.providers.gemini:Gemini",
    "bedrock": "ratchet.providers.bedrock:Bedrock",
    "ollama": "ratchet.providers.ollama:Ollama",
    "recorded": "ratchet.providers.recorded:Recorded",
    "simulated": "ratchet.providers.simulated:Simulated",
}
SCORERS = {
    "exact_match": "ratchet.scorers.text:exact_match",
    "contains": "ratchet.scorers.text:contains",
    "regex": "ratchet.scorers.text:regex",
    "numeric": "ratchet.scorers.text:numeric",
    "rouge_l": "ratchet.scorers.similarity:rouge_l",
    "chrf": "ratchet.scorers.similarity:chrf",
    "bleu": "ratchet.scorers.similarity:bleu",
    "edit_ratio": "ratchet.scorers.similarity:edit_ratio",
    "cosine": "ratchet.scorers.similarity:cosine",
    "json_valid": "ratchet.scorers.structure:json_valid",
    "json_schema": "ratchet.scorers.structure:json_schema",
    "json_field": "ratchet.scorers.structure:json_field",
    "json_structure": "ratchet.scorers.structure:json_structure",
    "function_call": "ratchet.scorers.structure:function_call",
    "classification": "ratchet.scorers.labels:classification",
    "labels": "ratchet.scorers.labels:labels",
    "judge": "ratchet.scorers.judge:judge",
    "no_secrets": "ratchet.scorers.security.secrets:no_secrets",
    "no_personal_data": "ratchet.scorers.security.personal_data:no_personal_data",
    "no_prompt_leak": "ratchet.scorers.security.leaks:no_prompt_leak",
    "no_canary_leak": "ratchet.scorers.security.leaks:no_canary_leak",
    "no_injection": "ratchet.scorers.security.injection:no_injection",
    "no_unsafe_markup": "ratchet.scorers.security.markup:no_unsafe_markup",
    "no_refusal": "ratchet.scorers.security.refusals:no_refusal",
    "no_over_refusal": "ratchet.scorers.security.refusals:no_over_refusal",
    "refused_as_expected": "ratchet.scorers.security.refusals:refused_as_expected",
}

STORES = {"sqlite": "ratchet.stores.sqlite:SQLiteStore"}


def provider(name: str) -> Callable[..., Any]:
    """The provider class of this name."""
    return _find("provider", name, PROVIDERS, hint="Your own: model: 'pkg.module:Class/model-name'")


def scorer(name: str) -> Any:
    """The `Scorer` (or plain function) of this name."""
    return _find("scorer", name, SCORERS, hint="Your own: pkg.module:function")


def store(name: str) -> Callable[..., Any]:
    """The store class of this name."""
    return _find("store", name, STORES)


def _find(kind: str, name: str, builtin: dict[str, str], hint: str = "") -> Any:
    if name in builtin:
        return load(builtin[name])
    for entry in importlib.metadata.entry_points(group=f"ratchet.{kind}s", name=name):
        return entry.load()
    if ":" in name:
        return load(name)
    raise UnknownNameError(kind, name, sorted(builtin), hint=hint)


def load(target: str, *, root: Path | None = None) -> Any:
    """What "pkg.module:name" (or "path/to/file.py:name") stands for; dots in the name reach into it.

    Args:
        root: Folder to import from besides `sys.path`; the project's root or the working directory.

    Raises:
        ConfigError: The module or the name in it isn't there, or importing it failed; the message says which.
    """
    module_name, _, path = target.partition(":")
    if not module_name or not path:
        raise ConfigError(f"{target!r} is not of the form 'pkg.module:name'")
    value: Any = _module(module_name, target, root or Path.cwd())
    for part in path.split("."):
        try:
            value = getattr(value, part)
        except AttributeError:
            known = [name for name in dir(value) if not name.startswith("_")]
            raise UnknownNameError(f"name in {module_name}", part, known[:40]) from None
    return value


def _module(name: str, target: str, root: Path) -> Any:
    folder = str(root.resolve())
    file = (root / name).resolve() if name.endswith(".py") else None
    if file is not None:
        name, folder = file.stem, str(file.parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        return importlib.import_module(name) if file is None else _file(file)
    except RatchetError:
        raise
    except ModuleNotFoundError as error:
        if error.name and f"{name}.".startswith(f"{error.name}."):
            raise ConfigError(
                f"there is no module {name!r} (wanted for {target!r}); looked in {folder} too"
            ) from None
        raise ConfigError(f"importing {name!r} failed: {error}") from error
    except (Exception, SystemExit) as error:
        raise ConfigError(f"importing {name!r} failed: {type(error).__name__}: {error}") from error


def _file(file: Path) -> ModuleType:
    """The module in this very file, also where another of the same name was imported before it."""
    if not file.is_file():
        raise ConfigError(f"there is no file {file}")
    importlib.invalidate_caches()
    loaded = sys.modules.get(file.stem)
    spec = PathFinder.find_spec(file.stem) if loaded is None else None
    origin = getattr(loaded, "__file__", None) if spec is None else spec.origin
    if origin is not None and Path(origin).resolve() == file:
        return importlib.import_module(file.stem)
    return _apart(file)


def _apart(file: Path) -> ModuleType:
    name = f"{file.stem}_{hashlib.sha256(str(file).encode()).hexdigest()[:8]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ConfigError(f"{file} can't be imported as a Python module")
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def build(factory: Callable[..., Any], **offered: Any) -> Any:
    """`factory` called with those of the offered keyword arguments that it declares."""
    parameters = inspect.signature(factory).parameters
    takes_all = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    return factory(**{name: value for name, value in offered.items() if takes_all or name in parameters})
