"""Freezes: spans of time in which namespaces get no new version."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from attrs import field, frozen

from confd.access.patterns import covers
from confd.errors import Conflict, NotFound

#: The names of the days of a week, Monday first, as L{datetime.weekday} counts them.
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

#: The longest C{Retry-After} of a refusal, in seconds.
MAX_RETRY_SECONDS = 86_400


@frozen
class Window:
    """
    A span of time.

    @ivar begin: UTC.
    @ivar end: UTC; the span does not include it.
    """

    begin: datetime
    end: datetime


@frozen
class Weekly:
    """
    A span of time that begins on some days of each week.

    @ivar days: indices of L{DAYS} on which the span begins.
    @ivar start: the time of day by the wall clock of the zone.
    @ivar end: the span ends when the wall clock shows this time next.
    @ivar zone: the name of an IANA time zone.
    """

    days: tuple[int, ...]
    start: time
    end: time
    zone: str

    def windows(self, around: datetime) -> Iterator[Window]:
        """Yield the windows that begin from eight days before a moment to eight days after it, ascending."""
        zone = ZoneInfo(self.zone)
        today = around.astimezone(zone).date()
        for offset in range(-8, 9):
            day = today + timedelta(days=offset)
            if day.weekday() in self.days:
                last = day if self.end > self.start else day + timedelta(days=1)
                begin, end = _instant(day, self.start, zone, False), _instant(last, self.end, zone, True)
                if begin < end:
                    yield Window(begin, end)


@frozen
class Freeze:
    """
    A freeze of namespaces: once, or each week.

    @ivar namespaces: names, or prefixes that end with one C{*}.
    @ivar once: C{None} for a weekly freeze.
    @ivar weekly: C{None} for a freeze that happens once.
    """

    id: int
    namespaces: tuple[str, ...]
    reason: str
    created_by: str
    created_at: datetime
    once: Window | None = None
    weekly: Weekly | None = None
    removed_at: datetime | None = None

    def window(self, now: datetime) -> Window | None:
        """Return the present window, else the next one; C{None} if none follows. Windows that touch are one."""
        if self.once is not None:
            return self.once if now < self.once.end else None
        assert self.weekly is not None
        found: Window | None = None
        for each in self.weekly.windows(now):
            if each.end <= now:
                continue
            if found is None:
                found = each
            elif each.begin <= found.end:
                found = Window(found.begin, max(found.end, each.end))
        return found

    def until(self, now: datetime) -> datetime | None:
        """Return when the present window ends; C{None} while the freeze is not active."""
        window = self.window(now)
        return window.end if window is not None and window.begin <= now else None


@frozen
class ActiveFreezes:
    """
    The freezes of one namespace that are active at a moment.

    @ivar now: the moment.
    @ivar ends: each freeze with the end of its window.
    """

    now: datetime
    ends: Sequence[tuple[Freeze, datetime]] = field(factory=tuple)

    @classmethod
    def of(cls, freezes: Iterable[Freeze], namespace: str, now: datetime) -> ActiveFreezes:
        """Return the active freezes among C{freezes}."""
        there = [each for each in freezes if each.removed_at is None and covers(each.namespaces, namespace)]
        ends = [(each, each.until(now)) for each in there]
        return cls(now, [(each, end) for each, end in ends if end is not None])

    @property
    def until(self) -> datetime | None:
        """When the last one ends, as far as it is known now; C{None} if none is active."""
        return max((end for _, end in self.ends), default=None)

    def check(self, namespace: str) -> None:
        """
        Check that no freeze is active.

        @raise Conflict: C{frozen}.
        """
        until = self.until
        if until is None:
            return
        first, _ = self.ends[0]
        error = Conflict(
            "frozen",
            f"Freeze {first.id} holds the namespace {namespace!r} until {text_of(until)}: {first.reason}",
            [{"freeze": each.id, "reason": each.reason, "until": text_of(end)} for each, end in self.ends],
        )
        error.retry_after = min(MAX_RETRY_SECONDS, max(1, round((until - self.now).total_seconds())))
        raise error


def text_of(moment: datetime) -> str:
    """Return a moment of UTC in RFC 3339, to the second."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def unknown_freeze(number: int) -> NotFound:
    """Return the error for a freeze that does not exist or was removed."""
    return NotFound("unknown_freeze", f"Freeze {number} does not exist; list the freezes.")


def _instant(day: date, at: time, zone: ZoneInfo, last: bool) -> datetime:
    """
    Return the moment at which the wall clock of a zone shows a time.

    A time that the clock skips stands for the first moment after the gap.

    @param last: which moment to take of a time that the clock shows twice.
    """
    shown = datetime.combine(day, at, zone)
    before, after = shown.replace(fold=0), shown.replace(fold=1)
    earlier, later = before.utcoffset() or timedelta(), after.utcoffset() or timedelta()
    if earlier >= later:
        return (after if last else before).astimezone(UTC)
    # The clock went forward past this time: find the moment at which it did so.
    low, high = after.astimezone(UTC), before.astimezone(UTC)
    while high - low > timedelta(seconds=1):
        middle = low + (high - low) // 2
        middle = middle.replace(microsecond=0)
        if middle <= low:
            break
        if middle.astimezone(zone).utcoffset() == low.astimezone(zone).utcoffset():
            low = middle
        else:
            high = middle
    return high
