"""Hostile text made safe to look at: rendered Markdown, raw text with hidden characters shown, JSON as a tree."""

from ratchet.web.rendering.blocks import VIEWS, Block, View, block
from ratchet.web.rendering.code import highlighted
from ratchet.web.rendering.json_trees import is_json, json_tree
from ratchet.web.rendering.markdown import MOST_RENDERED, rendered

__all__ = [
    "MOST_RENDERED",
    "VIEWS",
    "Block",
    "View",
    "block",
    "highlighted",
    "is_json",
    "json_tree",
    "rendered",
]
