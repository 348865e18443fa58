"""Write the `# Expect:` line of every shipped scenario from a run, or check that it is what a run gives.

`# Takes:` is written with the line but not checked: it depends on the machine that ran it.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
from pathlib import Path

import moesim as ms

ROOT = Path(__file__).resolve().parents[1]


def expectation(figures: dict[str, object]) -> str:
    """The headline of a run, in one line."""
    tpot, hits = figures["tpot_ms"], figures["hit_rate_decode"]
    assert isinstance(tpot, dict) and isinstance(hits, float)
    speed = f"{figures['tokens_per_s']:.1f} tokens/s, {tpot['mean']:.1f} ms a token"
    return f"{speed}, {100 * hits:.1f} % of decode lookups hit"


def main() -> int:
    """0 if all headers are right or were written, 1 if one differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    wrong = 0
    for path in sorted((ROOT / "scenarios").glob("*.yaml")):
        begun = time.perf_counter()
        line = expectation(ms.simulate(ms.load(str(path))).summary)
        took = time.perf_counter() - begun
        text = path.read_text()
        old = re.search(r"^# Expect:\s*(.*)$", text, re.MULTILINE)
        if old is None:
            sys.stderr.write(f"{path.name}: has no line '# Expect:'\n")
            wrong += 1
        elif check:
            # what stands behind the generated part (a figure worked out by hand, say) is the author's
            if not old.group(1).startswith(line):
                sys.stderr.write(f"{path.name}: header says {old.group(1)!r}, a run gives {line!r}\n")
                wrong += 1
        else:
            kept = re.search(r"\s{2,}(By hand:.*?)(\s{2,}Takes:.*)?$", old.group(1))
            text = text.replace(old.group(0), f"# Expect: {line}" + (f"   {kept.group(1)}" if kept else ""))
            takes = f"# Takes:  {max(1, round(took))} s"
            text = re.sub(r"^# Takes:.*$", takes, text, flags=re.MULTILINE)
            if "# Takes:" not in text:
                text = re.sub(r"(^# Expect:.*$)", rf"\1\n{takes}", text, flags=re.MULTILINE)
            path.write_text(text)
        sys.stdout.write(f"{path.name}: {line} ({took:.1f} s)\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
