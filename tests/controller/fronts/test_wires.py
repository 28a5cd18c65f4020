"""Tests of L{confd.controller.fronts.wires} by itself; how it serves is in L{tests.controller.fronts.test_writer}."""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IPushProducer, ITransport
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from confd.controller.fronts.control import ENOUGH, PIECE, WINDOW, Cut, Data, Lose, Message, Shut, Taken
from confd.controller.fronts.wires import Wire
from confd.web.site import BoundedSite
from tests.controller.house import House
from tests.conversation import ELSEWHERE, LOOPBACK


class Heard:
    """Who is told to pause."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def pauseProducing(self) -> None:
        """Remember it."""
        self.told.append("pause")

    def resumeProducing(self) -> None:
        """Remember it."""
        self.told.append("resume")


class Defect:
    """A channel with one."""

    def makeConnection(self, transport: Any) -> None:
        """It begins well."""

    def dataReceived(self, data: bytes) -> None:
        """And fails."""
        raise ZeroDivisionError()


class WireTests(SynchronousTestCase):
    """L{Wire}."""

    def setUp(self) -> None:
        self.said: list[Message] = []
        self.wire = Wire(7, self.said.append, ELSEWHERE, LOOPBACK, None, False, print)  # type: ignore[arg-type]
        self.producer = Heard()
        self.wire.registerProducer(self.producer, True)

    def test_interfaces(self) -> None:
        verifyObject(ITransport, self.wire)
        verifyObject(IPushProducer, self.wire)
        self.assertEqual((self.wire.getPeer(), self.wire.getHost()), (ELSEWHERE, LOOPBACK))

    def test_pieces(self) -> None:
        """What is long goes out in several messages, whole and in order."""
        data = bytes(range(256)) * 300
        self.wire.writeSequence([data[:100], data[100:]])
        found = [each for each in self.said if isinstance(each, Data)]
        self.assertEqual(b"".join(each.data for each in found), data)
        self.assertEqual(max(len(each.data) for each in found), PIECE)

    def test_window(self) -> None:
        """Whoever writes is held back until the client has taken enough."""
        self.wire.write(b"x" * WINDOW)
        self.assertEqual(self.producer.told, [])
        self.wire.write(b"x")
        self.wire.write(b"x")
        self.assertEqual(self.producer.told, ["pause"])
        self.wire.taken(ENOUGH)
        self.assertEqual(self.producer.told, ["pause"])
        self.wire.taken(2)
        self.assertEqual(self.producer.told, ["pause", "resume"])

    def test_holds_client_back(self) -> None:
        """What is sent is not confirmed while the channel pauses."""
        self.wire.pauseProducing()
        for _ in range(3):
            self.wire.receive(b"x" * ENOUGH)
        self.assertEqual(self.said, [])
        self.wire.resumeProducing()
        self.assertEqual(self.said, [Taken(7, 3 * ENOUGH)])

    def test_ends(self) -> None:
        """Each end is told once, and nothing is written after it."""
        self.wire.loseWriteConnection()
        self.wire.write(b"x")
        self.wire.loseConnection()
        self.wire.loseConnection()
        self.wire.abortConnection()
        self.assertEqual(self.said, [Shut(7), Lose(7), Cut(7)])

    def test_stopped(self) -> None:
        """A transport that is to produce no more ends."""
        self.wire.stopProducing()
        self.assertEqual(self.said, [Lose(7)])

    def test_defect(self) -> None:
        """One in a channel ends that connection, and is logged; others are not concerned."""
        self.wire.begin(Defect())  # type: ignore[arg-type]
        self.wire.receive(b"x")
        self.assertEqual(self.said, [Cut(7)])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_secure(self) -> None:
        """A channel knows whether TLS is spoken at the other end."""
        site: BoundedSite = House(started=False).site
        for secure in (False, True):
            wire = Wire(1, self.said.append, ELSEWHERE, LOOPBACK, None, secure, print)  # type: ignore[arg-type]
            channel = site.relayed(ELSEWHERE, wire)
            wire.begin(channel)
            self.assertEqual(channel.isSecure(), secure)
            wire.lost()
        self.assertIsInstance(site.reactor, Clock)
