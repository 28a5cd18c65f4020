"""The outcomes of one version in little memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from struct import Struct

from confd.reports import ReportState, VersionOutcome

_EPOCH, _MICROSECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)

#: The state, whether it is verified, bits of the known times, and the time of the report in microseconds since 1970.
_HEAD = "<BBBq"

_STATES = tuple(ReportState)
_NUMBERS = {state: number for number, state in enumerate(_STATES)}

#: Attributes of L{VersionOutcome}, in the order of their bits and of their values.
TIMES = ("took", "commit", "notify", "agent", "worker", "ack")

#: The layout by the number of the known times, which follow; the error comes last.
_LAYOUTS = tuple(Struct(f"{_HEAD}{count}d") for count in range(len(TIMES) + 1))


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
            known = _LAYOUTS[len(positions)].unpack_from(packed)
            for position, ms in zip(positions, known[4:], strict=True):
                found[position].append(ms)
        return dict(zip(TIMES, found, strict=True))

    def in_state(self, state: ReportState) -> Iterator[str]:
        """Yield the ids of the agents with a state."""
        number = _NUMBERS[state]
        return (agent_id for agent_id, packed in self._packed.items() if packed[0] == number)

    def took(self, agent_id: str) -> bool:
        """Return whether the outcome on an agent has a time C{took}."""
        packed = self._packed.get(agent_id)
        return packed is not None and bool(packed[2] & 1)

    def discard(self, agent_id: str) -> ReportState | None:
        """Remove the outcome on an agent, and return its state; C{None} without an outcome."""
        packed = self._packed.pop(agent_id, None)
        return None if packed is None else _STATES[packed[0]]


def pack(outcome: VersionOutcome) -> bytes:
    """Return an outcome in few bytes."""
    times = outcome.took, outcome.commit, outcome.notify, outcome.agent, outcome.worker, outcome.ack
    known = [ms for ms in times if ms is not None]
    bits = sum(1 << number for number, ms in enumerate(times) if ms is not None) if known else 0
    moment = (outcome.at - _EPOCH) // _MICROSECOND
    packed = _LAYOUTS[len(known)].pack(_NUMBERS[outcome.state], outcome.verified, bits, moment, *known)
    return packed + outcome.error.encode(errors="surrogatepass") if outcome.error else packed


def unpack(packed: bytes) -> VersionOutcome:
    """Return what L{pack} packed."""
    positions = _POSITIONS[packed[2]]
    layout = _LAYOUTS[len(positions)]
    state, verified, _, moment, *known = layout.unpack_from(packed)
    values = iter(known)
    times = [next(values) if number in positions else None for number in range(len(TIMES))]
    error = packed[layout.size :].decode(errors="surrogatepass")
    return VersionOutcome(_STATES[state], _EPOCH + timedelta(microseconds=moment), error, bool(verified), *times)
