"""A loop that never ends takes no more than one that has just begun."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest
from online_support import Clock, Walker

from trajflow import OnlinePredictor

STATM = Path("/proc/self/statm")


def footprint():
    """Resident megabytes and open files of this process."""
    pages = int(STATM.read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6, len(os.listdir("/proc/self/fd"))


@pytest.mark.slow
@pytest.mark.skipif(not STATM.exists(), reason="memory is read from /proc")
def test_a_hundred_thousand_pushes_leave_memory_and_files_as_they_were():
    """With 50 of ever new agents at a time, late and bad observations, and clocks set back."""
    chance, clock = np.random.default_rng(0), Clock()
    online = OnlinePredictor(Walker(), deadline_ms=1000, clock=clock)
    sizes, pushes, epoch = [], 120_000, 0.0
    for k in range(pushes):
        clock.now += 0.05
        if k % 30_000 == 0:
            epoch -= 2000.0
        ids = [f"agent {k // 40 + n}" for n in range(50)]
        points = chance.normal(size=(50, 2))
        points[k % 50] = np.nan
        late = 0.7 * (k % 10 == 0)
        online.push(epoch + 0.05 * k - late, ids, points)
        if k % 10 == 0:
            found = online.forecast()
            assert len(found.ids) >= 49 or k < 20
        if k % 1000 == 0 and k >= 20_000:
            sizes.append(footprint())
    grown = max(size for size, _ in sizes) - sizes[0][0]
    told = f"{grown:+.2f} MB at most in the last 100000 of {pushes} pushes, {online.dropped}"
    sys.stdout.write(told + "\n")
    assert grown < 2.0
    assert {files for _, files in sizes} == {sizes[0][1]}
    assert online.dropped["rewound"] == 3
