"""The outcomes of one version in little memory."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import compress

from confd.controller.agents.members import Members
from confd.reports import ReportState, VersionOutcome

_EPOCH, _MICROSECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)

#: States by the bytes of a column; 0 stands for no outcome.
STATES = None, *ReportState

#: The bytes of states.
BYTES = {state: number for number, state in enumerate(STATES)}

#: Attributes of L{VersionOutcome} in the order of their columns.
TIMES = ("took", "commit", "notify", "agent", "worker", "ack")

#: Cells of a column of times: no time, and a time that does not fit into a cell. Other cells hold a time in
#: microseconds plus 1.
_UNKNOWN, _LONG = 0, 2**32 - 1


class Outcomes(Mapping[str, VersionOutcome]):
    """
    Outcomes by agent id, in columns.

    Two columns have a cell for each number of L{Members}: states, which are counted without a look at each agent, and
    rows. The columns of all other values have a cell for each row. Agents get rows as they report: a version that few
    agents report needs few rows. A column of times begins with the first report of such a time.

    @ivar states: by number, see L{BYTES}; read only. Numbers above its end have no outcome.
    """

    __slots__ = ("_counts", "_errors", "_free", "_long", "_members", "_moments", "_rows", "_times", "states")

    def __init__(self, members: Members) -> None:
        self._members = members
        self.states, self._rows = bytearray(), array("I")
        #: The times of the reports in microseconds since 1970, doubled; plus 1 where the agent verified the version.
        self._moments = array("q")
        self._times: list[array[int] | None] = [None] * len(TIMES)
        #: Microseconds that do not fit into a cell, by column and row.
        self._long: dict[tuple[int, int], int] = {}
        self._errors: dict[int, str] = {}
        #: Rows of agents that left.
        self._free: list[int] = []
        self._counts = [0] * len(STATES)

    def __getitem__(self, agent_id: str) -> VersionOutcome:
        number = self.number_of(agent_id)
        row = self._rows[number]
        moment, verified = divmod(self._moments[row], 2)
        times = (self._microseconds(column, row) for column in range(len(TIMES)))
        return VersionOutcome(
            ReportState(STATES[self.states[number]]),
            _EPOCH + timedelta(microseconds=moment),
            self._errors.get(row, ""),
            bool(verified),
            *(None if time is None else time / 1000 for time in times),
        )

    def __iter__(self) -> Iterator[str]:
        return compress(self._members.ids, self.states)

    def __len__(self) -> int:
        return sum(self._counts)

    def __contains__(self, agent_id: object) -> bool:
        return isinstance(agent_id, str) and self.state_of(agent_id) is not None

    def number_of(self, agent_id: str) -> int:
        """
        Return the number of an agent with an outcome.

        @raise KeyError: it has none.
        """
        number = self._members.number_of(agent_id)
        if number is None or not self._state(number):
            raise KeyError(agent_id)
        return number

    def state_of(self, agent_id: str) -> ReportState | None:
        """Return the state of the outcome on an agent, C{None} without an outcome."""
        number = self._members.number_of(agent_id)
        return None if number is None else STATES[self._state(number)]

    def count(self, state: ReportState) -> int:
        """Return the number of agents with a state."""
        return self._counts[BYTES[state]]

    def in_state(self, state: ReportState) -> Iterator[str]:
        """Yield the ids of the agents with a state."""
        return map(self._members.ids.__getitem__, self.numbers_in(state, 0, len(self.states)))

    def took(self, number: int) -> bool:
        """Return whether the outcome on an agent has a time C{took}."""
        column = self._times[0]
        return column is not None and self._state(number) != 0 and column[self._rows[number]] != _UNKNOWN

    def put(self, number: int, outcome: VersionOutcome) -> None:
        """Put the outcome on an agent in the place of the outcome before."""
        before = self._state(number)
        row = self._rows[number] if before else self._add_row(number)
        self._counts[before] -= before != 0
        state = self.states[number] = BYTES[outcome.state]
        self._counts[state] += 1
        self._moments[row] = 2 * ((outcome.at - _EPOCH) // _MICROSECOND) + outcome.verified
        times = outcome.took, outcome.commit, outcome.notify, outcome.agent, outcome.worker, outcome.ack
        for column, ms in enumerate(times):
            if ms is not None or self._times[column] is not None:
                self._put_time(column, row, ms)
        if outcome.error:
            self._errors[row] = outcome.error
        else:
            self._errors.pop(row, None)

    def clear(self, number: int) -> None:
        """Remove the outcome on an agent."""
        before = self._state(number)
        if before:
            self._counts[before] -= 1
            self.states[number] = 0
            self._free.append(self._rows[number])

    def times_of(self, numbers: Iterable[int]) -> dict[str, list[int]]:
        """Return the known times of the outcomes with some numbers in microseconds, by attribute."""
        rows, found = [self._rows[number] for number in numbers], dict[str, list[int]]()
        for column, what in enumerate(TIMES):
            cells = self._times[column]
            if cells is None:
                found[what] = []
            elif self._long:
                times = [self._microseconds(column, row) for row in rows]
                found[what] = [time for time in times if time is not None]
            else:
                found[what] = [cell - 1 for cell in map(cells.__getitem__, rows) if cell]
        return found

    def numbers_in(self, state: ReportState, start: int, end: int) -> Sequence[int]:
        """
        Return the numbers of the agents with a state.

        @param start: the first number to look at.
        @param end: the number to stop at.
        """
        found, byte = list[int](), BYTES[state]
        number = self.states.find(byte, start, end)
        while number >= 0:
            found.append(number)
            number = self.states.find(byte, number + 1, end)
        return found

    def _state(self, number: int) -> int:
        states = self.states
        return states[number] if number < len(states) else 0

    def _add_row(self, number: int) -> int:
        missing = number + 1 - len(self.states)
        if missing > 0:
            self.states.extend(bytes(missing))
            self._rows.frombytes(bytes(missing * self._rows.itemsize))
        if self._free:
            row = self._free.pop()
        else:
            row = len(self._moments)
            self._moments.append(0)
            for column in self._times:
                if column is not None:
                    column.append(_UNKNOWN)
        self._rows[number] = row
        return row

    def _put_time(self, number: int, row: int, ms: float | None) -> None:
        column = self._times[number]
        if self._long:
            self._long.pop((number, row), None)
        if ms is not None:
            if column is None:
                column = self._times[number] = array("I", bytes(len(self._moments) * array("I").itemsize))
            time = round(1000 * ms)
            if 0 <= time < _LONG - 1:
                column[row] = time + 1
            else:
                column[row], self._long[number, row] = _LONG, time
        elif column is not None:
            column[row] = _UNKNOWN

    def _microseconds(self, number: int, row: int) -> int | None:
        column = self._times[number]
        cell = _UNKNOWN if column is None else column[row]
        if cell == _UNKNOWN:
            return None
        return self._long[number, row] if cell == _LONG else cell - 1
