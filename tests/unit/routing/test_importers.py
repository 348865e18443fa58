"""Every format round trips, and every broken file is named with its row and column."""

import gzip
import json
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from moesim.errors import InputError
from moesim.routing import RoutingTrace, generate, read, write


def made() -> RoutingTrace:
    trace = generate("uniform", n_layers=3, n_experts=8, top_k=2, tokens=[5, 4], seed=1, prompt_tokens=[2, 0])
    experts = trace.experts.copy()
    experts[0, 2] = -1
    weights = np.linspace(0, 1, experts.size, dtype=np.float32).reshape(experts.shape)
    weights[0, 2] = 0
    header = {"expert_bytes": [7, 8, 9], "model": "m"}
    return replace(trace, experts=experts, weights=weights, names=("x", "ä"), header=header)


def same(a: RoutingTrace, b: RoutingTrace) -> None:
    assert a.experts.dtype == b.experts.dtype
    assert (a.experts == b.experts).all()
    assert (a.weights is None) == (b.weights is None)
    assert a.weights is None or (a.weights == b.weights).all()
    assert a.sequence_ptr.tolist() == b.sequence_ptr.tolist()
    assert a.prompt_tokens.tolist() == b.prompt_tokens.tolist()
    assert (a.n_experts, a.names, dict(a.header), a.source) == (b.n_experts, b.names, dict(b.header), b.source)


@pytest.mark.parametrize("name", ["folder", "file.parquet"])
@pytest.mark.parametrize(
    "changes", [{}, {"weights": None, "names": ()}, {"header": {"first_position": [3, 0]}}], ids=str
)
def test_round_trip(tmp_path, name, changes):
    trace = replace(made(), **changes)
    write(trace, tmp_path / name)
    same(read(tmp_path / name), trace)
    write(trace, tmp_path / name)  # replacing works too
    assert read(str(tmp_path / name), n_experts=8).n_experts == 8
    with pytest.raises(InputError, match=rf"{name}: experts: .*got 7, allowed 0 to 6"):
        read(tmp_path / name, n_experts=7)
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_a_folder_is_memory_mapped(tmp_path):
    write(made(), tmp_path / "folder")
    assert isinstance(read(tmp_path / "folder").experts, np.memmap)


@pytest.mark.parametrize(
    ("name", "content"),
    [("notes.txt", b"hello"), ("empty", b""), ("short.npy", b"\x93NUM")],
)
def test_other_files_are_no_traces(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=f"{name}: is no routing trace"):
        read(tmp_path / name)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"routing.path: no such file.*nowhere.parquet"):
        read(tmp_path / "nowhere.parquet")
    with pytest.raises(InputError, match=r"NAME\.parquet or as a folder"):
        write(made(), tmp_path / "x.csv")


class Boom:
    """Unpickling this would fail the test."""

    def __reduce__(self):
        return (pytest.fail, ("a pickle was loaded",))


@pytest.mark.parametrize("array", ["experts", "weights", "sequence_ptr", "prompt_tokens"])
@pytest.mark.parametrize("form", ["object array", "bare pickle", "archive", "rubbish", "nothing"])
def test_unsafe_or_broken_arrays_are_refused(tmp_path, array, form):
    folder = tmp_path / "folder"
    write(made(), folder)
    path = folder / f"{array}.npy"
    if form == "object array":
        np.save(path, np.array([Boom()], dtype=object), allow_pickle=True)
    elif form == "archive":
        with path.open("wb") as file:
            np.savez(file, x=np.zeros(3))
    else:
        path.write_bytes({"bare pickle": pickle.dumps(Boom()), "rubbish": b"abc" * 9, "nothing": b""}[form])
    with pytest.raises(InputError, match=rf"folder/{array}.npy: (holds pickled|is no|is an archive)") as caught:
        read(folder)
    if form in ("object array", "bare pickle"):
        assert "pickled objects, which are never loaded" in str(caught.value)


@pytest.mark.parametrize(
    ("meta", "text"),
    [
        ("[", "not readable JSON"),
        ("[]", "another format"),
        (json.dumps({"format": "moesim-routing-2"}), "moesim-routing-2.*allowed moesim-routing-1"),
        (json.dumps({"format": "moesim-routing-1", "n_experts": True}), "n_experts: must be a int"),
    ],
)
def test_broken_meta_is_refused(tmp_path, meta, text):
    write(made(), tmp_path / "folder")
    (tmp_path / "folder" / "meta.json").write_text(meta)
    with pytest.raises(InputError, match=text):
        read(tmp_path / "folder")


def test_a_folder_without_its_parts_is_refused(tmp_path):
    write(made(), tmp_path / "folder")
    (tmp_path / "folder" / "prompt_tokens.npy").unlink()
    with pytest.raises(InputError, match=r"folder/prompt_tokens\.npy: a routing folder needs it"):
        read(tmp_path / "folder")
    with pytest.raises(InputError, match=r"meta\.json: a routing folder needs it"):
        read(tmp_path)


def columns(**changes):
    """A fingerprint table: one sequence, positions 10 and 11, two layers, 2 of 4 experts."""
    table = {
        "sequence": ["s"] * 4,
        "position": [10, 10, 11, 11],
        "layer": [0, 1, 0, 1],
        "experts": [[0, 1], [2, 3], [1, 0], [3, 1]],
        "weights": [[0.5, 0.5]] * 4,
    } | changes
    return {name: value for name, value in table.items() if value is not None}


def parquet(tmp_path: Path, table: dict) -> Path:
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table(table), path)
    return path


def test_fingerprint_columns(tmp_path):
    trace = read(parquet(tmp_path, columns()))
    assert trace.experts.tolist() == [[[0, 1], [2, 3]], [[1, 0], [3, 1]]]
    assert trace.header == {"first_position": [10]}
    assert (trace.n_experts, trace.prompt_tokens.tolist(), trace.names) == (4, [0], ("s",))
    assert read(parquet(tmp_path, columns()), n_experts=6).n_experts == 6
    shuffled = pa.table(columns()).take([3, 0, 2, 1])
    pq.write_table(shuffled, tmp_path / "s.parquet")
    assert (read(tmp_path / "s.parquet").experts == trace.experts).all()
    bare = read(parquet(tmp_path, columns(weights=None)))
    assert bare.weights is None


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"layer": None}, "layer: column is missing"),
        ({"experts": [[0, 1], [2, 3], [1, 0], [3, 9]]}, ""),
        ({"experts": [[0, 1], [2, 3], [1, 1], [3, 1]]}, "experts: row 2: one expert picked twice"),
        ({"experts": [[0, 1], [2, -3], [1, 0], [3, 1]]}, "experts: row 1: expert id out of range, got -3"),
        ({"experts": [[0, 1], [2], [1, 0], [3, 1]]}, "experts: row 1: a list of 1 where others have 2"),
        ({"experts": [[0, 1], None, [1, 0], [3, 1]]}, "experts: row 1: no value"),
        ({"experts": [[0, 1], [2, None], [1, 0], [3, 1]]}, "experts: row 1: no value in the list"),
        ({"experts": [0, 1, 2, 3]}, "experts: must be lists"),
        ({"experts": [["a", "b"]] * 4}, "lists of the wrong type"),
        ({"weights": [[0.5, float("nan")]] * 4}, "weights: row 0: router weight"),
        ({"weights": [[-0.5, 1.5]] * 4}, "weights: row 0: router weight"),
        ({"weights": [[1.0]] * 4}, "weights: lists of 1 beside experts of 2"),
        ({"position": [10, 10, 12, 12]}, "sequence s: position 11 has no rows"),
        ({"position": [10, 10, 10, 10]}, "rows 0 and 2: the same sequence, position and layer"),
        ({"position": [-1, 10, 11, 11]}, "position: row 0: negative, got -1"),
        ({"position": [1.5, 10.0, 11.0, 11.0]}, "position: must be whole numbers"),
        ({"position": [0, 0, 2**40, 2**40]}, "too many to be true"),
        ({"sequence": ["s", None, "s", "s"]}, "sequence: row 1: no value"),
        ({n: [] for n in ("sequence", "weights")} | {n: pa.array([], pa.int32()) for n in ("position", "layer")}
         | {"experts": pa.array([], pa.list_(pa.int16())), "weights": None}, "empty"),
    ],
    ids=lambda value: value or "fine" if isinstance(value, str) else "",
)  # fmt: skip
def test_broken_parquet_is_refused(tmp_path, changes, text):
    path = parquet(tmp_path, columns(**changes))
    with pytest.raises(InputError, match=rf"t\.parquet: .*{text}"):
        read(path, n_experts=4)


def test_truncated_parquet_is_refused(tmp_path):
    path = parquet(tmp_path, columns())
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(InputError, match=r"t\.parquet: is not a readable parquet file"):
        read(path)


HEAD = """# route_trace v1
# model=/some/where/M.gguf arch=x n_layer=2 n_expert=4 n_expert_used=2
# layer=0 expert_bytes=100 dense_bytes=1
# layer=1 expert_bytes=90 dense_bytes=1
turn,phase,step,layer,slot,expert,weight,residency,expert_bytes
"""
ROWS = """0,0,0,0,0,3,0.6,0,100
0,0,0,0,1,1,0.4,0,100
0,0,1,0,0,2,0.6,0,100
0,0,1,0,1,1,0.4,1,100
0,0,1,1,0,0,0.7,0,90
0,0,1,1,1,3,0.3,0,90
0,1,2,0,0,2,0.6,1,100
0,1,2,0,1,0,0.4,0,100
0,1,2,1,0,0,0.7,1,90
0,1,2,1,1,1,0.3,0,90
"""


@pytest.mark.parametrize("packed", [False, True])
def test_route_csv(tmp_path, packed):
    path = tmp_path / ("r.csv.gz" if packed else "r.csv")
    path.write_bytes(gzip.compress((HEAD + ROWS).encode()) if packed else (HEAD + ROWS).encode())
    trace = read(path, n_experts=4)
    assert trace.experts.tolist() == [[[3, 1], [-1, -1]], [[2, 1], [0, 3]], [[2, 0], [0, 1]]]
    assert trace.prompt_tokens.tolist() == [2]
    assert trace.n_experts == 4
    assert trace.header == {"model": "M.gguf", "expert_bytes": [100, 90]}
    assert trace.weights[1, 1].tolist() == pytest.approx([0.7, 0.3])


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ("0,1,2,0,1,0,0.4", "0,1,2,0,1,4,0.4", r"r.csv:13: expert: expert id out of range, got 4, allowed 0 to 3"),
        ("0,1,2,0,1,0,0.4", "0,1,2,0,1,2,0.4", r"r.csv:13: expert: one expert picked twice"),
        ("0,1,2,0,1,0,0.4", "0,1,2,0,1,0,nan", r"r.csv:13: weight: got nan"),
        ("0,1,2,0,1,0,0.4", "0,1,2,0,1,0,-0.4", r"r.csv:13: weight: router weight"),
        ("0,1,2,0,1,0,0.4", "0,1,2,0,1,x,0.4", r'r.csv:13: expert: is not a number, got "x"'),
        ("0,1,2,0,1,0,0.4", "0,1,2,0,1,-1,0.4", r"r.csv:13: expert: got -1"),
        ("0,1,2,0,1,0,0.4", "0,2,2,0,1,0,0.4", r"r.csv:13: phase: got 2, allowed 0 \| 1"),
        ("0,1,2,0,1,0,0.4", "0,1,2,0,0,0,0.4", r"r.csv:13: slot: the same turn, step, layer and slot again"),
        ("0,1,2,0,1,0,0.4,0,100\n", "", r"r.csv:12: expert: some picks are missing"),
        ("0,1,2,0,1,0,0.4,0,100", "0,1,2,0,1,0", r"r.csv:13: 6 cells for 9 columns"),
        ("0,0,1,1,0,0,0.7", "0,1,1,1,0,0,0.7", r"r.csv:10: phase: a prefill line at or after a decode step"),
        ("0,1,2,", "0,1,9,", r"turn 0: step 2 has no lines"),
        ("turn,phase", "turn,fase", r"r.csv:5: phase: column is missing"),
        ("# layer=0 expert_bytes=100", "# layer=7 expert_bytes=100", "for some layers only"),
        ("n_layer=2", "n_layer=99999999999", "impossible count"),
        (ROWS, "", "empty"),
    ],
)
def test_broken_csv_is_refused(tmp_path, old, new, text):
    assert old in HEAD + ROWS
    path = tmp_path / "r.csv"
    path.write_text((HEAD + ROWS).replace(old, new))
    with pytest.raises(InputError, match=text):
        read(path)


def test_truncated_gzip_is_refused(tmp_path):
    path = tmp_path / "r.csv.gz"
    path.write_bytes(gzip.compress((HEAD + ROWS).encode())[:-30])
    with pytest.raises(InputError, match=r"r\.csv\.gz: is not a readable gzip file"):
        read(path)
