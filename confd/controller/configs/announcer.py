"""Share the announcements of a cluster among its controllers: each version is announced by one of them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from random import Random
from typing import TYPE_CHECKING

from twisted.application.service import MultiService
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from confd.controller.configs.snapshot import Snapshot
from confd.errors import Unavailable
from confd.interfaces.announcements import IAnnouncements
from confd.runtime.timing import Periodic
from confd.runtime.write_behind import WriteBehind

if TYPE_CHECKING:
    from confd.controller.configs.publishers import BrokerPublisher

#: Seconds in which deliveries gather for one transaction; less than the time after which an announcement is late.
DONE_INTERVAL_SECONDS = 0.25

#: Seconds between two looks for late announcements, at least and at most.
LOOK_SECONDS = 0.8, 1.2


class Announcer(MultiService):
    """
    Announces the changes of this controller, and the late ones of other controllers.

    @ivar applied: number of the last change that this controller applied.
    """

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        store: IAnnouncements,
        snapshot: Snapshot,
        publishers: Sequence[BrokerPublisher],
        random: Random,
    ) -> None:
        """
        @param random: spreads the looks of the controllers.
        """
        super().__init__()
        self._store, self._snapshot, self.applied = store, snapshot, 0
        self._publishers = {each.broker.name: each for each in publishers}
        store.announce_to(list(self._publishers))
        self._done = WriteBehind[tuple[str, str], int](
            clock, DONE_INTERVAL_SECONDS, store.announced, "notes on announcements", max
        )
        self._done.setServiceParent(self)
        for name, each in self._publishers.items():
            each.accepted = partial(self._note, name)
        Periodic(clock, self._look, lambda: random.uniform(*LOOK_SECONDS)).setServiceParent(self)

    def takes(self, seq: int) -> bool:
        """Note that a change is applied; return whether this controller announces it."""
        self.applied = seq
        return self._store.is_own(seq)

    async def _look(self) -> None:
        # Another controller may reach a broker that this one does not.
        reached = [
            name for name, each in self._publishers.items() if each.broker.problem() is None and not each.waiting()
        ]
        if not self.applied or not reached:
            return
        try:
            claims = await self._store.claim(reached, self.applied)
        except Unavailable:
            # The store says why.
            return
        for each in claims:
            found = self._snapshot.announced(each.namespace)
            if found is None:
                self._note(each.broker, each.namespace, each.seq)
            else:
                self.log.info("{tag} is late at {broker}: announcing it", tag=found.tag, broker=each.broker)
                self._publishers[each.broker].post(found, each.seq)

    def _note(self, broker: str, namespace: str, seq: int) -> None:
        self._done.put((broker, namespace), seq)
