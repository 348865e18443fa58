"""What the oracle knows at a tick: transfers, members of the current set, caches, queues, the stream."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from moesim.plan.plan import Plan
from moesim.results.result import BREAKDOWN, COUNTERS, Slice, Wait

NEVER = 1 << 62


def up(a: int, b: int) -> int:
    return -(-a // b)


@dataclass(eq=False)
class Transfer:
    """One transfer of an expert, from its claim (or, without one, its issue) on."""

    layer: int
    expert: int
    id: int
    issue_of: Any  # loads of one walk, or prefetches of one prediction, share it
    target: tuple[int, int] | None = None  # of a prefetch
    demanded: bool = False  # a demand load, or promoted
    used: bool = False  # looked up
    num: int = -1
    state: str = "new"  # dram: waits for DRAM bytes; coming: first chunk not there; queued; service; tail: in its
    # link overhead; held: promoted, until the walk comes to it; arrived; gone
    claim: str = ""  # cache, slot (staging_slots), prefetch (prefetch_slots)
    demand_claim: bool = False
    overhead: int = 0  # load and evictions
    chunks: int = 0
    key: Any = None  # place in the link queue
    first: bool | None = None  # first of its issue to be served
    doomed: bool = False  # cancelled in service
    waited: bool = False
    issued: int = 0
    claimed_dram: int = 0
    entry: Entry | None = None
    reads_left: int = 0


@dataclass(eq=False)
class Entry:
    """An expert in the DRAM cache."""

    layer: int
    key: int
    ended: list[bool]
    pins: int = 0
    complete_at: int = -1


@dataclass(eq=False)
class Member:
    """An expert of the current set."""

    expert: int
    id: int
    order: int
    pairs: int = 0
    weight: int = 0
    kind: str = ""
    transfer: Transfer | None = None
    ready: bool = False
    arrived: int = -1
    done: bool = False


@dataclass(eq=False)
class Service:
    """The transfer that holds the link."""

    transfer: Transfer
    since: int
    ends: dict[int, int] = field(default_factory=dict)  # chunk -> tick
    at: int = NEVER  # next chunk end or end of the overhead; NEVER at a chunk end, before phase 8 has decided
    demanded: bool = False
    moved: int = 0  # bytes before this service


class State:
    """Everything, as the plan starts it."""

    def __init__(self, p: Plan) -> None:
        self.p, self.S, self.L, self.N = p, p.n_steps, p.n_layers, p.n_experts
        self.moe = p.is_moe.tolist()
        self.bytes = p.expert_bytes.tolist()
        self.cache_of = p.cache_of_layer.tolist()
        self.capacity = p.cache_capacity.tolist()
        self.fixed = {n * self.N + e for n in range(self.L) for e in range(self.N) if p.pinned[n, e] and self.moe[n]}
        self.tokens = [p.picks[a:b].tolist() for a, b in zip(p.pick_ptr[:-1], p.pick_ptr[1:], strict=True)]
        self.sets = [self._set(i) for i in range(self.S * self.L)]
        self.positions: dict[int, list[int]] = {}
        for i, members in enumerate(self.sets):
            for m in members:
                self.positions.setdefault(m.id, []).append(i)
        self.two = p.path != "storage" and p.link is not None and p.link.discipline == "two_level"
        self.n = 1 if p.path == "storage" or p.link is None else p.link.chunks
        self.dur = {f: getattr(p, f).tolist() for f in (
            "attention_ps", "router_ps", "shared_ps", "dense_ps", "head_ps", "host_gap_ps", "d2h_sync_ps", "lookup_ps",
            "issue_ps", "load_overhead_ps", "evict_overhead_ps")}  # fmt: skip
        self.script = p.prefetch.make(**p.prefetch.params) if p.prefetch.make is not None else None
        # caches
        self.resident: dict[int, Transfer | None] = {}  # id -> the prefetch that brought it
        self.used = [0] * len(self.capacity)
        self.slots: list[set[int]] = [set() for _ in self.capacity]
        self.staged: dict[int, Transfer] = {}  # complete in prefetch staging
        self.prefetch_slots = 0
        self.pins: set[int] = set()
        self.current: set[int] = set()
        self.clock = 0
        self.recent: dict[int, int] = {}
        self.entered: dict[int, int] = {}
        self.freq: dict[int, int] = {}
        self.lifetime: dict[int, int] = {}
        self.pending: dict[int, int] = {}  # overhead on the stream, not yet paid
        self.last = (0, 0)
        self.last_pos = -1
        self.looked_up: set[tuple[int, int]] = set()
        # transfers
        self.flying: dict[int, Transfer] = {}
        self.numbers = 0
        self.prefetched: list[Transfer] = []
        self.waiting: list[Member] = []
        self.dram: dict[int, Entry] = {}
        self.dram_waiting: list[Transfer] = []
        self.reads: list[tuple[Transfer, int]] = []
        self.lanes: list[tuple[int, int, Transfer, int] | None] = [None] * (p.storage.lanes if p.storage else 0)
        self.queue: list[Transfer] = []
        self.joins = 0
        self.service: Service | None = None
        self.served: set[Any] = set()
        self.predictions: list[tuple[int, int, int, int]] = []
        self.asked = 0
        # the stream
        self.now = 0
        self.s = self.l = 0
        self.stage = "attention"
        self.busy_until: int | None = None
        self.after: Any = None
        self.event_at = NEVER  # lookup, or end of the host gap
        self.members: list[Member] = []
        self.group: list[Member] = []
        self.walk: list[Member] = []
        self.h = 0
        self.claimed: Transfer | None = None
        self.walk_loads = self.walk_host = 0
        self.shared_left = 0
        self.first_pick = False
        self.free_since = 0
        self.over = False
        # results
        self.c = dict.fromkeys(COUNTERS, 0)
        self.start, self.end = [0] * self.S, [0] * self.S
        self.layer_end, self.hits, self.late, self.misses, self.stall, self.residency = (
            [[0] * self.L for _ in range(self.S)] for _ in range(6)
        )
        self.took = [dict.fromkeys(BREAKDOWN, 0) for _ in range(self.S)]
        self.arrivals: list[tuple[int, int]] = []
        self.waits: list[Wait] = []
        self.slices: list[Slice] = []

    def _set(self, i: int) -> list[Member]:
        a, n = int(self.p.pick_ptr[i]), i % self.L
        found: dict[int, Member] = {}
        for j, e in enumerate(self.tokens[i]):
            m = found.setdefault(e, Member(e, n * self.N + e, len(found)))
            m.pairs += 1
            if len(self.p.weights):
                m.weight = max(m.weight, int(self.p.weights[a + j]))
        return list(found.values())
