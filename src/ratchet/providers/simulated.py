"""Simulated models in this process: the same answers as `ratchet simulate`, without HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

from ratchet.errors import ConfigError
from ratchet.ports import Chunk, Endpoint, Request
from ratchet.records import Json
from ratchet.simulated.models import SimulatedModel, load_model


class Simulated:
    """One simulated model for each model name.

    Options: `answers` (a file, or several), `seed`, `profile` (settings of the profile: skill, noise, ttft_s…).

    Raises:
        ConfigError: An option or a setting of the profile can't be used.
    """

    def __init__(self, *, endpoint: Endpoint, root: Path | None = None) -> None:
        options = endpoint.options
        answers: Json = options.get("answers") or []
        folder = root or Path.cwd()
        self._answers: list[str | Path] = [
            folder / path for path in ([answers] if isinstance(answers, str) else answers)
        ]
        seed = options.get("seed", 0)
        if type(seed) is not int:
            raise ConfigError(f"seed is {seed!r}, expected a whole number")
        self._seed = seed
        profile: Json = options.get("profile") or {}
        if not isinstance(profile, dict):
            raise ConfigError(f"profile is {type(profile).__name__}, expected an object of settings")
        self._settings = profile
        self._models: dict[str, SimulatedModel] = {}

    async def generate(self, request: Request) -> AsyncIterator[Chunk]:
        model = self._models.get(request.model)
        if model is None:
            model = self._models[request.model] = load_model(
                request.model, settings=self._settings, answers=self._answers, seed=self._seed
            )
        async for chunk in model.stream(request):
            yield chunk
