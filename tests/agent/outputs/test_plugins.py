"""Tests of outputs that other packages provide: C{OUTPUTS} finds and joins them."""

from __future__ import annotations

import os
from random import Random

from attrs import define
from twisted.internet.defer import maybeDeferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from confd.agent import plugin
from confd.agent.outputs.composed import Outputs
from confd.agent.outputs.factories import build_outputs, monitored_outputs, read_plan
from confd.agent.outputs.file.output import FileOutput
from confd.agent.outputs.http import HttpOutput
from confd.errors import StartError, Unprocessable
from confd.interfaces import Action, HealthCheck, IOutput, IOutputMaker, OutputContext
from confd.runtime import options
from confd.runtime.settings import AgentSettings
from confd.testing import MemoryOutput, a_configuration
from tests.agent.fakes import FakeWorker


@implementer(IOutputMaker)
@define(eq=False)
class Maker:
    """A drop-in that makes one output."""

    name: str
    output: IOutput
    context: OutputContext | None = None

    def make(self, context: OutputContext) -> IOutput:
        self.context = context
        return self.output


class MakerTests(SynchronousTestCase):
    """The drop-ins of confd."""

    def test_http_and_file_are_installed(self) -> None:
        makers = plugin.output_makers()
        for name in ("HTTP", "FILE"):
            verifyObject(IOutputMaker, makers[name])
            self.assertEqual(makers[name].name, name)


class PluginTests(SynchronousTestCase):
    """An agent with an output of another package."""

    def setUp(self) -> None:
        self.worker = FakeWorker()
        self.memory = MemoryOutput(health=HealthCheck(Action("command", ("/bin/true",))))
        self.maker = Maker("MEMORY", self.memory)
        self.makers = {**plugin.output_makers(), "MEMORY": self.maker, "TWIN": Maker("TWIN", MemoryOutput())}
        self.folder = os.path.abspath(self.mktemp())
        os.mkdir(self.folder)

    def build(self, **environ: str) -> Outputs:
        settings = options.read(AgentSettings, {}, {"CACHE_FILE": f"{self.folder}/cache", **environ})
        self.plan = read_plan(settings, environ, self.makers)
        return build_outputs(Clock(), maybeDeferred, self.plan, settings, environ, self.worker, Random(1), self.makers)

    def test_the_set_has_files_first_and_the_worker_last(self) -> None:
        outputs = self.build(OUTPUTS="HTTP,MEMORY,FILE", FILE_PATH=f"{self.folder}/app.json", NAMESPACE="blue")
        assert outputs.set is not None
        self.assertEqual([type(each) for each in outputs.set.outputs], [FileOutput, MemoryOutput])
        self.assertIsInstance(outputs.set.worker, HttpOutput)
        self.assertEqual(outputs.others, [self.memory])
        context = self.maker.context
        assert context is not None
        self.assertEqual((context.namespace, context.environ["OUTPUTS"]), ("blue", "HTTP,MEMORY,FILE"))

    def test_a_configuration_reaches_a_plug_in_alone(self) -> None:
        outputs = self.build(OUTPUTS="memory")
        configuration = a_configuration(1)
        self.successResultOf(outputs.worker.deliver(configuration))
        self.assertEqual((self.memory.in_use, self.worker.deliveries), (configuration.document.raw, []))

    def test_a_failed_reload_of_a_plug_in_rolls_back(self) -> None:
        outputs = self.build(OUTPUTS="MEMORY,HTTP")
        self.successResultOf(outputs.worker.deliver(a_configuration(1)))
        before = self.memory.content
        self.memory.broken = "The program of the memory is gone."
        error = self.failureResultOf(outputs.worker.deliver(a_configuration(2)), Unprocessable).value
        self.assertEqual(error.code, "rollback_failed")
        self.assertTrue(error.message.startswith("memory: The program of the memory is gone. The previous"))
        self.assertEqual(self.memory.content, before)

    def test_ready_asks_a_plug_in(self) -> None:
        outputs = self.build(OUTPUTS="MEMORY")
        self.memory.away = "The memory is full."
        self.assertEqual([each.problem() for each in outputs.checked], ["The memory is full."])

    def test_the_health_check_of_a_plug_in_is_monitored(self) -> None:
        outputs = self.build(OUTPUTS="MEMORY,HTTP", HTTP_HEALTH="http://127.0.0.1:1/health")
        found = monitored_outputs(outputs, self.plan, lambda *_: succeed(None), lambda: "checksum")  # type: ignore[arg-type]
        self.assertEqual(
            [(each.name, each.content()) for each in found], [("memory", "checksum"), ("http", "checksum")]
        )

    def test_two_outputs_of_one_name_are_a_start_error(self) -> None:
        error = self.assertRaises(StartError, self.build, OUTPUTS="MEMORY,TWIN")
        self.assertEqual(error.reasons, ("OUTPUTS: two outputs have the name 'memory'; rename one of them.",))

    def test_an_unknown_name_lists_the_installed_outputs(self) -> None:
        error = self.assertRaises(StartError, self.build, OUTPUTS="PIGEON")
        self.assertEqual(error.reasons, ("OUTPUTS: 'PIGEON' is not an output; choose from FILE, HTTP, MEMORY, TWIN.",))
