"""What the writer has one front remember: what it tells it, what it hears of it, and what is no longer right."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any

from attrs import define, field, frozen

from confd.controller.fronts.control import Forget, Message, Remember
from confd.web.memo import Entry, Memo
from confd.web.traffic import Traffic


@frozen
class _Lent:
    """
    An entry that a front has.

    @ivar host: the address from which those come to whom it is given.
    @ivar source: where requests on their connections come from, by what they tell of the way.
    """

    entry: Entry
    host: str
    source: str
    request: bytes
    about: str


@define(eq=False)
class Ledger(Memo):
    """
    The memo of a front, as the writer keeps it. It answers nothing itself; the front has the answers, and each is good
    for the address that it was made for alone.

    @ivar say: tells the front.
    @ivar changed: the number of the last L{Forget}.
    """

    _say: Callable[[Message], None] = field(kw_only=True)
    changed: int = field(default=0, init=False)
    _last: int = field(default=0, init=False)
    _lent: dict[int, _Lent] = field(factory=dict, init=False)
    _ids: dict[tuple[str, bytes], int] = field(factory=dict, init=False)
    _about: defaultdict[str, set[int]] = field(factory=lambda: defaultdict(set), init=False)
    #: What was forgotten here, as long as the front may still say that it had been given.
    _fading: dict[int, dict[int, _Lent]] = field(factory=dict, init=False)

    def answer(self, channel: Any, data: bytes) -> bool:
        """What comes this far is for the usual way: see L{Memo.answer}."""
        return False

    def _keep(self, channel: Any, data: bytes, entry: Entry, about: str) -> None:
        host = getattr(channel.getPeer(), "host", "")
        if (host, data) in self._ids:
            # Several asked for it before the front had it.
            return
        lent = _Lent(self._place(data, entry), host, channel.factory.source(channel, entry.hops), data, about)
        self._last += 1
        self._lent[self._last], self._ids[host, data] = lent, self._last
        if about:
            self._about[about].add(self._last)
        self._say(Remember(self._last, host, data, lent.entry.template))

    def clear(self) -> None:
        """Have the front forget all."""
        super().clear()
        if self._lent:
            self._fade(self._lent, None)
            self._lent = {}
            self._ids.clear()
            self._about.clear()

    def forget(self, agent_id: str) -> None:
        """Have it forget what is about an agent."""
        self._forget(self._about.pop(agent_id, set()))

    def mark(self) -> None:
        """Have it say when it has heard all that it was told until now."""
        self._fade({}, [])

    def _forget(self, ids: set[int]) -> None:
        found = {each: self._lent.pop(each) for each in ids if each in self._lent}
        for number, lent in found.items():
            del self._ids[lent.host, lent.request]
            self._about.get(lent.about, set()).discard(number)
            self._release(lent.request)
        if found:
            self._fade(found, list(found))

    def _fade(self, lent: dict[int, _Lent], ids: list[int] | None) -> None:
        self.changed += 1
        self._fading[self.changed] = lent
        self._say(Forget(self.changed, ids))

    def forgotten(self, number: int) -> None:
        """The front has forgotten."""
        self._fading.pop(number, None)

    def given(self, counts: Mapping[int, int], traffic: Traffic) -> None:
        """
        Count what the front has answered, and do what L{Memo.answer} does; what is no longer right is forgotten.

        @param counts: how often each was given.
        """
        wrong = set()
        for number, times in counts.items():
            lent = self._lent.get(number) or self._faded(number)
            if lent is None:
                continue
            self.answered += times
            traffic.count(b"GET", lent.entry.route, lent.entry.status, 0.0, times)
            if not (lent.entry.good(lent.source) and lent.entry.again()):
                wrong.add(number)
        self._forget(wrong)

    def _faded(self, number: int) -> _Lent | None:
        return next((lent[number] for lent in self._fading.values() if number in lent), None)
