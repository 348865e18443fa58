"""The run folder: what a run leaves on disk, a versioned contract.

================== ==================================================================================================
summary.json       every figure (`moesim.results.metrics.GLOSSARY` defines them)
tokens.parquet     one row per step (`moesim.results.tokens.token_columns`)
layers.parquet     one row per (step, layer)
residency.parquet  one row per (step, layer): experts resident
waits.parquet      one row per wait of the stream, with the transfer that ended it
trace.json.gz      the timeline window for https://ui.perfetto.dev
scenario.yaml      the scenario, resolved
manifest.json      what made it: hashes, sources, notes, versions
report.html        the page (`moesim.report`), when one was written
================== ==================================================================================================

Same scenario and seed, same bytes in every file, the manifest's `environment` block aside.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from moesim.core import atomic
from moesim.errors import Fault, InputError
from moesim.plan.plan import Plan
from moesim.results import tokens
from moesim.results.info import ScenarioInfo
from moesim.results.manifest import environment as current_environment
from moesim.results.manifest import manifest as make_manifest
from moesim.results.metrics import summary
from moesim.results.perfetto import read_slices, write_trace
from moesim.results.result import Result, Slice
from moesim.results.tokens import Columns

__all__ = ["FILES", "FORMAT", "PAGE", "RunData", "check_target", "read", "save"]

FORMAT: Final = 1
FILES: Final = (
    "summary.json", "tokens.parquet", "layers.parquet", "residency.parquet", "waits.parquet", "trace.json.gz",
    "scenario.yaml", "manifest.json",
)  # fmt: skip
"""Files that every run folder has."""
PAGE: Final = "report.html"
_MARKS: Final = ("manifest.json", "summary.json")


@dataclass(frozen=True, kw_only=True, eq=False)
class RunData:
    """A run folder, read."""

    folder: Path
    summary: dict[str, Any]
    manifest: dict[str, Any]
    scenario: dict[str, Any]
    tokens: Columns
    layers: Columns
    residency: Columns
    waits: Columns
    timeline: list[Slice]

    @property
    def n_layers(self) -> int:
        """L."""
        return int(self.manifest["plan"]["n_layers"])

    @property
    def n_steps(self) -> int:
        """S."""
        return len(self.tokens["step"])

    @property
    def prefill(self) -> NDArray[np.bool_]:
        """[S]"""
        return self.tokens["prefill"].astype(bool)

    @property
    def duration_ps(self) -> NDArray[np.int64]:
        """[S]"""
        return np.asarray(self.tokens["end_ps"] - self.tokens["start_ps"], dtype=np.int64)

    def grid(self, column: str) -> NDArray[np.int64]:
        """A column of `layers` (or `resident`) as [S, L]."""
        table = self.residency if column == "resident" else self.layers
        return np.asarray(table[column], dtype=np.int64).reshape(self.n_steps, self.n_layers)


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def _yaml(value: Mapping[str, Any]) -> bytes:
    from ruamel.yaml import YAML

    # through JSON: plain maps, lists and scalars only, whatever frozen types the scenario is made of
    plain = json.loads(json.dumps(value, ensure_ascii=False, allow_nan=False))
    writer = YAML(typ="safe", pure=True)
    writer.default_flow_style = False
    writer.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    writer.width = 120
    out = io.BytesIO()
    writer.dump(plain, out)
    return out.getvalue()


def _write_parquet(columns: Columns, path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table({name: pa.array(np.ascontiguousarray(column)) for name, column in columns.items()})
    table = table.replace_schema_metadata({"moesim_format": str(FORMAT)})
    pq.write_table(table, path, compression="zstd", version="2.6", row_group_size=1 << 20)


def _read_parquet(path: Path) -> Columns:
    import pyarrow.parquet as pq

    table = pq.read_table(path)
    return {name: table.column(name).to_numpy() for name in table.column_names}


def check_target(folder: Path) -> None:
    """Raises InputError unless a run may be written as `folder`: nothing there, an empty folder, or an older run."""
    atomic.check_target(folder, _MARKS)


def save(
    result: Result,
    plan: Plan,
    info: ScenarioInfo,
    folder: Path,
    *,
    environment: Mapping[str, Any] | None = None,
    finish: Callable[[Path], object] | None = None,
) -> Path:
    """Write the run folder; it appears whole or not at all, and replaces an older one of that name.

    `environment`: from `moesim.results.manifest.environment`; made without argv when absent. `finish` is called with
    the scratch folder just before it takes its name: a page written there appears with the data. Returns `folder`.
    Raises InputError as `check_target` does.
    """
    with atomic.new_folder(folder, _MARKS) as scratch:
        (scratch / "summary.json").write_bytes(_json(summary(plan, result, info.hash)))
        _write_parquet(tokens.token_columns(plan, result), scratch / "tokens.parquet")
        _write_parquet(tokens.layer_columns(plan, result), scratch / "layers.parquet")
        _write_parquet(tokens.residency_columns(plan, result), scratch / "residency.parquet")
        _write_parquet(tokens.wait_columns(result), scratch / "waits.parquet")
        write_trace(plan, result, scratch / "trace.json.gz")
        (scratch / "scenario.yaml").write_bytes(_yaml(info.resolved))
        digests = {n: hashlib.sha256((scratch / n).read_bytes()).hexdigest() for n in FILES if n != "manifest.json"}
        made = make_manifest(
            plan,
            info,
            version=FORMAT,
            engine=result.engine,
            files=digests,
            environment=current_environment() if environment is None else environment,
        )
        (scratch / "manifest.json").write_bytes(_json(made))
        if finish is not None:
            finish(scratch)
    return folder


def _load_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_bytes())
    except ValueError as error:
        raise InputError(Fault(message=f"not JSON: {error}", file=path.name)) from None
    if not isinstance(value, dict):
        raise InputError(Fault(message="not a JSON map", file=path.name))
    return value


def read(folder: Path) -> RunData:
    """Read a run folder.

    Raises InputError when it is none, when a file is missing (by name) or broken, or when it was written in another
    format version.
    """
    import pyarrow as pa
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    if not (folder / "manifest.json").is_file():
        what = "no manifest.json in it" if folder.is_dir() else "no such folder"
        wrote = "a folder that `moesim run` wrote"
        raise InputError(Fault(message=f"not a run folder: {what}", file=folder.name, allowed=wrote))
    manifest = _load_json(folder / "manifest.json")
    if manifest.get("kind") != "run" or manifest.get("format") != FORMAT:
        raise InputError(
            Fault(
                field="format", got=manifest.get("format"), file="manifest.json",
                allowed=f"{FORMAT}: run folders of another version are not read; run the scenario again",
            )
        )  # fmt: skip
    missing = [name for name in FILES if not (folder / name).is_file()]
    if missing:
        raise InputError(*(Fault(message=f"missing in the run folder {folder.name}", file=name) for name in missing))
    tables: dict[str, Columns] = {}
    for name in ("tokens", "layers", "residency", "waits"):
        try:
            tables[name] = _read_parquet(folder / f"{name}.parquet")
        except (pa.ArrowInvalid, OSError) as error:
            raise InputError(Fault(message=f"not readable: {error}", file=f"{name}.parquet")) from None
    try:
        timeline = read_slices(folder / "trace.json.gz")
    except (OSError, EOFError, ValueError, KeyError) as error:
        raise InputError(Fault(message=f"not readable: {error}", file="trace.json.gz")) from None
    try:
        scenario = YAML(typ="safe", pure=True).load(folder / "scenario.yaml")
    except YAMLError as error:
        raise InputError(Fault(message=f"not readable: {error}", file="scenario.yaml")) from None
    return RunData(
        folder=folder,
        summary=_load_json(folder / "summary.json"),
        manifest=manifest,
        scenario=dict(scenario or {}),
        timeline=timeline,
        tokens=tables["tokens"],
        layers=tables["layers"],
        residency=tables["residency"],
        waits=tables["waits"],
    )
