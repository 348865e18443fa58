"""The Python API: policies from a script, progress, determinism, runs beside one another, policies that go wrong."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import moesim as ms
from moesim import Eviction, InputError, MoesimError, Prefetch, Scenario, View
from moesim.errors import StuckError
from tests.support.same import difference
from tests.support.tiny import tiny


class Oldest(Eviction):
    """FIFO as a user might write it."""

    def start(self, facts: Any) -> None:
        super().start(facts)
        self.order: list[int] = []

    def insert(self, key: int, looked_up: bool) -> None:
        self.order.append(key)

    def remove(self, key: int) -> None:
        self.order.remove(key)

    def victim(self, evictable: bytearray) -> int:
        return next(key for key in self.order if evictable[key])


class Threshold(Oldest):
    """An object with state of its own."""

    def __init__(self, newest: bool = False) -> None:
        self.newest = newest

    def victim(self, evictable: bytearray) -> int:
        order = reversed(self.order) if self.newest else self.order
        return next(key for key in order if evictable[key])


class NextLayer(Prefetch):
    """Everything the view shows is asked for; predicts expert 0 of the next layer."""

    def predict(self, view: View, step: int, layer: int) -> Sequence[tuple[int, int, int]]:
        assert view.was_looked_up(step, layer)
        assert set(view.past_set(step, layer)) <= set(range(view.experts_of(layer)))
        assert len(view.past_last_token(step, layer)) == 2
        assert view.now > 0
        assert view.link_backlog_ps() >= 0
        assert view.is_decode(step) == (step > 0)
        following = [n for n in view.moe_layers() if n > layer]
        return [(step, following[0], 0)] if following and not view.is_resident(following[0], 0) else []


@pytest.fixture
def scenario(tmp_path: Path) -> Scenario:
    return tiny(tmp_path, workload__output_tokens=20, expert_cache__capacity={"slots_per_layer": 3})


def same(one: ms.Run, two: ms.Run) -> None:
    words = difference(one.result, two.result)
    assert not words, words


def test_an_eviction_class_from_a_script(scenario: Scenario) -> None:
    """Without an entry point; equal to the built-in of the same rule, and named in the resolved scenario."""
    mine = scenario.replace({"expert_cache.eviction": Oldest})
    run = ms.simulate(mine, check=True)
    same(run, ms.simulate(scenario.replace({"expert_cache.eviction": "fifo"})))
    assert run.result.counters["evictions"] > 0
    assert "Oldest" in mine.resolved()["expert_cache"]["eviction"]["name"]
    assert mine.hash != scenario.hash


def test_an_eviction_object_is_copied_for_each_cache(scenario: Scenario) -> None:
    """One object serves two layers and two runs without one seeing the other's content."""
    policy = Threshold(newest=True)
    mine = scenario.replace({"expert_cache.eviction": policy})
    first, second = ms.simulate(mine, check=True), ms.simulate(mine)
    same(first, second)
    assert not hasattr(policy, "order")
    other = ms.simulate(scenario.replace({"expert_cache.eviction": Threshold(newest=False)}))
    assert other.result.hits.tolist() != first.result.hits.tolist()
    same(other, ms.simulate(scenario.replace({"expert_cache.eviction": "fifo"})))


def test_a_prefetch_class_from_a_script(scenario: Scenario) -> None:
    run = ms.simulate(scenario.replace({"prefetch": NextLayer}), check=True)
    assert run.result.counters["prefetches"] > 0
    assert run.result.counters["prefetch_used"] > 0


def test_progress_counts_every_step(scenario: Scenario) -> None:
    seen: list[tuple[int, int]] = []
    ms.simulate(scenario, progress=lambda done, of: seen.append((done, of)))
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})
    assert seen[-1] == (20, 20)
    assert {of for _, of in seen} == {20}


def test_an_error_in_progress_reaches_the_caller(scenario: Scenario) -> None:
    """Ctrl-C and the like are not swallowed."""

    def stop(done: int, of: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ms.simulate(scenario, progress=stop)


def test_a_run_prints_nothing_and_writes_nothing(
    scenario: Scenario, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    monkeypatch.chdir(empty)
    ms.simulate(scenario)
    assert list(empty.iterdir()) == []
    assert capfd.readouterr() == ("", "")


def test_same_scenario_same_run_another_seed_another_run(scenario: Scenario) -> None:
    changed = scenario.replace({"expert_cache.eviction": "random", "link": {"discipline": "two_level", "chunks": 3}})
    changed = changed.replace({"prefetch": {"kind": "next_gate", "experts": 2, "recall": [0.5], "precision": [0.5]}})
    one, two = ms.simulate(changed), ms.simulate(changed)
    same(one, two)
    assert one.summary == two.summary
    other = ms.simulate(changed.replace({"seed": 6}))
    assert other.result.misses.tolist() != one.result.misses.tolist()


def test_runs_in_one_process_are_independent(scenario: Scenario) -> None:
    """A run between two equal ones, and one started within another, change nothing."""
    before = ms.simulate(scenario)
    ms.simulate(scenario.replace({"seed": 1, "expert_cache.eviction": "random", "prefetch": NextLayer}))
    same(before, ms.simulate(scenario))
    inner: list[ms.Run] = []

    def nested(done: int, of: int) -> None:
        if done == 10:
            inner.append(ms.simulate(scenario))

    same(before, ms.simulate(scenario, progress=nested))
    same(before, inner[0])


def test_the_scenario_is_not_changed_by_a_run(scenario: Scenario) -> None:
    resolved, key = scenario.resolved(), scenario.hash
    run = ms.simulate(scenario)
    assert (scenario.resolved(), scenario.hash) == (resolved, key)
    assert run.scenario is scenario
    assert "20 tokens" in repr(run)


class Pinned(Oldest):
    """Names a victim that may not leave."""

    def victim(self, evictable: bytearray) -> int:
        return next(key for key in range(len(evictable)) if not evictable[key])


class Nobody(Oldest):
    """Says no expert."""

    def victim(self, evictable: bytearray) -> Any:
        return None


class Outside(Oldest):
    """Names an expert that does not exist."""

    def victim(self, evictable: bytearray) -> int:
        return len(evictable) + 5


class Broken(Oldest):
    """Fails in its own code."""

    def victim(self, evictable: bytearray) -> int:
        raise ZeroDivisionError("my own mistake")


@pytest.mark.parametrize("policy", [Pinned, Nobody, Outside])
def test_a_policy_that_names_no_proper_victim(scenario: Scenario, policy: type[Eviction]) -> None:
    """One clear error that names the policy and what it said, no endless loop and no silent nonsense."""
    with pytest.raises(MoesimError, match=policy.__name__) as caught:
        ms.simulate(scenario.replace({"expert_cache.eviction": policy}))
    assert isinstance(caught.value, StuckError)
    assert "victim" in str(caught.value)


def test_a_policy_without_a_victim_hook_is_told_so(scenario: Scenario) -> None:
    class Undecided(Eviction):
        pass

    with pytest.raises(NotImplementedError, match="Undecided must define `victim`"):
        ms.simulate(scenario.replace({"expert_cache.eviction": Undecided}))


def test_a_policys_own_exception_reaches_the_caller(scenario: Scenario) -> None:
    with pytest.raises(ZeroDivisionError, match="my own mistake"):
        ms.simulate(scenario.replace({"expert_cache.eviction": Broken}))


class FarAway(Prefetch):
    """Predicts what does not exist."""

    def predict(self, view: View, step: int, layer: int) -> Sequence[tuple[int, int, int]]:
        return [(step, layer, 10_000)]


class NoTriple(Prefetch):
    """Predicts bare numbers."""

    def predict(self, view: View, step: int, layer: int) -> Any:
        return [3]


class NoReturn(Prefetch):
    """Forgets to return."""

    def predict(self, view: View, step: int, layer: int) -> Any:
        pass


@pytest.mark.parametrize("policy", [FarAway, NoTriple, NoReturn])
def test_a_prediction_of_nothing_real(scenario: Scenario, policy: type[Prefetch]) -> None:
    with pytest.raises(MoesimError, match=policy.__name__):
        ms.simulate(scenario.replace({"prefetch": policy}))


def test_things_that_are_no_policy_are_refused(scenario: Scenario) -> None:
    for field in ("expert_cache.eviction", "prefetch"):
        with pytest.raises(InputError, match=field):
            scenario.replace({field: dict})
    with pytest.raises(InputError, match=r"memory\.reserve"):
        scenario.replace({"memory.reserve": Oldest})


def test_a_prefetch_class_says_where_its_copies_go() -> None:
    class Next(ms.Prefetch):
        """The true set of the next layer."""

        def predict(self, view, step, layer):
            layers = view.moe_layers()
            at = layers.index(layer) + 1
            if at == len(layers) or not view.is_decode(step):
                return ()
            return [(step, layers[at], expert) for expert, _ in view.true_set(step, layers[at])]

    class Staged(Next):
        """The same into staging, late."""

        into = "staging"
        slots = 2
        t_pred_ps = 10**9

    sc = ms.load("quickstart").replace({"workload.output_tokens": 6, "record.timeline": None})
    plans = {cls: ms.simulate(sc.replace({"prefetch": cls})) for cls in (Next, Staged)}
    assert (plans[Staged].plan.prefetch_into, plans[Staged].plan.prefetch_slots) == ("staging", 2)
    assert plans[Staged].plan.t_pred_ps == 10**9 and plans[Next].plan.t_pred_ps == 0
    assert plans[Next].summary["late"] > plans[Staged].summary["late"]
