"""The one-file-a-run JSON of llm-validator, run unchanged: read, prepared, and its result files written."""

from ratchet.llm_validator.configs import OlderConfig, load
from ratchet.llm_validator.prepared import PreparedRun, to_runs
from ratchet.llm_validator.results import Row, render_row, rows, write_results, wrong_rows

__all__ = [
    "OlderConfig", "PreparedRun", "Row", "load", "render_row", "rows", "to_runs", "write_results", "wrong_rows",
]  # fmt: skip
