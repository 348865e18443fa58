"""What a trace refuses, and how it says so."""

from dataclasses import replace

import numpy as np
import pytest

from moesim.errors import InputError
from moesim.routing.trace import RoutingTrace


def tiny(**changes) -> RoutingTrace:
    """Two sequences of 2 and 1 tokens, 2 layers, 2 of 4 experts; the first token is not routed at layer 1."""
    trace = RoutingTrace(
        experts=np.array([[[0, 1], [-1, -1]], [[2, 3], [3, 0]], [[1, 0], [0, 2]]], dtype=np.int16),
        weights=np.array([[[0.6, 0.4]] * 2] * 3, dtype=np.float32),
        sequence_ptr=np.array([0, 2, 3], dtype=np.int64),
        prompt_tokens=np.array([1, 0], dtype=np.int32),
        n_experts=4,
        names=("a", "b"),
        header={"expert_bytes": [10, 20], "first_position": [0, 7]},
        source="typed in",
    )
    return replace(trace, **changes)


def spoiled(array, index, value):
    out = array.copy()
    out[index] = value
    return out


def test_a_sound_trace_passes_and_is_described():
    trace = tiny()
    assert trace.validate(4) is trace
    assert (trace.n_tokens, trace.n_layers, trace.top_k, trace.n_sequences) == (3, 2, 2, 2)
    assert trace.place(1) == (0, 1)
    assert trace.place(2) == (1, 0)
    assert replace(trace, names=()).name(1) == "1"


def test_select_takes_whole_sequences():
    part = tiny().select([1]).validate()
    assert part.experts.tolist() == [[[1, 0], [0, 2]]]
    assert (part.names, part.sequence_ptr.tolist(), part.prompt_tokens.tolist()) == (("b",), [0, 1], [0])
    assert part.header["first_position"] == [7]
    assert tiny().select([1, 0]).experts[0].tolist() == [[1, 0], [0, 2]]


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"experts": spoiled(tiny().experts, (1, 1, 0), 4)}, r"row 3 \(sequence a, token 1, layer 1\).*got 4.*0 to 3"),
        ({"experts": spoiled(tiny().experts, (2, 0, 0), -2)}, r"row 4 \(sequence b, token 0, layer 0\).*got -2"),
        ({"experts": spoiled(tiny().experts, (2, 0, 0), -1)}, "some picks are missing"),
        ({"experts": spoiled(tiny().experts, (2, 0, 0), 0)}, r"one expert picked twice by one token, got \[0, 0\]"),
        ({"weights": spoiled(tiny().weights, (1, 0, 1), np.nan)}, "row 2.*router weight is not usable"),
        ({"weights": spoiled(tiny().weights, (1, 0, 1), -0.1)}, "finite numbers >= 0"),
        ({"weights": np.zeros((3, 2, 1), dtype=np.float32)}, "weights: must be float32 of the shape"),
        ({"experts": tiny().experts.astype(np.int64)}, "must be int16 or int32"),
        ({"experts": tiny().experts[:0]}, "empty"),
        ({"n_experts": 1}, "top-k is larger"),
        ({"sequence_ptr": np.array([0, 3, 2], dtype=np.int64)}, "must rise from 0 to the 3 tokens"),
        ({"sequence_ptr": np.array([0], dtype=np.int64)}, r"int64 \[S\+1\]"),
        ({"prompt_tokens": np.array([3, 0], dtype=np.int32)}, "between 0 and the tokens"),
        ({"prompt_tokens": np.array([0], dtype=np.int32)}, r"int32 \[2\]"),
        ({"names": ("a",)}, "1 names for 2 sequences"),
        ({"header": {"expert_bytes": [10]}}, "2 positive whole numbers"),
        ({"header": {"expert_bytes": [10, 0]}}, "2 positive whole numbers"),
    ],
)
def test_faults_name_file_and_place(changes, text):
    with pytest.raises(InputError, match=text) as caught:
        tiny(**changes).validate(file="some.npy")
    assert all(fault.file == "some.npy" for fault in caught.value.faults)


def test_ids_are_checked_against_the_model():
    with pytest.raises(InputError, match="got 3, allowed 0 to 2"):
        tiny().validate(3)


def test_weights_of_unrouted_tokens_do_not_matter():
    tiny(weights=spoiled(tiny().weights, (0, 1, 0), np.nan)).validate()


def test_thousands_of_faults_are_cut_short():
    trace = tiny(experts=np.zeros((3000, 2, 2), dtype=np.int16), weights=None, names=())
    trace = replace(trace, sequence_ptr=np.array([0, 2, 3000], dtype=np.int64))
    with pytest.raises(InputError) as caught:
        trace.validate()
    assert len(caught.value.faults) == 5
