"""Tests of L{confd.model}."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from confd.errors import StartError
from confd.model import Configuration, Document, Tag, Verdict, judge, supersedes, valid_agent_id, valid_namespace
from confd.reports import AgentRecord

ONE, OTHER = "1a2b3c4d", "ffffffff"

counts = st.integers(1, 10**18 - 1)
clusters = st.text("0123456789abcdef", min_size=8, max_size=8)
bare_tags = st.builds(Tag, st.just(""), st.just(0), counts)
tags = bare_tags | st.builds(Tag, clusters, counts, counts)
#: Tags that meet: few clusters, epochs and versions.
near_tags = st.builds(Tag, st.just(""), st.just(0), st.integers(1, 3)) | st.builds(
    Tag, st.sampled_from([ONE, OTHER]), st.integers(1, 3), st.integers(1, 3)
)


class TagTests(SynchronousTestCase):
    """Tags and their text."""

    @given(tags)
    def test_roundtrip(self, tag):
        """A tag reads back from its own text."""
        self.assertEqual(Tag.parse(str(tag)), tag)

    @given(st.text(max_size=40))
    def test_rubbish(self, text):
        """Any other text raises L{ValueError}, or is the one text of the tag that it makes."""
        try:
            tag = Tag.parse(text)
        except ValueError:
            return
        self.assertEqual(str(tag), text)

    def test_refused(self):
        """Numbers are plain, positive and of bounded length; the cluster is lower-case hex."""
        for text in (
            "", "0", "-1", "+1", "01", "1.5", "1a2b3c4d.1", "1a2b3c4d.0.1", "1a2b3c4d.1.0", "1A2B3C4D.1.1",
            "1a2b3c4.1.1", ".1.1", "1a2b3c4d..1", " 7", "7 ", "7\n", '"7"', "٧", "1" * 19, "9" * 5000,
        ):  # fmt: skip
            with self.subTest(text=text[:30]):
                self.assertRaises(ValueError, Tag.parse, text)

    def test_long_text_in_error(self):
        """The error does not repeat a text of any length."""
        error = self.assertRaises(ValueError, Tag.parse, "x" * 10_000)
        self.assertLess(len(str(error)), 200)

    def test_of_configuration(self):
        """A configuration is named by the first eight digits of its cluster; without a cluster it has no epoch."""
        document = Document(b"{}", "sha256:0")
        now = datetime(2026, 1, 2, tzinfo=UTC)
        confd = Configuration("1a2b3c4d-0000-4000-8000-000000000000", 2, 7, "default", document, 30, now)
        go = Configuration("", 5, 7, "default", document, 30, now)
        self.assertEqual((str(confd.tag), go.tag), ("1a2b3c4d.2.7", Tag("", 0, 7)))


class JudgeTests(SynchronousTestCase):
    """The one rule that says which configuration may take the place of which."""

    def test_table(self):
        """Every kind of meeting, with and without the Go system."""
        go, confd = Tag("", 0, 7), Tag(ONE, 1, 7)
        for offered, known, verdict in (
            (confd, None, Verdict.NEWER),
            (go, None, Verdict.NEWER),
            (confd, confd, Verdict.SAME),
            (Tag(ONE, 1, 8), confd, Verdict.NEWER),
            (Tag(ONE, 1, 6), confd, Verdict.OLDER),
            (Tag(ONE, 2, 1), confd, Verdict.NEWER),
            (Tag(ONE, 1, 99), Tag(ONE, 2, 1), Verdict.OLDER),
            (Tag(ONE, 1, 10), Tag(ONE, 1, 9), Verdict.NEWER),
            (Tag(OTHER, 9, 99), confd, Verdict.FOREIGN),
            (Tag(OTHER, 1, 7), confd, Verdict.FOREIGN),
            (go, go, Verdict.SAME),
            (Tag("", 0, 8), go, Verdict.NEWER),
            (Tag("", 0, 6), go, Verdict.OLDER),
            (Tag(ONE, 1, 1), go, Verdict.NEWER),
            (Tag("", 0, 99), confd, Verdict.FOREIGN),
        ):
            with self.subTest(offered=str(offered), known=str(known)):
                self.assertIs(judge(offered, "sha256:a", known, "sha256:a"), verdict)
                self.assertIs(supersedes(offered, known), verdict is Verdict.NEWER)

    def test_forked(self):
        """The same tag on another document is a fork, and known as one only where both checksums are."""
        tag = Tag(ONE, 1, 7)
        self.assertIs(judge(tag, "sha256:a", tag, "sha256:b"), Verdict.FORKED)
        self.assertIs(judge(tag, "sha256:a", tag), Verdict.SAME)

    @given(near_tags)
    def test_irreflexive(self, tag):
        """Nothing supersedes itself, whatever its document."""
        self.assertFalse(supersedes(tag, tag))
        self.assertIsNot(judge(tag, "sha256:a", tag, "sha256:b"), Verdict.NEWER)

    @given(near_tags, near_tags)
    def test_asymmetric(self, one, other):
        """Of two tags at most one supersedes; two that are neither newer are the same or of different clusters."""
        forth, back = supersedes(one, other), supersedes(other, one)
        self.assertFalse(forth and back)
        if not forth and not back:
            self.assertTrue(one == other or (one.cluster and other.cluster and one.cluster != other.cluster))

    @given(near_tags, near_tags, near_tags)
    def test_transitive(self, one, two, three):
        """What supersedes a superseder supersedes: agents that hear of versions in any order end on the same one."""
        if supersedes(one, two) and supersedes(two, three):
            self.assertTrue(supersedes(one, three))

    @given(st.lists(st.builds(Tag, st.just(ONE), st.integers(1, 3), st.integers(1, 5)), min_size=1), st.randoms())
    def test_order_of_arrival(self, history, random):
        """Lost, repeated, reordered: one that applies only what supersedes never goes back and ends on the newest."""
        arrivals = history + random.choices(history, k=len(history))
        random.shuffle(arrivals)
        applied, seen = None, []
        for tag in arrivals:
            if supersedes(tag, applied):
                applied = tag
                seen.append((tag.epoch, tag.version))
        self.assertEqual(seen, sorted(set(seen)))
        self.assertEqual(seen[-1], max((tag.epoch, tag.version) for tag in history))


class NameTests(SynchronousTestCase):
    """Names of namespaces and agents."""

    def test_namespaces(self):
        """Lower-case letters, digits and dashes, at most 63."""
        for name in ("default", "a", "7", "eu-west-1", "a" * 63):
            self.assertTrue(valid_namespace(name), name)
        for name in ("", "A", "a_b", "a.b", "a/b", "a" * 64, "a\n", "ä", "٧", " a"):
            self.assertFalse(valid_namespace(name), name)

    def test_agent_ids(self):
        """What can be a header and a line of a log."""
        for name in ("f47ac10b-58cc-4372-a567-0e02b2c3d479", "a", "host:1.b_c", "a" * 64):
            self.assertTrue(valid_agent_id(name), name)
        for name in ("", "a" * 65, "a\r\nX: y", "a\n", "ä", "a b", "../a", "\0"):
            self.assertFalse(valid_agent_id(name), name)


class RecordTests(SynchronousTestCase):
    """Values that change by being replaced."""

    def test_polled(self):
        """A poll leaves all but its time as it was."""
        then, now = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)
        record = AgentRecord("a", "default", "host", "", "POLLER", then)
        self.assertIsNone(record.last_poll)
        self.assertEqual(record.polled(now), AgentRecord("a", "default", "host", "", "POLLER", then, now))

    def test_start_error(self):
        """All mistakes of a start are one text, a line each."""
        error = StartError("A: is wrong.", "B: too.")
        self.assertEqual((error.reasons, str(error)), (("A: is wrong.", "B: too."), "A: is wrong.\nB: too."))
