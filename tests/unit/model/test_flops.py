"""FLOPs against sums done the slow way and against parameters."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moesim.model import flops
from moesim.model.fields import from_dict
from moesim.model.presets import load_preset, read_fields

COUNTS = st.integers(0, 60)


@given(tokens=COUNTS, before=COUNTS, window=st.one_of(st.none(), st.integers(1, 80)))
def test_attended_and_span_equal_the_mask(tokens: int, before: int, window: int | None) -> None:
    context = before + tokens
    mask = [
        [key <= query and (window is None or key > query - window) for key in range(context)]
        for query in range(before, context)
    ]
    assert flops.attended(tokens, context, window) == sum(map(sum, mask))
    assert flops.span(tokens, context, window) == sum(map(any, zip(*mask, strict=True)))


@pytest.mark.parametrize("function", [flops.attended, flops.span])
def test_more_tokens_than_context_is_a_mistake(function: object) -> None:
    with pytest.raises(ValueError, match="got 5"):
        function(5, 4)  # type: ignore[operator]


@pytest.mark.parametrize("name", ["mixtral", "qwen3", "gpt-oss"])
def test_a_token_costs_twice_its_active_matrices(name: str) -> None:
    """Without scores, a token costs 2 FLOPs for every active parameter but the embedding's, norms and biases."""
    spec = load_preset(name)
    token = flops.head(spec, 1) + sum(
        flops.projections(spec, 1) + flops.router(spec, i, 1) + flops.expert(spec, i, spec.top_k)
        for i in range(spec.n_layers)
    )
    matrices = spec.active_params(embedding=False)
    for layer in range(spec.n_layers):
        vectors = [*spec.attention_tensors(), *spec.norm_tensors(), *spec.router_tensors(layer)]
        vectors += list(spec.expert_tensors(layer)) * spec.top_k
        matrices -= sum(t.params for t in vectors if t.role == "vector")
    assert token == 2 * (matrices - spec.d_model)


def test_scores_by_hand() -> None:
    mixtral, gpt_oss = load_preset("mixtral"), load_preset("gpt-oss")
    # One query against 512 keys: 2 x 128 FLOPs a head for q.k, as many for the weighted sum.
    assert flops.scores(mixtral, 0, 1, 512) == 32 * 512 * (2 * 128 + 2 * 128)
    assert flops.scores(gpt_oss, 0, 1, 512) == 64 * 128 * 4 * 64  # slides
    assert flops.scores(gpt_oss, 1, 1, 512) == 64 * 512 * 4 * 64


def test_prefill_in_chunks_costs_the_same() -> None:
    spec = load_preset("gpt-oss")
    for layer in (0, 1):
        whole = flops.scores(spec, layer, 1000, 1000)
        assert whole == sum(flops.scores(spec, layer, 250, end) for end in (250, 500, 750, 1000))


def test_shared_and_dense() -> None:
    spec = from_dict({**read_fields("qwen3"), "n_shared": 2, "d_shared": 512, "dense_layers": [0], "d_ff": 6144})
    assert flops.shared(spec, 1, 10) == 10 * 2 * 3 * 2048 * 1024
    assert flops.dense(spec, 0, 10) == 10 * 2 * 3 * 2048 * 6144
    assert [flops.dense(spec, 1, 9), flops.shared(spec, 0, 9), flops.router(spec, 0, 9), flops.expert(spec, 0)] == [
        0
    ] * 4
