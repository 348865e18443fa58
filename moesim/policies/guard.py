"""Policies from a user's script behind a check: what they answer must make sense, or the run ends with a clear error.

The policies shipped here are tested to answer well, so they run bare. A script's policy is asked through one of these,
which hands everything on and looks at each answer: an impossible victim would spoil the cache's accounting silently.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import index
from typing import Any, NoReturn

from moesim.errors import StuckError
from moesim.policies.eviction.base import CacheFacts, Eviction
from moesim.policies.prefetch.base import Prefetch
from moesim.policies.view import View

__all__ = ["GuardedEviction", "GuardedPrefetch"]


class GuardedEviction(Eviction):
    """An eviction policy, made by `make` and called `name` in messages, whose victims are checked.

    `victim` raises StuckError for anything but an id of its own cache that may leave.
    """

    def __init__(self, name: str, make: Callable[[], Eviction]) -> None:
        self._name = name
        self._policy = make()
        self.admits = self._policy.admits

    def start(self, facts: CacheFacts) -> None:
        super().start(facts)
        self._policy.start(facts)

    def lookup(self, key: int) -> None:
        self._policy.lookup(key)

    def lookups(self, keys: Sequence[int]) -> None:
        self._policy.lookups(keys)

    def insert(self, key: int, looked_up: bool) -> None:
        self._policy.insert(key, looked_up)

    def remove(self, key: int) -> None:
        self._policy.remove(key)

    def touch(self, key: int) -> None:
        self._policy.touch(key)

    def claim(self, expert: int) -> None:
        self._policy.claim(expert)

    def victim(self, evictable: bytearray) -> int:
        try:
            got: Any = self._policy.victim(evictable)
        except StopIteration:
            # the empty `next(...)` of a policy that finds nobody; left alone it would end a generator of the engine
            self._refuse("gave no victim (StopIteration)")
        try:
            key = index(got)
        except TypeError:
            self._refuse(f"gave the victim {got!r}")
        if not 0 <= key < len(evictable):
            self._refuse(f"gave the victim {key}, an id that does not exist")
        layer, expert = divmod(key, self.facts.n_experts)
        if not evictable[key]:
            self._refuse(f"gave the victim {key} (layer {layer}, expert {expert}), which may not leave now")
        if self.facts.layer not in (None, layer):
            self._refuse(f"gave the victim {key} of layer {layer} to the cache of layer {self.facts.layer}")
        return key

    def _refuse(self, said: str) -> NoReturn:
        allowed = "an id (layer * n_experts + expert) of its cache with evictable[id] == 1; at least one has it"
        raise StuckError(f"eviction policy {self._name} {said}: allowed {allowed}") from None


class GuardedPrefetch(Prefetch):
    """A prefetch policy, made by `make` and called `name` in messages, whose predictions are checked.

    `predict` raises StuckError for anything but a sequence of (step, layer with experts, one of its experts).
    Steps beyond the last are let through: what is fetched for them is never used.
    """

    def __init__(self, name: str, make: Callable[[], Prefetch]) -> None:
        self._name = name
        self._policy = make()
        self._experts: dict[int, int] = {}

    def predict(self, view: View, step: int, layer: int) -> Sequence[tuple[int, int, int]]:
        if not self._experts:
            self._experts = {at: view.experts_of(at) for at in view.moe_layers()}
        made: list[tuple[int, int, int]] = []
        answer: Any = self._policy.predict(view, step, layer)
        try:
            predicted = iter(answer)
        except TypeError:
            # None, mostly: a `return` was forgotten
            self._refuse(repr(answer))
        for got in predicted:
            try:
                of_step, of_layer, expert = map(index, got)
            except (TypeError, ValueError):
                self._refuse(repr(got))
            if of_step < 0 or not 0 <= expert < self._experts.get(of_layer, 0):
                self._refuse(repr(got))
            made.append((of_step, of_layer, expert))
        return made

    def _refuse(self, got: str) -> NoReturn:
        most = max(self._experts.values(), default=0) - 1
        allowed = (
            f"a list of (step, layer, expert), each of one of the {len(self._experts)} layers with experts, "
            f"expert from 0 to {most}"
        )
        raise StuckError(f"prefetch policy {self._name} predicted {got}: allowed {allowed}") from None
