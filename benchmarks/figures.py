"""Summaries of the rounds of a benchmark, and tables of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Any

from attrs import evolve, frozen


@frozen
class Sample:
    """
    The measurement of one publish.

    @ivar post: seconds from the request to its answer.
    @ivar times: seconds from that answer until an agent held the version, an item for each agent that did; negative if
        the agent was faster than the answer.
    @ivar health: the longest answer time of C{/health} during the round, in seconds.
    """

    post: float
    times: Sequence[float]
    health: float = 0.0


@frozen
class Figures:
    """
    The result for one strategy and number of agents over all rounds; times are in milliseconds.

    @ivar last: the slowest agent of a round, as median of the rounds; C{worst} is that of the worst round.
    @ivar whole: like C{last}, but from the start of the request.
    @ivar raw_last: like C{last}, from the call of the raw publisher; C{None} without a broker.
    @ivar missed: the number of times that an agent did not get a version.
    @ivar kilobytes: the growth of the controller for each agent.
    """

    strategy: str
    agents: int
    post: float
    p50: float
    p99: float
    last: float
    worst: float
    whole: float
    raw_last: float | None
    missed: int
    raw_missed: int
    health: float
    kilobytes: float

    @property
    def ratio(self) -> float | None:
        """Return C{last} divided by that of the raw broker; C{None} without a broker."""
        return None if self.raw_last is None else self.last / self.raw_last

    @property
    def whole_ratio(self) -> float | None:
        """Return C{whole} divided by C{last} of the raw broker; C{None} without a broker."""
        return None if self.raw_last is None else self.whole / self.raw_last


def summary(strategy: str, agents: int, samples: Sequence[tuple[Sample, Sample | None]], kilobytes: float) -> Figures:
    """Return the figures of all rounds."""
    ours = [mine for mine, _ in samples]
    raw = [theirs for _, theirs in samples if theirs is not None]
    times = sorted(1000 * each for sample in ours for each in sample.times) or [math.nan]
    lasts = [1000 * max(sample.times, default=math.nan) for sample in ours]
    return Figures(
        strategy=strategy,
        agents=agents,
        post=1000 * median(sample.post for sample in ours),
        p50=quantile(times, 0.50),
        p99=quantile(times, 0.99),
        last=median(lasts),
        worst=max(lasts),
        whole=median(1000 * (sample.post + max(sample.times, default=math.nan)) for sample in ours),
        raw_last=median(1000 * max(sample.times, default=math.nan) for sample in raw) if raw else None,
        missed=sum(agents - len(sample.times) for sample in ours),
        raw_missed=sum(agents - len(sample.times) for sample in raw),
        health=1000 * max(sample.health for sample in ours),
        kilobytes=kilobytes,
    )


def middle(runs: Sequence[Figures]) -> Figures:
    """Return the median of each figure over several runs, and the sum of the missed versions."""
    changes: dict[str, Any] = {}
    for name in ("post", "p50", "p99", "last", "worst", "whole", "raw_last", "health", "kilobytes"):
        values = [getattr(each, name) for each in runs]
        changes[name] = None if None in values else median(values)
    for name in ("missed", "raw_missed"):
        changes[name] = sum(getattr(each, name) for each in runs)
    return evolve(runs[0], **changes)


def quantile(ordered: Sequence[float], part: float) -> float:
    """Return the smallest value that C{part} of the values do not exceed."""
    return ordered[max(0, math.ceil(part * len(ordered)) - 1)]


def table(all_figures: Sequence[Figures]) -> str:
    """Return a table of the figures as text."""
    return rows(_COLUMNS, all_figures)


def rows(columns: Mapping[str, Callable[[Any], Any]], values: Sequence[Any]) -> str:
    """
    Return a table as text: a line of titles, then a line for each value.

    @param columns: by title, the function that returns the cell of a value.
    """
    lines = [list(columns), *([cell(read(each)) for read in columns.values()] for each in values)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(text.rjust(width) for text, width in zip(line, widths, strict=True)) for line in lines)


def cell(value: Any) -> str:
    """Format a cell."""
    if value is None:
        return "-"
    return f"{value:.2f}" if isinstance(value, float) else str(value)


_COLUMNS: dict[str, Callable[[Figures], Any]] = {
    "strategy": lambda each: each.strategy,
    "agents": lambda each: each.agents,
    "POST": lambda each: each.post,
    "p50": lambda each: each.p50,
    "p99": lambda each: each.p99,
    "last": lambda each: each.last,
    "worst": lambda each: each.worst,
    "whole": lambda each: each.whole,
    "raw last": lambda each: each.raw_last,
    "ratio": lambda each: each.ratio,
    "whole ratio": lambda each: each.whole_ratio,
    "missed": lambda each: each.missed,
    "raw missed": lambda each: each.raw_missed,
    "health": lambda each: each.health,
    "kB/agent": lambda each: each.kilobytes,
}
