"""A variant as people write it becomes one that can be hashed and run: prompt read, target found."""

from __future__ import annotations

import hashlib
import inspect
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ratchet import plugins, prompts
from ratchet.errors import ConfigError
from ratchet.records import Variant


def resolve(variant: Variant, *, root: Path | None = None) -> Variant:
    """The variant with its prompt read and its target imported and versioned; unchanged where nothing is open.

    Args:
        root: Folder that prompt paths and modules are looked up from; the working directory by default.

    Raises:
        ConfigError: It has neither model nor target, or both; or its target can't be imported or called.
        PromptError: Its prompt can't be read.
    """
    folder = root or Path.cwd()
    if (variant.model is None) == (variant.target is None):
        raise ConfigError(
            "a variant needs either a model ('openai/gpt-4o') or a target ('pkg.module:function')"
        )
    if isinstance(variant.prompt, str):
        variant = variant.replace(prompt=prompts.load(variant.prompt, root=folder))
    if variant.target is not None and (variant.function is None or variant.version is None):
        function = variant.function or plugins.load(variant.target, root=folder)
        if not callable(function):
            raise ConfigError(f"target {variant.target!r} is {type(function).__name__}, expected a function")
        variant = variant.replace(function=function, version=variant.version or version_of(function))
    return variant


def version_of(function: Callable[..., Any]) -> str:
    """The version a function declares as `__version__`, else a hash of its source.

    A function without source (built in, or typed at a prompt) is known by its name alone.
    """
    declared = getattr(function, "__version__", None)
    if isinstance(declared, str):
        return declared
    try:
        source = inspect.getsource(inspect.unwrap(function))
    except (OSError, TypeError):
        source = (
            f"{getattr(function, '__module__', '')}:{getattr(function, '__qualname__', repr(type(function)))}"
        )
    return "source:" + hashlib.sha256(source.encode()).hexdigest()[:16]


def importable(variant: Variant) -> bool:
    """Whether another process could find this variant again.

    A lambda or a local function can't be found, nor what is not the thing of that name in its module: an object
    with state, a bound method, a partial.
    """
    if variant.target is None:
        return True
    module, _, path = variant.target.partition(":")
    if "<" in path or module == "__main__":
        return False
    found: Any = sys.modules.get(module)
    if found is None or variant.function is None:  # a file, or not imported yet: it was asked for by name
        return True
    for part in path.split("."):
        found = getattr(found, part, None)
    return found == variant.function


def twins(arms: Mapping[str, str]) -> dict[str, int]:
    """How many earlier arms hold the same variant, by arm; `arms` maps a name to a content id.

    >>> twins({"a": "v1", "b": "v2", "c": "v1"})
    {'a': 0, 'b': 0, 'c': 1}
    """
    seen: dict[str, int] = {}
    numbers: dict[str, int] = {}
    for name, variant_id in arms.items():
        numbers[name] = seen.get(variant_id, 0)
        seen[variant_id] = numbers[name] + 1
    return numbers
