"""Policies of installed plug-ins work from a scenario, with their parameters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import moesim as ms
from moesim.core import registry
from moesim.policies.eviction import EVICTIONS
from moesim.policies.eviction.lru import LRU

CHANGES = {"workload.output_tokens": 4, "record.timeline.steps": [1, 2]}


class Slow(LRU):
    """LRU under another name, with a parameter."""

    def __init__(self, *, share: int = 1) -> None:
        self.share = share


class Entry:
    """An installed plug-in, as importlib.metadata gives it."""

    def __init__(self, name: str) -> None:
        self.name, self.value, self.dist = name, f"{name}:Slow", None

    def load(self) -> type:
        return Slow


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Installs plug-ins of the eviction seam for one test."""

    def done(*names: str) -> None:
        monkeypatch.setattr(EVICTIONS, "_classes", dict(EVICTIONS._classes))
        monkeypatch.setattr(EVICTIONS, "_plugins", {})
        monkeypatch.setattr(EVICTIONS, "_plugins_read", False)
        found = [Entry(name) for name in names]
        monkeypatch.setattr(registry, "entry_points", lambda group: found if group == "moesim.eviction" else [])

    return done


def _hits(eviction: Any) -> int:
    return ms.simulate(ms.load("quickstart").replace({**CHANGES, "expert_cache.eviction": eviction})).summary["hits"]


def test_a_plugin_runs_by_its_name_with_its_parameters(install: Callable[..., None]) -> None:
    install("theirs")
    assert _hits({"kind": "theirs", "share": 3}) == _hits("lru")
    sc = ms.load("quickstart", set=["expert_cache.eviction={kind: theirs, share: 3}"])
    assert sc.live["expert_cache.eviction"].share == 3


def test_parameters_it_does_not_take_are_a_located_fault(install: Callable[..., None]) -> None:
    install("theirs")
    with pytest.raises(ms.InputError) as caught:
        ms.load("quickstart", set=["expert_cache.eviction={kind: theirs, shrae: 3}"])
    (fault,) = caught.value.faults
    assert fault.field == "expert_cache.eviction" and "shrae" in str(fault) and fault.file.startswith("--set")


def test_unknown_names_are_refused_as_before(install: Callable[..., None]) -> None:
    install("theirs")
    with pytest.raises(ms.InputError, match=r"expert_cache\.eviction.*lru"):
        ms.load("quickstart", set=["expert_cache.eviction=lruu"])


def test_two_of_one_name_are_refused(install: Callable[..., None]) -> None:
    install("theirs", "theirs")
    with pytest.raises(ms.InputError, match="defined by both"):
        ms.load("quickstart", set=["expert_cache.eviction=theirs"])
