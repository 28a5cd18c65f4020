"""The history checker catches each kind of broken agent, and passes a good one."""

from __future__ import annotations

from pathlib import Path

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.integration.history import History, load, violations


def tag(version: int, epoch: int = 1) -> str:
    """The tag of a version."""
    return f"1a2b3c4d.{epoch}.{version}"


class HistoryTestCase(SynchronousTestCase):
    """Written histories: versions 1 to 3 are acknowledged, one a second, and due within two seconds."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.history = History(Path(self.mktemp()), self.clock.seconds)
        self.history.started("a")

    def acknowledge(self, *versions: int, epoch: int = 1) -> None:
        """Record acknowledgements."""
        for version in versions:
            self.history.acknowledged(tag(version, epoch), f"sum-{version}")

    def deliver(self, *versions: int, epoch: int = 1, agent: str = "a") -> None:
        """Record deliveries."""
        for version in versions:
            self.clock.advance(1)
            self.history.delivered(agent, tag(version, epoch), f"sum-{version}")

    def found(self) -> list[str]:
        """Return the verdict."""
        return violations(self.history.events)


class GoodTests(HistoryTestCase):
    """Histories that keep the promises."""

    def test_strictly_rising(self) -> None:
        self.acknowledge(1, 2, 3)
        self.history.owed(2)
        self.deliver(1, 3)
        self.assertEqual(self.found(), [])

    def test_applied_before_the_acknowledgement(self) -> None:
        """A push may be faster than the answer to its POST."""
        self.deliver(1)
        self.acknowledge(1)
        self.assertEqual(self.found(), [])

    def test_the_same_again_from_a_new_process(self) -> None:
        """A new process makes sure of its worker."""
        self.acknowledge(1)
        self.deliver(1)
        self.history.started("a")
        self.deliver(1)
        self.assertEqual(self.found(), [])

    def test_the_last_but_one_from_a_new_process(self) -> None:
        """The agent was killed before it wrote its cache; the worker refuses the old version, and takes the next."""
        self.acknowledge(1, 2)
        self.deliver(1, 2)
        self.history.started("a")
        self.assertFalse(self.history.delivered("a", tag(1), "sum-1"))
        self.assertTrue(self.history.delivered("a", tag(2), "sum-2"))
        self.assertEqual(self.found(), [])

    def test_a_newer_one_instead(self) -> None:
        """An agent that reaches version 3 does not owe version 2."""
        self.acknowledge(1, 2)
        self.history.owed(2)
        self.acknowledge(3)
        self.deliver(3)
        self.assertEqual(self.found(), [])

    def test_a_raised_epoch(self) -> None:
        """Versions may count from below again in a higher epoch."""
        self.acknowledge(1, 2)
        self.deliver(2)
        self.acknowledge(1, epoch=2)
        self.deliver(1, epoch=2)
        self.assertEqual(self.found(), [])

    def test_a_file_tells_the_same(self) -> None:
        self.acknowledge(1)
        self.history.owed(2)
        self.deliver(1)
        self.assertEqual(load(self.history.path), self.history.events)
        self.assertEqual(len(self.history.events), 4)

    def test_newest_and_current(self) -> None:
        self.assertIsNone(self.history.current("a"))
        self.acknowledge(9, 10)
        self.deliver(9)
        self.deliver(10, agent="b")
        self.assertEqual((self.history.newest(), self.history.current("a")), (tag(10), tag(9)))


class BrokenTests(HistoryTestCase):
    """Histories of broken agents, and the verdict on each."""

    def test_goes_back(self) -> None:
        self.acknowledge(1, 2, 3)
        self.deliver(1, 3, 2, 3)
        self.assertIn(f"a went back from version 3 to {tag(2)}", self.found())

    def test_goes_back_in_a_new_process(self) -> None:
        self.acknowledge(1, 2)
        self.deliver(2)
        self.history.started("a")
        self.deliver(2, 1, 2)
        self.assertEqual(self.found(), [f"a went back from version 2 to {tag(1)}", f"a applied {tag(2)} twice"])

    def test_goes_back_to_an_older_epoch(self) -> None:
        self.acknowledge(7)
        self.acknowledge(1, epoch=2)
        self.deliver(1, epoch=2)
        self.deliver(7)
        self.assertIn(f"a went back from version 1 to {tag(7)}", self.found())

    def test_applies_twice(self) -> None:
        self.acknowledge(1)
        self.deliver(1, 1)
        self.assertEqual(self.found(), [f"a applied {tag(1)} twice"])

    def test_applies_twice_in_a_new_process(self) -> None:
        """A new process may repeat a delivery once."""
        self.acknowledge(1)
        self.deliver(1)
        self.history.started("a")
        self.deliver(1, 1)
        self.assertEqual(self.found(), [f"a applied {tag(1)} twice"])

    def test_applies_what_nobody_published(self) -> None:
        self.acknowledge(1)
        self.deliver(2)
        self.acknowledge(3)
        self.deliver(3)
        self.assertEqual(self.found(), [f"a applied {tag(2)} with sum-2, which was never acknowledged"])

    def test_applies_another_document(self) -> None:
        """A right tag with a wrong document is a violation."""
        self.acknowledge(1)
        self.history.delivered("a", tag(1), "sum-forged")
        self.assertEqual(self.found(), [f"a applied {tag(1)} with sum-forged, which was never acknowledged"])

    def test_applies_what_another_cluster_published(self) -> None:
        self.acknowledge(1)
        self.history.delivered("a", "ffffffff.1.1", "sum-1")
        self.assertEqual(self.found(), ["a applied ffffffff.1.1 with sum-1, which was never acknowledged"])

    def test_never_arrives(self) -> None:
        self.acknowledge(1)
        self.deliver(1)
        self.acknowledge(2)
        self.history.owed(2)
        self.assertEqual(self.found(), ["a never reached version 2", f"a ended on {tag(1)}, the newest is version 2"])

    def test_never_does_anything(self) -> None:
        self.acknowledge(1)
        self.history.owed(2)
        self.assertEqual(self.found(), ["a never reached version 1"])

    def test_ends_on_an_older_one(self) -> None:
        """A run must end on the newest version, also without a debt."""
        self.acknowledge(1, 2)
        self.deliver(1)
        self.assertEqual(self.found(), [f"a ended on {tag(1)}, the newest is version 2"])

    def test_arrives_late(self) -> None:
        self.acknowledge(1)
        self.history.owed(2)
        self.clock.advance(1.5)
        self.deliver(1)
        self.assertEqual(self.found(), ["a reached version 1 2.5 s after it was due in 2.0 s"])

    def test_one_of_two(self) -> None:
        """A good agent does not hide a broken agent."""
        self.history.started("b")
        self.acknowledge(1)
        self.history.owed(2)
        self.deliver(1)
        self.assertEqual(self.found(), ["b never reached version 1"])


class DatabaseTests(HistoryTestCase):
    """The acknowledged versions in a database (promises G1 and G2)."""

    def read(self, *versions: int) -> None:
        """Record the versions of a database."""
        self.history.read([(tag(version), f"sum-{version}") for version in versions])

    def test_all_of_it(self) -> None:
        """A stored version without an acknowledgement, or with a later one, is no violation."""
        self.acknowledge(1, 2)
        self.read(1, 2, 3)
        self.acknowledge(4)
        self.assertEqual(self.found(), [])

    def test_stored_and_not_answered(self) -> None:
        """An agent may apply a stored version whose acknowledgement was lost."""
        self.acknowledge(1, 3)
        self.deliver(2, 3)
        self.read(1, 2, 3)
        self.assertEqual(self.found(), [])

    def test_lost(self) -> None:
        """Each read of the database counts."""
        self.acknowledge(1, 2)
        self.read(1)
        self.read(1, 2)
        self.assertEqual(self.found(), ["version 2 of epoch 1 was acknowledged and is lost"])

    def test_other_document(self) -> None:
        """A right version with a wrong document is a violation."""
        self.acknowledge(1)
        self.history.read([(tag(1), "sum-other")])
        self.assertEqual(self.found(), ["version 1 of epoch 1 was acknowledged and is lost"])

    def test_gap(self) -> None:
        """A missing and a repeated version are violations."""
        for versions in ((1, 3), (1, 1, 2), (2, 3)):
            self.setUp()
            self.read(*versions)
            self.assertEqual(self.found(), [f"the versions in the database are not 1 to {len(versions)}"])

    def test_acknowledged_twice(self) -> None:
        """Two acknowledgements of a version are a violation."""
        self.acknowledge(1)
        self.history.acknowledged(tag(1), "sum-other")
        self.assertIn(f"{tag(1)} was acknowledged twice, for two documents", self.found())


class ClaimTests(HistoryTestCase):
    """The claims of a test."""

    def test_claims(self) -> None:
        """A claim that fails is a violation."""
        self.history.claimed("the sky is blue", True)
        self.history.claimed("pigs fly", False)
        self.assertEqual(self.found(), ["pigs fly"])
        self.assertEqual([each.kind for each in load(self.history.path)], ["started", "kept", "broken"])
