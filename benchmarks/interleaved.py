"""Timing in rounds in which all candidates take turns, and ratios between them.

What else the machine does, and how it throttles, changes from second to second. Within a round
all candidates see about the same machine; so two candidates are compared by the median of their
ratios round by round, not by the ratio of their medians.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from math import ceil
from statistics import median
from typing import Any

ROUND_SECONDS = 0.2
"""How long a candidate's turn should take at least: short calls are repeated."""

Timings = dict[str, list[float]]


def interleave(candidates: Mapping[str, Callable[[], float]], rounds: int) -> Timings:
    """Let the candidates take turns.

    Parameters
    ----------
    candidates : mapping of str to callable
        Each returns seconds. Whoever was first in a round is last in the next one.
    rounds : int
        Number of rounds.

    Returns
    -------
    dict of str to list of float, length rounds
        The seconds of each round.
    """
    names = list(candidates)
    timings: Timings = {name: [] for name in names}
    for i in range(rounds):
        shift = i % len(names)
        for name in names[shift:] + names[:shift]:
            timings[name].append(candidates[name]())
    return timings


def speedup(timings: Timings, name: str, rival: str) -> float:
    """Return how many times faster a candidate is than its rival: the median over the rounds."""
    return median(b / a for a, b in zip(timings[name], timings[rival], strict=True))


def seconds_per_call(call: Callable[[], Any], repeats: int) -> float:
    """Return the mean time of some calls in a row; `call` returns when its work is done."""
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    return (time.perf_counter() - start) / repeats


class Turns:
    """A call that is timed in turns: short calls are repeated, after one that does not count.

    Parameters
    ----------
    call : callable
        Returns when its work is done.

    Attributes
    ----------
    first : float
        Seconds of the first call, which may compile something.
    """

    def __init__(self, call: Callable[[], Any]) -> None:
        self._call = call
        self.first = seconds_per_call(call, 1)
        self._repeats = min(100, ceil(ROUND_SECONDS / seconds_per_call(call, 1)))

    def turn(self) -> float:
        """Return the seconds per call, with caches warm if that changes anything."""
        if self._repeats > 1:
            self._call()
        return seconds_per_call(self._call, self._repeats)
