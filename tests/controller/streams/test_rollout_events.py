"""The events of rollouts, over HTTP."""

from __future__ import annotations

import json
from typing import Any

from confd.codec.sse import Parser
from tests.controller.harness import ADMIN
from tests.controller.rollouts.case import BAKE, RolloutTestCase
from tests.conversation import Conversation


class RolloutEventTests(RolloutTestCase):
    """GET C{/api/v1/events} during a rollout."""

    agents = 6

    def watch(self) -> Conversation:
        """Return a new subscriber."""
        caller = self.harness.caller()
        caller.ask("GET", "/api/v1/events", auth=ADMIN)
        return caller

    def sent(self, caller: Conversation) -> list[Any]:
        """Return the bodies of the events of rollouts so far."""
        (reply,) = caller.replies()
        return [json.loads(each.data) for each in Parser(1 << 24).feed(reply.body) if each.name == "rollout"]

    def test_none_without_rollout(self) -> None:
        caller = self.watch()
        self.follow(60)
        self.assertEqual(self.sent(caller), [])

    def test_life(self) -> None:
        """Each state is sent, with the last event as GET shows the rollout."""
        early = self.watch()
        self.start()
        self.harness.clock.advance(1)
        late = self.watch()
        self.assertEqual(self.sent(late)[0]["waves"][0]["members"], 1)
        for _ in range(5):
            self.follow(BAKE + 20)
        for caller in (early, late):
            states = [each["state"] for each in self.sent(caller)]
            self.assertEqual(list(dict.fromkeys(states)), ["running", "finishing", "completed"])
            self.assertEqual(self.sent(caller)[-1], self.rollout())
        self.assertEqual(self.sent(self.watch()), [])

    def test_abort(self) -> None:
        """The end arrives at once, with how the members follow."""
        caller = self.watch()
        self.start()
        self.harness.clock.advance(1)
        self.admin("POST", "/api/v1/rollouts/1/abort")
        self.harness.clock.advance(0.5)
        last = self.sent(caller)[-1]
        self.assertEqual((last["state"], last["recovery"]["version"]), ("aborted", 3))

    def test_seldom(self) -> None:
        """Many reports make few events, and a paused rollout makes none."""
        caller = self.watch()
        self.start()
        self.harness.clock.advance(1)
        before = len(self.sent(caller))
        for _ in range(40):
            self.report(self.exposed()[0], self.harness.tag())
            self.harness.clock.advance(0.01)
        self.harness.clock.advance(0.5)
        self.assertLessEqual(len(self.sent(caller)) - before, 4)
        self.admin("POST", "/api/v1/rollouts/1/pause")
        self.harness.clock.advance(1)
        before = len(self.sent(caller))
        self.harness.clock.pump([1] * 10)
        self.assertEqual(len(self.sent(caller)), before)
