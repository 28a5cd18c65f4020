"""A strategy of a third party with a transport of its own: the example, installed beside confd and run."""

from __future__ import annotations

import signal
from contextlib import ExitStack

from tests.integration.examples import InstalledExample
from tests.integration.fleet import Fleet, base_of, eventually, free_port, hit, request, target


class WebSocketTests(InstalledExample):
    """C{docs/examples/confd-websocket}."""

    example = "confd-websocket"

    def test_changes_arrive_and_the_gateway_comes_back(self) -> None:
        """An agent that polls once an hour gets each change at once, also after a kill of the gateway."""
        stack = ExitStack()
        self.addCleanup(stack.close)
        url = stack.enter_context(target())
        fleet = Fleet(self.folder, interval=3600)
        stack.callback(fleet.close)
        listen = free_port()
        environ = {"PYTHONPATH": self.path, "CONTROLLER_URL": fleet.url}
        environ |= {"GATEWAY_LISTEN": f"tcp:{listen}:interface=127.0.0.1"}
        gateway = fleet.add("gateway", ["confd-websocket-gateway"], None, **environ)
        worker = fleet.worker()
        agent = fleet.agent(worker, "agent", "--distribution-strategy", "websocket", "--backoff-max", "2", ops=True)
        agent.environ = {"PYTHONPATH": self.path, "WEBSOCKET_URL": f"ws://127.0.0.1:{listen}"}
        for process in (fleet.controller("--default-config", f'{{"url": "{url}/first"}}'), worker, agent):
            process.start()
        path = lambda: request("GET", f"{base_of(agent)}/ready").json().get("path")  # noqa: E731
        eventually(lambda: path() == "poll")
        for page in ("second", "third"):
            gateway.start(wait=False)
            eventually(lambda: path() == "WEBSOCKET")
            fleet.publish({"url": f"{url}/{page}"})
            eventually(lambda page=page: hit(worker) == f"/{page}")
            gateway.stop(signal.SIGKILL)
            eventually(lambda: path() == "poll")
        self.assertNotIn("Traceback", gateway.log + agent.log)

    def test_its_own_tests(self) -> None:
        """The tests of the example pass; they include the contract of strategies."""
        self.assertIn("PASSED (successes=19)", self.run_its_tests())
