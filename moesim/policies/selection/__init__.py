"""Selection policies: one file each."""

from moesim.policies.selection.base import SELECTIONS, RouterSelection, Selection

__all__ = ["SELECTIONS", "RouterSelection", "Selection"]
