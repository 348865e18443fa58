"""Colors, names and groups of what the figures show. Readable on light and dark ground and without color vision.

Neighbours in a stack differ in lightness as well as in hue (after Paul Tol's and Okabe and Ito's sets); blue and green
is work, grey is control, orange to red is waiting.
"""

from __future__ import annotations

from typing import Final

__all__ = ["CLASSES", "GROUPS", "HIT", "LATE", "LINE", "MISS", "SECOND", "SLICES", "THIRD", "label"]

CLASSES: Final[dict[str, tuple[str, str]]] = {
    "attention": ("attention", "#3b78c4"),
    "router": ("router", "#9cc4ee"),
    "experts": ("experts", "#1f9a86"),
    "shared": ("shared experts", "#86d0bf"),
    "dense": ("dense layers", "#5aa469"),
    "head": ("LM head", "#7f7fd5"),
    "control": ("control path", "#8d949e"),
    "management": ("cache management", "#b8a98f"),
    "host_gap": ("host gap", "#c3c9d1"),
    "collective": ("collectives", "#8a63ad"),
    "stall_link": ("waiting for the link", "#e5702d"),
    "stall_storage": ("waiting for storage", "#c9405a"),
    "stall_cache": ("waiting for cache room", "#efb632"),
    "stall_cpu": ("waiting for the CPU", "#a8478c"),
}
"""Breakdown class -> (words, color), in stacking order."""

GROUPS: Final[dict[str, tuple[str, ...]]] = {
    "link": ("stall_link",),
    "storage": ("stall_storage",),
    "cache": ("stall_cache",),
    "cpu": ("stall_cpu",),
    "experts": ("experts", "shared", "dense"),
    "attention": ("attention", "router", "head"),
    "control": ("control", "management", "host_gap"),
    "collective": ("collective",),
}
"""What a headline may name as the cause, and the classes it sums."""

HIT, LATE, MISS = "#1f9a86", "#efb632", "#e5702d"
LINE, SECOND, THIRD = "#4187d8", "#e5702d", "#8a63ad"

SLICES: Final[dict[str, tuple[str, str]]] = {
    **CLASSES,
    "wait": ("wait", "#efb632"),
    "copy": ("demand copy", "#e5702d"),
    "prefetch": ("prefetch copy", "#8a63ad"),
    "read": ("storage read", "#c9405a"),
}
"""Name of a timeline slice -> (words, color)."""


def label(name: str) -> str:
    """The words for a class or slice; a name this table does not know stands for itself."""
    return SLICES.get(name, (name.replace("_", " "), ""))[0]
