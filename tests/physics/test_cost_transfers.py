"""Moving experts of Mixtral-8x7B (352,321,536 B in bf16) on a machine of round numbers, against closed forms."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from moesim.cost.model import CostModel
from moesim.model.fields import from_dict
from moesim.model.presets import read_fields
from tests.support.round_machine import round_machine

EXPERT = 3 * 4096 * 14336 * 2
PIECE = EXPERT // 3
PS = 10**12


def mixtral(**machine: Any) -> CostModel:
    fields = read_fields("mixtral-8x7b") | {"weights": {"default": "bf16"}, "kv_cache": "bf16"}
    return CostModel(round_machine(**machine), from_dict(fields))


def close(what: str, got: int, closed: Fraction) -> None:
    print(f"{what}: {got} ps, closed form {float(closed):.1f} ps, deviation {float(Fraction(got) / closed - 1):+.6%}")
    assert 0 <= got - closed < 1


def test_an_unloaded_copy_is_bytes_over_the_link() -> None:
    made = mixtral().transfer(5)
    close("copy", made.duration, Fraction(EXPERT * PS, 25 * 10**9))
    assert (made.t0, made.resume_overhead, made.pieces, made.method) == (10 * 10**6, 2 * 10**6, 3, "loop")
    assert made.starts == 3


def test_the_curve_is_read_at_the_size_of_one_copy() -> None:
    curve = {"curve": {"x": [f"{PIECE} B", f"{EXPERT} B"], "y": ["20 GB/s", "25 GB/s"]}}
    for method, rate in (("loop", 20), ("batch", 25), ("gather", 25)):
        changes = {"links.host_to_device.bandwidth": curve, "links.host_to_device.method": method}
        close(method, mixtral(**changes).transfer(0).duration, Fraction(EXPERT * PS, rate * 10**9))


def test_a_copy_is_no_faster_than_the_memory_it_reads() -> None:
    made = mixtral(**{"host.memory.bandwidth": "15 GB/s"}).transfer(0)
    close("slow host", made.duration, Fraction(EXPERT * PS, 15 * 10**9))


def test_shared_memory_moves_nothing() -> None:
    made = mixtral(**{"accelerator.unified": True, "links": {}}).transfer(0)
    assert (made.duration, made.t0, made.method, made.starts) == (0, 0, "none", 0)


def test_reads_fill_the_expert_and_share_the_drive() -> None:
    made = mixtral().storage_reads(0)
    assert sum(read.moved for read in made.reads) == EXPERT + 3 * 4096
    assert made.reads[-1].end == EXPERT
    assert [read.end for read in made.reads] == sorted(read.end for read in made.reads)
    last = (PIECE + 4096) % 10**6
    assert made.sizes == (last, 10**6)
    # one rate for all lanes: with b lanes busy each read takes b times as long
    for busy in (1, 2, 3, 4):
        close(f"1 MB read, {busy} busy", made.by_size[10**6][busy], Fraction(busy * 10**6 * PS, 2 * 10**9))
        close(f"last read, {busy} busy", made.by_size[last][busy], Fraction(busy * last * PS, 2 * 10**9))
    # saturated: four lanes move four reads in the time of four reads alone
    assert made.by_size[10**6][4] == 4 * made.by_size[10**6][1]


def test_lanes_that_add_rate_shorten_the_queue_and_not_the_read() -> None:
    rows = [{"lanes": 1, "value": "1 GB/s"}, {"lanes": 4, "value": "4 GB/s"}]
    made = mixtral(**{"storage.bandwidth": {"rows": rows}}).storage_reads(0)
    assert made.by_size[10**6][1:] == (10**9,) * 4  # 1 MB at 1 GB/s: 1 ms on each lane


def test_a_short_last_read_pays_the_rate_of_short_reads() -> None:
    last = (PIECE + 4096) % 10**6
    curve = {"curve": {"x": [f"{last} B", "1 MB"], "y": ["1 GB/s", "2 GB/s"]}}
    made = mixtral(**{"storage.bandwidth": curve}).storage_reads(0)
    close("last read", made.by_size[last][1], Fraction(last * PS, 10**9))
    close("1 MB read", made.by_size[10**6][1], Fraction(10**6 * PS, 2 * 10**9))


def test_the_phone_pads_three_reads_by_4096_bytes() -> None:
    """Recorded (Helldez/BigMoeOnEdge, data/README): bytes read = misses x (expert bytes + 12,288)."""
    fields = read_fields("qwen3-30b-a3b") | {"weights": {"default": "q4_k_m"}}
    cost = CostModel(round_machine(**{"storage.read_bytes": "4 MiB"}), from_dict(fields))
    reads = cost.storage_reads(0).reads
    assert len(reads) == 3
    assert sum(read.moved for read in reads) == reads[-1].end + 12_288
