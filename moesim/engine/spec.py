"""The execution model in words: the authority that every engine obeys, to the tick and to the counter.

An engine is a function of one `moesim.plan.plan.Plan`; the names below in `code` are fields of it, of its `link` and
its `storage`, values of those, or parameters of its policies. Where a value stands alone: `fifo` and `two_level` are
values of the link's `discipline` (rule 7; in rule 4 `fifo` is an eviction policy), `layer_start` and `lookup` of
`prefetch_source`, the ways to group in rule 10 of `grouping`; `into` is short for `prefetch_into`. All times are
integer ticks (1 ps). Nothing here depends on how an engine is built.

1. The tick
-----------
Within one tick the actions below happen in this order; after each action the order is started again from its top, so
that a tick is worked off to a fixed point:

    1 read ends (storage), by (transfer number, offset)
    2 transfer ends (link or last read), by transfer number
    3 stream ends
    4 lookups
    5 issues: waiting loads, then the demand walk, then predictions
    6 the stream picks
    7 the storage picks
    8 the link picks

Transfers are numbered from 0 in the order of their issue (rule 6). A run ends at the tick T at which its last step
ends; what ends at T itself still counts, what runs on does not (of a transfer in service at T, the chunks that ended
by T count; busy times are cut at T). The last step ends in phase 3 of T; phases 4 to 8 of T do not happen after it.
An operation of duration 0 is picked in phase 6 like any other and ends in phase 3 of the same tick; management of
duration 0 is no operation at all.

2. Steps and layers
-------------------
Steps run one after another on one stream. Step s visits layers 0..n_layers-1, then `head_ps[s]` (class head), then
`host_gap_ps[s]` (class host_gap; a pause, not an operation: if it is 0 the step ends with its head, in phase 3); the
next step starts at that tick. A layer starts at the tick the previous one ended. It runs `attention_ps[s,l]`, and then
- a dense layer (`is_moe[l]` false): `dense_ps[s,l]`, end of layer;
- a MoE layer whose set is empty (all tokens pruned): end of layer;
- else `router_ps[s,l]`, then the control path: the lookup happens at R = router end + `d2h_sync_ps[l]` +
  `lookup_ps[l]`.

The set of (s, l) is its distinct experts in order of first appearance (tokens in order, router slots in order);
pairs(e) counts the tokens that picked e, weight(e) is the largest weight any of them gave it (0 if `weights` is empty).

3. Lookup (at R, atomic for the whole set)
------------------------------------------
First every expert of the set is classified, before anything changes: *hit* if pinned by placement, resident in its
cache, or complete in prefetch staging; *late* if a transfer of it is in flight (queued or running; also one that waits
for DRAM); else *miss*. hits + late + misses = lookups. Then the eviction policy's clocks: one lookup each (frequency
grows by one for each set, not for each pick), hits, late and misses interleaved, in the order of *last* appearance in
the set (a further pick of an expert renews its recency); experts pinned by placement are not shown to it.
Hits are pinned; late experts that hold a claim are pinned. Pins last until the expert's own compute ends.
A prefetched expert that is looked up (hit or late) is *used*.
Then, in set order, each hit that lies in prefetch staging moves into the cache if it can claim there (a demand claim
of rule 4; no transfer, no time) and frees its slot at once; otherwise it stays in its slot until its compute ends and
is forgotten.
Then staging slots with complete experts whose target was this (s, l), or one before it that was passed over, and that
were not selected are freed.
Then, under `two_level`, rule 7's cancellations. Then the demand walk (rule 5).

4. Caches and claims
--------------------
Layer l uses cache `cache_of_layer[l]` with `cache_capacity[c]` bytes; experts pinned by placement lie outside.
*Evictable* = resident, not pinned, not loading. A claim for b bytes is all or nothing: if free + evictable bytes < b
nothing leaves and the claim fails; else victims leave in policy order until b bytes are free. Under `evict =
after_layer` a demand claim takes no victim and always succeeds (the cache overshoots), while a prefetch claim works as
above, with all members of the current set spared, pinned or not. The current set is that of the last lookup, until its
layer ends. An expert that alone exceeds its cache, or that the eviction policy does not admit (static), is served
through one of the cache's `staging_slots` (outside its bytes), from claim to the end of its compute, and never becomes
resident; its claim fails when no slot is free; a prefetch of it into the cache is dropped (into prefetch staging it is
not). Recency and frequency: a missed expert takes its place in the order at its lookup, though its claim comes later; a
prefetched one enters at its arrival (with frequency 0), unless it was looked up while loading; then its lookup counts.
At the end of a MoE layer whose set is not empty, under `after_layer`, the cache of that layer is trimmed: victims in
policy order, sparing loading and pinned experts and the set itself, until used <= capacity or nobody is left.
`overshoot_peak` is the largest excess of used over capacity at any tick in any cache.

Eviction orders (first to leave first; id = layer * n_experts + expert):
- `lru`: least recent lookup (or arrival, for a prefetched one) first. `fifo`: order of becoming resident or claimed
  (demand: order of claims; prefetch: order of arrivals).
- `lfu`: fewest lookups since the expert entered the cache (the lookup that missed counts as 1), ties least recent.
  `lfu-lifetime`: fewest lookups since the start (or reset), ties least recent.
- `random`: u(a) = draw(seed, "eviction", s, l, e, a) with (s, l) of the last lookup, e the expert that claims
  (under trim: 0), a = 0, 1, 2, ... over the whole claim or trim; the candidate is id number u(a) mod n within the
  cache's own ids (a cache that serves one layer only: n = n_experts, the expert of that layer; else n = n_layers *
  n_experts, the id); the first candidate that is evictable (and not spared) leaves.
- `belady`: farthest next lookup, as position s * n_layers + l in the trace after the last lookup's position (never
  again = farthest), ties larger bytes, then larger id.
- `static`: nobody leaves and nobody enters: only the initial content is ever resident.

5. The demand walk (host)
-------------------------
Order of the set's misses (and, under `two_level`, of its queued or not yet queued late ones) by `demand_order`:
`router_weight`: larger weight first, then first appearance; `expert_id`: ascending; `ready_first`: more chunks moved
first, then as router_weight. The host walks this list with its own clock h, starting at R:
- a miss claims at h; when the claim succeeds, h += `issue_ps[l]` (+ host overhead, rule 9) and the load is issued at
  h; when it fails, the load joins the cache's waiting list and h does not move;
- a late one under `two_level` is promoted at h (rule 7) and h does not move. If it holds no claim yet it claims at h;
  when that fails it is no longer in flight (its DRAM pin ends) and the expert waits like a miss, though counted late.
Once a load waits, every later one of the set that needs a claim waits behind it (strict FIFO).
The stream is free at F = h after the walk; class control gets d2h_sync + lookup + issue * (loads issued in the walk),
class management the host overheads. Predictions that fall due before F are issued at F.
Waiting loads: whenever an unpin, an arrival, a cancellation or a freed slot could help, the head of the list claims
again, in phase 5, before any prefetch; when it succeeds it is issued at that tick (no issue time, no host overhead),
and the next head tries.

6. Issue and path
-----------------
`path = "link"`: an issued transfer joins the link queue. `path = "storage"` (unified memory): its reads join the
storage queue; it ends when its last read ends; there is no link. `path = "storage+link"`: it asks the DRAM cache:
- resident there: touch (recency), pin, join the link queue;
- loading there (left by a cancelled transfer): touch, pin, and join the link queue when its first chunk is there;
- absent: claim DRAM bytes (of `dram_capacity`; LRU by issue ticks, evicting only unpinned, complete experts; the
  device copy stays), pin, its reads join the storage queue; it joins the link queue when its first chunk is in DRAM.
  If the bytes cannot be had a demand load waits in a strict FIFO, retried in phase 5 before the cache's waiting list;
  a prefetch is dropped before it claims anything. While loads wait there, others that need a DRAM claim wait behind
  them (or are dropped).
The DRAM pin ends with the copy (or at cancellation, or at the last read if that is later). Storage reads are never
cancelled: the expert is then complete in DRAM.
A chunk is in DRAM when all reads that overlap its bytes have ended. Chunk i of n covers bytes
ceil((i-1)*B/n) .. ceil(i*B/n). n = `chunks`.

Storage: `lanes` servers. Reads are picked by (class, number of the transfer that queued them, offset), class 1 under
`two_level` if no demanded transfer waits for them (a prefetch not yet looked up, or nobody), else 0; one per free lane.
A read that starts lasts `read_ps[size][busy]`, busy = lanes busy after all picks of this action, itself included; it is
never re-timed. Sizes and ends: `read_sizes[l]` (bytes
moved, padding included) and `read_ends[l]` (offset in the expert up to which the reads so far reach).

7. Link
-------
Service of a transfer of layer l from chunk j (0 at first): starting at tick P it holds the link; R' = P, plus
`wakeup_ps` under `two_level`. Then chunk i ends at

    first time:  R' + c(i) + ceil(i*D/n)                              D = `transfer_ps[l]`
    resumed:     R' + resume_ps + c(i) - c(j) + ceil(i*D/n) - ceil(j*D/n)

with c(i) = p_i * t0 for `method = loop`, p_i = ceil(i * pieces / n) = pieces begun by chunk i, c(0) = 0; for `batch`
and `gather` c(i) = t0 for i >= 1 if this is the first transfer of its issue (all loads of one walk, waiting ones
included, or all prefetches of one prediction) to be served, else 0. t0 = `copy_overhead_ps`. (A resumed `loop` pays
for the pieces not yet begun: their calls are still to be made.) After the last chunk the link is held for the link
overhead of rule 9; then the transfer ends and the expert *arrives*.
A transfer whose next chunk is not in DRAM at a chunk end leaves the link, keeps its place in the queue, and is passed
over until that chunk is there; then it is resumed.

`fifo`: one queue in order of joining (ties by transfer number); nobody is preempted, promoted or cancelled.
`two_level`: HIGH before LOW, each in order of joining (joins of one tick: in the order of the walk or the predictions,
else by transfer number). Demands join HIGH, prefetches LOW. A LOW transfer in service is
left at its next chunk end if a HIGH one could be served then (at the tick of the pick: a HIGH that joins at the very
tick of a chunk end is served first); it goes back to its place in LOW with its chunks kept. Link overhead after the
last chunk is not interruptible.
Promotion: at R, before the walk, every late member of the set becomes HIGH: one in service stays in service and ends
all its chunks; a queued one leaves LOW and joins the tail of HIGH when the walk comes to it (if it claims then, see
rule 5); one not yet in the link queue will join HIGH when its first chunk is in DRAM, but not before the walk has come
to it. Cancellation at the lookup of (s, l): a prefetch whose target is (s, l), or one before it
that was passed over, and that was not selected: when queued
(or not yet queued) it vanishes at once, its claim is released, its chunks are wasted; in service it ends the current
chunk and vanishes then (at a tick at which a chunk of it ends, that chunk has ended and it vanishes at once); if that
chunk was its last, or in its link overhead, it completes like any other. Until it vanishes it is in flight: looked up
or predicted again before that (for a target to come) it goes on as if it had not been cancelled, as late or for the
new target.
Under `two_level` a prefetch claims when its first chunk enters service (at P); if it cannot, it is dropped and the
link picks again at the same tick.

8. Predictions
--------------
Source point (s, l), a MoE layer whose set is not empty: `layer_start` (the start of the layer's attention) or `lookup`
(R). Issued at source + `t_pred_ps`, or at F of a walk during which that falls, in phase 5 (order: by source point).
Predictions whose source step is past are dropped at the end of the run only. For each predicted (target step, target
layer, expert) in the policy's order: if the target's lookup has happened or was passed over (it lies before the last
lookup): stale, counted; if resident or complete in staging or pinned or in a slot: nothing (recency renewed under
`touch_on_predict`, if resident in a cache); if in flight or waiting for bytes: nothing; else it is a prefetch. Under
`fifo` it claims now: room in the cache (`into = cache`) or one of `prefetch_slots` staging slots (`into = staging`);
when it cannot, or when the cache has waiting loads, it is dropped and counted. Then it is issued (no time on the host).
With `into = staging` it occupies its slot until rule 3 moves or frees it; when it arrives as late it moves into the
cache at arrival if a demand claim succeeds there (else it stays until its compute ends); when it arrives after its
target's lookup unselected, its slot is freed at arrival. Under `two_level` the claim (cache or slot) comes at service;
a promoted prefetch without a claim claims in the cache like a demand. With `into = cache` an arrival becomes resident
and evictable (unless pinned), whether or not its target is past.

- `previous`, source lookup of (s, l): target = next MoE layer l' of step s, or, past the last, the first MoE layer of
  step s+1; only if the target step is a decode step of the same batch; it predicts the set that the step before the
  target step used there, in that set's order (if the step before is a prefill step: the experts of its last token, in
  slot order); none if the step before belongs to another batch, or if that set has not been looked up when the
  prediction is issued (source `layer_start` with a single MoE layer).
- `next_gate` (parametric), decode steps only: for d = 1..len(recall), target t = the d-th MoE layer after l in the
  same step (none past the last). Let T = the true set of (s, t) by weight descending, then first appearance, r = rank
  from 0. Found = those with draw(seed, "prefetch", s, t, r, d) < threshold(recall[d-1]), in rank order, the first n =
  `experts` of them. For the first j of the found: c = how many of them are neither resident, in staging, in flight nor
  pinned, x = c * (1 - p) / p with p = precision[d-1], w = floor(x) + [u < threshold(x - floor(x))] with u = draw(seed,
  "prefetch-count", s, t, 0, d). Right = the first j of the found for the largest j with j + w <= n. Wrong: w of them,
  at most the number of candidates = experts of layer t neither in T nor resident, in staging, in flight or pinned,
  ascending. Wrong expert i = 0..w-1: candidate number draw(seed, "prefetch-wrong", s, t, i, d) mod (candidates left),
  removed from the list. Predicted: right, then wrong, in these orders, d by d.

9. Overheads
------------
`load_overhead_ps[l]` for each load of an expert of layer l, `evict_overhead_ps[l']` for each victim of layer l' of its
claim, both charged as `overhead_on` says: `host`: part of the walk (a demand load that does not wait; prefetches and
waiting loads pay nothing); `link`: the link is held that long after the last chunk; `stream`: one stream operation of
class management just before the first group that uses the expert (summed over the group). Under `after_layer` the
victims of the trim are charged together as one stream operation (management) at the end of the layer, whatever
`overhead_on`; victims of prefetch claims are charged to the prefetch. A staged expert's move into the cache is charged
like a claim of it under `stream`, and not at all otherwise.

10. Groups (the stream, from F on)
---------------------------------
Ready = of the set, not computed, its weights in place. Shared experts (`shared_ps[s,l]` > 0) run with the first group;
if no expert is ready when the stream first is free, they run alone (a group of their own), except under `after_all`,
where they wait for the first group. A group of experts E lasts `group_ps[group_class[l]][sum of pairs(E), |E|]` (class
experts) plus its shared part (class shared), plus, before it, its management.
- `each`: shared alone first; then one expert at a time: ready hits by ascending id, then arrivals in order of
  (arrival tick, transfer number).
- `hits_then_arrived`: whenever the stream is free, all that are ready.
- `hits_then_rest`: at first, all that are ready; then the rest together, once all of it is ready.
- `after_all`: all together.
The latter two close a group early with what is ready (if anything) when a load of the set waits for bytes and no
member of the set that is not ready is in flight.
When a group ends its experts are unpinned (never resident ones free their slots). The layer ends when every expert and
the shared part are done (and after the trim's management).

11. Waits
---------
From F on, time of the layer in which the stream runs nothing is a wait; it is ended by the arrival, at its last tick,
of a member of the set (several: smallest expert id). [a, b) is cut at that transfer's ticks: before it was issued and,
with storage, had its DRAM claim: stall_cache; then until all its bytes were in DRAM: stall_storage (`path = "storage"`:
until b); the rest: stall_link. Classes are exclusive and sum to the step.

12. Counters
------------
lookups, hits, late, misses (also for each step and layer); evictions (victims of claims and trims); bytes_loaded =
bytes of completed chunks (path storage: of whole experts at their last read); bytes_read = bytes of ended storage
reads, padding included; loads = arrivals of demand or prefetch transfers; bytes_wasted = bytes of completed chunks of
prefetches that were never used: cancelled, evicted, reset or freed unused, unused at T, or moved chunks of an unused
one still in flight at T; prefetches = issued (fifo: after its claim; two_level: when queued); prefetch_used = of those,
looked up at hit or late (once each); prefetch_dropped, prefetch_stale, prefetch_cancelled = prefetches that vanished;
waits_for_bytes = loads that had to wait for bytes of the cache, a slot, or bytes of DRAM (counted once);
overshoot_peak;
stream_busy = all stream operations (attention, router, management on the stream, experts, shared, dense, head);
link_busy = ticks the link was held; storage_busy = sum over lanes. Residency: experts resident in caches (pinned ones
included) by layer, at the end of each step.

13. Reset
---------
`reset = sequence`: when the last step of a batch ends (phase 3), resident experts that are not loading leave (no
eviction is counted; unused prefetches are wasted; staging slots with complete experts are freed), the policies forget
everything, and the initial content enters again, in its order, each expert if it is absent, not on its way, and fits
into the free bytes. Initial content: `initial` in order of insertion (least recent first), frequency 0.
"""

from __future__ import annotations

from enum import IntEnum

__all__ = ["Phase"]


class Phase(IntEnum):
    """Order of actions within one tick (rule 1)."""

    READ_END = 1
    TRANSFER_END = 2
    STREAM_END = 3
    LOOKUP = 4
    ISSUE = 5
    STREAM_PICK = 6
    STORAGE_PICK = 7
    LINK_PICK = 8
