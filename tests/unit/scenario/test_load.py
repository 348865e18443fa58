"""Everything that is refused, with the exact place and words; and what a valid scenario holds."""

# ruff: noqa: E501 (one case a line)

from __future__ import annotations

import pickle
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from moesim.errors import InputError
from moesim.scenario.load import load


def faults(folder: Path, *changes: tuple[str, str], sets: tuple[str, ...] = ()) -> list[str]:
    """The messages for `base.yaml` with pieces of text replaced."""
    text = (folder / "base.yaml").read_text()
    for old, new in changes:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    (folder / "s.yaml").write_text(text)
    with pytest.raises(InputError) as caught:
        load("s.yaml", sets)
    assert caught.value.exit_code == 2
    return str(caught.value).splitlines()


def test_a_valid_scenario(folder: Path) -> None:
    scenario = load("base.yaml")
    assert scenario.machine.accelerator.memory.bandwidth.at() == 10**12
    assert (scenario.model.n_experts, scenario.model.top_k, scenario.seed) == (8, 2, 3)
    assert scenario.expert_cache.capacity.value == Fraction(10 * 2**30)
    assert scenario.chunks == 3
    assert scenario.record.timeline is not None
    assert scenario.record.timeline.steps == (1, 4)


def test_a_model_by_its_name_alone(folder: Path) -> None:
    """`model: NAME` is short for {preset: NAME}, and replaces what the file has; so does `hardware: NAME`."""
    scenario = load("base.yaml", ("model=qwen3-30b-a3b", "hardware=h200-node"))
    assert (scenario.model.name, scenario.model.n_experts) == ("qwen3-30b-a3b", 128)
    assert scenario.machine.name == "h200-node"


RESERVE, CAPACITY = '  reserve: "1 GiB"', '  capacity: "10 GiB"'


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        # bare numbers with a dimension, wrong units, negatives
        (RESERVE, "  reserve: 1", 's.yaml:16:12: memory.reserve: got 1 (a bare number), allowed bytes such as "24 GiB", with its unit'),
        (RESERVE, '  reserve: "1"', 's.yaml:16:12: memory.reserve: got "1" (no unit), allowed bytes such as "24 GiB"'),
        (RESERVE, '  reserve: "8 Gb"', 's.yaml:16:12: memory.reserve: got "8 Gb" (b is bits: divide by 8), allowed bytes such as "24 GiB"'),
        (RESERVE, '  reserve: "1 GB/s"', 's.yaml:16:12: memory.reserve: got "1 GB/s" (that is bandwidth), allowed bytes such as "24 GiB"'),
        (RESERVE, '  reserve: "-1 GiB"', 's.yaml:16:12: memory.reserve: got "-1 GiB" (negative), allowed bytes such as "24 GiB"'),
        (CAPACITY, "  capacity: 10", 's.yaml:21:13: expert_cache.capacity: got 10, allowed auto | "10 GiB" | "25 %" | {slots_per_layer: 6}'),
        (CAPACITY, "  capacity: {slots_per_layer: -1}",
         's.yaml:21:13: expert_cache.capacity: got {slots_per_layer: -1}, allowed auto | "10 GiB" | "25 %" | {slots_per_layer: 6}'),
        ("  prompt_tokens: 16", "  prompt_tokens: -3", "s.yaml:13:18: workload.prompt_tokens: got -3, allowed >= 1"),
        ("  prompt_tokens: 16", "  prompt_tokens: 1.5", "s.yaml:13:18: workload.prompt_tokens: got 1.5, allowed a whole number"),
        ("  prompt_tokens: 16", "  prompt_tokens: yes", 's.yaml:13:18: workload.prompt_tokens: got "yes", allowed a whole number'),
        ("  prompt_tokens: 16", "  prompt_tokens: true", "s.yaml:13:18: workload.prompt_tokens: got True, allowed a whole number"),
        ("  prompt_tokens: 16", "  prompt_tokens: [1]", "s.yaml:13:18: workload.prompt_tokens: got a list, allowed a whole number"),
        ("  recall: [0.85]", "  recall: [1.5]", 's.yaml:26:12: prefetch.recall.0: got "1.5", allowed 0 to 1, or 0 % to 100 %'),
        ("  recall: [0.85]", "  recall: 0.85", "s.yaml:26:11: prefetch.recall: got 0.85, allowed a list"),
        # unknown and duplicate keys, NaN
        ("  kv_tokens: 64", "  kv_tokens: 64\n  kv_token: 64", "s.yaml:18:3: memory.kv_token: unknown key, allowed dram_cache | kv_tokens | reserve, nearest kv_tokens"),
        ("  recall: [0.85]", "  recal: [0.85]\n  recall: [0.85]",
         "s.yaml:26:3: prefetch.recal: unknown key, allowed experts | into | kind | precision | recall | slots | source | t_pred | touch_on_predict, nearest recall"),
        ("  kv_tokens: 64", "  kv_tokens: 64\n  kv_tokens: 65", "s.yaml:18:3: memory.kv_tokens: duplicate key, first on line 17"),
        ("seed: 3", "seed: .nan", 's.yaml:3:7: seed: not a finite number, got ".nan"'),
        ("  recall: [0.85]", "  recall: [.inf]", 's.yaml:26:12: prefetch.recall.0: not a finite number, got ".inf"'),
        # another format, missing and misplaced things
        ("moesim: 1", "moesim: 2", "s.yaml:1:9: moesim: a scenario format this version does not read, got 2, allowed 1"),
        ("moesim: 1\n", "", "s.yaml:1:1: moesim: missing, allowed number of the scenario format"),
        ("  reserve: \"1 GiB\"\n", "", "s.yaml:15:1: memory.reserve: missing, allowed runtime, activations, fragmentation"),
        ("hardware: toy-desktop\n", "", "s.yaml:1:1: hardware: missing, allowed "),
        ("seed: 3", "seed:", "s.yaml:3:1: seed: got \"null\", allowed a whole number"),
        # names
        ("hardware: toy-desktop", "hardware: toy-desktopp", 's.yaml:4:11: hardware: unknown machine, got "toy-desktopp", allowed '),
        ("preset: mixtral-8x7b", "preset: mixtral-8x77b", 's.yaml:6:11: model.preset: no such model, got "mixtral-8x77b", allowed '),
        ("  preset: mixtral-8x7b", "  preset: mixtral-8x7b\n  config: x.json", "s.yaml:7:3: model.config: preset and config exclude each other"),
        ("  preset: mixtral-8x7b", "  config: x.json", 's.yaml:6:11: model.config: no such file, got "x.json"'),
        ("  kind: uniform", "  kind: unifrom", 's.yaml:9:9: routing: got "unifrom", allowed profile | trace | sticky_zipf | zipf | uniform, nearest uniform'),
        ("  kind: uniform", "  kind: profile\n  profile: mixtral", 's.yaml:10:12: routing.profile: got "mixtral", allowed '),
        ("  kind: uniform", "  kind: profile\n  profile: qwen3-30b-a3b",
         's.yaml:10:12: routing.profile: got "qwen3-30b-a3b: 48 layers of 128 experts", allowed a profile of 32 layers of 8 experts, as mixtral-8x7b has'),
        ("  kind: uniform", "  path: nowhere.parquet", 's.yaml:9:9: routing.path: no such file or folder, got "nowhere.parquet"'),
        ("experts: int4-g128", "experts: int4", 's.yaml:7:37: model.weights.experts: got "int4", allowed '),
        # not built yet: refused, with what is
        ("  eviction: lru", "  eviction: lecar", 's.yaml:22:13: expert_cache.eviction: got "lecar", allowed lru | lfu | lfu-lifetime | fifo | random | static | belady'),
        ("  kind: layerwise", "  kind: pre_gated", 's.yaml:29:9: schedule: not available yet, got "pre_gated", allowed layerwise'),
        ("  kind: batch", "  kind: requests", 's.yaml:12:9: workload: not available yet, got "requests", allowed batch'),
        ("  home: dram", "  home: dram\n  cpu_expert_layers: 4",
         "s.yaml:20:22: placement.cpu_expert_layers: experts on the CPU are not available yet, got 4, allowed 0"),
        ("link:", "on_miss: {kind: hobbit, t1: 0.6}\nlink:", 's.yaml:31:17: on_miss: not available yet, got "hobbit", allowed load'),
        ("link:", "selection: {kind: max_rank, m: 4}\nlink:", 's.yaml:31:19: selection: not available yet, got "max_rank", allowed router'),
        ("  eviction: lru", "  eviction: python", "s.yaml:22:13: expert_cache.eviction: a policy of a script cannot be named in a file"),
        # between fields
        ("  preset: mixtral-8x7b", "  preset: mixtral-8x7b\n  top_k: 9", "s.yaml:7:10: model.top_k: got 9, allowed 1 to 8, the number of experts"),
        ("  preset: mixtral-8x7b", "  preset: mixtral-8x7b\n  granularity: 3", "s.yaml:7:16: model.granularity: 8 experts of width 14336, 2 per token, do not divide so"),
        ("  kv_tokens: 64", "  kv_tokens: 23", "s.yaml:17:14: memory.kv_tokens: got 23, allowed >= 24, prompt_tokens + output_tokens"),
        (CAPACITY, '  capacity: "20 GiB"', 's.yaml:21:13: expert_cache.capacity: 20 GiB of expert cache do not fit, got "20 GiB", allowed up to '),
        (CAPACITY, "  capacity: {slots_per_layer: 9}", "s.yaml:21:31: expert_cache.capacity.slots_per_layer: got 9, allowed 0 to 8, the experts of a layer"),
        (RESERVE, '  reserve: "30 GB"', "s.yaml:16:12: memory.reserve: reserve 27.94 GiB + weights 2.991 GiB + KV 8 MiB + pinned experts 0 B are "),
        ("  chunks: 3", "  chunks: 65537", "s.yaml:30:11: schedule.chunks: got 65537, allowed <= 65536"),
        ("[1, 4]", "[4, 1]", 's.yaml:32:28: record.timeline.steps: got "[4, 1]", allowed [first, last] with 0 <= first <= last'),
        ("[1, 4]", "[4]", "s.yaml:32:21: record.timeline.steps: the list is too short"),
        ("  precision: [0.80]", "  precision: [0.8, 0.7]", 's.yaml:27:14: prefetch.precision: got "2 distances", allowed 1, as many as prefetch.recall'),
        ("  precision: [0.80]", "  precision: [0]", 's.yaml:27:15: prefetch.precision.0: got "0", allowed more than 0'),
        ("  experts: 2", "  experts: 9", "s.yaml:25:12: prefetch.experts: got 9, allowed 1 to 8, the experts of a layer"),
        ("  experts: 2", "  experts: 2\n  into: cache\n  slots: 3", "s.yaml:27:10: prefetch.slots: only prefetch into staging has slots, allowed into: staging"),
        ("  output_tokens: 8", "  output_tokens: 8\n  batch_size: 2\n  sequences: 1", "s.yaml:16:14: workload.sequences: got 1, allowed >= 2"),
        ("  home: dram", "  home: nvme", "s.yaml:15:1: memory.dram_cache: missing: experts from nvme pass through host memory"),
        ("  kv_tokens: 64", '  kv_tokens: 64\n  dram_cache: "1 GiB"', "s.yaml:18:15: memory.dram_cache: only experts whose home is nvme are cached in host memory"),
        ("  home: dram", "  home: dram\n  pinned: {layers: [32]}", "s.yaml:20:20: placement.pinned.layers: got 32, allowed layers with experts, 0 to 31"),
        # numbers of the machine, from the scenario
        ("hardware: toy-desktop", 'hardware: {extends: toy-desktop, host: {memory: {capacity: "20 GB"}}}', "s.yaml:19:9: placement.home: 21.82 GiB of experts do not fit in host memory"),
        ("hardware: toy-desktop", 'hardware: {extends: toy-desktop, accelerator: {memory: {capacity: "20"}}}',
         's.yaml:4:67: hardware.accelerator.memory.capacity: got "20" (no unit), allowed bytes such as "24 GiB"'),
        ("hardware: toy-desktop", "hardware: {extends: toy-desktop, accelerator: no-gpu}", 's.yaml:4:47: hardware.accelerator: unknown accelerator, got "no-gpu", allowed '),
    ],
)  # fmt: skip
def test_refused_where_it_stands(folder: Path, old: str, new: str, said: str) -> None:
    first, *rest = faults(folder, (old, new))
    assert first.startswith(said)
    assert rest == []


def test_nvme_needs_storage(folder: Path) -> None:
    said = faults(
        folder,
        ("hardware: toy-desktop", "hardware: {extends: toy-desktop, storage: null}"),
        ("  home: dram", "  home: nvme"),
        ("  kv_tokens: 64", '  kv_tokens: 64\n  dram_cache: "32 GiB"'),
    )
    assert said == ['s.yaml:20:9: placement.home: the machine has no storage, got "nvme", allowed dram']


def test_two_level_needs_a_link_and_dram_a_distance(folder: Path) -> None:
    unified = "{extends: toy-desktop, accelerator: {unified: true}, links: {host_to_device: null}}"
    assert faults(folder, ("hardware: toy-desktop", f"hardware: {unified}")) == [
        "s.yaml:19:9: placement.home: the accelerator shares the host's memory: nothing would ever be loaded, "
        'got "dram", allowed nvme',
        's.yaml:31:20: link.discipline: the machine has no link between host and accelerator, got "two_level", allowed fifo',
    ]


def test_all_faults_at_once_sorted_by_line(folder: Path) -> None:
    said = faults(
        folder,
        ("hardware: toy-desktop", "hardware: {extends: toy-desktop, runtime: {lanch: graph}}"),
        ("  preset: mixtral-8x7b", "  preset: mixtral-8x7b\n  top_k: 9"),
        ("  output_tokens: 8", "  output_tokens: many"),
        (RESERVE, "  reserve: 3"),
        ("  kind: next_gate", "  kind: oracle"),
        ("[1, 4]", "[4, 1]"),
        sets=("nothing=1", "placement.home=cloud"),
    )
    assert [line.partition(" ")[0] + " " + line.split(" ")[1] for line in said[2:]] == [
        "s.yaml:4:44: hardware.runtime.lanch:",
        "s.yaml:7:10: model.top_k:",
        "s.yaml:15:18: workload.output_tokens:",
        "s.yaml:17:12: memory.reserve:",
        "s.yaml:25:9: prefetch:",
        "s.yaml:33:28: record.timeline.steps:",
    ]
    assert said[0].startswith("--set nothing=1: nothing: unknown key")
    assert said[1] == '--set placement.home=cloud: placement.home: got "cloud", allowed dram | nvme'


def test_a_fault_in_a_part_points_into_the_part(folder: Path) -> None:
    part = folder.parent / "profiles/parts/accelerator/toy-gpu.yaml"
    part.write_text(part.read_text().replace('"1 TB/s"', '"1 TB"'))
    (said,) = faults(folder)
    place = f"{part}:4:22"
    assert said.startswith(f'{place}: hardware.accelerator.memory.bandwidth.value: got "1 TB" (that is bytes)')


def test_a_yaml_bomb(folder: Path) -> None:
    bomb = "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 9))
    (said,) = faults(folder, ("moesim: 1", f"a0: &a0 lol\n{bomb}moesim: 1"))
    assert said.startswith("s.yaml:")
    assert "unfolds into more than 50000 nodes" in said


def _trace(folder: Path, experts: np.ndarray, n_experts: int = 8) -> Path:
    from moesim import routing

    tokens = len(experts)
    trace = routing.RoutingTrace(
        experts=experts.astype(np.int16),
        sequence_ptr=np.array([0, tokens]),
        prompt_tokens=np.array([4], dtype=np.int32),
        n_experts=n_experts,
    )
    path = folder / "trace"
    routing.write(trace, path)
    return path


def test_a_trace_implies_its_kind_and_is_part_of_the_hash(folder: Path) -> None:
    _trace(folder, np.tile([0, 1], (24, 32, 1)))
    one = load("base.yaml", ["routing.path=trace"])
    assert one.routing.kind == "trace"
    assert one.trace is not None
    assert one.trace.n_tokens == 24
    first = one.hash
    _trace(folder, np.tile([1, 2], (24, 32, 1)))
    assert load("base.yaml", ["routing.path=trace"]).hash != first


def test_ids_out_of_range_in_a_trace(folder: Path) -> None:
    ids = np.tile([0, 1], (24, 32, 1))
    ids[3, 2] = (0, 9)
    _trace(folder, ids, n_experts=16)
    (said,) = faults(folder, sets=("routing.path=trace",))
    assert said == (
        "trace: experts: row 98 (sequence 0, token 3, layer 2): expert id out of range, got 9, allowed 0 to 7"
    )


def test_a_trace_of_another_model(folder: Path) -> None:
    _trace(folder, np.tile([0, 1, 2], (24, 24, 1)))
    place = "--set routing.path=trace: routing.path:"
    assert faults(
        folder, ("  output_tokens: 8", "  output_tokens: 8\n  sequences: 2"), sets=("routing.path=trace",)
    ) == [
        f"{place} layers of the recording, got 24, allowed 32, the model's layers with experts",
        f"{place} experts per token in the recording, got 3, allowed 2, the model's top_k (set model.top_k)",
        "s.yaml:15:14: workload.sequences: more than the recording has, got 2, allowed <= 1",
    ]


def test_pickled_npy_is_refused(folder: Path) -> None:
    path = _trace(folder, np.tile([0, 1], (24, 32, 1)))
    np.save(path / "experts.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    said = faults(folder, sets=("routing.path=trace",))
    assert len(said) == 1
    assert "experts.npy" in said[0]


def test_expert_bytes_of_a_recording_win_over_the_preset_but_not_over_the_scenario(folder: Path) -> None:
    from dataclasses import replace

    from moesim import routing

    path = _trace(folder, np.tile([0, 1], (24, 32, 1)))
    trace = replace(routing.read(path), header={"expert_bytes": [1000 * (i + 1) for i in range(32)]})
    routing.write(trace, folder / "sized")
    scenario = load("base.yaml", ["routing.path=sized"])
    assert [scenario.model.expert_bytes(layer) for layer in (0, 31)] == [1000, 32000]
    assert "sized" in scenario.model.expert_bytes_source
    own = load("base.yaml", ["routing.path=sized", 'model.expert_bytes="5 MB"'])
    assert own.model.expert_bytes(0) == 5_000_000


def test_scenarios_can_be_pickled(folder: Path) -> None:
    scenario = load("base.yaml")
    again = pickle.loads(pickle.dumps(scenario))
    assert again.hash == scenario.hash
    assert again.model == scenario.model
