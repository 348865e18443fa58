"""`moesim scenario`: list, show, check, schema."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from moesim.scenario.scenario import Scenario

__all__ = ["app"]

app = typer.Typer(
    help="List, show and check scenarios; print their JSON Schema.",
    no_args_is_help=False,
    rich_markup_mode=None,
    add_completion=False,
)

Name = Annotated[str, typer.Argument(metavar="SCENARIO", help="Name or path of a scenario.", show_default=False)]
Sets = Annotated[
    list[str] | None, typer.Option("--set", metavar="FIELD=VALUE", help="Override a field; may be given several times.")
]
Json = Annotated[bool, typer.Option("--json", help="For machines.")]


@app.callback(invoke_without_command=True)
def scenario(ctx: typer.Context) -> None:
    """List, show and check scenarios; print their JSON Schema."""
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help())


@app.command("list")
def list_(json_: Json = False) -> None:
    """Every known scenario: name and what it shows."""
    from moesim.hardware import lookup

    rows = {name: _header(path) for name, path in lookup.names("scenario").items() if _is_scenario(path)}
    if json_:
        _print_json([{"name": name, "shows": shows} for name, shows in rows.items()])
        return
    width = max(map(len, rows), default=0)
    for name, shows in rows.items():
        typer.echo(f"{name:<{width}}  {shows}".rstrip())


@app.command()
def show(name: Name, set_: Sets = None, json_: Json = False) -> None:
    """The resolved whole: every value, and where every number comes from."""
    loaded = _load(name, set_)
    if json_:
        sources = {field: source._asdict() for field, source in loaded.sources().items()}
        _print_json({"scenario": loaded.resolved(), "sources": sources, "hash": loaded.hash, "memory": _memory(loaded)})
        return
    typer.echo(_table(loaded))


@app.command()
def check(names: Annotated[list[str], typer.Argument(metavar="SCENARIO...")], set_: Sets = None) -> None:
    """Read scenarios and say everything that is wrong with them."""
    from moesim.errors import Fault, InputError

    faults: list[Fault] = []
    for name in names:
        try:
            loaded = _load(name, set_)
            typer.echo(f"{name}: fine, {loaded.model.name} on {loaded.machine.name or loaded.machine.title}")
        except InputError as error:
            faults += error.faults
    if faults:
        raise InputError(*dict.fromkeys(faults))


@app.command()
def schema(
    of: Annotated[
        str, typer.Argument(metavar="[scenario|machine]", help="Which files the schema is for.")
    ] = "scenario",
) -> None:
    """The JSON Schema of scenario files (or machine files)."""
    from moesim.errors import Fault, InputError
    from moesim.scenario import jsonschema

    made = {"scenario": jsonschema.scenario_schema, "machine": jsonschema.machine_schema}.get(of)
    if made is None:
        raise InputError(Fault(message="no such schema", got=of, allowed="scenario | machine"))
    typer.echo(jsonschema.text(made()), nl=False)


def _load(name: str, sets: list[str] | None) -> Scenario:
    from moesim.scenario.load import load

    return load(name, sets or ())


def _print_json(data: Any) -> None:
    import json

    typer.echo(json.dumps(data, indent=2, ensure_ascii=False))


def _is_scenario(path: Path) -> bool:
    """Folders of scenarios hold sweeps and machines too: only a scenario says `moesim:` and no `base:`."""
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    keys = {line.partition(":")[0] for line in lines if line[:1].isalpha()}
    return "base" not in keys and ("moesim" in keys or "extends" in keys) and "kind" not in keys


def _header(path: Path) -> str:
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        if line.startswith("# Shows:"):
            return line.removeprefix("# Shows:").strip()
        if line and not line.startswith("#"):
            break
    return ""


def _memory(loaded: Scenario) -> dict[str, int]:
    division = loaded.fits()
    return {
        "capacity": division.capacity,
        "reserve": division.reserve,
        "resident": division.resident,
        "kv": division.kv,
        "pinned": division.pinned,
        "expert_cache": division.cache,
        "left": division.left,
        "routed": division.routed,
    }


def _table(loaded: Scenario) -> str:
    """Aligned: field, value, where the value comes from. Sources that repeat are printed once and numbered."""
    from moesim.scenario.provenance import leaves

    sources, numbers = loaded.sources(), dict[str, int]()
    resolved = dict(leaves(loaded.resolved()))
    rows: list[tuple[str, str, str]] = []
    for field, value in resolved.items():
        owner, _, last = field.rpartition(".")
        sourced = f"{owner}.value" in resolved or any(key.startswith(f"{owner}.curve.") for key in resolved)
        if ".sources." in field or (sourced and last in ("low", "high", "source")):
            continue  # what a number says about itself is shown with its value
        source, text = sources.get(field), _value(value)
        said = source.title if source is not None else ""
        if source is not None and source.kind == "default":
            said = "default"
        elif source is not None and source.kind != "chosen":
            line = f"{source.kind}: {source.title}{f' <{source.url}>' if source.url else ''}"
            said = f"{source.kind} [{numbers.setdefault(line, len(numbers) + 1)}]"
        if sourced and last == "value":
            field = owner  # noqa: PLW2901
            bounds = [resolved.get(f"{owner}.{name}") for name in ("low", "high")]
            text += f"  ({bounds[0] or text} to {bounds[1] or text})" if any(bounds) else ""
        rows.append((field, text, said))
    widths = [max(len(row[i]) for row in rows) for i in (0, 1)]
    wide = min(widths[1], 44)
    lines = [f"{field:<{widths[0]}}  {value:<{wide}}  {said}".rstrip() for field, value, said in rows]
    model, moe_layers = loaded.model, len(loaded.model.moe_layers)
    lines += [
        "",
        f"{loaded.title}",
        f"{model.name}: {model.n_layers} layers, {moe_layers} of {model.n_experts} experts, top {model.top_k}",
        f"expert bytes: {_range([model.expert_bytes(layer) for layer in model.moe_layers])}"
        + (f" ({model.expert_bytes_source})" if model.expert_bytes_source else ""),
        str(loaded.fits()),
        f"hash {loaded.hash}",
        "",
        "sources:",
        *(f"  [{number}] {text}" for text, number in numbers.items()),
    ]
    return "\n".join(lines)


def _value(value: Any) -> str:
    if isinstance(value, list):
        text = ", ".join(map(str, value))
        return f"[{text}]" if len(text) <= 60 else f"[{', '.join(map(str, value[:3]))}, ... {len(value)} values]"
    if value is None or isinstance(value, bool):
        return {None: "none", True: "true", False: "false"}[value]
    return str(value)


def _range(sizes: list[int]) -> str:
    low, high = min(sizes), max(sizes)
    return f"{low:,}" if low == high else f"{low:,} to {high:,} by layer"
