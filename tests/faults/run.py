"""Run rows: each round has a folder and a fleet of its own, and ends with a check of its history."""

from __future__ import annotations

import signal
import sys
import tempfile
import time
from pathlib import Path
from random import Random
from types import FrameType

from attrs import frozen

from tests.faults.harness import FaultHarness
from tests.faults.rows import Outcome, Row, clean_up
from tests.integration.brokers import Broker, KafkaBroker, NatsBroker, NatsStreamBroker, RedisBroker
from tests.integration.history import violations

BROKERS = {"REDIS": RedisBroker, "NATS": NatsBroker, "JETSTREAM": NatsStreamBroker, "KAFKA": KafkaBroker}


class GivenUp(Exception):
    """A round took too long."""


def _give_up(_signal: int, _frame: FrameType | None) -> None:
    raise GivenUp("it took too long, and was given up")


@frozen
class Suite:
    """
    A run of the suite.

    @ivar seed: The seed of all random choices.
    @ivar rounds: The factor of the rounds of each row.
    @ivar slack: The factor of the seconds of each limit.
    """

    seed: int
    rounds: float
    slack: float

    def play(self, row: Row) -> Outcome:
        """Run all rounds of a row; return the outcome."""
        outcome = Outcome(row, why_not=row.missing())
        if outcome.why_not is None:
            began = time.monotonic()
            for number in range(max(1, round(row.rounds * self.rounds))):
                self._round(row, number, outcome)
            outcome.took = time.monotonic() - began
        print(f"{row.id:12} {outcome.took:6.1f} s  {outcome.verdict}", file=sys.stderr, flush=True)
        return outcome

    def _round(self, row: Row, number: int, outcome: Outcome) -> None:
        folder = Path(tempfile.mkdtemp(prefix="confd-faults-"))
        names = tuple(f"agent-{each}" for each in range(row.agents))
        random = Random(f"{self.seed} {row.id} {number}")
        broker = _broker(row, folder)
        fleet = FaultHarness(folder, row.strategy, random, broker, options=row.options, names=names, slack=self.slack)
        signal.signal(signal.SIGALRM, _give_up)
        signal.alarm(round(row.most * max(1.0, self.slack)))
        found: list[str] = []
        try:
            fleet.open()
            row.run(fleet)
            fleet.check_logs()
        except Exception as error:
            # A defect of the row counts too: a row that ends early has shown nothing.
            found.append(f"{type(error).__name__}: {error}"[:2000])
        finally:
            signal.alarm(0)
            fleet.close()
        found += violations(fleet.history.events)
        outcome.runs += 1
        outcome.violations += found
        outcome.recovery = max(outcome.recovery, fleet.recovery)
        if found:
            outcome.kept.append(str(folder))
        clean_up(folder, keep=bool(found))


def _broker(row: Row, folder: Path) -> Broker | None:
    kind = row.kind or row.strategy
    return BROKERS[kind].make(folder / "broker") if kind in BROKERS else None
