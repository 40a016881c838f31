"""The one-file-a-run JSON of llm-validator, run unchanged: read, prepared, and its result files written."""

from ratchet.llm_validator.configs import OlderConfig, load
from ratchet.llm_validator.prepared import PreparedRun, to_runs

__all__ = ["OlderConfig", "PreparedRun", "load", "to_runs"]
