"""Load the agents behind the first polls: a large fleet takes longer than its agents wait for an answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from zope.interface import implementer

from confd.changes import Change, Contents
from confd.errors import ConfdError
from confd.interfaces import IChangeListener, IHealth
from confd.runtime.signal import Signal

#: Seconds until the next read after a read that failed.
RETRY_SECONDS = 1.0


@implementer(IHealth)
class FleetLoading(Service):
    """
    Reads all agents and their outcomes once the configurations are loaded.

    Parts that need the agents hear of no change before: they get the contents and all later changes together.

    @ivar complete: whether these parts are loaded. A later load reads the rows first, and changes them all at once.
    """

    log = Logger()

    def __init__(self, clock: IReactorTime, rows: Sequence[Callable[[], Awaitable[None]]]) -> None:
        """
        @param rows: read what the parts need, in order.
        """
        self._clock, self._rows = clock, rows
        self._parts: list[_Waiting] = []
        self._reading: tuple[Contents, Deferred[None]] | None = None
        self.complete = False

    def stopService(self) -> None:
        super().stopService()
        self._cancel()

    def problem(self) -> str | None:
        return None if self.complete else "The controller is starting; its agents are not loaded yet."

    def before(self, *listeners: IChangeListener) -> IChangeListener:
        """Return a listener that stands for others, which need the agents."""
        part = _Waiting(self, listeners)
        self._parts.append(part)
        return part

    async def prepare(self) -> None:
        """Read the rows for a load that replaces all memory."""
        if self.complete:
            await self._read()

    def begin(self, contents: Contents) -> None:
        """Read the rows for the first load."""
        if self._reading is not None and self._reading[0] is contents:
            return
        self._cancel()
        reading = Deferred.fromCoroutine(self._load())
        self._reading = contents, reading
        reading.addErrback(lambda failure: failure.trap(CancelledError))

    async def _load(self) -> None:
        problem = ""
        while True:
            try:
                await self._read()
                break
            except CancelledError:
                raise
            except ConfdError as error:
                if error.message != problem:
                    problem = error.message
                    self.log.error("cannot load the agents; trying again: {reason}", reason=problem)
            except Exception:
                self.log.failure("cannot load the agents; trying again")
            await deferLater(self._clock, RETRY_SECONDS)
        self._reading, self.complete = None, True
        for part in self._parts:
            part.catch_up()

    async def _read(self) -> None:
        for read in self._rows:
            await read()

    def _cancel(self) -> None:
        reading, self._reading = self._reading, None
        if reading is not None:
            reading[1].cancel()


@implementer(IChangeListener)
class _Waiting:
    """Listeners that wait until the agents are loaded."""

    def __init__(self, loading: FleetLoading, listeners: Sequence[IChangeListener]) -> None:
        self._loading = loading
        self._load, self._apply = Signal(), Signal()
        for each in listeners:
            self._load.add(each.load)
            self._apply.add(each.apply)
        self._contents: Contents | None = None
        self._changes: list[Change] = []

    def load(self, contents: Contents) -> None:
        self._contents, self._changes = contents, []
        if self._loading.complete:
            self._load.notify(contents)
        else:
            self._loading.begin(contents)

    def apply(self, change: Change) -> None:
        if self._loading.complete:
            self._apply.notify(change)
        else:
            self._changes.append(change)

    def catch_up(self) -> None:
        """Load the contents, and apply the changes since."""
        changes, self._changes = self._changes, []
        if self._contents is not None:
            self._load.notify(self._contents)
        for change in changes:
            self._apply.notify(change)
