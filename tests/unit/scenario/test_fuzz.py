"""Whatever is done to a valid scenario, loading it gives a Scenario or an InputError that says where."""

# ruff: noqa: E501 (lists of odd things)

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from moesim.errors import InputError
from moesim.scenario.document import dotted, parse
from moesim.scenario.load import load
from moesim.scenario.scenario import Scenario
from tests.unit.scenario.conftest import SCENARIO

PATHS = [path for path, _ in parse(SCENARIO, "s").walk() if path] + [
    ("hardware", "accelerator", "memory", "bandwidth"), ("hardware", "links", "host_to_device"), ("hardware", "extends"),
    ("hardware", "storage", "bandwidth"), ("hardware", "runtime", "kernels", "head"), ("hardware", "sources"),
    ("model", "top_k"), ("model", "granularity"), ("model", "config"), ("model", "windows"), ("model", "dense_layers"),
    ("model", "expert_bytes"), ("model", "sources"), ("routing", "path"), ("routing", "profile"), ("routing", "split"),
    ("memory", "dram_cache"), ("placement", "pinned"), ("extends",), ("on_miss",), ("selection",), ("link", "chunks"),
]  # fmt: skip
WORDS = ["", "none", "auto", "lru", "1 GiB", "4 TB/s", "-1", "1e9", "inf", "nan", "25 %", "3 us", "python", "..", ".", "/", "\x00", "a.yaml",
         "toy-gpu", "toy-desktop", "base.yaml", "mixtral-8x7b", "trace", "profile", "nvme", "9" * 60, "é😀"]  # fmt: skip
SCALARS = st.one_of(
    st.sampled_from([None, True, False, 0, 1, -1, 2, 3, 8, 10**6, 2**62, -(2**62), 0.5, 1.0, 1e300, -0.0, 1e-300]),
    st.integers(-(2**63) + 1, 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(WORDS),
    st.text(max_size=6),
)
KEYS = st.sampled_from(
    [
        "kind",
        "discipline",
        "extends",
        "value",
        "curve",
        "source",
        "x",
        "y",
        "layers",
        "popular",
        "slots_per_layer",
        "none",
        "0",
    ]
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3), max_leaves=5
)


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """As `folder`, for the whole module."""
    from tests.unit.scenario import conftest as c

    root = tmp_path_factory.mktemp("fuzz")
    home = root / "profiles"
    parts = (("toy-desktop", c.MACHINE), ("parts/accelerator/toy-gpu", c.GPU), ("parts/storage/toy-drive", c.DRIVE))
    for name, text in parts:
        (home / f"{name}.yaml").parent.mkdir(parents=True, exist_ok=True)
        (home / f"{name}.yaml").write_text(text)
    (root / "base.yaml").write_text(SCENARIO)
    before, old = Path.cwd(), os.environ.get("MOESIM_PROFILE_PATH")
    os.chdir(root)
    os.environ["MOESIM_PROFILE_PATH"] = str(home)
    yield root
    os.chdir(before)
    if old is None:
        del os.environ["MOESIM_PROFILE_PATH"]
    else:
        os.environ["MOESIM_PROFILE_PATH"] = old


def attempt(name: str, sets: tuple[str, ...] = ()) -> None:
    try:
        loaded = load(name, sets)
    except InputError as error:
        assert error.faults
        assert all(fault.file for fault in error.faults), str(error)
    else:
        assert isinstance(loaded, Scenario)
        json.dumps(loaded.resolved(), allow_nan=False)
        loaded.sources()
        assert loaded.fits().ok


CHECKED = settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])


@CHECKED
@given(changes=st.lists(st.tuples(st.sampled_from(PATHS), VALUES), min_size=1, max_size=3))
def test_values_of_any_kind_anywhere(workplace: Path, changes: list[tuple[tuple[Any, ...], Any]]) -> None:
    attempt("base.yaml", tuple(f"{dotted(path)}={json.dumps(value)}" for path, value in changes))


@CHECKED
@given(
    drop=st.sets(st.integers(0, SCENARIO.count("\n") - 1), max_size=4),
    edits=st.lists(
        st.tuples(st.integers(0, len(SCENARIO)), st.sampled_from(list(":-{}[],&*!|>'\"#%@` \n\t0a"))), max_size=3
    ),
)
def test_lines_dropped_and_characters_inserted(workplace: Path, drop: set[int], edits: list[tuple[int, str]]) -> None:
    text = "".join(line for i, line in enumerate(SCENARIO.splitlines(keepends=True)) if i not in drop)
    for place, character in edits:
        text = text[:place] + character + text[place:]
    (workplace / "s.yaml").write_text(text)
    attempt("s.yaml")
