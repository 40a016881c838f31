"""May this change ship? `compare` and `decide` make a Verdict; `flips`, `slices` and `front` say where it comes from."""

from ratchet.verdicts.deciding import check_ids, compare, decide
from ratchet.verdicts.defaults import default_checks

__all__ = ["check_ids", "compare", "decide", "default_checks"]
