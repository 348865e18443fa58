"""What only shows when a plan is built: layouts by hand, notes, and faults that point into the scenario."""

from __future__ import annotations

import pytest

from moesim import InputError, load, simulate
from moesim.plan.build import build
from moesim.plan.layout import Span, lay_out

TINY = ["workload.prompt_tokens=4", "workload.output_tokens=3", "workload.sequences=1"]


def test_two_sequences_are_prefilled_one_after_another_and_decoded_together() -> None:
    spans = [Span(prompt=range(0, 5), decode=range(5, 7)), Span(prompt=range(7, 9), decode=range(9, 12))]
    made = lay_out(spans, batch_size=2, prefill_chunk=3)
    assert [rows.tolist() for rows in made.rows] == [[0, 1, 2], [3, 4], [7, 8], [5, 9], [6, 10], [11]]
    assert made.prefill.tolist() == [True, True, True, False, False, False]
    assert made.generated.tolist() == [0, 1, 1, 2, 2, 1] and made.first.tolist() == [0, 1, 1, 0, 0, 0]
    contexts = [[(chunk.tokens, chunk.context) for chunk in step] for step in made.chunks]
    assert contexts == [[(3, 3)], [(2, 5)], [(2, 2)], [(1, 6), (1, 3)], [(1, 7), (1, 4)], [(1, 5)]]


def test_batches_follow_one_another() -> None:
    spans = [Span(prompt=range(n, n + 1), decode=range(n + 1, n + 2)) for n in (0, 2, 4)]
    made = lay_out(spans, batch_size=1, prefill_chunk=8)
    assert made.batch.tolist() == [0, 0, 1, 1, 2, 2] and made.arrival.tolist() == [0, 0, 2, 2, 4, 4]


@pytest.mark.parametrize(("steps", "said"), [("[0, 2]", False), ("[1, 3]", True), ("[50, 60]", True)])
def test_a_window_beyond_the_run_is_said(steps: str, said: bool) -> None:
    # one prefill and two decode steps: 0 to 2
    notes = build(load("quickstart", [*TINY, f"record.timeline.steps={steps}"])).notes
    assert any("the run has steps 0 to 2" in note for note in notes) is said


def test_a_fault_of_the_plan_points_to_where_it_was_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("moesim.plan.pricing._LARGEST_TABLE", 10)
    with pytest.raises(
        InputError, match=r"^--set workload\.prefill_chunk=4: workload\.prefill_chunk: .*smaller chunks"
    ):
        simulate(load("quickstart", [*TINY, "workload.prefill_chunk=4"]))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ([], ""),
        (["expert_cache.capacity=1 MiB"], "the caches of 48 layers are smaller than one expert"),
        (["expert_cache.capacity=1 MiB", "placement.pinned={layers: [0, 7]}"], "the caches of 46 layers"),
        (["expert_cache.eviction=static"], "starts empty stays empty"),
        (["expert_cache.eviction=static", "expert_cache.initial=popular"], ""),
    ],
)
def test_a_cache_that_can_only_miss_is_said(changes: list[str], said: str) -> None:
    notes = [n for n in build(load("quickstart", [*TINY, *changes])).notes if "cache" in n]
    assert len(notes) == bool(said) and all(said in note for note in notes)
