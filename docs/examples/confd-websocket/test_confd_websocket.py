"""Tests of L{confd_websocket} and its gateway: C{trial test_confd_websocket}."""

from random import Random
from types import SimpleNamespace

from confd_websocket import WebSocketStrategy, make
from confd_websocket_gateway import CHECK_SECONDS, MAX_FROM_ONE, MESSAGE_SECONDS, Gateway
from confd_websocket_wire import HANDSHAKE_SECONDS, MAX_MESSAGE_BYTES, PING_SECONDS
from twisted.internet.defer import fail, succeed
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase
from wsproto import ConnectionType, WSConnection
from wsproto.events import BytesMessage, CloseConnection, Ping, RejectConnection, Request, TextMessage

from confd.errors import StartError
from confd.runtime.timing import Backoff
from confd.testing.strategies import MemorySink, make_istrategy_tests


class Nowhere:
    """An endpoint that nobody listens on."""

    def connect(self, factory):
        return fail(ConnectionRefusedError("refused"))


def request():
    """A handshake."""
    return Request("gateway", "/?namespace=default", extra_headers=[(b"Authorization", b"Basic x")])


def far_end_away(case):
    """A strategy without a gateway, and its clock."""
    clock = Clock()
    return WebSocketStrategy(clock, Nowhere(), request, Backoff(Random(1), 30.0)), clock


ContractTests = make_istrategy_tests(far_end_away)


class Transport(StringTransport):
    """A transport that records how it ends."""

    def abortConnection(self):
        self.aborting = True
        self.disconnecting = True


class Web:
    """A controller that answers with one status."""

    def __init__(self):
        self.status, self.asked = 304, 0

    def request(self, method, url, headers=None, body=None):
        self.asked += 1
        return succeed(SimpleNamespace(code=self.status, deliverBody=lambda protocol: None))


class NoStream:
    """An L{confd.client.http.Http} whose requests stay without an answer."""

    def __getattr__(self, name):
        from twisted.internet.defer import Deferred

        return lambda *args, **kwargs: Deferred()


class GatewayTests(SynchronousTestCase):
    """The end of the gateway, with bytes in place of a network."""

    def setUp(self):
        self.clock, self.web = Clock(), Web()
        self.clock.getThreadPool = lambda: None
        self.gateway = Gateway(self.clock, "http://controller", NoStream(), self.web, Random(1))

    def connect(self):
        """Return the end of the gateway and that of a client, after the request of the client."""
        server, client = self.gateway.buildProtocol(None), WSConnection(ConnectionType.CLIENT)
        server.makeConnection(Transport())
        server.dataReceived(client.send(request()))
        return server, client

    def events(self, server, client):
        """Return what the client hears."""
        client.receive_data(server.transport.value())
        server.transport.clear()
        return list(client.events())

    def opened(self):
        """Return both ends of an open connection."""
        server, client = self.connect()
        self.assertEqual([type(each).__name__ for each in self.events(server, client)], ["AcceptConnection"])
        return server, client

    def closed_with(self, server, client):
        """Return the code with which the gateway closed."""
        return [each.code for each in self.events(server, client) if isinstance(each, CloseConnection)]

    def test_all_clients_of_a_namespace_are_told_of_a_tag(self):
        (one, its), (two, other) = self.opened(), self.opened()
        namespace, _ = self.gateway._namespaces["default"]
        namespace.served(b"", "1a2b3c4d.1.7")
        for server, client in ((one, its), (two, other)):
            (message,) = self.events(server, client)
            self.assertEqual(message.data, '{"namespace": "default", "tag": "1a2b3c4d.1.7"}')

    def test_refusals_of_the_controller_are_passed_on(self):
        for self.web.status in (401, 403, 404, 503):
            server, client = self.connect()
            (event,) = [each for each in self.events(server, client) if isinstance(each, RejectConnection)]
            self.assertEqual(event.status_code, self.web.status)
        self.assertEqual(self.gateway._namespaces, {})

    def test_revoked_agent_is_closed_and_a_silent_controller_closes_nobody(self):
        server, client = self.opened()
        self.web.status = 503
        self.clock.advance(2 * CHECK_SECONDS)
        self.assertEqual(self.closed_with(server, client), [])
        server, client = self.opened_again()
        self.web.status = 401
        self.clock.advance(2 * CHECK_SECONDS)
        self.assertEqual(self.closed_with(server, client), [1008])

    def opened_again(self):
        """Return a new connection to a controller that accepts it."""
        self.web.status = 304
        return self.opened()

    def test_large_message_is_refused_before_it_is_whole(self):
        server, client = self.opened()
        frame = client.send(TextMessage("x" * 50 * MAX_MESSAGE_BYTES))
        server.dataReceived(frame[: 2 * MAX_MESSAGE_BYTES])
        self.assertEqual(self.closed_with(server, client), [1009])

    def test_flood_of_fragments_is_refused(self):
        server, client = self.opened()
        for _ in range(9):
            server.dataReceived(client.send(TextMessage("x", message_finished=False)))
        self.assertEqual(self.closed_with(server, client), [1009])

    def test_binary_and_invalid_text_are_refused(self):
        server, client = self.opened()
        server.dataReceived(client.send(BytesMessage(b"x")))
        self.assertEqual(self.closed_with(server, client), [1003])
        server, client = self.opened()
        # A masked text frame of one byte that begins no character.
        server.dataReceived(b"\x81\x81\x00\x00\x00\x00\xff")
        self.assertEqual(self.closed_with(server, client), [1007])

    def test_client_that_talks_is_closed(self):
        server, client = self.opened()
        server.dataReceived(client.send(TextMessage("hello")))
        self.clock.advance(MESSAGE_SECONDS - 1)
        self.assertEqual(self.closed_with(server, client), [])
        server.dataReceived(client.send(TextMessage("hello")))
        self.assertEqual(self.closed_with(server, client), [1008])

    def test_client_that_answers_no_ping_is_cut(self):
        server, client = self.opened()
        self.clock.advance(PING_SECONDS)
        self.assertEqual([type(each) for each in self.events(server, client)], [Ping])
        self.clock.advance(PING_SECONDS)
        self.assertTrue(server.transport.aborting)

    def test_endless_and_slow_handshakes_are_cut(self):
        server = self.gateway.buildProtocol(None)
        server.makeConnection(Transport())
        server.dataReceived(b"GET / HTTP/1.1\r\nX: " + b"x" * 9000)
        self.assertTrue(server.transport.aborting)
        server = self.gateway.buildProtocol(None)
        server.makeConnection(Transport())
        self.clock.advance(HANDSHAKE_SECONDS)
        self.assertTrue(server.transport.aborting)

    def test_connections_of_one_address_are_limited(self):
        for _ in range(MAX_FROM_ONE):
            self.opened()
        server, client = self.connect()
        (event,) = [each for each in self.events(server, client) if isinstance(each, RejectConnection)]
        self.assertEqual(event.status_code, 503)

    def test_slow_reader_gets_the_newest_tag_only(self):
        server, client = self.opened()
        server.pauseProducing()
        for number in range(1000):
            server.tell(f"tag {number}")
        self.assertEqual(server.transport.value(), b"")
        server.resumeProducing()
        self.assertEqual([each.data for each in self.events(server, client)], ["tag 999"])

    def test_last_client_ends_the_stream(self):
        from twisted.python.failure import Failure

        server, _ = self.opened()
        self.assertEqual(list(self.gateway._namespaces), ["default"])
        server.connectionLost(Failure(ConnectionResetError()))
        self.assertEqual((self.gateway._namespaces, self.gateway._admitted), ({}, {}))


class Pipe:
    """An endpoint that leads to a protocol of the test."""

    def connect(self, factory):
        self.protocol = factory.buildProtocol(None)
        self.protocol.makeConnection(Transport())
        return succeed(self.protocol)


class StrategyTests(SynchronousTestCase):
    """The end of the agent."""

    def setUp(self):
        self.clock, self.sink, self.pipe = Clock(), MemorySink(), Pipe()
        self.strategy = WebSocketStrategy(self.clock, self.pipe, request, Backoff(Random(1), 30.0))
        self.strategy.start(self.sink)
        self.server = WSConnection(ConnectionType.SERVER)
        self.server.receive_data(self.pipe.protocol.transport.value())
        (asked,) = self.server.events()
        self.assertEqual(
            (asked.target, dict(asked.extra_headers)[b"authorization"]), ("/?namespace=default", b"Basic x")
        )

    def accept(self):
        """Let the gateway accept the connection."""
        from wsproto.events import AcceptConnection

        self.pipe.protocol.dataReceived(self.server.send(AcceptConnection()))

    def test_hints_on_each_connection_and_message(self):
        self.assertEqual(self.strategy.path(), "poll")
        self.accept()
        self.assertEqual((self.sink.heard, self.strategy.path()), ([("hint",)], "WEBSOCKET"))
        for text in ('{"tag": "1a2b3c4d.1.7"}', "anything at all"):
            self.pipe.protocol.dataReceived(self.server.send(TextMessage(text)))
        self.assertEqual((self.sink.heard, self.strategy.connections), ([("hint",)] * 3, 1))

    def test_polls_after_a_refusal_and_comes_back(self):
        self.pipe.protocol.dataReceived(self.server.send(RejectConnection(status_code=401)))
        self.assertEqual((self.strategy.path(), self.sink.heard), ("poll", []))
        before = self.pipe.protocol
        self.clock.advance(60)
        self.assertIsNot(self.pipe.protocol, before)

    def test_gateway_that_sends_too_much_is_left(self):
        self.accept()
        self.pipe.protocol.dataReceived(self.server.send(TextMessage("x" * 10_000))[:3000])
        self.assertEqual(self.strategy.path(), "poll")

    def test_says_which_setting_is_wrong(self):
        for url in ("", "http://gateway", "ws://", "ws://me:secret@gateway"):
            error = self.assertRaises(StartError, make, SimpleNamespace(environ={"WEBSOCKET_URL": url}))
            self.assertIn("WEBSOCKET_URL", str(error))
            self.assertNotIn("secret", str(error))
