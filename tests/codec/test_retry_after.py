"""Tests of L{confd.codec.retry_after}."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from confd.codec.retry_after import MAX_SECONDS, parse_retry_after


class RetryAfterTests(SynchronousTestCase):
    """C{Retry-After} (RFC 9110 section 10.2.3)."""

    def test_seconds_and_dates_are_read_and_bounded(self):
        now = "Sun, 29 Nov 2026 08:00:00 GMT"
        for value, wanted in (
            ("60", 60), (" 60 ", 60), ("0", 0), ("000060", 60), ("299", 299), ("86400", 300), ("9" * 8000, 300),
            ("Sun, 29 Nov 2026 08:01:00 GMT", 60), ("Sunday, 29-Nov-26 08:01:00 GMT", 60),
            ("Sun Nov 29 08:01:00 2026", 60), ("Sun, 29 Nov 2026 07:00:00 GMT", 0),
            ("Sun, 29 Nov 2099 08:00:00 GMT", 300),
            (None, None), ("", None), ("-5", None), ("+5", None), ("1.5", None), ("1e3", None), ("soon", None),
            ("\u0661", None), ("\u00b2", None), ("60, 70", None), ("inf", None), ("nan", None),
            ("Sun, 99 Nov 2026 08:00:00 GMT", None), ("Sun, 29 Nov 99999 08:00:00 GMT", None),
        ):  # fmt: skip
            with self.subTest(value=value):
                self.assertEqual(parse_retry_after(value, now), wanted)

    def test_a_date_is_ignored_without_the_date_of_the_server(self):
        for date in (None, "", "soon"):
            self.assertIsNone(parse_retry_after("Sun, 29 Nov 2026 08:01:00 GMT", date))
            self.assertEqual(parse_retry_after("60", date), 60)

    @given(st.text(max_size=80) | st.text("0123456789 :,GMTSunNov-+", max_size=80))
    def test_any_header_gives_a_bounded_pause_or_none(self, value):
        found = parse_retry_after(value, "Sun, 29 Nov 2026 08:00:00 GMT")
        self.assertTrue(found is None or 0 <= found <= MAX_SECONDS)
