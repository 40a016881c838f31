from __future__ import annotations

import subprocess
import sys

import pytest

import ratchet


def test_the_public_names_are_sorted_and_each_stands_for_something() -> None:
    assert ratchet.__all__ == sorted(ratchet._HOMES)
    for name in ratchet.__all__:
        assert getattr(ratchet, name) is not None
        assert name in dir(ratchet)


def test_a_name_that_is_not_public_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = ratchet.nothing


def test_importing_ratchet_loads_the_standard_library_alone() -> None:
    code = "import sys, ratchet; print([m for m in sys.modules if m.split('.')[0] in {'numpy', 'aiohttp', 'orjson', 'yaml', 'pydantic', 'click'}])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
