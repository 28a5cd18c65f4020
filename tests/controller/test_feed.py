"""Tests of L{confd.controller.feed}: memory follows the changes of the store, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from confd.changes import RETIRED, Batch, Change, Contents
from confd.controller.configs.identity import ClusterIdentity
from confd.controller.configs.snapshot import Snapshot
from confd.controller.feed import APPLY_WAIT_SECONDS, REFRESH_INTERVAL_SECONDS, RETRY_SECONDS, Eviction, Feed
from confd.errors import ConfdError, Unavailable
from confd.interfaces import IChangeListener, IChangeStore
from confd.testing import MemoryStore, a_draft, an_epoch_change
from tests.agent.fakes import configuration
from tests.budgets import budget
from tests.controller.changes import contents_of
from tests.controller.harness import ADMIN, AGENT, ControllerHarness

INTERVAL = 0.25


def changes(*numbers: int, kind: str = RETIRED) -> list[Change]:
    return [Change(number, kind, f"n{number}", None) for number in numbers]


@implementer(IChangeStore)
class FakeStore:
    """
    A store whose reads fire when the test says so.

    @ivar reads: the reads that wait: C{None} for the contents, else the number after which changes were asked for.
    """

    def __init__(self, interval: float | None = INTERVAL) -> None:
        self.interval = interval
        self.reads: list[tuple[int | None, Deferred[Any]]] = []

    def contents(self) -> Deferred[Contents]:
        return self._read(None)

    def changes(self, after: int) -> Deferred[Batch]:
        return self._read(after)

    def subscribe(self, hint: Callable[[], object]) -> None:
        raise AssertionError("the composition root subscribes")

    def _read(self, what: int | None) -> Deferred[Any]:
        read: Deferred[Any] = Deferred()
        self.reads.append((what, read))
        return read

    def answer(self, value: object) -> int | None:
        """Answer the one read that waits; return what was asked for."""
        [(what, read)] = self.reads
        self.reads.clear()
        read.callback(value)
        return what


@implementer(IChangeListener)
class Follower:
    """
    Notes what it is called with.

    @ivar log: shared by several of them: the name, and what was applied.
    """

    def __init__(self, name: str, log: list[tuple[str, object]]) -> None:
        self.name, self.log = name, log
        self.broken = False

    def load(self, contents: Contents) -> None:
        self._note("contents")

    def apply(self, change: Change) -> None:
        self._note(change.seq)

    def _note(self, what: object) -> None:
        if self.broken:
            raise ZeroDivisionError(self.name)
        self.log.append((self.name, what))


class FeedTests(SynchronousTestCase):
    """L{Feed}, on a store of the test's own."""

    def setUp(self) -> None:
        self.clock, self.store = Clock(), FakeStore()
        self.log: list[tuple[str, object]] = []
        self.first, self.second = Follower("first", self.log), Follower("second", self.log)
        self.feed = Feed(self.clock, self.store, [self.first, self.second])

    def start(self) -> None:
        """Load, and read that no change follows."""
        self.feed.startService()
        self.store.answer(contents_of(configuration(1)))
        self.assertEqual(self.store.answer(Batch(())), 0)
        self.log.clear()

    def next(self, *numbers: int) -> None:
        """Give these changes to the next periodic read."""
        self.clock.advance(INTERVAL)
        self.store.answer(Batch(changes(*numbers)))

    def test_interfaces(self) -> None:
        verifyObject(IChangeStore, self.store)
        for listener in (Eviction(list), ClusterIdentity(), ControllerHarness().publishers):
            verifyObject(IChangeListener, listener)

    def test_loads_all_then_applies_each_change_in_the_order_of_the_listeners(self) -> None:
        self.feed.startService()
        self.assertIsNone(self.store.answer(contents_of(configuration(1))))
        self.store.answer(Batch(changes(1, 2)))
        loaded = [("first", "contents"), ("second", "contents")]
        self.assertEqual(self.log, [*loaded, ("first", 1), ("second", 1), ("first", 2), ("second", 2)])
        self.assertEqual(self.feed.applied, 2)

    def test_reads_on_from_the_last_change(self) -> None:
        self.start()
        self.next(1, 2)
        self.clock.advance(INTERVAL)
        self.assertEqual(self.store.answer(Batch(changes(3))), 2)
        self.assertEqual(self.feed.applied, 3)

    def test_prepares_before_each_load(self) -> None:
        prepared: Deferred[None] = Deferred()
        self.feed = Feed(self.clock, self.store, [self.first], [lambda: prepared])
        self.feed.startService()
        self.store.answer(contents_of(configuration(1)))
        self.assertEqual(self.log, [])
        prepared.callback(None)
        self.assertEqual(self.log, [("first", "contents")])

    def test_failing_listener_does_not_stop_the_others(self) -> None:
        self.start()
        self.first.broken = True
        self.next(1, 2)
        self.assertEqual(self.log, [("second", 1), ("second", 2)])
        self.assertEqual(self.feed.applied, 2)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)

    def test_changes_that_are_not_kept_lead_to_the_contents_again(self) -> None:
        self.start()
        self.clock.advance(INTERVAL)
        self.assertEqual(self.store.answer(Batch((), complete=False)), 0)
        contents = contents_of(configuration(1))
        self.assertIsNone(self.store.answer(Contents(9, *_rest(contents))))
        self.assertEqual(self.log, [("first", "contents"), ("second", "contents")])
        self.assertEqual(self.store.answer(Batch(changes(10))), 9)
        self.assertEqual(self.feed.applied, 10)

    def test_unknown_kind_is_skipped_and_counted(self) -> None:
        self.start()
        self.clock.advance(INTERVAL)
        self.store.answer(Batch([*changes(1, kind="newer"), *changes(2)]))
        self.assertEqual(self.log, [("first", 2), ("second", 2)])
        self.assertEqual((self.feed.applied, dict(self.feed.unknown)), (2, {"newer": 1}))

    def test_hint_reads_at_once(self) -> None:
        self.start()
        self.feed.hint()
        self.assertEqual(self.store.answer(Batch(changes(1))), 0)

    def test_hints_during_a_read_make_one_more(self) -> None:
        self.start()
        for _ in range(3):
            self.feed.hint()
        self.store.answer(Batch(changes(1)))
        self.assertEqual(self.store.answer(Batch(())), 1)
        self.assertEqual(self.store.reads, [])

    def test_hint_from_a_listener_is_read_after_the_batch(self) -> None:
        self.start()
        self.second.apply = lambda change: self.feed.hint()  # type: ignore[method-assign]
        self.next(1)
        self.assertEqual(self.store.answer(Batch(())), 1)

    def test_hint_before_the_start_and_after_the_end_is_ignored(self) -> None:
        self.feed.hint()
        self.start()
        self.feed.stopService()
        self.feed.hint()
        self.assertEqual((self.store.reads, self.clock.getDelayedCalls()), ([], []))

    def test_failed_read_is_tried_again(self) -> None:
        self.start()
        self.clock.advance(INTERVAL)
        self.store.reads.pop()[1].errback(Unavailable("storage_unavailable", "The disk is full."))
        self.clock.advance(RETRY_SECONDS)
        self.assertEqual(self.store.answer(Batch(changes(1))), 0)
        self.assertEqual(self.feed.applied, 1)

    def test_defect_of_the_store_is_logged_and_read_again(self) -> None:
        self.start()
        self.clock.advance(INTERVAL)
        self.store.reads.pop()[1].errback(ZeroDivisionError())
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.clock.advance(RETRY_SECONDS)
        self.store.answer(Batch(()))

    def test_reached(self) -> None:
        self.start()
        self.assertIsNone(self.successResultOf(self.feed.reached(0)))
        first, second = self.feed.reached(1), self.feed.reached(2)
        self.next(1)
        self.assertIsNone(self.successResultOf(first))
        self.assertNoResult(second)
        self.next(2)
        self.assertIsNone(self.successResultOf(second))
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)

    def test_reached_waits_for_a_second_at_most(self) -> None:
        self.start()
        reached = self.feed.reached(1)
        self.feed.hint()
        self.clock.advance(APPLY_WAIT_SECONDS)
        self.assertIsNone(self.successResultOf(reached))
        self.store.answer(Batch(changes(1)))
        self.assertEqual(self.feed.applied, 1)

    def test_reached_can_be_cancelled(self) -> None:
        self.start()
        reached = self.feed.reached(1)
        reached.addErrback(lambda _: None)
        reached.cancel()
        self.next(1)

    def test_refresh_reads_at_once(self) -> None:
        self.start()
        self.clock.advance(REFRESH_INTERVAL_SECONDS)
        refreshed = self.feed.refresh()
        self.assertNoResult(refreshed)
        self.store.answer(Batch(changes(1)))
        self.assertIsNone(self.successResultOf(refreshed))
        self.assertEqual(self.feed.applied, 1)

    def test_refresh_waits_for_a_read_that_begins_after_it(self) -> None:
        self.start()
        self.feed.hint()
        refreshed = [self.feed.refresh() for _ in range(3)]
        self.store.answer(Batch(()))
        for each in refreshed:
            self.assertNoResult(each)
        self.clock.advance(REFRESH_INTERVAL_SECONDS)
        self.store.answer(Batch(()))
        for each in refreshed:
            self.assertIsNone(self.successResultOf(each))
        self.assertEqual(self.store.reads, [])

    def test_refresh_reads_twenty_times_a_second_at_most(self) -> None:
        self.start()
        reads = 0
        for _ in range(100):
            self.feed.refresh()
            self.clock.advance(0.01)
            if self.store.reads:
                reads += 1
                self.store.answer(Batch(()))
        self.assertLessEqual(reads, 20)
        self.assertGreaterEqual(reads, 15)

    def test_refresh_that_cannot_read_fails(self) -> None:
        self.start()
        self.clock.advance(REFRESH_INTERVAL_SECONDS)
        refreshed = self.feed.refresh()
        self.store.reads.pop()[1].errback(Unavailable("storage_unavailable", "The disk is full."))
        self.assertEqual(self.failureResultOf(refreshed, Unavailable).value.code, "storage_unavailable")

    def test_refresh_fails_when_the_controller_stops(self) -> None:
        self.start()
        self.feed.hint()
        refreshed = self.feed.refresh()
        self.feed.stopService()
        self.assertEqual(self.failureResultOf(refreshed, Unavailable).value.code, "stopping")
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_refresh_of_a_store_that_hints_at_each_change_fires_at_once(self) -> None:
        self.store.interval = None
        self.assertIsNone(self.successResultOf(self.feed.refresh()))
        self.assertEqual((self.store.reads, self.feed.age()), ([], 0.0))

    def test_age(self) -> None:
        self.start()
        self.clock.advance(INTERVAL)
        self.clock.advance(2)
        self.assertEqual(self.feed.age(), 2 + INTERVAL)
        self.store.answer(Batch(()))
        self.assertEqual(self.feed.age(), 2)

    def test_limit_of_age(self) -> None:
        for limit, stale in ((0.0, False), (5.0, True), (20.0, False)):
            feed = Feed(self.clock, self.store, [], stale_limit=limit)
            self.clock.advance(10)
            self.assertEqual(feed.problem() is not None, stale, limit)


def _rest(contents: Contents) -> Sequence[Any]:
    return contents.identity, contents.revisions, contents.versions, contents.blocked


class SilentStore(MemoryStore):
    """A store that hints at nothing: only a test reads its changes."""

    def subscribe(self, hint: Callable[[], object]) -> None:
        super().subscribe(lambda: None)


class OnePathTests(SynchronousTestCase):
    """Nothing but the feed changes what a controller serves."""

    def setUp(self) -> None:
        self.harness = ControllerHarness(SilentStore(a_draft(1, poll_interval=30)))

    def served(self) -> object:
        """Return all that an agent may be served."""
        bodies = {name: self.harness.snapshot.require(name).body for name in self.harness.snapshot.namespaces()}
        agents = [record.id for record in self.harness.registry.records()]
        blocked = set(self.harness.registry.agent_tokens.blocked)
        return bodies, self.harness.identity, self.harness.convergence.progress("default", 2), agents, blocked

    def test_a_write_is_served_only_after_the_feed_applied_it(self) -> None:
        joining = self.harness.caller()
        joining.ask("POST", "/api/v1/register", auth=AGENT, json={"agent_id": "a"})
        self.harness.clock.advance(APPLY_WAIT_SECONDS)
        self.assertEqual((joining.answer() or self).status, 200)  # type: ignore[union-attr]
        self.harness.feed.hint()
        for method, path, body in (
            ("POST", "/api/v1/config", {"url": "http://new/"}),
            ("POST", "/api/v1/namespaces", {"name": "blue", "config": {"url": "http://blue/"}}),
            ("DELETE", "/api/v1/namespaces/blue", None),
            ("POST", "/api/v1/epoch/raise", {}),
            ("POST", "/api/v1/signing-key/rotate", None),
            ("DELETE", "/api/v1/agents/a", None),
            ("DELETE", "/api/v1/agents/stolen?block=true", None),
            ("DELETE", "/api/v1/blocked/stolen", None),
        ):
            before = self.served()
            caller = self.harness.caller()
            caller.ask(method, path, auth=ADMIN, **({} if body is None else {"json": body}))
            self.assertEqual((caller.answer(), self.served()), (None, before), path)
            self.harness.feed.hint()
            reply = caller.answer()
            assert reply is not None
            self.assertIn(reply.status, (200, 201), path)
            self.assertNotEqual(self.served(), before, path)

    def test_a_write_is_answered_a_second_after_its_commit(self) -> None:
        before = self.served()
        caller = self.harness.caller()
        caller.ask("POST", "/api/v1/config", json={"url": "http://new/"}, auth=ADMIN)
        self.harness.clock.advance(APPLY_WAIT_SECONDS)
        reply = caller.answer()
        assert reply is not None
        self.assertEqual((reply.status, reply.json["version"], self.served()), (200, 2, before))

    def test_an_answered_write_is_served(self) -> None:
        """With a store that hints, the answer to a publish comes after the feed has applied it."""
        harness = ControllerHarness()
        for version in (2, 3, 4):
            harness.caller().post("/api/v1/config", json={"url": f"http://{version}/"}, auth=ADMIN)
            self.assertEqual(harness.caller().get("/api/v1/config", auth=AGENT).json["version"], version)


#: A write, by the method of the store and what it is called with; C{None} lets the feed read.
_NAMES = st.sampled_from(["default", "b", "c"])
_WRITES = st.one_of(
    st.none(),
    st.tuples(
        st.just("publish"),
        st.builds(lambda name, number: (a_draft(number, namespace=name),), _NAMES, st.integers(0, 9)),
    ),
    st.tuples(st.just("create_namespace"), st.builds(lambda name: (a_draft(namespace=name),), _NAMES)),
    st.tuples(st.just("retire_namespace"), st.tuples(st.sampled_from(["b", "c"]))),
    st.tuples(st.just("begin_epoch"), st.builds(lambda epoch: (an_epoch_change(epoch),), st.integers(2, 5))),
    st.tuples(st.just("rotate_keys"), st.just(())),
)


def first_versions(changes: Sequence[Change]) -> dict[str, int]:
    """Return the first version of each namespace since it was retired last."""
    first: dict[str, int] = {}
    retired = {"b", "c"}
    for change in changes:
        if change.kind == RETIRED:
            retired.add(change.subject)
        elif change.subject in retired:
            retired.remove(change.subject)
            first[change.subject] = change.value.version.tag.version
    return first


class SameAsContentsTests(SynchronousTestCase):
    """Memory that followed the changes is the memory of a controller that starts now."""

    @given(st.lists(_WRITES, max_size=25))
    @settings(max_examples=budget(25, 60), deadline=None)
    def test_any_sequence_of_writes(self, writes: list[tuple[str, tuple[Any, ...]] | None]) -> None:
        store = SilentStore(a_draft(1, poll_interval=30))
        harness = ControllerHarness(store)
        for write in writes:
            if write is None:
                harness.feed.hint()
            else:
                getattr(store, write[0])(*write[1]).addErrback(lambda failure: failure.trap(ConfdError))
        harness.feed.hint()
        contents: Contents = self.successResultOf(store.contents())
        identity = ClusterIdentity()
        snapshot = Snapshot(identity.keys)
        for listener in (identity, snapshot):
            listener.load(contents)
        self.assertEqual(harness.feed.applied, contents.seq)
        self.assertEqual(harness.identity, contents.identity)
        self.assertEqual(
            {name: harness.snapshot.require(name).frame for name in harness.snapshot.namespaces()},
            {name: snapshot.require(name).frame for name in snapshot.namespaces()},
        )
        since = first_versions(harness.changes())
        for name, listed in contents.versions.items():
            # Convergence forgets the versions of a namespace that is retired.
            versions = [each for each in listed if each.version.tag.version >= since.get(name, 1)]
            followed = [harness.convergence.progress(name, each.version.tag.version) for each in versions]
            self.assertEqual(
                [progress and (progress.tag, progress.published_at) for progress in followed],
                [(each.version.tag, each.version.created_at) for each in versions],
            )
