"""Profiles: the shipped ones load and say how far off they are; broken ones are refused in words."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from moesim.errors import InputError
from moesim.routing import Profile, generate, load_profile, profile_names
from moesim.routing.fit import fit, hit_error, write_profile
from moesim.routing.profile import profile_path

SHAPES = {"gpt-oss-20b": (24, 32, 4), "mixtral-8x7b": (32, 8, 2), "qwen3-30b-a3b": (48, 128, 6)}


def sound() -> dict:
    memory = {"short_share": 0.25, "short_tokens": 2.5, "long_share": 0.125, "long_tokens": 40.0}
    return {
        "moesim_profile": 1,
        "name": "p",
        "source": "typed in",
        "fitted": "not at all",
        "n_experts": 3,
        "top_k": 2,
        "rank_weights": [0.7, 0.3],
        "fit_error": {"judged": {"error": [0.1]}},
        "memory": [memory, dict(memory)],
        "popularity": ["1 2 3", "9 0 1"],
    }


def test_the_shipped_profiles():
    assert profile_names() == sorted(SHAPES)


@pytest.mark.parametrize("name", sorted(SHAPES))
def test_a_shipped_profile_is_small_sourced_and_judged(name):
    profile = load_profile(name)
    assert (profile.n_layers, profile.n_experts, profile.top_k) == SHAPES[name]
    assert profile_path(name).stat().st_size < 100_000
    assert len(profile.source) > 40
    assert len(profile.fitted) > 40
    judged = [key for key in profile.fit_error if "judged" in key]
    assert judged, "the error on data left out of the fit must be in the file"
    for key in judged:
        table = profile.fit_error[key]
        assert len(table["error"]) == len(table["measured"]) == len(table["simulated"])
        assert np.allclose(np.subtract(table["simulated"], table["measured"]), table["error"], atol=0.011)
    trace = generate(
        "profile",
        n_layers=profile.n_layers,
        n_experts=profile.n_experts,
        top_k=profile.top_k,
        tokens=[6, 3],
        seed=0,
        params={"profile": name},
    )
    trace.validate(profile.n_experts)
    assert profile.source in trace.source


def test_round_trip(tmp_path):
    profile = Profile.from_dict(sound())
    assert profile.to_dict() == sound()
    assert profile.memories[0] == (Fraction(1, 4), Fraction(5, 2), Fraction(1, 8), Fraction(40))
    write_profile(profile, tmp_path / "p.yaml")
    assert load_profile(tmp_path / "p.yaml") == profile


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"popularty": 1}, "popularty: a routing profile has no such key, nearest popularity"),
        ({"memory": None}, "memory: must be a list"),
        ({"moesim_profile": 2}, "another format.*got 2, allowed 1"),
        ({"top_k": 4}, "top_k: more picks than experts"),
        ({"top_k": "2"}, "top_k: must be a whole number"),
        ({"source": ""}, "source: must be text"),
        ({"popularity": ["1 2 3", "1 2"]}, r"popularity\[1\]: must be 3 whole numbers >= 0: has 2"),
        ({"popularity": ["1 2 3", "0 0 0"]}, r"popularity\[1\]: must not be all zero"),
        ({"popularity": ["1 2 3", "1 2 -3"]}, r"popularity\[1\]"),
        ({"popularity": ["1 2 3", [1, [2], 3]]}, r"popularity\[1\]"),
        ({"popularity": ["1 2 3"]}, "2 layers of memory for 1 layers"),
        ({"memory": [sound()["memory"][0], {}]}, r"memory\[1\]: must have exactly short_share"),
        ({"memory": [sound()["memory"][0] | {"long_share": 0.8}] * 2}, r"memory\[0\]: shares must be >= 0"),
        ({"memory": [sound()["memory"][0] | {"long_share": float("nan")}] * 2}, r"memory\[0\]: must be four finite"),
        ({"memory": [sound()["memory"][0] | {"long_tokens": 0.5}] * 2}, r"memory\[0\]: .*>= 1 token"),
        ({"rank_weights": [0.5]}, "rank_weights: must be top_k numbers"),
        ({"rank_weights": 0.5}, "rank_weights: must be top_k numbers"),
    ],
)
def test_broken_profiles_are_refused(change, text):
    with pytest.raises(InputError, match=text) as caught:
        Profile.from_dict(sound() | change, file="p.yaml")
    assert all(fault.file == "p.yaml" for fault in caught.value.faults)


def test_missing_keys_are_all_reported():
    with pytest.raises(InputError) as caught:
        Profile.from_dict({})
    assert len(caught.value.faults) == 8


BOMB = "a: &a [1, 1]\nb: &b [*a, *a]\nc: [*b, *b]\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BOMB, "aliases are not allowed"),
        ("a: [", "not readable YAML"),
        ("- 1", "is a map"),
        ("a: 1\na: 2", "duplicate"),
    ],
)
def test_unreadable_files_are_refused(tmp_path: Path, text, message):
    path = tmp_path / "p.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        load_profile(path)


def test_unknown_names():
    with pytest.raises(InputError, match=r"gpt-oss-20b \| mixtral-8x7b.*nearest qwen3-30b-a3b"):
        load_profile("qwen3-30b")
    with pytest.raises(InputError, match="no such file"):
        load_profile("nowhere/p.yaml")


def test_a_fit_recovers_hit_rates_of_routing_it_did_not_make():
    """Sticky Zipf is another law than two memories; its LRU curve must still come out, on sequences left out."""
    params = {"exponent": 0.6, "repeat": 0.35}
    trace = generate("sticky_zipf", n_layers=2, n_experts=16, top_k=2, tokens=[300] * 6, seed=1, params=params)
    known, unknown = trace.select([0, 2, 4]), trace.select([1, 3, 5])
    profile = fit(known, name="p", source="made", rounds=10, candidates=8)
    table = hit_error(profile, unknown, [2, 3, 4, 6, 8, 12, 16], copies=4)
    assert max(abs(e) for e in table["error"]) < 4
    untrained = replace(profile, memories=((Fraction(0), Fraction(1), Fraction(0), Fraction(1)),) * 2)
    worse = hit_error(untrained, unknown, [2, 3, 4, 6, 8, 12, 16], copies=4)
    assert max(abs(e) for e in worse["error"]) > 8, "the check must see a profile without memory fail"
