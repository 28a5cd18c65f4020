"""
Tests of L{confd.brokers.nats.broker}, on real servers.

They need the asyncio reactor, so L{tests.brokers.nats.test_broker} runs them in a trial of their own; to run them by
hand::

    trial --reactor=asyncio tests.brokers.nats_suite
"""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from confd.brokers.nats.broker import NatsBroker
from confd.model import DEFAULT_NAMESPACE
from confd.testing.brokers import RecordingListener, make_ibroker_tests
from tests.brokers import faults
from tests.brokers.faults import MIB, BrokerTestCase, connections
from tests.integration.certificates import Certificate
from tests.integration.fleet import free_port
from tests.integration.servers import NatsServer, missing

#: The recipe for a site.
SITE = Path(__file__).resolve().parents[2] / "deploy/site"


def make_broker(server: NatsServer, **options: Any) -> NatsBroker:
    """A broker for a server."""
    from twisted.internet import reactor

    if "password" in options:
        options = {"user": "confd", **options}
    return NatsBroker(reactor, [server.url], random=Random(), **options)


def nats_brokers(test: TestCase) -> Callable[[], NatsBroker]:
    """Brokers of one server."""
    server = NatsServer(Path(test.mktemp()).resolve())
    test.addCleanup(server.stop)
    server.start()
    return lambda: make_broker(server)


class NatsBrokerTests(make_ibroker_tests(nats_brokers)):  # type: ignore[misc]
    """L{NatsBroker} is an L{IBroker}."""

    skip = missing("nats-server")


def streaming_brokers(test: TestCase) -> Callable[[], NatsBroker]:
    """Brokers of one server with JetStream."""
    folder = Path(test.mktemp()).resolve()
    server = NatsServer(folder, ("-js", "-sd", str(folder / "js")))
    test.addCleanup(server.stop)
    server.start()
    return lambda: make_broker(server, stream="CONFD")


class StreamingBrokerTests(make_ibroker_tests(streaming_brokers)):  # type: ignore[misc]
    """L{NatsBroker} with a stream is an L{IBroker}."""

    skip = missing("nats-server")


class OnNats(BrokerTestCase):
    """What the tests here have in common."""

    server: NatsServer
    skip = missing("nats-server")

    def make_server(self, *options: str, tls: Certificate | None = None) -> NatsServer:
        return NatsServer(self.folder, options, tls)

    def make_broker(self, **options: Any) -> NatsBroker:
        return make_broker(self.server, **options)

    def configured(self, text: str) -> tuple[str, ...]:
        """Options of a server with this configuration file."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / "nats.conf"
        path.write_text(text)
        return ("-c", str(path))


class SiteTests(OnNats):
    """The files of C{deploy/site}: a controller at the hub, and an agent at the leaf."""

    def start_server(self, name: str, before: str, after: str) -> NatsServer:
        """Start a server with a file, in which some words are replaced, until the test is over."""
        text = (SITE / f"nats-{name}.conf").read_text()
        self.assertIn(before, text)
        file = self.folder / f"{name}.conf"
        self.folder.mkdir(exist_ok=True)
        file.write_text(text.replace(before, after))
        server = NatsServer(self.folder / name, ("-c", str(file)))
        self.addCleanup(server.stop)
        server.start()
        return server

    async def test_announcements_and_requests_pass_through_the_leaf(self) -> None:
        port = free_port()
        hub = self.start_server("hub", "port: 7422", f"host: 127.0.0.1\n  port: {port}")
        leaf = self.start_server("leaf", "hub.example.com:7422", f"127.0.0.1:{port}")
        controller, agent, listener = make_broker(hub), make_broker(leaf), RecordingListener()
        controller.answer(lambda namespace: b"the newest")
        agent.listen(DEFAULT_NAMESPACE, listener.hear, listener.connected)
        for each in (controller, agent):
            self.start(each)
        await listener.connects()
        while not listener.heard:
            # The hub hears of the subscription a moment later.
            await self.announce(controller, b"an announcement")
            await deferLater(self.reactor, 0.02)
        self.assertEqual(set(listener.heard), {b"an announcement"})
        self.assertEqual(await agent.latest(DEFAULT_NAMESPACE), b"the newest")


class StreamTests(OnNats):
    """C{NATS_STREAM}."""

    def make_server(self, *options: str, tls: Certificate | None = None) -> NatsServer:
        return super().make_server("-js", "-sd", str(self.folder / "js"), *options, tls=tls)

    async def controller(self, stream: str | None = "CONFD", **options: Any) -> NatsBroker:
        """Return the connected broker of a controller, which answers no question."""
        made = self.make_broker(stream=stream, **options)
        made.answer(lambda _: None)
        self.start(made)
        await self.until(lambda: made.problem() is None)
        return made

    async def ask(self, subject: str, **body: Any) -> Any:
        """Ask JetStream, and return the answer."""
        other = make_broker(self.server)
        self.start(other)
        await self.until(lambda: other.problem() is None)
        raw = json.dumps(body).encode()
        asking = other._link.use(lambda connection: connection.exchange(f"$JS.API.{subject}", raw, 5.0))
        answer = await Deferred.fromCoroutine(asking)
        await maybeDeferred(other.stopService)
        return json.loads(answer.data)

    async def test_stream_is_created_and_kept_as_it_is(self) -> None:
        self.server.start()
        controller = await self.controller()
        self.assertEqual((controller.remark(), controller.keeps()), (None, True))
        config = (await self.ask("STREAM.INFO.CONFD"))["config"]
        names = ("subjects", "max_msgs_per_subject", "discard", "allow_direct", "storage", "max_age", "num_replicas")
        self.assertEqual(
            [config[name] for name in names],
            [["config.worker.update", "config.worker.update.ns.*"], 1, "old", True, "file", 0, 1],
        )
        await self.ask("STREAM.UPDATE.CONFD", **(config | {"max_bytes": 10**6}))
        await maybeDeferred(controller.stopService)
        again = await self.controller()
        self.assertIsNone(again.remark())
        self.assertEqual((await self.ask("STREAM.INFO.CONFD"))["config"]["max_bytes"], 10**6)

    async def test_newest_announcement_survives_the_controller_and_the_server(self) -> None:
        self.server.start()
        controller = await self.controller()
        # The same version number in two namespaces, and again with another key.
        for namespace, message in (("default", b"1"), ("edge", b"1e"), ("default", b"2"), ("default", b"2 new key")):
            await controller.announce(namespace, message)
        await maybeDeferred(controller.stopService)
        agent, listener = self.agent(stream="CONFD")
        await listener.connects()
        found = [await agent.latest(namespace) for namespace in ("default", "edge", "other")]
        self.assertEqual(found, [b"2 new key", b"1e", None])
        self.assertEqual((await self.ask("STREAM.INFO.CONFD"))["state"]["messages"], 2)
        self.server.restart()
        await listener.connects(2)
        self.assertEqual(await agent.latest(DEFAULT_NAMESPACE), b"2 new key")
        controller.startService()
        await self.announce(controller, b"3")
        await listener.hears(b"3")
        self.assertEqual((await self.ask("STREAM.INFO.CONFD"))["state"]["consumer_count"], 0)

    async def test_agent_asks_a_controller_where_the_stream_has_nothing(self) -> None:
        self.server.start()
        controller = self.make_broker()
        controller.answer({DEFAULT_NAMESPACE: b"from memory"}.get)
        self.start(controller)
        agent, listener = self.agent(stream="CONFD")
        await listener.connects()
        self.assertEqual(await agent.latest(DEFAULT_NAMESPACE), b"from memory")

    async def test_other_shape_is_left_alone(self) -> None:
        self.server.start()
        for number, (fields, words) in enumerate((
            ({"subjects": ["config.worker.update"], "allow_direct": True}, "keep config.worker.update.ns.*; correct"),
            ({"subjects": ["config.worker.update.>", "config.worker.update"]}, "allows no direct reads; correct it"),
            ({"subjects": ["config.>"], "allow_direct": True, "discard": "new", "max_msgs": 5}, "discard old messages"),
            ({"subjects": ["config.>"], "allow_direct": True}, None),
        )):  # fmt: skip
            await self.ask("STREAM.CREATE.CONFD", name="CONFD", storage="memory", **fields)
            before = (await self.ask("STREAM.INFO.CONFD"))["config"]
            controller = await self.controller()
            self.assertIn(words or "None", str(controller.remark()), number)
            self.assertEqual(controller.keeps(), words is None)
            agent, listener = self.agent(stream="CONFD")
            await listener.connects()
            await controller.announce(DEFAULT_NAMESPACE, b"news")
            await listener.hears(b"news")
            self.assertIsNone(controller.problem())
            self.assertEqual((await self.ask("STREAM.INFO.CONFD"))["config"], before)
            for each in (controller, agent):
                await maybeDeferred(each.stopService)
            await self.ask("STREAM.DELETE.CONFD")

    async def test_server_without_jetstream_still_delivers(self) -> None:
        self.server = NatsServer(self.folder)
        self.addCleanup(self.server.stop)
        self.server.start()
        controller = await self.controller()
        self.assertIn("has no JetStream; announcements are not kept.", str(controller.remark()))
        _, listener = self.agent(stream="CONFD")
        await listener.connects()
        await controller.announce(DEFAULT_NAMESPACE, b"news")
        await listener.hears(b"news")

    async def test_stream_that_may_not_be_created_is_named(self) -> None:
        allowed = '["config.worker.update", "$JS.API.STREAM.INFO.CONFD", "_INBOX.>"]'
        rules = f"authorization {{ users: [ {{ user: confd, password: pw, permissions: {{ publish: {allowed} }} }} ] }}"
        self.replace_server(*self.configured(rules))
        self.server.start()
        controller = await self.controller(password="pw")
        self.assertIn("does not exist and cannot be created: ", str(controller.remark()))
        self.assertIn("permissions violation", str(controller.remark()))
        await controller.announce(DEFAULT_NAMESPACE, b"news")
        self.assertIsNone(controller.problem())

    async def test_removed_stream_is_created_again(self) -> None:
        self.server.start()
        controller = await self.controller()
        await controller.announce(DEFAULT_NAMESPACE, b"1")
        await self.ask("STREAM.DELETE.CONFD")
        self.assertIn("no stream takes it", await self.refused(controller.announce(DEFAULT_NAMESPACE, b"2")))
        await controller.announce(DEFAULT_NAMESPACE, b"2")
        self.assertIsNone(controller.problem())
        self.assertEqual((await self.ask("STREAM.INFO.CONFD"))["state"]["messages"], 1)

    async def test_full_stream_is_a_refusal(self) -> None:
        self.server.start()
        subjects = ["config.worker.update", "config.worker.update.ns.*"]
        await self.ask(
            "STREAM.CREATE.CONFD",
            name="CONFD",
            storage="memory",
            subjects=subjects,
            allow_direct=True,
            max_msg_size=500,
        )
        controller = await self.controller()
        _, listener = self.agent(stream="CONFD")
        await listener.connects()
        self.assertIn("refuses the announcement: ", await self.refused(controller.announce("default", b"x" * 999)))
        self.assertIn("NATS_STREAM: the stream CONFD refuses", str(controller.problem()))
        await listener.hears(b"x" * 999)
        await controller.announce(DEFAULT_NAMESPACE, b"small")
        self.assertIsNone(controller.problem())


class NatsFaultTests(OnNats, faults.FaultTests):
    """Faults of a NATS server."""

    address, password, tls = "NATS_URL", "NATS_PASSWORD", "NATS_TLS_ENABLED"

    def locked(self, password: str) -> tuple[str, ...]:
        return ("--user", "confd", "--pass", password)

    def trusting(self, authority: Path | None) -> Any:
        return ssl.create_default_context(cafile=None if authority is None else str(authority))

    def flood(self, message: bytes, times: int) -> None:
        with socket.create_connection(("127.0.0.1", self.server.port)) as connection:
            lines = connection.makefile("rb")
            lines.readline()
            connection.sendall(b'CONNECT {"verbose": false}\r\n')
            for _ in range(times):
                connection.sendall(b"PUB config.worker.update %d\r\n" % len(message) + message + b"\r\nPING\r\n")
                lines.readline()

    async def test_refused_publish_is_reported_in_the_words_of_the_server(self) -> None:
        rules = 'authorization { users: [ { user: confd, password: pw, permissions: { publish: "%s" } } ] }'
        self.replace_server(*self.configured(rules % "other"))
        self.server.start()
        controller = self.start(self.make_broker(password="pw"))
        await self.until(lambda: controller.problem() is None)
        self.assertIn("permissions violation", await self.refused(controller.announce(DEFAULT_NAMESPACE, b"{}")))
        self.assertIn("permissions violation", controller.problem())
        self.replace_server(*self.configured(rules % ">"))
        self.server.start()
        await self.announce(controller, b"{}")
        self.assertIsNone(controller.problem())

    async def test_refused_subscription_names_the_subject(self) -> None:
        rules = 'authorization { users: [ { user: confd, password: pw, permissions: { subscribe: "other" } } ] }'
        self.replace_server(*self.configured(rules))
        self.server.start()
        agent, listener = self.agent(password="pw")
        self.assertIn("permissions violation", await self.problem_of(agent, "NATS_SUBJECT: "))
        self.assertEqual(listener.connections, 0)

    async def test_refused_doorbell_disturbs_no_announcement(self) -> None:
        subjects = '["config.worker.update", "config.worker.update.get", "_INBOX.>"]'
        rules = "authorization {{ users: [ {{ user: confd, password: pw, permissions: {{ {} }} }} ] }}"
        self.replace_server(*self.configured(rules.format(f"publish: {subjects}, subscribe: {subjects}")))
        self.server.start()
        agent, controller = (self.make_broker(password="pw") for _ in range(2))
        listener = RecordingListener()
        agent.listen(DEFAULT_NAMESPACE, listener.hear, listener.connected)
        agent.attend(DEFAULT_NAMESPACE, listener.hear)
        for broker in (agent, controller):
            self.start(broker)
        await listener.connects()
        self.assertIn("permissions violation", await self.refused(controller.ring(DEFAULT_NAMESPACE, b"{}")))
        await controller.announce(DEFAULT_NAMESPACE, b"news")
        await listener.hears(b"news")
        self.assertEqual((agent.problem(), controller.problem(), listener.heard), (None, None, [b"news"]))

    async def test_announcement_above_max_payload_is_refused(self) -> None:
        self.server.start()
        controller = self.start(self.make_broker())
        self.assertIn("max_payload", await self.refused(controller.announce(DEFAULT_NAMESPACE, b"x" * (MIB + 1))))
        self.assertIn("max_payload", controller.problem())

    async def test_oversized_messages_are_dropped_and_counted(self) -> None:
        self.replace_server(*self.configured("max_payload: 32MB\nmax_pending: 128MB"))
        self.server.start()
        (agent, listener), controller = self.agent(), self.make_broker()
        controller.answer(lambda _: b"x" * (8 * MIB + 1))
        self.start(controller)
        await listener.connects()
        for size in (8 * MIB + 1, 8 * MIB):
            await self.announce(controller, b"x" * size)
        await self.works(controller, listener)
        self.assertEqual([len(message) for message in listener.heard], [8 * MIB, len("it works")])
        self.assertIsNone(await agent.latest(DEFAULT_NAMESPACE))
        self.assertEqual(agent.listeners.dropped, 2)

    async def test_message_dropped_by_the_library_makes_the_agent_compare(self) -> None:
        self.replace_server(*self.configured("max_payload: 48MB\nmax_pending: 128MB"))
        self.server.start()
        agent, listener = self.agent()
        await listener.connects()
        await deferToThread(self.flood, b"x" * (33 * MIB), 2)
        await listener.connects(3)
        self.assertEqual((listener.heard, agent.problem(), self.said("slow consumer")), ([], None, 1))


class NatsTests(OnNats):
    """What is particular to NATS."""

    def client(self, *subjects: str) -> tuple[socket.socket, Any]:
        """Somebody who speaks the protocol by hand, and subscribes; the connection, and what it reads."""
        connection = socket.create_connection(("127.0.0.1", self.server.port), timeout=10)
        self.addCleanup(connection.close)
        lines = connection.makefile("rb")
        self.addCleanup(lines.close)
        connection.sendall(b'CONNECT {"verbose": false}\r\n')
        for number, subject in enumerate(subjects):
            connection.sendall(f"SUB {subject} {number}\r\n".encode())
        connection.sendall(b"PING\r\n")
        while lines.readline() != b"PONG\r\n":
            pass
        return connection, lines

    async def test_subjects_are_those_of_the_go_system(self) -> None:
        self.server.start()
        _, lines = self.client(">")
        controller = self.start(self.make_broker())
        await controller.announce(DEFAULT_NAMESPACE, b"one")
        await controller.announce("team-7", b"two")
        seen = [lines.readline().decode().split() for _ in range(4)]
        expected = [["MSG", "config.worker.update", "0", "3"], ["one"]]
        self.assertEqual(seen, [*expected, ["MSG", "config.worker.update.ns.team-7", "0", "3"], ["two"]])

    async def test_subject_is_a_setting(self) -> None:
        self.server.start()
        _, listener = self.agent(subject="else.where")
        await listener.connects()
        connection, _ = self.client()
        connection.sendall(b"PUB config.worker.update 2\r\nno\r\nPUB else.where 3\r\nyes\r\n")
        await listener.hears(b"yes")
        self.assertEqual(listener.heard, [b"yes"])

    async def test_ping_follows_the_message_that_it_confirms(self) -> None:
        seen: list[bytes] = []

        def serve(listening: socket.socket) -> None:
            connection, _ = listening.accept()
            with connection, connection.makefile("rb") as lines:
                connection.sendall(b'INFO {"server_id": "x", "version": "2.9.0", "max_payload": 1000}\r\n')
                for line in lines:
                    seen.append(line.split()[0])
                    if line == b"PING\r\n":
                        connection.sendall(b"PONG\r\n")

        with socket.create_server(("127.0.0.1", self.server.port)) as listening:
            served = deferToThread(serve, listening)
            controller = self.start(self.make_broker())
            for _ in range(3):
                await controller.announce(DEFAULT_NAMESPACE, b"message")
            await controller.stopService()
            await served
        self.assertEqual(seen, [b"CONNECT", b"PING", b"PING", *[b"PUB", b"message", b"PING"] * 3])

    async def test_one_controller_of_the_group_answers(self) -> None:
        self.server.start()
        asked: list[str] = []

        def latest(namespace: str) -> bytes:
            asked.append(namespace)
            return namespace.encode()

        for _ in range(3):
            controller = self.make_broker()
            controller.answer(latest)
            self.start(controller)
            await self.until(lambda controller=controller: controller.problem() is None)
        agent, listener = self.agent()
        await listener.connects()
        for namespace in ("default", "team-7"):
            self.assertEqual(await agent.latest(namespace), namespace.encode())
        await controller.announce(DEFAULT_NAMESPACE, b"after")
        self.assertEqual(asked, ["default", "team-7"])

    async def test_hanging_controller_is_not_a_problem_of_the_broker(self) -> None:
        self.server.start()
        self.client("config.worker.update.get")
        agent, listener = self.agent()
        await listener.connects()
        self.assertIn("no controller answers", await self.refused(agent.latest(DEFAULT_NAMESPACE)))
        self.assertEqual((agent.problem(), listener.connections), (None, 1))

    async def test_reconnection_leaves_one_connection(self) -> None:
        self.server.start()
        _, listener = self.agent()
        await listener.connects()
        self.assertEqual(connections(self.server.port), 1)
        self.server.restart()
        await listener.connects(2)
        self.assertEqual(connections(self.server.port), 1)

    async def test_any_server_of_a_cluster_will_do(self) -> None:
        other = self.make_server()
        self.addCleanup(other.stop)
        self.server.start()
        listener = RecordingListener()
        broker = NatsBroker(self.reactor, [self.server.url, other.url], random=Random())
        broker.listen(DEFAULT_NAMESPACE, listener.hear, listener.connected)
        self.start(broker)
        await listener.connects()
        self.server.stop()
        other.start()
        await listener.connects(2)

    async def test_logs_of_the_libraries_are_in_the_log_of_the_process(self) -> None:
        self.server.start()
        agent, listener = self.agent()
        await listener.connects()
        for name in ("asyncio", "nats.aio.client"):
            logging.getLogger(name).error("logged by %s", name)
        self.assertEqual((self.said("logged by asyncio"), self.said("logged by nats.aio.client")), (1, 1))
        await agent.stopService()
        self.assertEqual(logging.getLogger("asyncio").handlers, [])

    async def test_token_authenticates(self) -> None:
        self.replace_server("--auth", "open-sesame")
        self.server.start()
        agent, listener = self.agent(token="open-sesame")
        await listener.connects()
        await self.announce(agent, b"{}")
        await listener.hears(b"{}")

    async def test_credentials_in_the_url_stay_out_of_the_log(self) -> None:
        url = f"confd:hunter2@127.0.0.1:{self.server.port}"
        broker = self.start(NatsBroker(self.reactor, [f"nats://{url}", url], random=Random()))
        self.assertNotIn("hunter2", await self.problem_of(broker, "cannot be reached"))
        self.assertEqual(self.said("hunter2"), 0)

    async def test_leaves_no_task_behind(self) -> None:
        loop = self.reactor._asyncioEventloop
        before = asyncio.all_tasks(loop)
        self.server.start()
        agent, listener = self.agent()
        await listener.connects()
        self.server.hang()
        waiting = agent.announce(DEFAULT_NAMESPACE, b"{}")
        await agent.stopService()
        await self.refused(waiting)
        await self.until(lambda: not asyncio.all_tasks(loop) - before)
