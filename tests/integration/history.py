"""
The history of a run, and a judge of the promises G1 to G4.

A history is complete, not sampled: each acknowledged POST, each start of an agent, each configuration that an agent
delivered to its worker, each version in a database at the end, and each claim of the test, with the monotonic time.
L{violations} judges it afterwards, without knowledge of the code of confd.
"""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Literal, TypeAlias

from attrs import asdict, define, field, frozen

from confd.model import Tag

#: The controller acknowledged a publish; an agent started; an agent delivered a version; from now on every agent owes
#: the newest acknowledged version; a database held a version; a claim of the test holds or fails.
Kind: TypeAlias = Literal["acknowledged", "started", "delivered", "owed", "read", "stored", "kept", "broken"]


@frozen
class Event:
    """
    An event of a run.

    @ivar at: Monotonic seconds.
    @ivar agent: The acting agent; empty for an acknowledgement and a debt of all agents.
    @ivar within: Seconds that remain to pay a debt.
    @ivar claim: The sentence of a claim.
    """

    at: float
    kind: Kind
    agent: str = ""
    tag: str = ""
    checksum: str = ""
    within: float = 0.0
    claim: str = ""

    @property
    def order(self) -> tuple[int, int]:
        """The position of the tag among the tags of the cluster."""
        return _order(self.tag)


@define(eq=False)
class History:
    """
    The events of a run. Threads of a test add events; each event is written at once, so that a failed run leaves them.

    @ivar path: The file, with a line of JSON for each event.
    """

    path: Path
    clock: Callable[[], float] = time.monotonic
    _events: list[Event] = field(factory=list)
    _lock: threading.Lock = field(factory=threading.Lock)

    @property
    def events(self) -> list[Event]:
        """Return all events so far, in order of time."""
        with self._lock:
            return list(self._events)

    def acknowledged(self, tag: str, checksum: str) -> None:
        """Record an acknowledged POST."""
        self._add("acknowledged", tag=tag, checksum=checksum)

    def started(self, agent: str) -> None:
        """Record the start of an agent's process."""
        self._add("started", agent=agent)

    def delivered(self, agent: str, tag: str, checksum: str) -> bool:
        """
        Record a delivery of an agent to its worker.

        @return: Whether the worker accepts it. The worker may refuse only the first delivery of a process, which is not
            recorded then: an agent that was killed before it wrote its cache returns with an older version.
        """
        last = next((each for each in reversed(self.events) if each.agent == agent), None)
        current = self.current(agent)
        if last is not None and last.kind == "started" and current and _order(tag) < _order(current):
            return False
        self._add("delivered", agent=agent, tag=tag, checksum=checksum)
        return True

    def owed(self, within: float) -> None:
        """Record that no fault is active: all agents owe the newest version within so many seconds."""
        self._add("owed", within=within)

    def read(self, rows: Iterable[tuple[str, str]]) -> None:
        """Record the tag and the checksum of each version in a database, read after the acknowledgements so far."""
        self._add("read")
        for tag, checksum in rows:
            self._add("stored", tag=tag, checksum=checksum)

    def claimed(self, claim: str, kept: bool) -> None:
        """Record whether a claim of the test holds."""
        self._add("kept" if kept else "broken", claim=claim)

    def newest(self) -> str:
        """Return the newest acknowledged tag."""
        return max((each for each in self.events if each.kind == "acknowledged"), key=lambda each: each.order).tag

    def current(self, agent: str) -> str | None:
        """Return the tag that an agent delivered last."""
        return next(
            (each.tag for each in reversed(self.events) if (each.kind, each.agent) == ("delivered", agent)), None
        )

    def _add(self, kind: Kind, **details: Any) -> None:
        with self._lock:
            event = Event(self.clock(), kind, **details)
            self._events.append(event)
            with self.path.open("a") as file:
                file.write(json.dumps(asdict(event)) + "\n")


def load(path: Path) -> list[Event]:
    """Return the events in the file of a L{History}."""
    return [Event(**json.loads(line)) for line in path.read_text().splitlines()]


def _order(text: str) -> tuple[int, int]:
    tag = Tag.parse(text)
    return tag.epoch, tag.version


def violations(events: Iterable[Event]) -> list[str]:
    """Return a sentence for each broken promise."""
    events = list(events)
    agents = dict.fromkeys(each.agent for each in events if each.agent)
    found = [sentence for agent in agents for sentence in _backwards([e for e in events if e.agent == agent])]
    found += _unacknowledged(events) + [each for agent in agents for each in _late(events, agent)]
    return found + _lost(events) + [each.claim for each in events if each.kind == "broken"]


def _backwards(events: list[Event]) -> list[str]:
    """
    Find deliveries that do not supersede all earlier deliveries of the agent. The first delivery of a process may
    repeat the last of the previous process: an agent that restarts makes sure of its worker.
    """
    found = []
    newest: tuple[int, int] = (0, 0)
    fresh = False
    for event in events:
        if event.kind == "started":
            fresh = True
        elif event.kind == "delivered":
            if event.order < newest:
                found.append(f"{event.agent} went back from version {newest[1]} to {event.tag}")
            elif event.order == newest and not fresh:
                found.append(f"{event.agent} applied {event.tag} twice")
            newest, fresh = max(newest, event.order), False
    return found


def _unacknowledged(events: list[Event]) -> list[str]:
    """Find deliveries of configurations that were never published; a lost or late acknowledgement does not matter."""
    acknowledged = {(each.tag, each.checksum) for each in events if each.kind in ("acknowledged", "stored")}
    return [
        f"{each.agent} applied {each.tag} with {each.checksum}, which was never acknowledged"
        for each in events
        if each.kind == "delivered" and (each.tag, each.checksum) not in acknowledged
    ]


def _lost(events: list[Event]) -> list[str]:
    """Find acknowledged versions that a database lacks, repeats or skips, at each time that it was read."""
    found: list[str] = []
    owed: dict[tuple[int, int], str] = {}
    for place, event in enumerate(events):
        if event.kind == "acknowledged":
            if owed.setdefault(event.order, event.checksum) != event.checksum:
                found.append(f"{event.tag} was acknowledged twice, for two documents")
        elif event.kind == "read":
            rows = list(itertools.takewhile(lambda each: each.kind == "stored", events[place + 1 :]))
            held = {each.order: each.checksum for each in rows}
            lost = [order for order, checksum in owed.items() if held.get(order) != checksum]
            found += [f"version {version} of epoch {epoch} was acknowledged and is lost" for epoch, version in lost]
            versions = [each.order[1] for each in rows]
            if versions != list(range(1, len(versions) + 1)):
                found.append(f"the versions in the database are not 1 to {len(versions)}")
    return found


def _late(events: list[Event], agent: str) -> list[str]:
    """Find debts that an agent did not pay in time with that configuration or a newer one, and a wrong last version."""
    found = []
    newest = (0, 0)
    delivered = [each for each in events if each.kind == "delivered" and each.agent == agent]
    for event in events:
        if event.kind == "acknowledged":
            newest = max(newest, event.order)
        elif event.kind == "owed":
            times = [each.at for each in delivered if each.order >= newest]
            if not times:
                found.append(f"{agent} never reached version {newest[1]}")
            elif min(times) > event.at + event.within:
                late = min(times) - event.at
                found.append(
                    f"{agent} reached version {newest[1]} {late:.1f} s after it was due in {event.within:.1f} s"
                )
    if delivered and delivered[-1].order != newest:
        found.append(f"{agent} ended on {delivered[-1].tag}, the newest is version {newest[1]}")
    return found
