"""Each rule of L{tests.promlint} sees what breaks it, and nothing in what does not."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.promlint import MOST_VALUES, lint


def family(name: str, kind: str, *samples: str, help: str = "A sentence.") -> bytes:
    """One family as text."""
    lines = [f"# HELP {name} {help}", f"# TYPE {name} {kind}", *(f"{name}{sample}" for sample in samples)]
    return ("\n".join(lines) + "\n").encode()


GOOD = family("confd_polls_total", "counter", '{result="a"} 1', '{result="b"} 2')

HISTOGRAM = family(
    "confd_wait_seconds", "histogram", '_bucket{le="1.0"} 1', '_bucket{le="+Inf"} 2', "_count 2", "_sum 4.5"
)


class LintTests(SynchronousTestCase):
    """L{lint}."""

    def test_good(self) -> None:
        self.assertEqual(lint(GOOD + HISTOGRAM + family("process_open_fds", "gauge", " 7")), [])

    def test_bad(self) -> None:
        """A complaint for each."""
        many = [f'{{name="{number}"}} 1' for number in range(MOST_VALUES + 1)]
        for text, words in (
            (b"confd_x 1", "line end"),
            (GOOD + GOOD, "2 lines of HELP"),
            (b"confd_untold 1\n", "no type"),
            (family("Confd_polls", "gauge", " 1"), "snake_case"),
            (family("polls", "gauge", " 1"), "prefix"),
            (family("confd_pollsTotal", "gauge", " 1"), "snake_case"),
            (family("confd_polls", "counter", " 1"), "_total is for counters"),
            (family("confd_agents_total", "gauge", " 1"), "is a gauge, and _total"),
            (family("confd_agent_gauge", "gauge", " 1"), "names its type"),
            (family("confd_agents", "gauge", " 1", help=""), "no help"),
            (family("confd_agents", "gauge", " 1", help="agents"), "no help"),
            (family("confd_wait_ms", "gauge", " 1"), "base unit"),
            (family("confd_seconds_waited", "gauge", " 1"), "in the middle"),
            (HISTOGRAM.replace(b"_seconds", b""), "without a unit"),
            (HISTOGRAM.replace(b"_count 2", b"_count 3"), "add up"),
            (HISTOGRAM.replace(b'"1.0"} 1', b'"1.0"} 3'), "add up"),
            (HISTOGRAM.replace(b"confd_wait_seconds_sum 4.5\n", b""), "0 sums"),
            (family("confd_agents", "gauge", '{Name="a"} 1'), "the label 'Name'"),
            (family("confd_agents", "gauge", '{le="a"} 1'), "label of a histogram"),
            (family("confd_agents_by_state", "gauge", '{state="a"} 1'), "says state twice"),
            (family("confd_agents", "gauge", *many), f"{MOST_VALUES + 1} values of name"),
            (family("confd_agents", "gauge", '{a="1",b="2"} 1', '{b="2",a="1"} 1'), "2 times"),
            (family("confd_agents", "gauge", " 1 1700000000"), "time of its own"),
        ):
            with self.subTest(words=words):
                self.assertIn(words, " / ".join(lint(text)))
