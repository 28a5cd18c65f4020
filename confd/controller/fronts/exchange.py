"""A front: where clients' connections and the line to the writer meet. It decides nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import count
from typing import Any

from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import ServerFactory

from confd.controller.fronts.control import (
    Answered,
    Cut,
    Data,
    Drain,
    Forget,
    Forgotten,
    Handed,
    Lose,
    Message,
    News,
    Part,
    Remember,
    Rest,
    Retired,
    Shut,
    Taken,
)
from confd.controller.fronts.relay import Client
from confd.controller.stream import Fanout
from confd.timing import Periodic

#: Seconds between two reports of what was answered.
REPORT = 1.0


class Exchange(ServerFactory):
    """
    The factory of clients.

    @ivar clock: monotonic.
    @ivar say: tells the writer.
    @ivar idle_seconds: that a connection may be silent.
    @ivar fanout: the streams.
    """

    noisy = False

    def __init__(
        self, clock: Any, say: Callable[[Message], None], idle_seconds: float, stop_listening: Callable[[], object]
    ) -> None:
        """
        @param stop_listening: called when no more connections are to be taken.
        """
        self.clock, self.say, self.idle_seconds = clock, say, idle_seconds
        self._stop_listening = stop_listening
        self._numbers = count(1)
        self._clients: dict[int, Client] = {}
        self._answers: dict[tuple[str, bytes], tuple[int, bytes]] = {}
        self._asked: dict[int, tuple[str, bytes]] = {}
        #: The same answer goes to many.
        self._templates: dict[bytes, bytes] = {}
        self._counts: Counter[int] = Counter()
        self._news: dict[str, News] = {}
        self.fanout = Fanout(clock, self._news.get)
        self._reporting = Periodic(clock, self._report, lambda: REPORT)
        self._acts: dict[type[Message], Callable[[Any], None]] = {
            Data: lambda it: self._of(it, lambda client: client.write(it)),
            Taken: lambda it: self._of(it, lambda client: client.taken(it.size)),
            Rest: lambda it: self._of(it, lambda client: client.rest(it.received)),
            Lose: lambda it: self._of(it, Client.dismiss),
            Shut: lambda it: self._of(it, Client.shut),
            Cut: lambda it: self._of(it, Client.cut),
            Handed: lambda it: self._of(it, lambda client: client.read(it)),
            Remember: self._remember,
            Forget: self._forget,
            News: self._in_force,
            Retired: self._retired,
            Part: lambda it: self.fanout.part(it.agent_id),
            Drain: lambda it: self._drain(),
        }

    def start(self) -> None:
        """Begin to report, and to beat."""
        self.fanout.startService()
        self._reporting.startService()

    def hear(self, message: Message) -> None:
        """The writer says something."""
        self._acts[type(message)](message)

    def buildProtocol(self, addr: IAddress | None) -> Client:
        """One more client."""
        number = next(self._numbers)
        client = self._clients[number] = Client(self, number)
        return client

    def left(self, number: int) -> None:
        """A client is gone."""
        self._clients.pop(number, None)

    def remembered(self, host: str, request: bytes) -> bytes | None:
        """The template of what these bytes are answered, if that is known; it counts as given."""
        found = self._answers.get((host, request))
        if found is None:
            return None
        self._counts[found[0]] += 1
        return found[1]

    def _of(self, message: Any, act: Callable[[Client], None]) -> None:
        # One that is gone by now was told to the writer already.
        client = self._clients.get(message.number)
        if client is not None:
            act(client)

    def _remember(self, it: Remember) -> None:
        key = it.host, it.request
        self._answers[key] = it.id, self._templates.setdefault(it.template, it.template)
        self._asked[it.id] = key

    def _forget(self, it: Forget) -> None:
        if it.ids is None:
            self._answers.clear()
            self._asked.clear()
            self._templates.clear()
        for each in it.ids or ():
            key = self._asked.pop(each, None)
            if key is not None:
                del self._answers[key]
        self._report()
        self.say(Forgotten(it.number))

    def _report(self) -> None:
        # Even if there is nothing to tell: it shows that this process lives.
        self.say(Answered(dict(self._counts)))
        self._counts.clear()

    def _in_force(self, it: News) -> None:
        self._news[it.namespace] = it
        self.fanout.announce(it)

    def _retired(self, it: Retired) -> None:
        self._news.pop(it.namespace, None)

    def _drain(self) -> None:
        self._stop_listening()
        self._answers.clear()
        self._asked.clear()
        self.fanout.stopService()
        for client in list(self._clients.values()):
            client.finish_up()
