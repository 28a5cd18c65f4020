"""Cached answers during rollouts equal computed ones: P14."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.budgets import budget
from tests.controller.harness import ADMIN, AGENT
from tests.controller.test_memo import Twins
from tests.conversation import LOOPBACK, basic_authorization

EVENTS = st.sampled_from(["poll"] * 8 + ["start", "promote", "replace", "pause", "abort", "direct", "forget"])


class RolloutCacheTests(SynchronousTestCase):
    def admin(self, twins: Twins, path: str, value: Any) -> None:
        """Send a change as an administrator, whatever comes of it."""
        caller = twins.harness.caller()
        caller.request("POST", f"/api/v1{path}", auth=ADMIN, json=value)
        caller.hang_up()

    def happen(self, twins: Twins, agents: list[str], event: str, data: st.DataObject) -> None:
        """Let one event happen."""
        document = {"url": f"https://example.com/{data.draw(st.integers(1, 3))}"}
        if event == "poll":
            number = data.draw(st.integers(0, len(agents) - 1))
            tag = twins.harness.tag().rpartition(".")[0]
            known = data.draw(st.sampled_from(["", f'If-None-Match: "{tag}.1"\r\n', f'If-None-Match: "{tag}.2"\r\n']))
            poll = f"GET /api/v1/config HTTP/1.1\r\nHost: a\r\nX-Agent-ID: {agents[number]}\r\n{known}".encode()
            poll += b"Authorization: " + basic_authorization(*AGENT) + b"\r\n\r\n"
            for _ in range(2):
                twins.send(number, LOOPBACK, poll)
        elif event in ("start", "direct"):
            self.admin(twins, f"/config?rollout={'canary' if event == 'start' else 'abort'}", document)
        elif event == "forget":
            twins.harness.caller().delete(f"/api/v1/agents/{agents[0]}", auth=ADMIN)
        else:
            for rollout in self.successResultOf(twins.harness.store.open_rollouts()):
                body = {"config": document} if event == "replace" else {}
                self.admin(twins, f"/rollouts/{rollout[0].id}/{event}", body)

    @settings(deadline=None, max_examples=budget(15, 100))
    @given(st.data())
    def test_cached_answers_equal_computed_ones(self, data: st.DataObject) -> None:
        twins = Twins()
        agents = [twins.agent, twins.harness.join(), twins.harness.join()]
        for agent_id in agents:
            twins.harness.report(agent_id, twins.harness.tag(), session="s", sequence=1)
        for event in data.draw(st.lists(EVENTS, min_size=4, max_size=16)):
            self.happen(twins, agents, event, data)
            twins.check(self)

    def test_member_is_answered_from_the_cache_until_its_lane_changes(self) -> None:
        twins = Twins()
        twins.harness.report(twins.agent, twins.harness.tag(), session="s", sequence=1)
        poll = f"GET /api/v1/config HTTP/1.1\r\nHost: a\r\nX-Agent-ID: {twins.agent}\r\n".encode()
        poll += b"Authorization: " + basic_authorization(*AGENT) + b"\r\n\r\n"
        for path in ("/config?rollout=canary", "/rollouts/1/abort"):
            for _ in range(3):
                twins.send(0, LOOPBACK, poll)
            answered = twins.response_cache.answered
            self.assertGreater(answered, 0)
            self.admin(twins, path, {"url": "https://example.com/1"} if "config" in path else {})
            twins.send(0, LOOPBACK, poll)
            self.assertEqual(twins.response_cache.answered, answered)
            twins.check(self)
