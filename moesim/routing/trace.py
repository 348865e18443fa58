"""Which experts each token picks at each layer: the array every other part of moesim replays.

Nothing here draws or reads a file; standard library and numpy only, so that a capture script can write traces on a
machine that has nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from moesim.errors import Fault, InputError

__all__ = ["NOT_ROUTED", "RoutingTrace", "as_ids", "row_faults"]

NOT_ROUTED = -1
_MAX_FAULTS = 5  # a broken file has thousands of equal faults: the first few say it all
_ROWS_AT_ONCE = 1 << 18  # keeps the check of a memory-mapped trace within some tens of megabytes


def as_ids(picks: NDArray[np.integer[Any]], n_experts: int) -> NDArray[np.int16] | NDArray[np.int32]:
    """Picks in the smaller of the two integer types a trace may have that holds every id."""
    return picks.astype(np.int16) if n_experts <= 1 << 15 else picks.astype(np.int32)


def row_faults(
    experts: NDArray[np.integer[Any]], weights: NDArray[np.floating[Any]] | None, n_experts: int
) -> Iterator[tuple[int, str, str, object, str]]:
    """What is wrong in rows of picks: yields (row, column, message, got, allowed), at most one fault for a row.

    `experts` is [n, k], `weights` [n, k] or None. A row is either k distinct ids in [0, n_experts) or -1 throughout.
    Weights of routed rows are finite and not negative; those of other rows are not looked at.
    """
    for start in range(0, len(experts), _ROWS_AT_ONCE):
        picks = np.asarray(experts[start : start + _ROWS_AT_ONCE])
        absent = (picks == NOT_ROUTED).all(axis=1)
        outside = ((picks < 0) | (picks >= n_experts)).any(axis=1) & ~absent
        ordered = np.sort(picks, axis=1)
        twice = (ordered[:, 1:] == ordered[:, :-1]).any(axis=1) & ~absent
        unusable = np.zeros(len(picks), dtype=bool)
        if weights is not None:
            scores = np.asarray(weights[start : start + _ROWS_AT_ONCE])
            unusable = ~(np.isfinite(scores) & (scores >= 0)).all(axis=1) & ~absent
        for row in np.flatnonzero(outside | twice | unusable).tolist():
            ids = picks[row].tolist()
            if outside[row]:
                bad = next(i for i in ids if not 0 <= i < n_experts)
                if bad == NOT_ROUTED:
                    yield start + row, "experts", "some picks are missing", ids, f"{len(ids)} picks or none"
                else:
                    yield start + row, "experts", "expert id out of range", bad, f"0 to {n_experts - 1}"
            elif twice[row]:
                yield start + row, "experts", "one expert picked twice by one token", ids, "distinct ids"
            elif weights is not None:
                got = [float(w) for w in weights[start + row]]
                yield start + row, "weights", "router weight is not usable", got, "finite numbers >= 0"


@dataclass(frozen=True, kw_only=True, eq=False)
class RoutingTrace:
    """Recorded or generated routing. Arrays may be memory-mapped and are never written to.

    experts         [T, L, k] int16 or int32; ids in the router's order (best first), -1 where a token was not routed
    weights         [T, L, k] float32, the router's weights, or None
    sequence_ptr    [S+1] int64; sequence s owns tokens sequence_ptr[s] to sequence_ptr[s+1] - 1
    prompt_tokens   [S] int32; how many of a sequence's first tokens are prompt (0: only decoding was recorded)
    n_experts       N, ids run from 0 to N-1
    names           one name for each sequence, or empty
    header          what the source says beside: `expert_bytes` (list of B, one for each layer), `model`,
                    `first_position` (list of token positions, where recording began after the prompt)
    source          one line for the result: where this routing came from

    L counts MoE layers only. T, L, k: tokens, layers, picks of one token at one layer.
    """

    experts: NDArray[np.int16] | NDArray[np.int32]
    sequence_ptr: NDArray[np.int64]
    prompt_tokens: NDArray[np.int32]
    n_experts: int
    weights: NDArray[np.float32] | None = None
    names: tuple[str, ...] = ()
    header: Mapping[str, Any] = field(default_factory=dict)
    source: str = ""

    @property
    def n_tokens(self) -> int:
        """T, prompt tokens included."""
        return int(self.experts.shape[0])

    @property
    def n_layers(self) -> int:
        """L, MoE layers only."""
        return int(self.experts.shape[1])

    @property
    def top_k(self) -> int:
        """k, picks of a token at a layer."""
        return int(self.experts.shape[2])

    @property
    def n_sequences(self) -> int:
        """S."""
        return len(self.sequence_ptr) - 1

    def name(self, sequence: int) -> str:
        """The name of a sequence, or its number."""
        return self.names[sequence] if self.names else str(sequence)

    def place(self, token: int) -> tuple[int, int]:
        """The (sequence, index within it) of a token."""
        sequence = int(np.searchsorted(self.sequence_ptr, token, side="right")) - 1
        return sequence, token - int(self.sequence_ptr[sequence])

    def select(self, sequences: Sequence[int]) -> RoutingTrace:
        """A new trace of the given sequences in the given order (arrays are copied)."""
        ptr = self.sequence_ptr
        rows = [np.arange(ptr[s], ptr[s + 1]) for s in sequences]
        tokens = np.concatenate([np.zeros(0, dtype=np.int64), *rows])
        header = dict(self.header)
        if "first_position" in header:
            header["first_position"] = [header["first_position"][s] for s in sequences]
        return replace(
            self,
            experts=self.experts[tokens],
            weights=None if self.weights is None else self.weights[tokens],
            sequence_ptr=np.concatenate([[0], np.cumsum([len(r) for r in rows])]).astype(np.int64),
            prompt_tokens=self.prompt_tokens[np.asarray(sequences, dtype=np.int64)],
            names=tuple(self.names[s] for s in sequences) if self.names else (),
            header=header,
        )

    def validate(self, n_experts: int | None = None, *, file: str = "") -> RoutingTrace:
        """Check shapes, ids, duplicates and weights; returns the trace itself.

        `n_experts` is the model's number, if known: every id must be below it. Raises InputError that names `file`
        and, for the first few faults, the token, its sequence and the layer.
        """
        faults = [Fault(field=name, message=text, file=file) for name, text in self._shape_faults()]
        if faults:
            raise InputError(*faults)
        allowed = self.n_experts if n_experts is None else n_experts
        picks = self.experts.reshape(-1, self.top_k)
        weights = None if self.weights is None else self.weights.reshape(-1, self.top_k)
        for row, column, message, got, legal in row_faults(picks, weights, allowed):
            token, layer = divmod(row, self.n_layers)
            sequence, index = self.place(token)
            where = f"row {row} (sequence {self.name(sequence)}, token {index}, layer {layer})"
            faults.append(Fault(message=f"{where}: {message}", field=column, got=got, allowed=legal, file=file))
            if len(faults) == _MAX_FAULTS:
                break
        if faults:
            raise InputError(*faults)
        return self

    def _shape_faults(self) -> Iterator[tuple[str, str]]:
        if self.experts.ndim != 3 or self.experts.dtype not in (np.dtype(np.int16), np.dtype(np.int32)):
            yield "experts", f"must be int16 or int32 [T, L, k]: got {self.experts.dtype} {list(self.experts.shape)}"
            return
        if 0 in self.experts.shape:
            yield "experts", f"the trace is empty: shape [T, L, k] is {list(self.experts.shape)}"
        if self.top_k > self.n_experts:
            yield "experts", f"{self.top_k} picks of {self.n_experts} experts: top-k is larger than the experts"
        if self.weights is not None and (self.weights.shape != self.experts.shape or self.weights.dtype != np.float32):
            yield "weights", f"must be float32 of the shape of experts: got {self.weights.dtype} {self.weights.shape}"
        ptr = self.sequence_ptr
        if ptr.ndim != 1 or len(ptr) < 2 or ptr.dtype != np.int64:
            yield "sequence_ptr", f"must be int64 [S+1] with S >= 1: got {ptr.dtype} {list(ptr.shape)}"
            return
        if ptr[0] != 0 or ptr[-1] != self.n_tokens or (np.diff(ptr) <= 0).any():
            yield "sequence_ptr", f"must rise from 0 to the {self.n_tokens} tokens: got {ptr[:8].tolist()}"
        if self.prompt_tokens.shape != (self.n_sequences,) or self.prompt_tokens.dtype != np.int32:
            yield "prompt_tokens", f"must be int32 [{self.n_sequences}]: got {list(self.prompt_tokens.shape)}"
        elif (self.prompt_tokens < 0).any() or (self.prompt_tokens > np.diff(ptr)).any():
            yield "prompt_tokens", "must lie between 0 and the tokens of its sequence"
        if self.names and len(self.names) != self.n_sequences:
            yield "names", f"{len(self.names)} names for {self.n_sequences} sequences"
        expert_bytes = self.header.get("expert_bytes")
        if expert_bytes is not None and (
            not isinstance(expert_bytes, list)
            or len(expert_bytes) != self.n_layers
            or any(not isinstance(b, int) or isinstance(b, bool) or b <= 0 for b in expert_bytes)
        ):
            yield "header.expert_bytes", f"must be {self.n_layers} positive whole numbers of bytes"
