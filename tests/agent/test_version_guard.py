"""Tests of L{confd.agent.version_guard}."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from confd.agent.version_guard import VersionGuard
from confd.codec import strict_json
from confd.model import Configuration, Verdict, judge
from tests.agent.fakes import CLUSTER, OTHER_CLUSTER, configuration


def _offers() -> st.SearchStrategy[Configuration]:
    """Configurations of few clusters, epochs and versions, so that repeats and forks are common."""
    return st.builds(
        lambda cluster, epoch, version, data: configuration(
            version, cluster_id=cluster, epoch=epoch if cluster else 0, document=strict_json.document({"url": data})
        ),
        st.sampled_from([CLUSTER, OTHER_CLUSTER, ""]),
        st.integers(1, 3),
        st.integers(1, 5),
        st.sampled_from(["http://a", "http://b"]),
    )


class VersionGuardTests(SynchronousTestCase):
    """L{VersionGuard}: a table of what follows what."""

    def setUp(self) -> None:
        self.through: list[Configuration] = []
        self.version_guard = VersionGuard(self.through.append)

    def test_the_first_configuration_is_accepted(self) -> None:
        first = configuration(7)
        self.assertIsNone(self.version_guard.offer(first))
        self.assertEqual((self.version_guard.newest, self.through), (first, [first]))

    def test_verdicts_after_version_7(self) -> None:
        """The cases include a restored database and another cluster."""
        fork = strict_json.document({"url": "http://fork"})
        for offered, comes_through, objects in (
            (configuration(8), True, False),
            (configuration(1, epoch=2), True, False),
            (configuration(7), False, False),
            (configuration(6), False, True),
            (configuration(7, document=fork), False, True),
            (configuration(9, cluster_id=OTHER_CLUSTER), False, True),
            (configuration(9, cluster_id="", epoch=0), False, True),
        ):
            through: list[Configuration] = []
            version_guard = VersionGuard(through.append)
            version_guard.offer(configuration(7))
            objection = version_guard.offer(offered)
            self.assertEqual((len(through) == 2, objection is not None), (comes_through, objects), offered)

    def test_a_controller_with_identity_takes_over_from_one_without(self) -> None:
        self.version_guard.offer(configuration(40, cluster_id="", epoch=0))
        self.assertIsNone(self.version_guard.offer(configuration(2)))
        self.assertEqual(len(self.through), 2)

    def test_an_unpublished_version_replaces_no_configuration_of_the_go_system(self) -> None:
        known = configuration(40, cluster_id="", epoch=0)
        self.version_guard.offer(known)
        self.assertIsNone(self.version_guard.offer(configuration(1)))
        self.assertIsNone(self.version_guard.objection)
        self.assertEqual(self.through, [known])
        self.assertIsNone(self.version_guard.offer(configuration(1, namespace="edge")), "an administrator made it")
        self.assertEqual(len(self.through), 2)

    def test_objections_name_both_tags_and_a_remedy(self) -> None:
        self.version_guard.offer(configuration(7))
        for offered, remedy in (
            (configuration(6), "confdctl epoch raise"),
            (configuration(9, cluster_id=OTHER_CLUSTER), "confdctl cluster adopt"),
        ):
            objection = self.version_guard.offer(offered) or ""
            for part in (str(offered.tag), "1a2b3c4d.1.7", remedy):
                self.assertIn(part, objection)

    def test_each_objection_is_logged_once(self) -> None:
        self.version_guard.offer(configuration(7))
        with capturedLogs() as logs:
            for _ in range(3):
                self.version_guard.offer(configuration(6))
                self.version_guard.offer(configuration(5))
        self.assertEqual(len(logs), 2)

    def test_the_memory_for_logged_objections_is_bounded(self) -> None:
        """A hostile controller can invent tags without end."""
        self.version_guard.offer(configuration(1000))
        with capturedLogs() as logs:
            for version in range(1, 500):
                self.version_guard.offer(configuration(version))
        self.assertEqual(len(logs), 499)
        self.assertLessEqual(len(self.version_guard._logged), 100)

    # -- the objection that stands --

    def objection(self) -> str | None:
        """Return the tag of the objection."""
        return None if self.version_guard.objection is None else str(self.version_guard.objection.tag)

    def test_an_accepted_configuration_leaves_no_objection(self) -> None:
        self.version_guard.offer(configuration(7))
        self.assertIsNone(self.objection())

    def test_the_last_objection_stands(self) -> None:
        self.version_guard.offer(configuration(7))
        for offered in (configuration(6), configuration(9, cluster_id=OTHER_CLUSTER)):
            self.version_guard.offer(offered)
            self.assertEqual(self.objection(), str(offered.tag))

    def test_an_overtaken_configuration_is_not_objected_to(self) -> None:
        """An overtaken configuration is not logged either. A configuration of another cluster is still objected to."""
        self.version_guard.offer(configuration(7))
        with capturedLogs() as logs:
            self.assertIn("is older than", self.version_guard.offer(configuration(6), late=True) or "")
        self.assertEqual((self.objection(), logs), (None, []))
        self.version_guard.offer(configuration(9, cluster_id=OTHER_CLUSTER), late=True)
        self.assertEqual(self.objection(), "99999999.1.9")

    def test_a_confirmed_tag_ends_the_objection(self) -> None:
        """An answer with only the tag does not end the objection to another document with the same tag."""
        self.version_guard.confirmed()
        self.version_guard.offer(configuration(7))
        self.version_guard.offer(configuration(6))
        self.version_guard.confirmed()
        self.assertIsNone(self.objection())
        self.version_guard.offer(configuration(7, document=strict_json.document({"url": "http://fork"})))
        self.version_guard.confirmed()
        self.assertEqual(self.objection(), "1a2b3c4d.1.7")
        self.version_guard.offer(configuration(7))
        self.assertIsNone(self.objection())

    def test_a_tag_with_another_checksum_is_not_confirmed(self) -> None:
        """A tag with another checksum confirms nothing."""
        known, other = configuration(7), configuration(7, document=strict_json.document({"url": "http://fork"}))
        self.version_guard.offer(known)
        self.assertTrue(self.version_guard.confirmed(known.document.checksum))
        self.version_guard.offer(configuration(6))
        self.assertFalse(self.version_guard.confirmed(other.document.checksum))
        self.assertEqual(self.objection(), "1a2b3c4d.1.6")
        self.version_guard.offer(other)
        self.assertTrue(self.version_guard.confirmed(other.document.checksum), "it was looked at already")
        self.assertEqual(self.objection(), "1a2b3c4d.1.7")

    def test_changes_of_the_objection_are_notified(self) -> None:
        objections: list[str | None] = []
        self.version_guard = VersionGuard(lambda _: None, lambda: objections.append(self.objection()))
        for version in (7, 6, 6, 5, 7, 7, 6, 8):
            self.version_guard.offer(configuration(version))
        self.assertEqual(objections, ["1a2b3c4d.1.6", "1a2b3c4d.1.5", None, "1a2b3c4d.1.6", None])

    @given(st.lists(_offers(), max_size=30))
    def test_history_only_rises(self, offers: list[Configuration]) -> None:
        """Promise G3: whatever is lost, repeated, reordered or foreign, what passes supersedes all before it."""
        through: list[Configuration] = []
        version_guard = VersionGuard(through.append)
        for offered in offers:
            version_guard.offer(offered)
        for earlier, later in pairwise(through):
            self.assertIs(judge(later.tag, later.document.checksum, earlier.tag), Verdict.NEWER)
        clusters = [each.cluster_id for each in through if each.cluster_id]
        self.assertLessEqual(len(set(clusters)), 1)

    @given(st.permutations(range(1, 8)), st.integers(0, 6))
    def test_the_newest_wins_in_any_order(self, order: list[int], lost: int) -> None:
        version_guard = VersionGuard(lambda _: None)
        arrived = order[lost:]
        for version in arrived:
            version_guard.offer(configuration(version))
        assert version_guard.newest is not None
        self.assertEqual(version_guard.newest.version, max(arrived))
