from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil
import subprocess
import sys

import pytest

import ratchet.stats

MODULES = sorted(
    module.name for module in pkgutil.iter_modules(ratchet.stats.__path__) if not module.name.startswith("_")
)


@pytest.mark.parametrize("name", MODULES)
def test_every_example_in_a_docstring_runs(name: str) -> None:
    assert doctest.testmod(importlib.import_module(f"ratchet.stats.{name}")).failed == 0


@pytest.mark.parametrize("name", MODULES)
def test_every_public_function_has_an_example(name: str) -> None:
    module = importlib.import_module(f"ratchet.stats.{name}")
    functions = [
        function
        for function_name, function in inspect.getmembers(module, inspect.isfunction)
        if function.__module__ == module.__name__ and not function_name.startswith("_")
    ]
    lacking = [function.__name__ for function in functions if ">>>" not in (function.__doc__ or "")]
    assert lacking == []


def test_the_package_alone_loads_no_numpy_and_its_modules_no_scipy_stats() -> None:
    imports = "; ".join(f"import ratchet.stats.{name}" for name in MODULES)
    code = (
        "import sys, ratchet.stats; assert 'numpy' not in sys.modules; "
        f"{imports}; assert 'scipy.stats' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
