"""A strategy of a third party: the example of the documents, installed beside confd and run."""

from __future__ import annotations

from contextlib import ExitStack

from tests.integration.examples import InstalledExample
from tests.integration.fleet import Fleet, eventually, hit, target


class FileWatchTests(InstalledExample):
    """C{docs/examples/confd-filewatch}."""

    example = "confd-filewatch"

    def test_a_touch_hurries_an_agent(self) -> None:
        """An agent that polls once an hour gets a change at once."""
        stack = ExitStack()
        self.addCleanup(stack.close)
        url = stack.enter_context(target())
        fleet = Fleet(self.folder, interval=3600)
        stack.callback(fleet.close)
        watched = self.folder / "changed"
        worker = fleet.worker()
        agent = fleet.agent(worker, "agent", "--distribution-strategy", "filewatch")
        agent.environ = {"PYTHONPATH": self.path, "FILEWATCH_FILE": str(watched)}
        for process in (fleet.controller("--default-config", f'{{"url": "{url}/first"}}'), worker, agent):
            process.start()
        eventually(lambda: hit(worker) == "/first")
        fleet.publish({"url": f"{url}/second"})
        self.assertEqual(hit(worker), "/first")
        watched.touch()
        eventually(lambda: hit(worker) == "/second")

    def test_mistakes_and_its_own_tests(self) -> None:
        """
        The error of an unknown name lists the strategy, and a mistake in its settings is reported at the start.

        The tests of the example pass; they include the contract of strategies.
        """
        fleet = Fleet(self.folder)
        self.addCleanup(fleet.close)
        for strategy, said in (("PIGEON", "use one of FILEWATCH, "), ("FILEWATCH", "FILEWATCH_FILE: is unset")):
            agent = fleet.agent("http://127.0.0.1:1", strategy.lower(), "--distribution-strategy", strategy)
            agent.environ = {"PYTHONPATH": self.path}
            agent.start(wait=False)
            self.assertRaises(AssertionError, eventually, agent.up)
            self.assertIn(said, agent.log)
            self.assertNotIn("Traceback", agent.log)
        self.assertIn("PASSED (successes=6)", self.run_its_tests())
