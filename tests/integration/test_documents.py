"""The commands on the pages work in their order, and print the output on the page."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.budgets import budget
from tests.integration.documented import ROOT, Reader, Typed, typed
from tests.integration.kafka import MockCluster
from tests.integration.servers import missing

#: Pages whose commands belong together.
PAGES = (
    "README.rst",
    "docs/quickstart.rst",
    "docs/certificates.rst",
    "docs/audit-and-replay.rst",
    "docs/outputs.rst",
    "docs/local-api.rst",
    "docs/output-plugins.rst",
    "docs/gitops.rst",
    "docs/operations.rst",
    "docs/strategies.rst",
    "docs/rollouts.rst",
    "docs/teams.rst",
)

_ROOT_AND_SYSTEMD = "needs root and systemd", "scripts/test-systemd.py"
_ENGINE = "needs a container engine", "scripts/test-containers.py"

#: Commands that this test does not run: the reason, and the test that runs them.
ELSEWHERE = {
    "docker compose --profile nats up --detach --build": _ENGINE,
    "docker compose -f docker-compose.edge.yml up --detach --build": _ENGINE,
    "sudo python3 -m venv /opt/confd": _ROOT_AND_SYSTEMD,
    "sudo /opt/confd/bin/pip install .": ("asks a network", "tests/integration/test_packaging.py"),
    "sudo install -d -m 0755 /etc/confd": _ROOT_AND_SYSTEMD,
    "sudo install -d -m 0700 /etc/confd/credentials": _ROOT_AND_SYSTEMD,
    "sudo install -m 0600 admin.password /etc/confd/credentials/admin-password": _ROOT_AND_SYSTEMD,
    "sudo install -m 0600 agent.password /etc/confd/credentials/agent-password": _ROOT_AND_SYSTEMD,
    "sudo install -m 0644 deploy/etc/controller.env /etc/confd": _ROOT_AND_SYSTEMD,
    "sudo install -m 0644 deploy/systemd/confd-controller.socket /etc/systemd/system": _ROOT_AND_SYSTEMD,
    "sudo install -m 0644 deploy/systemd/confd-controller.service /etc/systemd/system": _ROOT_AND_SYSTEMD,
    "sudo systemctl daemon-reload": _ROOT_AND_SYSTEMD,
    "sudo systemctl enable --now confd-controller.socket confd-controller.service": _ROOT_AND_SYSTEMD,
    "pip install ./docs/examples/confd-filewatch": ("asks a network", "tests/integration/test_filewatch.py"),
    "pip install ./docs/examples/confd-releases": ("asks a network", "tests/integration/test_releases.py"),
}


def commands(page: str) -> Iterator[Typed]:
    """Yield the commands of a page."""
    return typed((ROOT / page).read_text("utf-8"))


def serve_kafka(reader: Reader) -> None:
    """Give the reader a cluster at C{localhost:9092}, and a program that prints a topic."""
    cluster = MockCluster(topic="confd.audit").start()
    reader.serve("9092", cluster.address[1], cluster)
    reader.install("kafka-console-consumer.sh", [sys.executable, "-m", "tests.integration.kafka"])


class PagesTests(SynchronousTestCase):
    """The pages with commands."""

    def follow(self, page: str, prepare: Callable[[Reader], object] = lambda _: None) -> None:
        """Type all commands of a page; C{prepare} sets up the machine of the reader."""
        steps = list(commands(page))
        if any("nginx" in step.command for step in steps) and (why := missing("nginx")) is not None:
            raise SkipTest(why)
        folder = Path(self.mktemp()).resolve()
        folder.mkdir()
        reader = Reader(folder)
        self.addCleanup(reader.leave)
        prepare(reader)
        run = [step for step in steps if step.command not in ELSEWHERE]
        self.assertTrue(run)
        for step in run:
            reader.type(step)

    def test_readme(self) -> None:
        self.follow("README.rst")

    def test_quickstart(self) -> None:
        self.follow("docs/quickstart.rst")

    def test_certificates(self) -> None:
        self.follow("docs/certificates.rst")

    def test_audit_and_replay(self) -> None:
        self.follow("docs/audit-and-replay.rst", serve_kafka)

    def test_outputs(self) -> None:
        self.follow("docs/outputs.rst")

    def test_gitops(self) -> None:
        self.follow("docs/gitops.rst")

    def test_local_api(self) -> None:
        self.follow("docs/local-api.rst")

    def test_operations(self) -> None:
        self.follow("docs/operations.rst")

    def test_strategies(self) -> None:
        self.follow("docs/strategies.rst")

    def test_rollouts(self) -> None:
        self.follow("docs/rollouts.rst")

    def test_teams(self) -> None:
        if not budget(False, True):
            raise SkipTest("a long page: make test-full follows it")
        self.follow("docs/teams.rst")

    def test_output_plugins(self) -> None:
        self.follow("docs/output-plugins.rst")

    def test_none_is_left_out(self) -> None:
        """Each page with commands has a test, and each command that runs elsewhere is on a page and in that test."""
        pages = [ROOT / "README.rst", *(ROOT / "docs").glob("*.rst"), *(ROOT / "docs/reference").glob("*.rst")]
        with_commands = {str(page.relative_to(ROOT)) for page in pages if list(typed(page.read_text("utf-8")))}
        self.assertEqual(with_commands, set(PAGES))
        there = {step.command for page in PAGES for step in commands(page)}
        self.assertEqual(set(ELSEWHERE) - there, set())
        for command, (_, where) in ELSEWHERE.items():
            self.assertTrue((ROOT / where).is_file(), f"{command}: {where}")


class ReaderTests(SynchronousTestCase):
    """L{Reader}."""

    def setUp(self) -> None:
        folder = Path(self.mktemp()).resolve()
        folder.mkdir()
        self.reader = Reader(folder)

    def test_notices(self) -> None:
        """The reader notices a command that fails, and an output that differs from the page."""
        for command, shown in (("false", ""), ("echo one", "two\n"), ("echo one; false", "one\n")):
            with self.subTest(command=command):
                self.assertRaises(AssertionError, self.reader.type, Typed(command, shown))
        self.reader.type(Typed("echo one two", "one ...\n"))

    def test_goes_on(self) -> None:
        """A command finds the folder, the variables and the umask of the previous command."""
        for command in ("mkdir inner", "cd inner", "export NAME=value", "umask 077", "touch file"):
            self.reader.type(Typed(command, ""))
        self.reader.type(Typed('echo "$(basename "$PWD") $NAME $(stat -c %a file)"', "inner value 600\n"))


class TypedTests(SynchronousTestCase):
    """L{typed}."""

    def test_commands(self) -> None:
        page = "Text.\n\n.. code-block:: console\n\n   $ one \\\n   > two\n   shown\n\n   > too\n   $ three\n\nMore.\n"
        self.assertEqual(list(typed(page)), [Typed("one \\\ntwo", "shown\n\n> too\n"), Typed("three", "")])
        self.assertEqual(list(typed(".. code-block:: json\n\n   $ one\n\n")), [])
