"""The manifest: what made a result, so that anybody can make it again.

Everything outside the `environment` block depends on scenario, seed and moesim alone and is covered by `sha256`.
`environment` holds what differs between two equal runs: versions, argv, wall-clock. No host name, no user name, no
absolute path gets in anywhere.
"""

from __future__ import annotations

import hashlib
import json
import platform
import re
import subprocess
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from moesim.plan.plan import Plan
from moesim.results.info import ScenarioInfo

__all__ = ["base_names", "canonical", "environment", "manifest", "without_folders"]

_LIBRARIES = ("jinja2", "numba", "numpy", "pandas", "plotly", "pyarrow", "pydantic", "ruamel.yaml", "simpy")
_ABSOLUTE = re.compile(r"^(?:~|/|\\\\|[A-Za-z]:[\\/]|file:)")
# an absolute path inside a sentence; the one after "https:" is none
_WITHIN = re.compile(
    r"""(?<![\w.:/~-])(?:~|/|\\\\|[A-Za-z]:[\\/])[^\s,;={}\[\]"']*[\\/](?P<last>[^\s,;={}\[\]"'\\/]*)"""
)
# a word with a folder in it, ending in its last part; quoted or inside YAML such as {path: a/b, k: 1}
_FOLDERS = re.compile(r"""[^\s,;:={}\[\]"']*[\\/](?P<last>[^\s,;:={}\[\]"'\\/]*)""")
# units and counts that look like folders: "1008 GB/s", "ms/MB"
_UNIT = re.compile(r"^(?:[0-9.]+)?[A-Za-zµμ]{1,6}/(?:s|[kKMGTP]?i?B|token)$")


def canonical(value: Any) -> bytes:
    """The one JSON text of a value: sorted keys, no spaces, UTF-8; NaN is refused with ValueError."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def _last(path: str) -> str:
    return PurePosixPath(PureWindowsPath(path).as_posix()).name


def without_folders(text: str) -> str:
    """A text for readers with every absolute path in it cut to its base name.

    >>> without_folders("read from /home/somebody/a.csv, 1008 GB/s, GPU/CPU"), without_folders("/home/a b/c d.csv")
    ('read from a.csv, 1008 GB/s, GPU/CPU', 'c d.csv')
    """
    if _ABSOLUTE.match(text) and "\n" not in text:
        return _last(text)
    return _WITHIN.sub(lambda m: m["last"], text)


def base_names(argv: Sequence[str]) -> list[str]:
    """A command line with every path, relative ones too, cut to its base name; quantities and web links stay.

    >>> base_names(["runs/a", "--set=routing.path=/home/somebody/a trace.csv", "link=26.1 GB/s"])
    ['a', '--set=routing.path=a trace.csv', 'link=26.1 GB/s']
    """
    return [_base_name(argument) for argument in argv]


def _base_name(text: str) -> str:
    if re.match(r"^https?://", text):
        return text
    head, equals, tail = text.rpartition("=")
    if _ABSOLUTE.match(tail):
        return f"{_base_name(head) if equals else ''}{equals}{_last(tail)}"
    return _FOLDERS.sub(lambda m: m[0] if _UNIT.match(m[0]) else m["last"], text)


def _git(package: Path) -> dict[str, Any] | None:
    """Commit and dirty flag of the checkout that this package lies in, or None when it is installed elsewhere."""

    def ask(*words: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(package), *words], capture_output=True, text=True, timeout=10, check=True
        )
        return done.stdout.strip()

    try:
        # a virtual environment inside somebody's own repository must not report that repository's commit
        if Path(ask("rev-parse", "--show-toplevel")).resolve() != package.parent.resolve():
            return None
        return {"commit": ask("rev-parse", "HEAD"), "dirty": bool(ask("status", "--porcelain", "-uno"))}
    except (OSError, subprocess.SubprocessError):
        return None


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def environment(argv: Sequence[str] = (), wall_s: float | None = None, made: str | None = None) -> dict[str, Any]:
    """The block that may differ between two equal runs: versions, git, argv, wall-clock seconds, time of day.

    `made` is an ISO 8601 time in UTC. The libraries are asked for their metadata only; none is imported.
    """
    return {
        "moesim": _version("moesim"),
        "git": _git(Path(__file__).resolve().parents[1]),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "libraries": {name: found for name in _LIBRARIES if (found := _version(name)) is not None},
        "argv": base_names(argv),
        "wall_s": wall_s,
        "made": made,
    }


def _plan_block(plan: Plan) -> dict[str, Any]:
    """Shape and fixed choices of the plan that readers of the tables need."""
    return {
        "n_layers": plan.n_layers,
        "n_experts": plan.n_experts,
        "is_moe": [bool(x) for x in plan.is_moe],
        "expert_bytes": [int(x) for x in plan.expert_bytes],
        "top_k": [int(x) for x in plan.top_k],
        "pinned": [int(x) for x in plan.pinned.sum(axis=1)],
        "cache_of_layer": [int(x) for x in plan.cache_of_layer],
        "cache_capacity": [int(x) for x in plan.cache_capacity],
        "path": plan.path,
        "lanes": plan.storage.lanes if plan.storage is not None else 0,
        "eviction": plan.eviction.kind,
        "prefetch": plan.prefetch.kind,
        "evict": plan.evict,
        "timeline_steps": list(plan.timeline_steps) if plan.timeline_steps else None,
    }


def manifest(
    plan: Plan,
    info: ScenarioInfo,
    *,
    version: int,
    engine: str,
    files: Mapping[str, str],
    environment: Mapping[str, Any],
) -> dict[str, Any]:
    """The whole manifest. `files`: name in the folder -> sha256; `version`: of the run folder's format."""
    body: dict[str, Any] = {
        "format": version,
        "kind": "run",
        "name": info.name,
        "title": info.title,
        "machine": info.machine,
        "model": info.model,
        "link": info.link,
        "engine": engine,
        "seed": info.seed,
        "streams": list(info.streams),
        "scenario_hash": info.hash,
        "routing": without_folders(info.routing),
        "inputs": {_last(name): digest for name, digest in info.inputs.items()},
        "notes": [without_folders(note) for note in info.notes],
        "sources": {
            field: {key: without_folders(text) for key, text in source.items()}
            for field, source in info.sources.items()
        },
        "fits": {name: dict(memory) for name, memory in info.fits.items()},
        "plan": _plan_block(plan),
        "files": dict(files),
    }
    return {**body, "sha256": hashlib.sha256(canonical(body)).hexdigest(), "environment": dict(environment)}
