"""CostModel: equal layers, what each operation holds, substitutions, and that nothing beats the machine (I8)."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moesim.cost.model import CostModel
from moesim.errors import InputError
from moesim.hardware.machine import Machine
from moesim.model import flops
from moesim.model.fields import from_dict
from moesim.model.presets import load_preset, names
from moesim.model.spec import ModelSpec
from tests.support.round_machine import round_machine

TINY: dict[str, Any] = {
    "name": "tiny", "n_layers": 3, "d_model": 64, "n_heads": 4, "n_kv_heads": 2, "head_dim": 16, "vocab_size": 100,
    "tie_embeddings": False, "n_experts": 8, "top_k": 2, "d_expert": 96, "weights": {"default": "bf16"},
    "kv_cache": "bf16", "sources": {},
}  # fmt: skip


def tiny(**changes: Any) -> ModelSpec:
    return from_dict(TINY | changes)


def test_layers_of_equal_experts_share_a_class() -> None:
    cost = CostModel(round_machine(), load_preset("mixtral-8x7b"))
    assert {cost.expert_class(layer) for layer in range(32)} == {0}
    assert [cost.attention_class(layer) for layer in range(32)] == [0] + [1] * 31  # layer 0 reads embeddings


def test_given_expert_bytes_make_classes() -> None:
    model = tiny().with_expert_bytes([1000, 2000, 1000], "a recording")
    cost = CostModel(round_machine(), model)
    assert [cost.expert_class(layer) for layer in range(3)] == [0, 1, 0]
    assert [cost.transfer(layer).bytes for layer in range(3)] == [1000, 2000, 1000]


def test_windows_make_attention_classes() -> None:
    cost = CostModel(round_machine(), load_preset("gpt-oss-20b"))
    assert [cost.attention_class(layer) for layer in range(5)] == [0, 1, 2, 1, 2]


@pytest.mark.parametrize("name", names())
def test_operations_hold_the_flops_of_the_model_and_its_weights_once(name: str) -> None:
    model, tokens, context = load_preset(name), 5, 700
    cost = CostModel(round_machine(), model)
    for layer in (0, 1, model.n_layers - 1):
        moe = model.layers[layer].moe
        assert moe
        scores = flops.scores(model, layer, tokens, context)
        assert cost.attention(layer, tokens, context).flops == flops.projections(model, tokens) + scores
        assert cost.router(layer, tokens).flops == flops.router(model, layer, tokens)
        pairs = tokens * moe.top_k
        got = cost.experts(layer, pairs, moe.top_k)
        assert got.flops == flops.expert(model, layer, pairs)
        weights = moe.top_k * model.expert_bytes(layer)
        assert weights < got.bytes < weights * Fraction(11, 10)
    assert cost.head(tokens).flops == flops.head(model, tokens)
    step = [cost.attention(layer, 1, 1).bytes + cost.router(layer, 1).bytes for layer in range(model.n_layers)]
    resident = model.resident_bytes() - (0 if model.tie_embeddings else model.embedding_bytes())
    assert resident < sum(step) + cost.head(1).bytes < resident * Fraction(102, 100)


def test_dense_layers_have_a_dense_network_and_shared_experts_are_one_wide_one() -> None:
    model = tiny()
    moe = model.layers[0].moe
    assert moe
    with_shared = moe.model_copy(update={"n_shared": 2, "d_shared": 32})
    layers = (
        model.layers[0].model_copy(update={"moe": None, "d_ff": 128}),
        model.layers[1].model_copy(update={"moe": with_shared}),
        model.layers[2],
    )
    model = model.model_copy(update={"layers": layers})
    cost = CostModel(round_machine(), model)
    assert [cost.expert_class(layer) for layer in range(3)] == [-1, 0, 0]
    assert cost.dense(0, 4).flops == flops.dense(model, 0, 4) > 0
    assert cost.shared(1, 4).flops == flops.shared(model, 1, 4) > 0
    nothing = [cost.router(0, 4), cost.shared(0, 4), cost.dense(1, 4), cost.shared(2, 4), cost.head(0)]
    assert {made.ticks for made in nothing} == {0}
    assert {made.why for made in nothing} == {"none"}
    for call in (cost.transfer, cost.load_overhead, lambda layer: cost.expert_table(layer, 2, 2)):
        with pytest.raises(ValueError, match="layer 0 has no routed experts"):
            call(0)


def test_a_missing_data_type_is_replaced_as_the_format_says_and_named() -> None:
    model = tiny(weights={"default": "bf16", "experts": "fp8"})
    cost = CostModel(round_machine(), model)
    assert cost.notes == ("experts: fp8 weights are multiplied in bf16: the accelerator has no fp8",)
    with_fp8 = round_machine(**{"accelerator.compute": {"bf16": "100 TFLOP/s", "fp8": "200 TFLOP/s"}})
    assert CostModel(with_fp8, model).notes == ()
    with pytest.raises(InputError, match="bf16 weights cannot be computed with"):
        CostModel(round_machine(**{"accelerator.compute": {"int8": "200 TOP/s"}}), model)


def test_the_launch_mode_of_the_scenario_wins_over_the_machine() -> None:
    graph, eager = CostModel(round_machine(), tiny()), CostModel(round_machine(), tiny(), launch="eager")
    assert eager.router(1, 1).ticks - graph.router(1, 1).ticks == 3 * 5 * 10**6
    assert eager.experts(1, 1, 1).ticks - graph.experts(1, 1, 1).ticks == (4 * 5 - 20) * 10**6
    with pytest.raises(InputError, match=r'got "eagre", allowed graph \| piecewise \| eager, nearest eager'):
        CostModel(round_machine(), tiny(), launch="eagre")


def test_control_and_overheads_by_hand() -> None:
    model = tiny().with_expert_bytes([1_000_000] * 3, "a recording")
    plain = CostModel(round_machine(), model)
    control = plain.control()
    assert (control.d2h_sync, control.lookup, control.issue, control.host_gap) == tuple(
        us * 10**6 for us in (7, 3, 1, 50)
    )
    assert plain.load_overhead(0).ticks == plain.evict_overhead(0).ticks == 0
    load = {"fixed": "2 us", "per_byte": "0.128 ms/MB", "on": "link"}
    evict = {"fixed": "1 us", "per_byte": "0 s/B"}
    busy = CostModel(round_machine(**{"runtime.load_overhead": load, "runtime.evict_overhead": evict}), model)
    assert (busy.load_overhead(0).ticks, busy.load_overhead(0).on) == (130 * 10**6, "link")
    assert (busy.evict_overhead(0).ticks, busy.evict_overhead(0).on) == (10**6, "link")


def test_a_machine_without_storage_has_no_reads() -> None:
    with pytest.raises(InputError, match=r"hardware\.storage"):
        CostModel(round_machine(storage=None), tiny()).storage_reads(0)


def test_a_batch_is_the_same_in_any_order_and_one_chunk_is_attention() -> None:
    cost = CostModel(round_machine(), tiny())
    assert cost.attention_batch(1, [5, 900, 33]) == cost.attention_batch(1, [900, 33, 5])
    assert cost.attention_batch(1, [7]) == cost.attention(1, 1, 7) == cost.attention_chunks(1, [(1, 7)])
    assert cost.attention(1, 0, 7).ticks == cost.attention_batch(1, []).ticks == 0


def test_every_duration_can_be_explained_and_the_terms_name_sources() -> None:
    machine = round_machine(
        **{
            "sources": {
                "sheet": {"kind": "datasheet", "title": "A data sheet", "url": "https://e.org", "date": "2024"}
            },
            "accelerator.memory.bandwidth": {"value": "1 TB/s", "source": "sheet"},
        }
    )
    cost = CostModel(machine, tiny())
    calls = {
        "attention": (1, 4, 9), "router": (1, 4), "experts": (1, 8, 3), "head": (4,), "transfer": (1,),
        "storage_reads": (1,), "load_overhead": (1,), "evict_overhead": (1,), "control": (),
    }  # fmt: skip
    for operation, args in calls.items():
        terms = cost.explain(operation, *args)
        assert terms, operation
        if operation in {"attention", "router", "experts", "head"}:
            total = getattr(cost, operation)(*args)
            assert terms[-1].term == "total"
            assert terms[-1].value.startswith(f"{total.ticks} ps (")
            assert ("accelerator.memory.bandwidth", "1 TB/s", "datasheet: A data sheet") in terms
            assert any(term.source.startswith("assumed") for term in terms)
    with pytest.raises(KeyError):
        cost.explain("norm", 1)


rates = st.integers(1, 10**6)


@st.composite
def machines(draw: st.DrawFn) -> tuple[Machine, Machine]:
    """A machine and one that is slower or equal in every number."""

    def pair(unit: str, more: bool = False) -> tuple[str, str]:
        fast, slower = draw(rates), draw(st.integers(1, 9))
        return (f"{fast} {unit}", f"{fast * slower} {unit}") if more else (f"{fast * slower} {unit}", f"{fast} {unit}")

    def curve(unit: str) -> tuple[Any, Any]:
        if draw(st.booleans()):
            return pair(unit)
        xs = sorted(draw(st.sets(st.integers(1, 10**6), min_size=1, max_size=4)))
        ys = [draw(rates) for _ in xs]
        slower = draw(st.integers(1, 9))
        return tuple(
            {"curve": {"x": [f"{x} B" for x in xs], "y": [f"{y * k} {unit}" for y in ys]}} for k in (slower, 1)
        )  # type: ignore[return-value]

    cache = {"size": "10 kB"}
    chosen: dict[str, tuple[Any, Any]] = {
        "accelerator.memory.bandwidth": curve("MB/s"),
        "accelerator.compute": tuple({"bf16": peak} for peak in pair("GFLOP/s")),  # type: ignore[dict-item]
        "accelerator.graph_replay": pair("ns", more=True),
        "accelerator.kernel_launch": pair("ns", more=True),
        "host.memory.bandwidth": curve("MB/s"),
        "links.host_to_device.bandwidth": curve("MB/s"),
        "storage.bandwidth": curve("MB/s"),
    }
    if draw(st.booleans()):
        chosen["accelerator.l2"] = tuple(cache | {"bandwidth": b} for b in pair("MB/s"))  # type: ignore[assignment]
    return tuple(round_machine(**{k: v[i] for k, v in chosen.items()}) for i in (0, 1))  # type: ignore[return-value]


def ticks_of(cost: CostModel, tokens: int, old: int) -> list[int]:
    pairs = 2 * tokens
    reads = cost.storage_reads(1)
    return [
        cost.attention(1, tokens, tokens + old).ticks,
        cost.router(1, tokens).ticks,
        cost.experts(1, pairs, min(pairs, 5)).ticks,
        cost.head(tokens).ticks,
        cost.transfer(1).duration,
        int(reads.table.sum()),
    ]


@settings(max_examples=40, deadline=None)
@given(machines(), st.sampled_from(["graph", "piecewise", "eager"]), st.integers(1, 40), st.integers(0, 200))
def test_nothing_beats_the_machine_and_slower_machines_or_more_tokens_never_shorten(
    pair: tuple[Machine, Machine], launch: str, tokens: int, old: int
) -> None:
    model = tiny()
    fast, slow = (CostModel(machine, model, launch=launch) for machine in pair)
    assert all(a <= b for a, b in zip(ticks_of(fast, tokens, old), ticks_of(slow, tokens, old), strict=True))
    assert all(a <= b for a, b in zip(ticks_of(fast, tokens, old), ticks_of(fast, tokens + 1, old), strict=True))

    accelerator, link = pair[0].accelerator, pair[0].links.host_to_device
    assert link and pair[0].storage
    knots = accelerator.memory.bandwidth.knots or (1,)
    bandwidth = max(accelerator.memory.bandwidth.at(x) for x in knots)
    peak = accelerator.compute["bf16"].at() / 2
    for made in (fast.attention(1, tokens, tokens + old), fast.experts(1, 2 * tokens, 2), fast.head(tokens)):
        assert made.ticks >= 10**12 * max(made.flops / peak, made.bytes / bandwidth)
    moved = fast.transfer(1)
    assert moved.duration >= 10**12 * moved.bytes / max(link.bandwidth.at(x) for x in link.bandwidth.knots or (1,))
    table = pair[0].storage.bandwidth
    best = max(table.at(x, 1) for x in table.knots or (1,))
    for size, row in fast.storage_reads(1).by_size.items():
        assert all(t >= 10**12 * busy * size / best for busy, t in enumerate(row))


def test_the_expert_table_is_the_experts_method() -> None:
    cost = CostModel(round_machine(), tiny())
    table = cost.expert_table(1, 6, 4)
    want = np.zeros((7, 5), dtype=np.int64)
    for pairs in range(1, 7):
        for distinct in range(1, min(pairs, 4) + 1):
            want[pairs, distinct] = cost.experts(1, pairs, distinct).ticks
    assert (table == want).all()
