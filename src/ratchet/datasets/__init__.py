"""Load, iterate, save, split and version datasets; what a dataset is made of."""

from ratchet.datasets.manifests import check, examples, load
from ratchet.datasets.readers import column_names
from ratchet.datasets.summaries import Balance, balance, duplicates
from ratchet.datasets.versions import lineage, register, save, side_of, split, version

__all__ = [
    "Balance",
    "balance",
    "check",
    "column_names",
    "duplicates",
    "examples",
    "lineage",
    "load",
    "register",
    "save",
    "side_of",
    "split",
    "version",
]
