"""
What happened in a run, and whether that was allowed (promises G1 to G4).

A history is complete, not sampled: each acknowledged POST, each start of an agent, each configuration that an agent
handed to its worker, each version that a database held in the end, and each claim of the test that ran it, with the
monotonic time. L{violations} judges it afterwards, and knows nothing of how confd works.
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

#: A publish was acknowledged; an agent's process began; an agent handed it over; from now on every
#: agent owes the newest one that was acknowledged; a database was read, and held it; something is so, or it is not.
Kind: TypeAlias = Literal["acknowledged", "started", "delivered", "owed", "read", "stored", "kept", "broken"]


@frozen
class Event:
    """
    One thing that happened.

    @ivar at: monotonic seconds.
    @ivar agent: whose doing it is; empty for an acknowledgement and what is owed by all.
    @ivar within: seconds that remain for what is owed.
    @ivar claim: what is so, or is not.
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
        """Where its tag stands among those of the cluster."""
        return _order(self.tag)


@define(eq=False)
class History:
    """
    Written by the threads of a test; each event is a line of a file at once, so that a failed run leaves it behind.

    @ivar path: the file, JSON lines.
    """

    path: Path
    clock: Callable[[], float] = time.monotonic
    _events: list[Event] = field(factory=list)
    _lock: threading.Lock = field(factory=threading.Lock)

    @property
    def events(self) -> list[Event]:
        """All so far, in the order in which they happened."""
        with self._lock:
            return list(self._events)

    def acknowledged(self, tag: str, checksum: str) -> None:
        """A POST was answered."""
        self._add("acknowledged", tag=tag, checksum=checksum)

    def started(self, agent: str) -> None:
        """The process of an agent begins."""
        self._add("started", agent=agent)

    def delivered(self, agent: str, tag: str, checksum: str) -> bool:
        """
        An agent handed a configuration to its worker.

        @return: whether the worker takes it. Only the first of a process may be refused, and is not recorded then: one
            that was killed between its worker and its cache knows no better when it comes back.
        """
        last = next((each for each in reversed(self.events) if each.agent == agent), None)
        current = self.current(agent)
        if last is not None and last.kind == "started" and current and _order(tag) < _order(current):
            return False
        self._add("delivered", agent=agent, tag=tag, checksum=checksum)
        return True

    def owed(self, within: float) -> None:
        """Nothing stands in the way any more: all agents owe the newest one in so many seconds."""
        self._add("owed", within=within)

    def read(self, rows: Iterable[tuple[str, str]]) -> None:
        """A database was read, after all that was acknowledged before: the tag and the checksum of each version."""
        self._add("read")
        for tag, checksum in rows:
            self._add("stored", tag=tag, checksum=checksum)

    def claimed(self, claim: str, kept: bool) -> None:
        """What must be so was looked at."""
        self._add("kept" if kept else "broken", claim=claim)

    def newest(self) -> str:
        """The newest tag that was acknowledged."""
        return max((each for each in self.events if each.kind == "acknowledged"), key=lambda each: each.order).tag

    def current(self, agent: str) -> str | None:
        """The tag that an agent handed over last."""
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
    """The events of a file that a L{History} left behind."""
    return [Event(**json.loads(line)) for line in path.read_text().splitlines()]


def _order(text: str) -> tuple[int, int]:
    tag = Tag.parse(text)
    return tag.epoch, tag.version


def violations(events: Iterable[Event]) -> list[str]:
    """What was not allowed, a sentence each."""
    events = list(events)
    agents = dict.fromkeys(each.agent for each in events if each.agent)
    found = [sentence for agent in agents for sentence in _backwards([e for e in events if e.agent == agent])]
    found += _unacknowledged(events) + [each for agent in agents for each in _late(events, agent)]
    return found + _lost(events) + [each.claim for each in events if each.kind == "broken"]


def _backwards(events: list[Event]) -> list[str]:
    """
    Each configuration that one agent hands over supersedes all before it. Only the first of a process may be the last
    one of the process before: an agent that comes back makes sure of its worker.
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
    """Nobody applies what nobody published; when the acknowledgement came, or whether it was lost, does not matter."""
    acknowledged = {(each.tag, each.checksum) for each in events if each.kind in ("acknowledged", "stored")}
    return [
        f"{each.agent} applied {each.tag} with {each.checksum}, which was never acknowledged"
        for each in events
        if each.kind == "delivered" and (each.tag, each.checksum) not in acknowledged
    ]


def _lost(events: list[Event]) -> list[str]:
    """Each time a database is read it holds all that was acknowledged, each version once, and none is left out."""
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
    """Whenever it was owed, the newest configuration of that time arrived in time, or a newer one; and so it ended."""
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
