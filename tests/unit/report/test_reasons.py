"""Why a wait was: its parts by hand."""

from __future__ import annotations

from moesim.report.reasons import Reasons
from moesim.results.result import Slice

MS = 10**9


def at(lane: str, name: str, start: int, end: int, transfer: int) -> Slice:
    return Slice(lane, name, start * MS, end * MS, 0, 0, (1,), transfer)


def test_a_wait_is_cut_into_its_causes() -> None:
    wait = at("stream", "wait", 0, 20, 7)
    slices = [
        wait,
        at("link", "prefetch", -5, 3, 1),  # 2..3 behind another
        at("link", "copy", 3, 6, 2),  # 3..6 behind a second
        at("storage 0", "read", -1, 2, 9),  # 0..2 storage is with another before it reads for 7
        at("storage 0", "read", 5, 9, 7),  # 5..9 being read; 5..6 counts as read
        at("storage 1", "read", 8, 11, 7),  # ..11
        at("link", "copy", 13, 16, 7),  # 11..13 nothing; on the link in two services
        at("link", "copy", 18, 20, 7),  # 16..18 nothing
    ]
    assert Reasons(slices).why(wait) == (
        "3.00 ms while the link carried 2 other copies, 2.00 ms while storage read other experts, "
        "6.00 ms being read from storage, 5.00 ms on the link itself, "
        "4.00 ms not yet under way"
    )


def test_a_wait_outside_the_window_has_one_cause() -> None:
    assert Reasons([]).why(at("stream", "wait", 0, 2, 7)) == "2.00 ms not yet under way"
