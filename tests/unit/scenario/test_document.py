"""YAML to data and places; everything JSON cannot say is refused where it stands."""

# ruff: noqa: E501 (one case a line)

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moesim.errors import InputError
from moesim.scenario.document import MAX_BYTES, from_plain, parse, read


def refused(text: str) -> list[str]:
    with pytest.raises(InputError) as caught:
        parse(text, "f.yaml")
    return str(caught.value).splitlines()


def test_values_are_those_of_yaml_1_2() -> None:
    text = "a: 1e9\nb: no\nc: 0o17\nd: 1:30\ne: ~\nf: true\ng: 2024-01-01\nh: 012\ni: -1.5\nj: !!str 5\n"
    assert parse(text, "f").plain() == {
        "a": 1e9, "b": "no", "c": 15, "d": "1:30", "e": None, "f": True, "g": "2024-01-01", "h": 12, "i": -1.5, "j": "5",
    }  # fmt: skip


def test_every_value_and_key_knows_its_place() -> None:
    tree = parse("a: 1\nb:\n  c: [x, {d: 2}]\n", "f.yaml")
    places = {path: (str(node.key), str(node.place)) for path, node in tree.walk()}
    assert places == {
        (): ("f.yaml:1:1", "f.yaml:1:1"),
        ("a",): ("f.yaml:1:1", "f.yaml:1:4"),
        ("b",): ("f.yaml:2:1", "f.yaml:3:3"),
        ("b", "c"): ("f.yaml:3:3", "f.yaml:3:6"),
        ("b", "c", 0): ("f.yaml:3:7", "f.yaml:3:7"),
        ("b", "c", 1): ("f.yaml:3:10", "f.yaml:3:10"),
        ("b", "c", 1, "d"): ("f.yaml:3:11", "f.yaml:3:14"),
    }


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: 1\nb: 2\na: 3\n", "f.yaml:3:1: a: duplicate key, first on line 1"),
        ("a: {x: 1, x: 2}\n", "f.yaml:1:11: a.x: duplicate key, first on line 1"),
        ("a:\n  - .nan\n", 'f.yaml:2:5: a.0: not a finite number, got ".nan"'),
        ("a: -.inf\n", 'f.yaml:1:4: a: not a finite number, got "-.inf"'),
        ("a: 1e999\n", 'f.yaml:1:4: a: not a finite number, got "1e999"'),
        ("a: 9223372036854775808\n", 'f.yaml:1:4: a: a whole number beyond 64 bits, got "9223372036854775808"'),
        ("1: x\n", 'f.yaml:1:1: a key must be text, got "1", allowed a word, or quotes around it'),
        ("? [a]\n: x\n", 'f.yaml:1:3: a key must be text, got "a collection", allowed a word, or quotes around it'),
        ("a: !!python/name:os.system x\n", 'f.yaml:1:4: a: tags are refused, got "tag:yaml.org,2002:python/name:os.system"'),
        ("a: !mine {b: 1}\n", 'f.yaml:1:4: a: tags are refused, got "!mine"'),
        ("a: &x {b: 1}\nc: {<<: *x}\n", 'f.yaml:2:5: c: merge keys are refused, got "<<", allowed extends: FILE'),
        ("a: &x [*x]\n", "f.yaml:1:4: a.0: a node that contains itself"),
        ("# hello\n%YAML 1.1\n---\na: no\n", 'f.yaml:2:1: directives are refused: moesim reads plain YAML 1.2, got "%YAML 1.1"'),
        ("a: *nobody\n", "f.yaml:1:4: not YAML: found undefined alias 'nobody'"),
        ("a: b: c\n", "f.yaml:1:5: not YAML: mapping values are not allowed here"),
    ],
)  # fmt: skip
def test_refused_at_its_place(text: str, said: str) -> None:
    assert refused(text) == [said]


def test_all_faults_at_once_sorted_by_line() -> None:
    said = refused("b: .nan\na: 1\na: 2\nc: {d: .inf}\n")
    assert [line.split(": ")[0] for line in said] == ["f.yaml:1:4", "f.yaml:3:1", "f.yaml:4:8"]


def test_a_thousand_million_laughs_are_not_laughed() -> None:
    bomb = "a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol, lol]\n"
    bomb += "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 10))
    (said,) = refused(bomb)
    assert "unfolds into more than 50000 nodes" in said


def test_deep_nesting_is_refused() -> None:
    assert "nested deeper than 50 levels" in refused("[" * 5000 + "]" * 5000)[0]
    assert "nested deeper than 50 levels" in refused("[" * 60 + "]" * 60)[0]
    parse("[" * 40 + "]" * 40, "f")


def test_aliases_are_unfolded() -> None:
    assert parse("a: &x [1]\nb: *x\n", "f").plain() == {"a": [1], "b": [1]}


def test_files_that_are_not_text(tmp_path: Path) -> None:
    path = tmp_path / "f.yaml"
    path.write_bytes(b"a: \xff\xfe\n")
    with pytest.raises(InputError, match=r"^f: not UTF-8 text: byte 3$"):
        read(path, "f")
    path.write_bytes(b"#" * (MAX_BYTES + 1))
    with pytest.raises(InputError, match="larger than 1000000 bytes"):
        read(path, "f")
    with pytest.raises(InputError, match="cannot be read"):
        read(tmp_path, "f")
    with pytest.raises(InputError, match="cannot be read: No such file"):
        read(tmp_path / "none", "f")


_DATA = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**62), 2**62) | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=12,
)  # fmt: skip


@given(_DATA)
def test_a_tree_keeps_its_data(data: object) -> None:
    tree = from_plain(data, parse("x", "f").place)
    assert tree.plain() == data


@given(st.text(max_size=60) | st.binary(max_size=60).map(lambda b: b.decode("latin-1")))
def test_any_text_parses_or_is_refused(text: str) -> None:
    try:
        parse(text, "f")
    except InputError as error:
        assert str(error).startswith("f")
