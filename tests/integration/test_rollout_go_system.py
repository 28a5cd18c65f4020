"""A rollout beside agents, workers and subscribers of the Go system."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from tests.integration.fleet import eventually
from tests.integration.go_system import REDIS, GoAgent, GoSubscriber, GoWorker
from tests.integration.servers import RedisServer, missing
from tests.integration.test_rollouts import RolloutFleetTestCase

#: Both agents are in the first wave. The strict plan stalls early, as only its gate must not open.
LENIENT = {"name": "lenient", "waves": [{"count": 2, "hold": True}], "bake": 0}
STRICT = {"name": "strict", "waves": [{"count": 2}], "bake": 0, "patience": 4, "verified": True}


class GoSystemTests(RolloutFleetTestCase):
    """One agent has a worker of confd, and one has a worker of the Go system."""

    agents = 1
    skip = missing("redis-server")

    def setUp(self) -> None:
        super().setUp()
        stack = ExitStack()
        self.addCleanup(stack.close)
        self.blind = GoWorker(stack)
        self.fleet.agent(self.blind.url, "blind", *self.strategy).start()
        eventually(lambda: self.ask("GET", "/config/convergence").json()["applied"] == 2)
        self.subscriber = GoSubscriber(self.redis.port, REDIS)
        self.addCleanup(self.subscriber.close)
        self.poller = GoAgent(self.fleet, 0)
        for plan in (LENIENT, STRICT):
            self.assertEqual(self.ask("POST", "/plans", plan).status, 200)

    def announcing(self) -> tuple[str, ...]:
        self.redis = RedisServer(self.fleet.folder / "redis")
        self.addCleanup(self.redis.stop)
        self.redis.start()
        self.strategy = ("--distribution-strategy", "REDIS", "--redis-address", f"127.0.0.1:{self.redis.port}")
        return self.strategy

    def until(self, check: Callable[[], Any]) -> None:
        """Wait for a condition; the agent of the Go system polls all the time."""

        def look() -> Any:
            self.poller.poll()
            return check()

        eventually(look)

    def start(self, path: str, plan: str) -> int:
        """Start a rollout, and return its id."""
        started = self.fleet.publish(self.document(path), rollout=plan)
        self.assertEqual(started.status, 202, started.body)
        return int(started.json()["rollout"]["id"])

    def wave(self, rollout: int) -> dict[str, int]:
        """Return the members of the first wave, by outcome."""
        (wave, _) = self.ask("GET", f"/rollouts/{rollout}").json()["waves"]
        return {name: wave[name] for name in ("applied", "pending", "failed", "unverified")}

    def blind_outcome(self, rollout: int) -> str:
        """Return the outcome of the only member whose document was not read back."""
        members = self.ask("GET", f"/rollouts/{rollout}/agents").json()["items"]
        (outcome,) = (each["outcome"] for each in members if not each["verified"])
        return str(outcome)

    def state(self, rollout: int) -> tuple[str, str, int]:
        """Return state, reason and wave of a rollout."""
        found = self.ask("GET", f"/rollouts/{rollout}").json()
        return found["state"], found["reason"], found["wave"]

    def test_go_system_beside_rollouts(self) -> None:
        """Pollers and subscribers get current versions only, and a strict plan does not trust the blind worker."""
        strict = self.start("two", "strict")
        # The gate decides again after both workers have the document.
        self.ask("POST", f"/rollouts/{strict}/pause")
        self.until(lambda: self.ask("GET", "/config/versions/3/convergence").json()["applied"] == 2)
        self.assertEqual(self.ask("POST", f"/rollouts/{strict}/resume").status, 200)
        self.until(lambda: self.state(strict)[0] != "running")
        self.assertEqual(self.state(strict), ("paused", "stalled", 1))
        self.assertEqual(self.wave(strict), {"applied": 1, "pending": 1, "failed": 0, "unverified": 0})
        self.assertEqual(self.blind_outcome(strict), "pending")
        self.assertEqual(self.blind.posted[-1], self.document("two"))
        self.assertEqual(self.poller.versions, [2])
        self.ask("POST", f"/rollouts/{strict}/abort")
        self.until(lambda: self.ask("GET", "/config/convergence").json()["applied"] == 2)

        lenient = self.start("three", "lenient")
        self.until(lambda: self.state(lenient)[0] != "running")
        self.assertEqual(self.state(lenient), ("paused", "held", 1))
        self.assertEqual(self.wave(lenient), {"applied": 2, "pending": 0, "failed": 0, "unverified": 1})
        self.assertEqual(self.blind_outcome(lenient), "applied")
        self.assertEqual(self.blind.posted[-1], self.document("three"))
        self.assertEqual(self.poller.versions, [2, 4])
        self.ask("POST", f"/rollouts/{lenient}/promote", {"to": "all"})
        self.until(lambda: self.state(lenient)[0] == "completed")

        self.until(lambda: self.poller.version == 5 and 5 in self.subscriber.versions())
        self.assertEqual(self.poller.versions, [2, 4, 5])
        self.assertEqual(self.subscriber.versions(), [4, 5])
