"""The routing of a scenario: the recording or the profile it names, read and checked against the model."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from moesim import routing
from moesim.errors import Fault, InputError
from moesim.routing.profile import Profile, load_profile, profile_names, profile_path
from moesim.scenario.compose import Composed, shown
from moesim.scenario.document import Place
from moesim.scenario.sections import ProfileRouting, Sections, TraceRouting

if TYPE_CHECKING:
    from moesim.model.spec import ModelSpec
    from moesim.routing.trace import RoutingTrace

__all__ = ["RoutingInput", "check_routing", "read_routing"]


@dataclass(frozen=True, eq=False)
class RoutingInput:
    """What the routing section names: a recording, or a fitted profile, or nothing (a law with parameters)."""

    trace: RoutingTrace | None = None
    profile: Profile | None = None
    path: Path | None = None
    sha256: str = ""

    @property
    def expert_bytes(self) -> list[int]:
        """Sizes of one expert per layer with experts, if the recording states them."""
        return list(self.trace.header.get("expert_bytes") or []) if self.trace is not None else []

    @property
    def source(self) -> str:
        """Where `expert_bytes` is from."""
        return f"header of {self.path.name}" if self.path is not None else ""


def read_routing(sections: Sections, composed: Composed, preset: str) -> RoutingInput:
    """Read the named file. Raises InputError: with the file's own faults, or with a dotted field."""
    section = sections.routing
    if isinstance(section, TraceRouting):
        node = composed.tree.get("routing", "path")
        path = composed.folder(node.place if node is not None else Place("")) / Path(section.path).expanduser()
        if not path.exists():
            raise InputError(Fault(message="no such file or folder", field="routing.path", got=section.path))
        return RoutingInput(trace=routing.read(path), path=path, sha256=_sha256(path))
    if isinstance(section, ProfileRouting):
        node = composed.tree.get("routing", "profile")
        name: str | Path = section.profile or preset
        if not name or (not section.profile and preset not in profile_names()):
            raise InputError(
                Fault(
                    message="this model has no routing profile of its own",
                    field="routing.profile",
                    allowed=" | ".join((*profile_names(), "a path", "another routing.kind")),
                )
            )
        if Path(name).suffix in (".yaml", ".yml") and node is not None:
            name = composed.folder(node.place) / Path(name).expanduser()
        return RoutingInput(profile=load_profile(name), sha256=_sha256(profile_path(name)))
    return RoutingInput()


def _sha256(path: Path) -> str:
    """Of a file's bytes; of a folder, of its files' names and hashes."""
    if path.is_dir():
        whole = hashlib.sha256()
        for file in sorted(path.iterdir()):
            if file.is_file():
                whole.update(f"{file.name} {_sha256(file)}\n".encode())
        return whole.hexdigest()
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def check_routing(given: RoutingInput, model: ModelSpec, sections: Sections) -> list[Fault]:
    """What does not fit between routing and the published model (before granularity)."""
    layers, experts = len(model.moe_layers), model.n_experts
    faults: list[Fault] = []
    if given.profile is not None and (given.profile.n_layers, given.profile.n_experts) != (layers, experts):
        got = f"{given.profile.name}: {given.profile.n_layers} layers of {given.profile.n_experts} experts"
        faults.append(Fault(field="routing.profile", got=got, allowed=_shape(model)))
    trace = given.trace
    if trace is None:
        return faults

    def wrong(message: str, got: object, allowed: str) -> None:
        faults.append(Fault(message=message, field="routing.path", got=got, allowed=allowed))

    if trace.n_layers != layers:
        wrong("layers of the recording", trace.n_layers, f"{layers}, the model's layers with experts")
    if trace.top_k != model.top_k:
        wrong("experts per token in the recording", trace.top_k, f"{model.top_k}, the model's top_k (set model.top_k)")
    try:
        trace.validate(experts, file=shown(given.path) if given.path is not None else "")
    except InputError as error:
        faults += error.faults
    if not faults and trace.n_experts > experts:
        wrong("experts of the recording", trace.n_experts, f"{experts}, the model's experts per layer")
    if trace.n_sequences < sections.workload.sequences:
        faults.append(
            Fault(
                message="more than the recording has",
                field="workload.sequences",
                got=sections.workload.sequences,
                allowed=f"<= {trace.n_sequences}",
            )
        )
    return faults


def _shape(model: ModelSpec) -> str:
    return f"a profile of {len(model.moe_layers)} layers of {model.n_experts} experts, as {model.name} has"
