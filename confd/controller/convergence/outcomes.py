"""The outcomes of one version in little memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from struct import Struct

from confd.reports import ReportState, VersionOutcome

_EPOCH, _MICROSECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)

#: The state, whether it is verified, which times follow, and the time of the report in microseconds since 1970.
_HEAD = Struct("<BBBq")

_STATES = tuple(ReportState)
_NUMBERS = {state: number for number, state in enumerate(_STATES)}

#: Attributes of L{VersionOutcome}, in the order of their bits and of their values.
TIMES = ("took", "commit", "notify", "agent", "worker", "ack")

#: The layout of the known times, by the number of the times.
_TIMES = tuple(Struct(f"<{count}d") for count in range(len(TIMES) + 1))


#: The positions in L{TIMES} of the times that a byte of bits names.
_POSITIONS = tuple(
    tuple(number for number in range(len(TIMES)) if bits >> number & 1) for bits in range(1 << len(TIMES))
)


class Outcomes(Mapping[str, VersionOutcome]):
    """Outcomes by agent id, each packed into some bytes."""

    __slots__ = ("_packed",)

    def __init__(self) -> None:
        self._packed: dict[str, bytes] = {}

    def __getitem__(self, agent_id: str) -> VersionOutcome:
        return unpack(self._packed[agent_id])

    def __setitem__(self, agent_id: str, outcome: VersionOutcome) -> None:
        self._packed[agent_id] = pack(outcome)

    def __iter__(self) -> Iterator[str]:
        return iter(self._packed)

    def __len__(self) -> int:
        return len(self._packed)

    def __contains__(self, agent_id: object) -> bool:
        return agent_id in self._packed

    def state_of(self, agent_id: str) -> ReportState | None:
        """Return the state of the outcome on an agent, C{None} without an outcome."""
        packed = self._packed.get(agent_id)
        return None if packed is None else _STATES[packed[0]]

    def times_of(self, agent_ids: Iterable[str]) -> dict[str, list[float]]:
        """Return the known times of the outcomes on some agents, by attribute."""
        found: list[list[float]] = [[] for _ in TIMES]
        for agent_id in agent_ids:
            packed = self._packed[agent_id]
            positions = _POSITIONS[packed[2]]
            for position, ms in zip(positions, _TIMES[len(positions)].unpack_from(packed, _HEAD.size), strict=True):
                found[position].append(ms)
        return dict(zip(TIMES, found, strict=True))

    def in_state(self, state: ReportState) -> Iterator[str]:
        """Yield the ids of the agents with a state."""
        number = _NUMBERS[state]
        return (agent_id for agent_id, packed in self._packed.items() if packed[0] == number)

    def discard(self, agent_id: str) -> ReportState | None:
        """Remove the outcome on an agent, and return its state; C{None} without an outcome."""
        packed = self._packed.pop(agent_id, None)
        return None if packed is None else _STATES[packed[0]]


def pack(outcome: VersionOutcome) -> bytes:
    """Return an outcome in few bytes."""
    known, times = 0, []
    for number, what in enumerate(TIMES):
        ms = getattr(outcome, what)
        if ms is not None:
            known |= 1 << number
            times.append(ms)
    moment = (outcome.at - _EPOCH) // _MICROSECOND
    head = _HEAD.pack(_NUMBERS[outcome.state], outcome.verified, known, moment)
    return b"".join((head, _TIMES[len(times)].pack(*times), outcome.error.encode(errors="surrogatepass")))


def unpack(packed: bytes) -> VersionOutcome:
    """Return what L{pack} packed."""
    state, verified, known, moment = _HEAD.unpack_from(packed)
    layout = _TIMES[known.bit_count()]
    values = iter(layout.unpack_from(packed, _HEAD.size))
    times = [next(values) if number in _POSITIONS[known] else None for number in range(len(TIMES))]
    error = packed[_HEAD.size + layout.size :].decode(errors="surrogatepass")
    return VersionOutcome(_STATES[state], _EPOCH + timedelta(microseconds=moment), error, bool(verified), *times)
