"""What needs an interpreter of its own: import, command line, resident memory."""

from __future__ import annotations

import statistics
import subprocess
import sys
from pathlib import Path
from time import perf_counter

from benchmarks.bars import Figure, Limit

__all__ = ["command_line", "import_time", "peak_memory", "resident_memory"]

STARTS = 9
CONSTRUCTIONS = 10_000

# NumPy is imported first: what is counted is what the library adds to it
IMPORT = """
import numpy
from time import perf_counter
start = perf_counter()
import {library}
print(perf_counter() - start)
"""

# a tenth of the constructions first, so that pools and caches have their size
MEMORY = """
import os
import numpy as np
import {library}

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

def construct(times):
    for time in range(times):
        values = np.arange(time, time + 20_000, dtype=np.int32).reshape(-1, 2)
        {library}.Labels(["system", "atom"], values)

construct({count} // 10)
before = resident()
construct({count})
print((resident() - before) / 1e6)
"""


# The high-water mark of the resident set, less what was resident before the call.
PEAK = """
import os
{setup}

def status(field):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith(field)) * 1024

before = status("VmRSS")
with open("/proc/self/clear_refs", "w") as file:
    file.write("5")
{call}
print((status("VmHWM") - before) / 1e6)
"""


def peak_memory(setup: str, call: str) -> float:
    """Megabytes that a call adds to the resident set at its peak, in a fresh interpreter.

    Parameters
    ----------
    setup, call
        Python; the first makes ready, and had better call once on something small, so that
        libraries and caches are there.
    """
    return _number_from(PEAK.format(setup=setup, call=call))


def import_time(ours: str, peer: str | None, *, reduced: bool) -> Figure:
    """Seconds that importing the library adds to importing NumPy."""
    libraries = [ours] if peer is None else [ours, peer]
    starts = [
        [_number_from(IMPORT.format(library=library)) for library in libraries]
        for _ in range(STARTS + 1)
    ]
    # the first one does not count: bytecode is compiled and files come from the disk
    medians = [statistics.median(seconds) for seconds in zip(*starts[1:], strict=True)]
    peers = medians[1] if peer is not None else None
    return Figure("Start", "import, over NumPy's", Limit(0.050, "≤ 50 ms"), medians[0], peers)


def command_line(ours: str, peer: str | None, *, reduced: bool) -> Figure:
    """Seconds from start to end of ``--help``."""
    script = Path(sys.executable).with_name(ours)
    command = [str(script)] if script.exists() else [sys.executable, "-m", ours]
    seconds = []
    for _ in range(STARTS + 1):
        start = perf_counter()
        subprocess.run([*command, "--help"], check=True, capture_output=True)
        seconds.append(perf_counter() - start)
    median = statistics.median(seconds[1:])
    return Figure("Start", f"`{ours} --help`", Limit(0.3, "≤ 0.3 s"), median)


def resident_memory(ours: str, peer: str | None, *, reduced: bool) -> Figure:
    """Megabytes by which the resident set grows over many constructions of Labels (on Linux).

    If one in four hundred were kept, the limit would be missed.
    """
    count = CONSTRUCTIONS // 10 if reduced else CONSTRUCTIONS
    growth = [
        _number_from(MEMORY.format(library=library, count=count))
        for library in (ours, peer)
        if library is not None
    ]
    return Figure(
        "Memory",
        f"growth over {count} Labels of 80 kB",
        Limit(2.0, "flat (≤ 2 MB)"),
        growth[0],
        growth[1] if peer is not None else None,
        unit="MB",
    )


def _number_from(code: str) -> float:
    """The number that a fresh interpreter prints."""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return float(done.stdout)
