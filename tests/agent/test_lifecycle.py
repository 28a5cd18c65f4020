"""Tests of L{confd.agent.lifecycle}: the whole agent, between a controller and a worker that follow a script."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any, cast

import hypothesis
from attrs import evolve
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from twisted.internet.defer import CancelledError, Deferred, maybeDeferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from confd.agent.cache_files import CacheFiles
from confd.agent.composition import Clients, compose
from confd.codec import bodies
from confd.codec.announcement import announce
from confd.codec.signing import SigningKey
from confd.errors import StartError, Unavailable
from confd.interfaces import ISink, IStrategy
from confd.model import Verdict, judge
from confd.reports import ReportState, Timings
from confd.runtime.offload import LARGE_BYTES, OrderedOffload
from confd.runtime.options import read
from confd.runtime.settings import AgentSettings
from tests.agent.fakes import AGENT_ID, KEY, OTHER_CLUSTER, FakeController, FakeWorker, HeldThreads, configuration
from tests.budgets import budget

DOWN = Unavailable("down", "No controller answers.")


@implementer(IStrategy)
class FakeStrategy:
    """A strategy that the test drives through its sink."""

    name = "FAKE"
    pushes = True
    connections = 0
    sink: ISink | None = None

    def start(self, sink: ISink) -> None:
        """Store the sink."""
        self.sink = sink

    def stop(self) -> Deferred[None]:
        """Forget it."""
        self.sink = None
        return succeed(None)

    def path(self) -> str:
        """For people."""
        return "fake"


class World:
    """An agent, its controller, its worker and its strategy; its files are in C{folder}."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock: Any = Clock()
        self.threads = HeldThreads()
        self.controller = FakeController(configuration(1))
        self.worker = FakeWorker()
        self.disk: Callable[..., Deferred[Any]] = maybeDeferred
        self.start_over()

    def start_over(self) -> None:
        """Make another process of the agent."""
        clients = Clients(self.controller, self.worker, OrderedOffload(self.threads))
        settings = read(AgentSettings, {"CACHE_FILE": str(self.folder / "cache")}, {})
        composed = compose(
            self.clock,
            settings,
            {},
            clients=clients,
            in_thread=lambda *call: self.disk(*call),
            make_strategy=lambda name, context: FakeStrategy(),
            random=Random(1),
        )
        parts = composed.parts
        self.cache, self.worker_sync, self.poller = parts.cache, parts.worker_sync, parts.poller
        self.version_guard, self.registration_service = parts.version_guard, parts.registration_service
        self.strategy = cast(FakeStrategy, parts.strategy)
        (self.agent,) = composed.services
        self.files = CacheFiles(str(self.folder / "cache"), "default")

    def crash(self) -> None:
        """Kill the agent with its timers, and make another process."""
        for call in list(self.clock.getDelayedCalls()):
            call.cancel()
        self.controller.owed.clear()
        self.threads.held.clear()
        self.cache.release()
        self.start_over()

    def wait(self, seconds: int) -> None:
        """Let time pass."""
        self.clock.pump([0.5] * (seconds * 2))


class AgentTests(SynchronousTestCase):
    """L{Agent}."""

    def setUp(self) -> None:
        folder = Path(self.mktemp())
        folder.mkdir()
        self.world = World(folder)

    def stop(self) -> None:
        """Stop the agent; the stop ends at once."""
        self.successResultOf(self.world.agent.stopService())

    def test_a_fresh_agent_delivers_the_current_configuration(self) -> None:
        self.world.agent.startService()
        self.assertEqual(self.world.worker.current, configuration(1))
        self.assertEqual(self.world.registration_service.agent_id, AGENT_ID)

    def test_an_agent_without_controller_delivers_its_cache(self) -> None:
        """Promise G5."""
        self.world.agent.startService()
        self.stop()
        self.world.start_over()
        self.world.worker.restart("boot-2")
        self.world.controller.failure = DOWN
        self.world.agent.startService()
        self.assertEqual(self.world.worker.current, configuration(1))

    def test_an_agent_without_controller_believes_announcements(self) -> None:
        """It has the keys of the controller from its cache, and no other key is believed."""
        self.test_an_agent_without_controller_delivers_its_cache()
        sink = self.world.strategy.sink
        assert sink is not None
        for version, key in ((3, SigningKey.generate()), (2, KEY)):
            sink.announced(announce(configuration(version), key))
            self.world.wait(1)
        self.assertEqual(self.world.worker.current, configuration(2))

    def test_a_key_that_was_rotated_while_the_agent_was_down_is_learned_and_stored(self) -> None:
        self.world.agent.startService()
        self.stop()
        newer = SigningKey.generate()
        self.world.controller.keys = (newer, KEY)
        self.world.start_over()
        self.world.agent.startService()
        self.world.wait(3)
        self.assertEqual([known for known, _ in self.world.controller.polls[-2:]], [configuration(1).tag, None])
        self.stop()
        self.assertEqual(self.world.files.load().keys, (newer.public, KEY.public))

    def test_the_cache_waits_for_the_worker(self) -> None:
        self.test_an_agent_without_controller_delivers_its_cache()
        self.stop()
        self.world.start_over()
        self.world.worker.restart("boot-3")
        self.world.worker.down = True
        self.world.agent.startService()
        self.world.wait(60)
        self.world.worker.down = False
        self.world.wait(5)
        self.assertEqual(self.world.worker.current, configuration(1))

    def test_the_id_survives_restarts(self) -> None:
        for _ in range(3):
            self.world.agent.startService()
            self.stop()
            self.world.start_over()
        self.assertEqual([each.agent_id for each in self.world.controller.registrations], ["", AGENT_ID, AGENT_ID])

    def test_a_restart_does_not_begin_with_a_refused_configuration(self) -> None:
        """Promise G7."""
        self.world.agent.startService()
        self.world.worker.refuses = {2}
        self.world.controller.current = configuration(2)
        self.world.wait(33)
        self.world.crash()
        self.world.worker.restart("boot-2")
        self.world.controller.failure = DOWN
        self.world.agent.startService()
        self.assertEqual(self.world.worker.current, configuration(1))

    def test_a_hung_worker_does_not_stop_the_polls(self) -> None:
        """Row F-19."""
        self.world.agent.startService()
        self.world.wait(1)
        self.world.worker.hung = True
        before = len(self.world.controller.polls)
        self.world.controller.current = configuration(2)
        self.world.wait(330)
        self.assertGreaterEqual(len(self.world.controller.polls) - before, 9)
        self.world.controller.current = configuration(3)
        self.world.wait(33)
        self.world.worker.resume()
        self.world.wait(5)
        self.assertEqual(self.world.worker.current, configuration(3))

    def test_a_full_disk_does_not_stop_a_change(self) -> None:
        """Row F-09."""
        self.world.agent.startService()
        shutil.rmtree(self.world.folder)
        self.world.controller.current = configuration(2)
        self.world.wait(33)
        self.assertEqual(self.world.worker.current, configuration(2))
        self.assertIn("cache_unwritable", self.world.cache.problem() or "")

    def test_a_damaged_cache_does_not_stop_the_start(self) -> None:
        """Row F-10."""
        (self.world.folder / "cache").write_bytes(b"rubbish")
        self.world.agent.startService()
        self.assertEqual(self.world.worker.current, configuration(1))

    def test_a_hint_leads_to_a_poll_at_once(self) -> None:
        self.world.agent.startService()
        self.world.wait(5)
        self.world.controller.current = configuration(2)
        assert self.world.strategy.sink is not None
        self.world.strategy.sink.hint()
        self.world.clock.advance(0)
        self.assertEqual(self.world.worker.current, configuration(2))

    def test_a_missing_folder_for_the_cache_is_refused(self) -> None:
        shutil.rmtree(self.world.folder)
        self.assertRaises(StartError, self.world.agent.startService)

    def test_a_second_agent_on_one_cache_is_refused(self) -> None:
        """The first agent keeps running."""
        self.world.agent.startService()
        first = self.world.agent
        self.world.start_over()
        self.assertRaises(StartError, self.world.agent.startService)
        self.successResultOf(first.stopService())
        self.world.agent.startService()
        self.stop()

    # -- reports --

    def reports(self) -> list[tuple[int, str, str]]:
        """Return version, state and error of each report."""
        return [(each.tag.version, each.state.value, each.error) for each in self.world.controller.reports]

    def test_the_outcome_of_each_version_is_reported(self) -> None:
        self.world.agent.startService()
        self.world.wait(1)
        self.world.worker.refuses = {2}
        self.world.controller.current = configuration(2)
        self.world.wait(33)
        refusal = "The worker refuses configuration 1a2b3c4d.1.2: I cannot use this."
        self.assertEqual(self.reports(), [(1, "applied", ""), (2, "failed", refusal)])

    def test_a_restarted_agent_reports_in_a_new_session(self) -> None:
        """The id is the same, and the sequence starts at 1."""
        for _ in range(2):
            self.world.agent.startService()
            self.world.wait(1)
            self.world.crash()
        self.assertEqual(self.reports(), [(1, "applied", "")] * 2)
        self.assertEqual([each.sequence for each in self.world.controller.reports], [1, 1])
        self.assertEqual(len({each.session for each in self.world.controller.reports}), 2)

    def test_a_repair_is_reported(self) -> None:
        self.world.agent.startService()
        self.world.wait(1)
        self.world.worker.restart("boot-2")
        self.world.wait(5)
        self.assertEqual([each.repairs for each in self.world.controller.reports], [0, 1])
        self.assertEqual(self.reports(), [(1, "applied", "")] * 2)

    def test_a_controller_that_is_behind_gets_a_failed_report(self) -> None:
        """The agent reports once, and again when the controller has caught up."""
        self.world.controller.current = configuration(3)
        self.world.agent.startService()
        self.world.wait(1)
        self.world.controller.current = configuration(2)
        self.world.wait(120)
        (_, last_reports) = self.world.controller.reports
        self.assertEqual(
            (last_reports.tag, last_reports.state.value, last_reports.holds),
            (configuration(2).tag, "failed", configuration(3).tag),
        )
        self.assertEqual(last_reports.error, self.world.poller.problem())
        self.world.controller.current = configuration(3)
        self.world.wait(40)
        self.assertEqual(self.reports()[2:], [(3, "applied", "")])

    def test_a_worker_ahead_of_an_agent_without_cache_gets_a_failed_report(self) -> None:
        """Promise G3: the worker keeps its configuration, and the report names it."""
        self.world.worker.current = configuration(9)
        self.world.agent.startService()
        self.world.wait(60)
        self.assertEqual(self.world.worker.current, configuration(9))
        (last_reports,) = self.world.controller.reports
        self.assertEqual(
            (last_reports.tag.version, last_reports.state.value, last_reports.holds),
            (1, "failed", configuration(9).tag),
        )
        self.world.controller.current = configuration(2, epoch=2)
        self.world.wait(40)
        self.assertEqual(self.world.worker.current, configuration(2, epoch=2))

    def test_a_forgotten_agent_registers_within_an_interval(self) -> None:
        """The agent keeps its id, and reports again."""
        self.world.agent.startService()
        self.world.wait(1)
        self.world.controller.members.clear()
        self.world.controller.reports.clear()
        self.world.wait(36)
        self.assertEqual(self.world.controller.members, {AGENT_ID})
        self.assertEqual(self.reports(), [(1, "applied", "")])

    def test_the_same_refusal_of_another_worker_is_reported_once(self) -> None:
        """Each process of the worker gets the configuration; only another outcome is reported."""
        self.world.worker.refuses = {1}
        self.world.agent.startService()
        self.world.wait(1)
        self.world.worker.restart("boot-2")
        self.world.wait(5)
        self.assertEqual(len(self.world.worker.deliveries), 2)
        self.assertEqual([(version, state) for version, state, _ in self.reports()], [(1, "failed")])
        self.world.worker.refuses = set()
        self.world.worker.restart("boot-3")
        self.world.wait(5)
        self.assertEqual([(version, state) for version, state, _ in self.reports()], [(1, "failed"), (1, "applied")])

    def test_a_stop_sends_the_last_report(self) -> None:
        self.world.controller.window = 30.0
        self.world.agent.startService()
        self.world.wait(0)
        self.assertEqual(self.reports(), [])
        self.stop()
        self.assertEqual(self.reports(), [(1, "applied", "")])

    # -- the life cycle --

    def test_nothing_is_requested_before_the_cache_is_loaded(self) -> None:
        reading: Deferred[Any] = Deferred()
        self.world.disk = lambda function, *args: reading.addCallback(lambda _: function(*args))
        self.world.agent.startService()
        self.assertEqual((self.world.controller.polls, self.world.clock.getDelayedCalls()), ([], []))
        self.world.disk = maybeDeferred
        reading.callback(None)
        self.assertEqual(self.world.worker.current, configuration(1))

    def test_a_stop_before_the_cache_is_loaded_requests_nothing(self) -> None:
        reading: Deferred[Any] = Deferred()
        self.world.disk = lambda function, *args: reading.addCallback(lambda _: function(*args))
        self.world.agent.startService()
        self.stop()
        reading.callback(None)
        self.assertEqual((self.world.controller.polls, self.world.clock.getDelayedCalls()), ([], []))

    def test_a_stop_finishes_the_delivery_and_writes_the_cache(self) -> None:
        self.world.worker.hung = True
        self.world.agent.startService()
        stopping = self.world.agent.stopService()
        self.assertNoResult(stopping)
        self.world.worker.resume()
        self.successResultOf(stopping)
        self.assertEqual(self.world.worker.current, configuration(1))
        kept = CacheFiles(str(self.world.folder / "cache"), "default").load()
        self.assertEqual(kept.configuration, configuration(1))

    def test_a_stop_leaves_no_timers(self) -> None:
        self.world.agent.startService()
        self.world.wait(100)
        self.stop()
        self.assertEqual(self.world.clock.getDelayedCalls(), [])
        self.assertIsNone(self.world.strategy.sink)

    def test_a_stop_takes_ten_seconds_at_most(self) -> None:
        """Worker and controller hang."""
        self.world.worker.hung = self.world.controller.hung = True
        self.world.agent.startService()
        stopping = self.world.agent.stopService()
        self.world.wait(10)
        self.successResultOf(stopping)

    def test_an_agent_starts_again_after_a_stop(self) -> None:
        self.world.agent.startService()
        self.stop()
        self.world.controller.current = configuration(2)
        self.world.agent.startService()
        self.assertEqual(self.world.worker.current, configuration(2))


class LifeMachine(RuleBasedStateMachine):
    """
    Whatever befalls the agent, its controller, its worker and its disk.

    The worker never goes back while it runs (promise G3), and soon has the newest after each fault (promise G4).
    The controller is sent one thing at a time, nothing twice, and in the end the truth.
    """

    folder: Path

    @initialize()
    def begin(self) -> None:
        """Start an agent without faults."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir()
        self.world = World(self.folder)
        self.world.agent.startService()
        self.highest = self.world.worker.current
        self.published = 1
        self.forgotten = 0

    @rule()
    def publish(self) -> None:
        """Publish another version."""
        self.published += 1
        self.world.controller.current = configuration(self.published)

    @rule(back=st.integers(0, 3), large=st.booleans(), by_stream=st.booleans())
    def push(self, back: int, large: bool, by_stream: bool) -> None:
        """Bring a published version as a stream or as a broker does."""
        sink = self.world.strategy.sink
        if sink is None:
            return
        made = configuration(max(1, self.published - back))
        raw = announce(made, KEY)
        if by_stream:
            raw = bodies.configuration_body(made, [KEY.public])
        if large:
            # White space changes neither the document nor its signature.
            raw = raw.replace(b"{", b"{" + b" " * LARGE_BYTES, 1)
        handled: Deferred[Any] = sink.served(raw, str(made.tag)) if by_stream else sink.announced(raw)
        handled.addErrback(lambda failure: failure.trap(CancelledError))

    @rule(most=st.integers(1, 3))
    def threads_run(self, most: int) -> None:
        """Decode the oldest bodies."""
        for _ in range(min(most, len(self.world.threads.held))):
            self.world.threads.run()

    @rule(lost=st.integers(0, 5))
    def lose_memory(self, lost: int) -> None:
        """Restore the controller to an earlier version."""
        self.world.controller.current = configuration(max(1, self.published - lost))

    @rule(away=st.booleans())
    def controller_goes(self, away: bool) -> None:
        """Stop or start the controller."""
        self.world.controller.failure = DOWN if away else None

    @rule(slow=st.booleans())
    def reports_are_slow(self, slow: bool) -> None:
        """Stop answering reports, or answer all of them."""
        if slow:
            self.world.controller.slow = True
        else:
            self.world.controller.settle()

    @rule()
    def controller_forgets(self) -> None:
        """Delete the agent from the controller."""
        self.world.controller.members.clear()
        self.forgotten += 1

    @rule(version=st.none() | st.integers(1, 3))
    def worker_is_tampered_with(self, version: int | None) -> None:
        """Let another sender deliver a document, without a tag or with the tag of another cluster."""
        if not self.world.worker.down:
            cluster = configuration(version or 1, cluster_id=OTHER_CLUSTER)
            self.world.worker.tamper(None if version is None else cluster.tag)
            self.highest = None

    @rule(away=st.booleans())
    def worker_goes(self, away: bool) -> None:
        """Stop or resume the worker."""
        self.world.worker.down = away

    @rule(number=st.integers(2, 9))
    def worker_restarts(self, number: int) -> None:
        """Restart the worker without a document."""
        self.world.worker.restart(f"boot-{number}")
        self.highest = None

    @rule(versions=st.sets(st.integers(2, 6)))
    def worker_refuses(self, versions: set[int]) -> None:
        """Let the worker refuse some versions."""
        self.world.worker.refuses = versions

    @rule(works=st.booleans())
    def disk_goes(self, works: bool) -> None:
        """Let the disk fail or recover."""
        if works:
            self.folder.mkdir(exist_ok=True)
        else:
            shutil.rmtree(self.folder, ignore_errors=True)

    @rule()
    def agent_crashes(self) -> None:
        """Kill the agent, and start another process."""
        self.folder.mkdir(exist_ok=True)
        self.world.crash()
        self.world.agent.startService()

    @rule(seconds=st.integers(1, 40))
    def time_passes(self, seconds: int) -> None:
        """Let time pass."""
        self.world.wait(seconds)

    @invariant()
    def worker_never_goes_back(self) -> None:
        """Promise G3."""
        now = self.world.worker.current
        if self.world.worker.named is not None:
            return
        if now is not None and self.highest is not None and now != self.highest:
            assert judge(now.tag, now.document.checksum, self.highest.tag) is Verdict.NEWER
        if now is not None:
            self.highest = now

    @invariant()
    def one_report_at_a_time(self) -> None:
        """No report is sent twice, except to a controller that forgot the agent."""
        assert len(self.world.controller.owed) <= 1
        last_reports = [evolve(each, spent=Timings(), sequence=0) for each in self.world.controller.reports]
        assert sum(there == here for there, here in pairwise(last_reports)) <= self.forgotten

    def teardown(self) -> None:
        """End all faults, and check that the agent converges."""
        self.world.controller.settle()
        self.world.threads.run_all()
        self.publish()
        self.folder.mkdir(exist_ok=True)
        self.world.controller.failure = None
        self.world.worker.down = False
        self.world.worker.refuses = set()
        self.world.wait(33 + 5)
        assert self.world.worker.current == configuration(self.published)
        assert self.world.worker_sync.problem() is None
        assert self.world.cache.problem() is None
        self.world.wait(31)
        last_reports = self.world.controller.reports[-1]
        assert (last_reports.tag, last_reports.state) == (configuration(self.published).tag, ReportState.APPLIED), (
            last_reports
        )
        assert (last_reports.holds, last_reports.repairs) == (last_reports.tag, self.world.worker_sync.repairs), (
            last_reports
        )
        self.one_report_at_a_time()


class LifeTests(SynchronousTestCase):
    """L{LifeMachine}, run."""

    def test_an_agent_converges_after_any_sequence_of_faults(self) -> None:
        folder = Path(self.mktemp())

        class Machine(LifeMachine):
            pass

        Machine.folder = folder
        run_state_machine_as_test(  # type: ignore[no-untyped-call]
            Machine,
            settings=hypothesis.settings(
                max_examples=budget(40, 100), stateful_step_count=30, deadline=None, database=None
            ),
        )
