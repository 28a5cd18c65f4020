"""When streams end although their readers would stay."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from math import ceil
from random import Random

from twisted.internet.interfaces import IReactorTime

from confd.controller.feed import Feed
from confd.runtime.timing import Periodic
from confd.web.api.endpoint import Call
from confd.web.api.streaming import EventStream, StreamingAnswer, abort_in

#: Seconds that a stream lasts where there are other controllers, at least and at most.
LIFE_SECONDS = 1800.0, 5400.0

#: Seconds over which the streams of token holders end once tokens cannot be checked.
SPREAD_SECONDS = 30.0

#: Seconds between two looks at the age of the feed.
LOOK_SECONDS = 1.0


class StreamEnds(Periodic):
    """
    Ends each stream when its credentials expire.

    With other controllers on the database, a stream ends after an hour or so, as its reader may go to a controller that
    has returned. The streams of token holders end when this controller lost its database for too long.
    """

    def __init__(self, clock: IReactorTime, now: Callable[[], datetime], feed: Feed, random: Random) -> None:
        """
        @param now: returns the wall-clock time.
        @param random: spreads the ends.
        """
        super().__init__(clock, self._look, lambda: LOOK_SECONDS)
        self._now, self._feed, self._random = now, feed, random
        #: Of token holders, in order of arrival.
        self._holders: dict[EventStream, None] = {}
        self._ends_at: float | None = None

    def startService(self) -> None:
        if self._feed.shared:
            super().startService()

    def answer(self, call: Call, stream: EventStream) -> StreamingAnswer:
        """Return a stream as the answer to a call, and see to its end."""
        principal = call.principal
        if call.request.method == b"HEAD":
            # Its answer has no body, so there is nothing that could keep it open.
            stream.end()
        elif principal.expires_at is not None:
            left = (principal.expires_at - self._now()).total_seconds()
            abort_in(self._clock, left, call.request, stream)
        if self._feed.shared and not stream.done.called:
            self._watch(stream, principal.kind != "password")
        return StreamingAnswer(stream.done)

    def _watch(self, stream: EventStream, holder: bool) -> None:
        if holder:
            self._holders[stream] = None
        aged = self._clock.callLater(self._random.uniform(*LIFE_SECONDS), stream.end)

        def over(result: object) -> object:
            self._holders.pop(stream, None)
            if aged.active():
                aged.cancel()
            return result

        stream.done.addBoth(over)

    def _look(self) -> None:
        if self._feed.problem() is None:
            self._ends_at = None
            return
        now = self._clock.seconds()
        if self._ends_at is None:
            self._ends_at = now + SPREAD_SECONDS
        looks = max(1.0, (self._ends_at - now) / LOOK_SECONDS)
        for stream in list(self._holders)[: ceil(len(self._holders) / looks)]:
            stream.end()
