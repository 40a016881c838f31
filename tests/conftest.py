"""What all tests share: a clean environment, and skips that CI turns into failures."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

SHARED_DATA = Path(__file__).parents[2] / "shared" / "data"
_OURS = ("RATCHET_", "OPENAI_", "ANTHROPIC_", "GEMINI_", "GOOGLE_", "AZURE_", "AWS_", "VERTEX_", "OLLAMA_", "GROQ_",
         "TOGETHER_", "MISTRAL_", "DEEPSEEK_", "OPENROUTER_", "ANYSCALE_", "FIREWORKS_", "VLLM_", "LMSTUDIO_")  # fmt: skip


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No key or setting of this machine reaches a test."""
    for name in os.environ:
        if name.startswith(_OURS) and name != "RATCHET_REQUIRE":
            monkeypatch.delenv(name)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that is the working directory, importable from."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def require(what: str, found: bool) -> None:
    """Skip where something this machine should have is missing; fail where RATCHET_REQUIRE says it must be there."""
    if found:
        return
    if os.environ.get("RATCHET_REQUIRE"):
        pytest.fail(f"{what} is missing, and RATCHET_REQUIRE is set")
    pytest.skip(f"{what} is missing")


@pytest.fixture
def gcc() -> str:
    """The C compiler."""
    found = shutil.which("gcc")
    require("gcc", found is not None)
    return found or ""
