"""YAML text to plain data in which every value knows where it was written.

YAML 1.2 through ruamel.yaml, restricted to what JSON can say: maps with text keys, lists, text, whole numbers of 64
bits, finite decimals, booleans, null (a timestamp stays text). Refused, each with its place: duplicate keys, NaN and
infinities, tags, merge keys (`extends` does that), directives, several documents, nodes that contain themselves, and
texts whose aliases unfold into more nodes than any honest file has.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, ReusedAnchorWarning, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from moesim.errors import Fault, InputError

__all__ = ["Place", "Tree", "dotted", "from_plain", "parse", "read"]

MAX_BYTES = 1_000_000
MAX_NODES = 50_000
MAX_DEPTH = 50
_TAG = "tag:yaml.org,2002:"
_BOOLS = {"true": True, "false": False}


@dataclass(frozen=True, slots=True)
class Place:
    """A spot in a file; lines and columns count from 1. Line 0: the whole of `file`, which may be `--set a.b=c`."""

    file: str
    line: int = 0
    col: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.col}" if self.line else self.file


@dataclass(frozen=True, slots=True)
class Tree:
    """A value and its place. `value` is a dict of trees, a tuple of trees, or a scalar.

    `key` is the place of the key that holds this value (its own place in lists and at the root). `whole` marks a value
    that stands for a complete section (the short form `hardware: NAME`): composing replaces what was there instead of
    merging.
    """

    value: Any
    place: Place
    key: Place
    whole: bool = False

    @property
    def is_map(self) -> bool:
        """Whether this is a map of fields."""
        return isinstance(self.value, dict)

    def plain(self) -> Any:
        """The data without places."""
        if isinstance(self.value, dict):
            return {key: child.plain() for key, child in self.value.items()}
        if isinstance(self.value, tuple):
            return [child.plain() for child in self.value]
        return self.value

    def get(self, *path: str | int) -> Tree | None:
        """The tree at a path, or None."""
        here: Tree | None = self
        for step in path:
            value = here.value if here is not None else None
            if isinstance(value, dict):
                here = value.get(step)
            elif isinstance(value, tuple) and isinstance(step, int) and 0 <= step < len(value):
                here = value[step]
            else:
                return None
        return here

    def with_value(self, value: Any) -> Tree:
        """The same place with another value."""
        return replace(self, value=value)

    def set(self, path: tuple[str, ...], child: Tree) -> Tree:
        """A copy in which `path` holds `child`; maps on the way are made where they are missing."""
        if not path:
            return child
        old = self.value if isinstance(self.value, dict) else {}
        inner = old.get(path[0], Tree({}, child.place, child.key))
        return self.with_value({**old, path[0]: inner.set(path[1:], child)})

    def walk(self, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], Tree]]:
        """Every node with its path, parents first."""
        yield path, self
        if isinstance(self.value, dict):
            for key, child in self.value.items():
                yield from child.walk((*path, key))
        elif isinstance(self.value, tuple):
            for index, child in enumerate(self.value):
                yield from child.walk((*path, index))


def dotted(path: tuple[str | int, ...]) -> str:
    """``("prefetch", "recall", 0)`` -> ``prefetch.recall.0``."""
    return ".".join(str(step) for step in path)


def from_plain(
    data: Any, place: Place | Callable[[tuple[str | int, ...]], Place], path: tuple[str | int, ...] = ()
) -> Tree:
    """Plain data as a tree; `place` is one place for all of it or a function of the path."""
    here = place(path) if callable(place) else place
    if isinstance(data, Mapping):
        return Tree({str(k): from_plain(v, place, (*path, str(k))) for k, v in data.items()}, here, here)
    if isinstance(data, list | tuple):
        return Tree(tuple(from_plain(v, place, (*path, i)) for i, v in enumerate(data)), here, here)
    return Tree(data, here, here)


def read(path: Path, shown: str = "") -> Tree:
    """The tree of a YAML file. `shown` is the file's name in messages. Raises InputError."""
    name = shown or str(path)
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InputError(Fault(file=name, message=f"larger than {MAX_BYTES} bytes: not a file moesim reads"))
        text = path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(Fault(file=name, message=f"not UTF-8 text: byte {error.start}")) from None
    except OSError as error:
        raise InputError(Fault(file=name, message=f"cannot be read: {error.strerror or error}")) from None
    return parse(text, name)


@lru_cache(maxsize=64)  # trees are immutable, and a sweep reads the same profiles at every point
def parse(text: str, file: str, *, lines: bool = True) -> Tree:
    """The tree of a YAML text.

    `lines=False` leaves line and column out of every place (a value on the command line has none). Raises InputError
    with every duplicate key, NaN and the like at once; a text that is not YAML at all gives one fault.
    """
    if len(text) > MAX_BYTES:
        raise InputError(Fault(file=file, message=f"longer than {MAX_BYTES} characters"))
    for number, line in enumerate(text.splitlines(), start=1):
        if line.startswith("%"):
            fault = Fault(file=file, message="directives are refused: moesim reads plain YAML 1.2", got=line[:40])
            raise InputError(fault.located(file, number if lines else 0, 1 if lines else 0))
        if line.strip() and not line.lstrip().startswith("#"):
            break
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ReusedAnchorWarning)
            root = YAML(typ="safe", pure=True).compose(text)
    except RecursionError:
        raise InputError(Fault(file=file, message=f"nested deeper than {MAX_DEPTH} levels")) from None
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        said = " ".join(str(part) for part in (error.context, error.problem) if part)
        row, col = (mark.line + 1, mark.column + 1) if mark is not None and lines else (0, 0)
        raise InputError(Fault(message=f"not YAML: {said}").located(file, row, col)) from None
    except (YAMLError, ValueError, AttributeError, AssertionError, NotImplementedError) as error:
        # ruamel's reader and scanner let a few odd texts escape as other errors; for the user all mean the same
        raise InputError(
            Fault(file=file, message=f"not YAML: {str(error).splitlines()[0] if str(error) else error!r}")
        ) from None
    if root is None:
        return Tree(None, Place(file, 1, 1) if lines else Place(file), Place(file, 1, 1) if lines else Place(file))
    builder = _Builder(file, lines)
    tree = builder.build(root)
    if builder.faults:
        raise InputError(*builder.faults)
    return tree


class _Builder:
    """Unfolds ruamel's nodes into a Tree, collecting faults."""

    def __init__(self, file: str, lines: bool) -> None:
        self.file, self.lines = file, lines
        self.faults: list[Fault] = []
        self.made = 0
        self.open: set[int] = set()

    def place(self, node: Node) -> Place:
        mark = node.start_mark
        return Place(self.file, mark.line + 1, mark.column + 1) if self.lines else Place(self.file)

    def fault(self, node: Node, path: tuple[str | int, ...], message: str, got: Any = None, allowed: str = "") -> None:
        at = self.place(node)
        self.faults.append(
            Fault(message=message, field=dotted(path), got=got, allowed=allowed).located(at.file, at.line, at.col)
        )

    def build(self, node: Node, path: tuple[str | int, ...] = (), key: Place | None = None) -> Tree:
        at = self.place(node)
        self.made += 1
        if self.made > MAX_NODES:
            # raised at once: going on is what the bomb wants
            raise InputError(
                Fault(message=f"unfolds into more than {MAX_NODES} nodes").located(at.file, at.line, at.col)
            )
        if id(node) in self.open:
            self.fault(node, path, "a node that contains itself")
            return Tree(None, at, key or at)
        if len(path) > MAX_DEPTH:
            self.fault(node, path[:3], f"nested deeper than {MAX_DEPTH} levels")
            return Tree(None, at, key or at)
        self.open.add(id(node))
        if isinstance(node, ScalarNode) and not node.value and key is not None and node.tag == f"{_TAG}null":
            at = key  # nothing is written: ruamel's mark is where the next thing begins
        try:
            return Tree(self.value(node, path), at, key or at)
        finally:
            self.open.discard(id(node))

    def value(self, node: Node, path: tuple[str | int, ...]) -> Any:
        if isinstance(node, ScalarNode):
            return self.scalar(node, path)
        if node.tag not in (f"{_TAG}map", f"{_TAG}seq"):
            self.fault(node, path, "tags are refused", got=str(node.tag))
            return None
        if isinstance(node, SequenceNode):
            return tuple(self.build(child, (*path, index)) for index, child in enumerate(node.value))
        assert isinstance(node, MappingNode)
        made: dict[str, Tree] = {}
        for key, child in node.value:
            if key.tag == f"{_TAG}merge":
                self.fault(key, path, "merge keys are refused", got="<<", allowed="extends: FILE")
            elif not isinstance(key, ScalarNode) or key.tag != f"{_TAG}str":
                got = key.value if isinstance(key, ScalarNode) else "a collection"
                self.fault(key, path, "a key must be text", got=got, allowed="a word, or quotes around it")
            elif key.value in made:
                first = made[key.value].key
                where = f", first on line {first.line}" if first.line else ""
                self.fault(key, (*path, key.value), f"duplicate key{where}")
            else:
                made[key.value] = self.build(child, (*path, key.value), self.place(key))
        return made

    def scalar(self, node: ScalarNode, path: tuple[str | int, ...]) -> Any:
        text, tag = str(node.value), str(node.tag).removeprefix(_TAG)
        try:
            match tag:
                case "str" | "timestamp" | "value":
                    return text
                case "null":
                    return None
                case "bool":
                    return _BOOLS[text.lower()]
                case "int":
                    number = int(text, 0) if text.lstrip("+-")[:2].lower() in ("0x", "0o") else int(text)
                    if abs(number) < 2**63:
                        return number
                    self.fault(node, path, "a whole number beyond 64 bits", got=text[:40])
                    return None
                case "float":
                    if text.lower().lstrip("+-") in (".nan", ".inf") or not math.isfinite(float(text)):
                        self.fault(node, path, "not a finite number", got=text[:40])
                        return None
                    return float(text)
        except (ValueError, KeyError):
            self.fault(node, path, f"not a {tag}", got=text[:40])
            return None
        self.fault(node, path, "tags are refused", got=str(node.tag))
        return None
