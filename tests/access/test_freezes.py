"""Windows of freezes, over changes of daylight saving time."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from confd.access.freezes import DAYS, ActiveFreezes, Freeze, Weekly, Window
from confd.access.patterns import covers
from confd.errors import Conflict

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)

#: With changes forward and back, by an hour and by half an hour, at midnight, on both hemispheres, and without changes.
ZONES = (
    "Europe/Berlin", "Europe/London", "Europe/Dublin", "America/New_York", "America/Los_Angeles", "America/St_Johns",
    "America/Havana", "America/Santiago", "America/Asuncion", "America/Sao_Paulo", "Africa/Cairo", "Africa/Casablanca",
    "Asia/Beirut", "Asia/Jerusalem", "Asia/Kolkata", "Asia/Tokyo", "Australia/Lord_Howe", "Australia/Sydney",
    "Pacific/Auckland", "Pacific/Chatham", "UTC",
)  # fmt: skip

MINUTES = st.integers(0, 1439).map(lambda minute: time(minute // 60, minute % 60))
DAY_SETS = st.sets(st.integers(0, 6), min_size=1).map(lambda days: tuple(sorted(days)))


def transitions(zone: ZoneInfo, year: int) -> list[datetime]:
    """Return the moments of a year at which the offset of a zone changes."""
    found, step = [], datetime(year, 1, 1, tzinfo=UTC)
    while step.year == year:
        low, high = step, step + timedelta(days=1)
        if low.astimezone(zone).utcoffset() != high.astimezone(zone).utcoffset():
            while high - low > timedelta(minutes=1):
                middle = low + (high - low) / 2
                same = middle.astimezone(zone).utcoffset() == low.astimezone(zone).utcoffset()
                low, high = (middle, high) if same else (low, middle)
            found.append(high)
        step += timedelta(days=1)
    return found


def a_freeze(**fields: object) -> Freeze:
    """Return a freeze of all namespaces."""
    freeze = Freeze(1, ("*",), "why", "admin", NOON, Window(NOON, NOON + timedelta(hours=1)))
    return evolve(freeze, **fields)


def is_in(weekly: Weekly, moment: datetime) -> bool:
    """
    Return whether the wall clock says that a weekly freeze is active, for moments on which it says one thing only.

    Written by hand: it compares local times, and knows nothing of moments.
    """
    local = moment.astimezone(ZoneInfo(weekly.zone))
    clock, today = local.time().replace(second=0, microsecond=0, fold=0), local.weekday()
    if weekly.end > weekly.start:
        return today in weekly.days and weekly.start <= clock < weekly.end
    return (today in weekly.days and clock >= weekly.start) or ((today - 1) % 7 in weekly.days and clock < weekly.end)


class WeeklyTests(SynchronousTestCase):
    """L{Weekly}."""

    @given(st.sampled_from(ZONES), DAY_SETS, MINUTES, MINUTES, st.integers(0, 525_599))
    def test_window_is_open_exactly_in_its_local_hours(
        self, zone: str, days: tuple[int, ...], start: time, end: time, minute: int
    ) -> None:
        weekly = Weekly(days, start, end, zone)
        moment = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=minute)
        around = [moment + timedelta(hours=each) for each in range(-30, 31, 3)]
        offsets = {each.astimezone(ZoneInfo(zone)).utcoffset() for each in around}
        if len(offsets) == 1:
            active = a_freeze(once=None, weekly=weekly).until(moment) is not None
            self.assertEqual(active, is_in(weekly, moment))

    def test_window_is_right_over_each_change_of_the_clock(self) -> None:
        """The edges of a window are the same wall times on both sides of a change."""
        checked = 0
        for name in ZONES:
            zone = ZoneInfo(name)
            for change in transitions(zone, 2026):
                day = change.astimezone(zone).date() - timedelta(days=1)
                weekly = Weekly((day.weekday(),), time(12), time(11, 30), name)
                freeze = a_freeze(once=None, weekly=weekly)
                window = freeze.window(change)
                assert window is not None
                if not window.begin <= change < window.end:
                    continue
                checked += 1
                begin, end = (each.astimezone(zone) for each in (window.begin, window.end))
                self.assertEqual((begin.date(), begin.time()), (day, time(12)))
                self.assertEqual((end.date(), end.time()), (day + timedelta(days=1), time(11, 30)))
                self.assertNotEqual(window.end - window.begin, timedelta(hours=23, minutes=30))
        self.assertGreater(checked, 20)

    def test_skipped_time_is_the_first_moment_after_the_gap(self) -> None:
        for start, begin in ((time(2, 30), "2026-03-29T01:00"), (time(1, 59), "2026-03-29T00:59")):
            weekly = Weekly((6,), start, time(12), "Europe/Berlin")
            window = a_freeze(once=None, weekly=weekly).window(datetime(2026, 3, 28, tzinfo=UTC))
            assert window is not None
            self.assertEqual(window.begin, datetime.fromisoformat(f"{begin}+00:00"))

    def test_time_that_exists_twice_begins_at_the_first_and_ends_at_the_second(self) -> None:
        before = datetime(2026, 10, 24, 12, tzinfo=UTC)
        opened = a_freeze(once=None, weekly=Weekly((6,), time(2, 30), time(12), "Europe/Berlin")).window(before)
        closed = a_freeze(once=None, weekly=Weekly((5,), time(20), time(2, 30), "Europe/Berlin")).window(before)
        assert opened is not None and closed is not None
        self.assertEqual(opened.begin, datetime(2026, 10, 25, 0, 30, tzinfo=UTC))
        self.assertEqual(closed.end, datetime(2026, 10, 25, 1, 30, tzinfo=UTC))

    def test_windows_that_touch_are_one(self) -> None:
        weekly = Weekly((4, 5), time(16), time(16), "UTC")
        friday = datetime(2026, 11, 27, 18, tzinfo=UTC)
        self.assertEqual(a_freeze(once=None, weekly=weekly).until(friday), datetime(2026, 11, 29, 16, tzinfo=UTC))
        self.assertEqual(DAYS[friday.weekday()], "fri")


class ActiveTests(SynchronousTestCase):
    """L{ActiveFreezes}."""

    def test_freeze_holds_from_its_begin_until_just_before_its_end(self) -> None:
        freeze = a_freeze()
        for seconds, active in ((-1, False), (0, True), (3599, True), (3600, False)):
            now = NOON + timedelta(seconds=seconds)
            self.assertEqual(ActiveFreezes.of([freeze], "x", now).until is not None, active, seconds)

    def test_freezes_add_up(self) -> None:
        longer = a_freeze(id=2, once=Window(NOON, NOON + timedelta(days=2)), reason="longer")
        other = a_freeze(id=3, namespaces=("y",))
        removed = a_freeze(id=4, removed_at=NOON)
        error = self.assertRaises(
            Conflict, ActiveFreezes.of([a_freeze(), longer, other, removed], "x", NOON).check, "x"
        )
        self.assertEqual([each["freeze"] for each in error.details], [1, 2])
        self.assertEqual((error.code, error.retry_after), ("frozen", 86_400))
        self.assertEqual(error.details[0]["until"], "2026-11-24T13:00:00Z")
        ActiveFreezes.of([other], "x", NOON).check("x")

    def test_patterns(self) -> None:
        self.assertTrue(covers(("a", "pay-*"), "pay-in"))
        self.assertFalse(covers(("a", "pay-*"), "pay"))
        self.assertFalse(covers(("*",), ""))
