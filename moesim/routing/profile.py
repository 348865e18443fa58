"""A routing profile: what of a model's routing matters to an expert cache, in a few kilobytes.

Per layer: how popular each expert is, and the two memories of `moesim.routing.memory`. Beside it the mean router
weight by rank, where the numbers come from, and how far hit rates of the profile are off on data it was not fitted to.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from moesim.errors import Fault, InputError, nearest
from moesim.routing.memory import Memory

__all__ = ["Profile", "load_profile", "profile_names", "profile_path"]

FORMAT = 1
_FOLDER = Path(__file__).parent / "profiles"
_LARGEST_FILE = 8_000_000
_REQUIRED = ("moesim_profile", "name", "n_experts", "top_k", "source", "fitted", "memory", "popularity")
_OPTIONAL = ("rank_weights", "fit_error")
_MEMORY = ("short_share", "short_tokens", "long_share", "long_tokens")


@dataclass(frozen=True, kw_only=True)
class Profile:
    """Fitted routing of one model.

    name, source   which model; which recording or publication the numbers come from
    fitted         one line: what was fitted to what
    n_experts      N
    top_k          k of the recording; the profile may be sampled with another one
    popularity     [L][N] whole numbers, proportional to the chance of a candidate (not to the inclusion frequency)
    memories       [L] of (share, time constant in tokens) of the short memory, then of the long one
    weights        mean router weight by rank, [k], or empty
    fit_error      free tables of hit rates, measured and simulated, for the reader of the file
    """

    name: str
    source: str
    fitted: str
    n_experts: int
    top_k: int
    popularity: tuple[tuple[int, ...], ...]
    memories: tuple[Memory, ...]
    weights: tuple[float, ...] = ()
    fit_error: Mapping[str, Any] = field(default_factory=dict)

    @property
    def n_layers(self) -> int:
        """L, MoE layers only."""
        return len(self.popularity)

    def popularity_array(self) -> NDArray[np.int64]:
        """Popularity as [L, N]."""
        return np.array(self.popularity, dtype=np.int64)

    def rank_weights(self, top_k: int) -> NDArray[np.float32] | None:
        """Mean router weights of the `top_k` best ranks, scaled to the sum of all; None where the profile has none."""
        if not self.weights or top_k > len(self.weights):
            return None
        kept = np.array(self.weights[:top_k], dtype=np.float64)
        return np.asarray(kept * (sum(self.weights) / kept.sum()), dtype=np.float32)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], *, file: str = "") -> Profile:
        """A profile from the map in its YAML file. Raises InputError with every fault, each naming `file`."""
        faults: list[Fault] = []

        def wrong(name: str, message: str, got: object = None, allowed: str = "", near: str = "") -> None:
            faults.append(Fault(field=name, message=message, got=got, allowed=allowed, nearest=near, file=file))

        known = (*_REQUIRED, *_OPTIONAL)
        for name in data:
            if name not in known:
                wrong(str(name), "a routing profile has no such key", near=nearest(str(name), known))
        for name in _REQUIRED:
            if name not in data:
                wrong(name, "missing")
        if faults:
            raise InputError(*faults)
        if data["moesim_profile"] != FORMAT:
            wrong("moesim_profile", "another format of routing profiles", data["moesim_profile"], str(FORMAT))
        for name in ("name", "source", "fitted"):
            if not isinstance(data[name], str) or not data[name]:
                wrong(name, "must be text", data[name])
        for name in ("n_experts", "top_k"):
            if not isinstance(data[name], int) or isinstance(data[name], bool) or data[name] < 1:
                wrong(name, "must be a whole number >= 1", data[name])
        for name in ("popularity", "memory"):
            if not isinstance(data[name], list):
                wrong(name, "must be a list with an entry for each layer")
        if faults:
            raise InputError(*faults)
        n, k = data["n_experts"], data["top_k"]
        if k > n:
            wrong("top_k", "more picks than experts", k, f"1 to {n}")
        popularity = tuple(_popularity(row, n, f"popularity[{i}]", wrong) for i, row in enumerate(data["popularity"]))
        memories = tuple(_memory(row, f"memory[{i}]", wrong) for i, row in enumerate(data["memory"]))
        if not popularity or len(popularity) != len(memories):
            wrong("memory", f"{len(memories)} layers of memory for {len(popularity)} layers of popularity")
        given = data.get("rank_weights", [])
        weights = tuple(given) if isinstance(given, list) else (None,)
        if weights and (len(weights) != k or not all(isinstance(w, float) and 0 <= w <= 1 for w in weights)):
            wrong("rank_weights", "must be top_k numbers from 0 to 1", given)
        if faults:
            raise InputError(*faults)
        return cls(
            name=data["name"],
            source=data["source"],
            fitted=data["fitted"],
            n_experts=n,
            top_k=k,
            popularity=popularity,
            memories=memories,
            weights=weights,
            fit_error=data.get("fit_error", {}),
        )

    def to_dict(self) -> dict[str, Any]:
        """The map that `from_dict` reads; popularity rows are strings of whole numbers to keep the file small."""
        data: dict[str, Any] = {
            "moesim_profile": FORMAT,
            "name": self.name,
            "source": self.source,
            "fitted": self.fitted,
            "n_experts": self.n_experts,
            "top_k": self.top_k,
        }
        if self.weights:
            data["rank_weights"] = list(self.weights)
        if self.fit_error:
            data["fit_error"] = dict(self.fit_error)
        data["memory"] = [dict(zip(_MEMORY, (float(x) for x in memory), strict=True)) for memory in self.memories]
        data["popularity"] = [" ".join(map(str, row)) for row in self.popularity]
        return data


def _popularity(row: object, n: int, name: str, wrong: Any) -> tuple[int, ...]:
    parts: Sequence[Any] = row.split() if isinstance(row, str) else row if isinstance(row, list) else ()
    fits = all(isinstance(p, str | int) and str(p).isascii() and str(p).isdigit() for p in parts)
    if len(parts) != n or not fits:
        wrong(name, f"must be {n} whole numbers >= 0: has {len(parts)}")
        return ()
    numbers = tuple(int(p) for p in parts)
    if not any(numbers) or max(numbers) > 1 << 24:
        wrong(name, "must not be all zero, nor exceed 2**24")
    return numbers


def _memory(row: object, name: str, wrong: Any) -> Memory:
    nothing = (Fraction(0), Fraction(1), Fraction(0), Fraction(1))
    if not isinstance(row, Mapping) or set(row) != set(_MEMORY):
        wrong(name, f"must have exactly {', '.join(_MEMORY)}")
        return nothing
    try:
        short, short_tokens, long, long_tokens = (Fraction(Decimal(str(row[part]))) for part in _MEMORY)
    except (InvalidOperation, ValueError, OverflowError):
        wrong(name, "must be four finite numbers", dict(row))
        return nothing
    if min(short, long) < 0 or short + long > 1 or min(short_tokens, long_tokens) < 1:
        wrong(name, "shares must be >= 0 with a sum <= 1, time constants >= 1 token", dict(row))
        return nothing
    return short, short_tokens, long, long_tokens


def profile_names() -> list[str]:
    """The profiles that come with moesim."""
    return sorted(path.stem for path in _FOLDER.glob("*.yaml"))


def profile_path(name: str | Path) -> Path:
    """The file of a profile: a shipped name or a path. Raises InputError with the names and the nearest."""
    path = Path(name)
    if path.suffix in (".yaml", ".yml"):
        if path.is_file():
            return path
        raise InputError(Fault(field="routing.profile", message="no such file", got=str(name)))
    names = profile_names()
    if str(name) in names:
        return _FOLDER / f"{name}.yaml"
    fault = Fault(field="routing.profile", got=str(name), allowed=" | ".join(names), nearest=nearest(str(name), names))
    raise InputError(fault)


def load_profile(name: str | Path) -> Profile:
    """Read a profile by shipped name or path."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError
    from ruamel.yaml.events import AliasEvent

    path = profile_path(name)
    if path.stat().st_size > _LARGEST_FILE:
        raise InputError(Fault(message=f"is larger than any profile ({_LARGEST_FILE} B)", file=path.name))
    try:
        text = path.read_text(encoding="utf-8")
        # aliases have no use here, and nested ones grow without bound
        if "*" in text and any(isinstance(event, AliasEvent) for event in YAML(typ="safe", pure=True).parse(text)):
            raise InputError(Fault(message="YAML aliases are not allowed in a routing profile", file=path.name))
        data = YAML(typ="safe", pure=True).load(text)
    except (YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(Fault(message=f"is not readable YAML: {error}", file=path.name)) from None
    if not isinstance(data, Mapping):
        raise InputError(Fault(message="a routing profile is a map", file=path.name))
    return Profile.from_dict(data, file=path.name)
