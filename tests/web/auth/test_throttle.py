"""Tests of L{confd.web.auth.throttle}."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from confd.errors import TooMany
from confd.web.auth.basic import BasicAuth, Credential, digest_of
from confd.web.auth.principals import Role
from confd.web.auth.throttle import HERE, MAX_FAILING_ADDRESSES, MAX_KNOWN_ADDRESSES, Allowance, Throttle, source_of
from tests.conversation import ELSEWHERE, LOOPBACK, Conversation, Reply, serve
from tests.web.sample_api import ADMIN, AGENT, RecordingAuditor, SampleApi

OTHER_ADMIN = ("root", "another one")

SOURCE, OTHER = "192.0.2.7", "192.0.2.8"


class ThrottleTests(SynchronousTestCase):
    """L{Throttle}."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.throttle = Throttle(self.clock, 10)

    def use_up(self, source: str = SOURCE) -> None:
        """Fail as often as the limit allows."""
        for _ in range(10):
            self.throttle.fail(source)

    def test_ten_failures_a_minute_and_then_one_more_each_six_seconds(self) -> None:
        self.use_up()
        error = self.assertRaises(TooMany, self.throttle.fail, SOURCE)
        self.assertEqual((error.code, error.retry_after), ("too_many_failures", 6))
        self.clock.advance(4.5)
        self.assertEqual(self.assertRaises(TooMany, self.throttle.fail, SOURCE).retry_after, 2)
        self.clock.advance(1.5)
        self.throttle.fail(SOURCE)
        self.assertRaises(TooMany, self.throttle.fail, SOURCE)
        self.clock.advance(60)
        self.use_up()
        self.assertRaises(TooMany, self.throttle.fail, SOURCE)

    @given(st.lists(st.floats(0, 30), min_size=50, max_size=120))
    def test_no_minute_has_more_than_twenty_failures(self, pauses: list[float]) -> None:
        clock = Clock()
        throttle, looked_at = Throttle(clock, 10), []
        for pause in pauses:
            clock.advance(pause)
            try:
                throttle.fail(SOURCE)
            except TooMany:
                continue
            looked_at.append(clock.seconds())
        for began in looked_at:
            self.assertLessEqual(sum(began <= at < began + 60 for at in looked_at), 20)

    def test_throttled_source_keeps_known_names_and_other_sources_are_not_affected(self) -> None:
        self.throttle.succeed(SOURCE, "agent")
        self.use_up()
        self.throttle.succeed(SOURCE, "agent")
        self.assertRaises(TooMany, self.throttle.succeed, SOURCE, "admin")
        self.throttle.succeed(OTHER, "admin")
        self.clock.advance(6)
        self.throttle.succeed(SOURCE, "admin")

    def test_loopback_is_throttled_for_wrong_credentials_only(self) -> None:
        self.use_up(HERE)
        self.assertRaises(TooMany, self.throttle.fail, HERE)
        self.throttle.succeed(HERE, "admin")

    def test_zero_sets_no_limit_on_failures(self) -> None:
        throttle = Throttle(self.clock, 0)
        for _ in range(1000):
            throttle.fail(SOURCE)
        throttle.succeed(SOURCE, "admin")

    def test_memory_is_bounded_and_the_newest_source_stays_throttled(self) -> None:
        for number in range(MAX_FAILING_ADDRESSES + 100):
            self.throttle.fail(str(number))
        last = str(MAX_FAILING_ADDRESSES + 99)
        for _ in range(9):
            self.throttle.fail(last)
        self.assertRaises(TooMany, self.throttle.fail, last)
        for number in range(MAX_KNOWN_ADDRESSES + 100):
            self.throttle.succeed(SOURCE, str(number))
        self.assertEqual(len(self.throttle._failures or ()), MAX_FAILING_ADDRESSES)
        self.assertEqual(len(self.throttle._known), MAX_KNOWN_ADDRESSES)

    def test_ipv6_network_of_a_subscriber_is_one_source(self) -> None:
        for peer in (
            IPv4Address("TCP", "127.0.0.1", 1),
            IPv4Address("TCP", "127.9.9.9", 1),
            IPv6Address("TCP", "::1", 1),
            IPv6Address("TCP", "::ffff:127.0.0.1", 1),
            UNIXAddress(b"/run/confd.sock"),
            None,
        ):
            self.assertEqual(source_of(peer), HERE)
        self.assertEqual(source_of(ELSEWHERE), "192.0.2.7")
        self.assertEqual(source_of(IPv6Address("TCP", "::ffff:192.0.2.7", 1)), "192.0.2.7")
        neighbours = {source_of(IPv6Address("TCP", f"2001:db8:1:2:{each}::1%eth0", 1)) for each in range(9)}
        self.assertEqual(neighbours, {"2001:db8:1:2::/64"})
        self.assertNotEqual(source_of(IPv6Address("TCP", "2001:db8:1:3::1", 1)), "2001:db8:1:2::/64")


class AllowanceTests(SynchronousTestCase):
    """L{Allowance}, over HTTP."""

    def setUp(self) -> None:
        self.clock, self.auditor = Clock(), RecordingAuditor()
        people = [
            Credential.of(*AGENT, Role.AGENT),
            *(Credential.of(*each, Role.ADMIN) for each in (ADMIN, OTHER_ADMIN)),
        ]
        self.site = serve(
            self.clock, BasicAuth(people), SampleApi(), auditor=self.auditor, allowance=Allowance(self.clock, 3)
        )
        self.caller = Conversation(self.site, self.clock)

    def change(self, auth: tuple[str, str] = ADMIN, **how: object) -> Reply:
        """Request a change."""
        return self.caller.post("/names", json={"name": "x"}, auth=auth, **how)  # type: ignore[arg-type]

    def test_three_changes_a_minute_and_then_429_which_is_audited(self) -> None:
        self.assertEqual([self.change().status for _ in range(3)], [200] * 3)
        reply = self.change()
        self.assertEqual((reply.status, reply.code, reply.headers["retry-after"]), (429, "too_many_changes", "20"))
        self.assertEqual([attempt.who for attempt, _ in self.auditor.audit_log], ["admin"])
        self.assertEqual(self.change(OTHER_ADMIN).status, 200)
        self.assertEqual({self.caller.get("/wish", auth=ADMIN).status for _ in range(9)}, {200})
        self.assertEqual({self.caller.post("/wish", json={"name": "x"}, auth=AGENT).status for _ in range(9)}, {200})
        self.clock.advance(20)
        self.assertEqual([self.change().status for _ in range(2)], [200, 429])

    def test_refused_callers_use_up_no_allowance(self) -> None:
        for auth, headers in ((AGENT, {}), (("admin", "wrong"), {}), (ADMIN, {"Origin": "http://evil.example"})):
            self.assertEqual({self.change(auth, headers=headers).status for _ in range(5)} & {200, 429}, set())
        self.assertEqual(self.change().status, 200)

    def test_zero_sets_no_limit_on_changes(self) -> None:
        allowance = Allowance(self.clock, 0)
        for _ in range(1000):
            allowance.use("admin")


class SiteTests(SynchronousTestCase):
    """L{Throttle}, over HTTP."""

    def setUp(self) -> None:
        self.clock = Clock()
        people = [Credential.of(*AGENT, Role.AGENT), Credential.of(*ADMIN, Role.ADMIN)]
        self.site = serve(self.clock, BasicAuth(people, Throttle(self.clock, 10)), SampleApi())
        self.attacker, self.operator = (
            Conversation(self.site, self.clock, peer) for peer in (ELSEWHERE, IPv4Address("TCP", "192.0.2.8", 1))
        )

    def guess(self, caller: Conversation, times: int) -> list[int]:
        """Send a number of wrong passwords, and return the statuses."""
        return [caller.get("/wish", auth=("admin", f"guess-{each}")).status for each in range(times)]

    def test_eleventh_guess_gets_429_even_with_the_right_password(self) -> None:
        self.assertEqual(self.guess(self.attacker, 300), [401] * 10 + [429] * 290)
        reply = self.attacker.get("/wish", auth=ADMIN)
        self.assertEqual((reply.status, reply.code, reply.headers["retry-after"]), (429, "too_many_failures", "6"))
        self.assertEqual(self.operator.get("/wish", auth=ADMIN).status, 200)
        self.clock.advance(6)
        self.assertEqual(self.attacker.get("/wish", auth=ADMIN).status, 200)
        self.assertEqual(self.guess(self.attacker, 2), [401, 429])
        self.assertEqual(self.attacker.get("/wish", auth=ADMIN).status, 200, "is known here by now")

    def test_requests_without_credentials_are_not_throttled(self) -> None:
        self.assertEqual({self.attacker.get("/wish").status for _ in range(50)}, {401})

    def test_void_tokens_are_not_counted_and_valid_ones_not_throttled(self) -> None:
        people = [Credential.of(*AGENT, Role.AGENT)]
        tokens = {digest_of(b"a1", b"t0ken"): ("a1", "default")}
        guard = BasicAuth(people, Throttle(self.clock, 10), lambda _, digest: tokens.get(digest))
        caller = Conversation(serve(self.clock, guard, SampleApi()), self.clock, ELSEWHERE)
        self.assertEqual({caller.get("/wish", auth=(f"id-{each}", "void")).status for each in range(50)}, {401})
        self.assertEqual(caller.get("/wish", auth=AGENT).status, 200, "a new registration")
        wrong = [caller.get("/wish", auth=("agent", f"guess-{each}")).status for each in range(11)]
        self.assertEqual(wrong, [401] * 10 + [429])
        self.assertEqual([caller.get("/wish", auth=("a1", "t0ken")).status for _ in range(3)], [200] * 3)
        self.assertEqual(caller.get("/wish", auth=("a1", "void")).status, 401)

    def test_right_credentials_from_loopback_are_not_throttled(self) -> None:
        caller = Conversation(self.site, self.clock, LOOPBACK)
        self.assertEqual(self.guess(caller, 11), [401] * 10 + [429])
        self.assertEqual(caller.get("/wish", auth=ADMIN).status, 200)
