"""Wall clocks that lie and jump: F-54 and F-55."""

from __future__ import annotations

import time

from tests.faults.harness import FaultHarness
from tests.faults.injection import jump, lying_clock
from tests.faults.rows import row
from tests.integration.fleet import PATIENCE
from tests.integration.recorded_fleet import BOUND, INTERVAL

FAKETIME = ("faketime",)


def _jumps(fleet: FaultHarness, observed: str) -> None:
    """Polls come as before, whatever the clock on the wall says."""
    agent = fleet.agents[fleet.only]
    for offset in ("-3600", "+86400", "+0", "-86400", "+3600"):
        before, began = fleet.total("confd_polls_total", agent), time.monotonic()
        jump(fleet.folder, offset)
        fleet.publish()
        fleet.converges(BOUND)
        time.sleep(INTERVAL)
        lasted = time.monotonic() - began
        polls = fleet.total("confd_polls_total", agent) - before
        fleet.claim(
            1 <= polls <= lasted / (INTERVAL * 0.8) + 2, f"{polls} polls in {lasted:.1f} s at {offset} of {observed}"
        )


@row(
    "F-54",
    "the agent's clock jumps while it runs",
    "libfaketime: an hour back, a day forward, and again",
    "polls missed 0, extra 1",
    needs=FAKETIME,
)
def agents_clock(fleet: FaultHarness) -> None:
    fleet.agents[fleet.only].environ = lying_clock(fleet.folder, "+0")
    fleet.begin()
    _jumps(fleet, "the agent")


@row(
    "F-54 controller",
    "the controller's clock jumps while it runs",
    "libfaketime: an hour back, a day forward, and again",
    "polls missed 0, extra 1; all published",
    needs=FAKETIME,
)
def controllers_clock(fleet: FaultHarness) -> None:
    fleet.controller.environ |= lying_clock(fleet.folder, "+0")
    fleet.begin()
    _jumps(fleet, "the controller")
    (agent,) = fleet.listed()
    fleet.claim(agent["state"] == "applied", f"its agent is heard: {agent['state']}")
    fleet.controller.stop()
    fleet.read_database()


@row(
    "F-55",
    "two hosts a day apart",
    "libfaketime: the agent a day behind",
    "applied in time; last_poll by the controller's clock",
    needs=FAKETIME,
)
def a_day_apart(fleet: FaultHarness) -> None:
    fleet.agents[fleet.only].environ = lying_clock(fleet.folder, "-86400")
    fleet.begin()
    for _ in range(3):
        fleet.publish()
        fleet.converges(BOUND)
    today = time.strftime("%Y-%m-%d", time.gmtime())
    fleet.until(lambda: fleet.listed()[0]["last_poll"], "listed", PATIENCE)
    fleet.claim(fleet.listed()[0]["last_poll"].startswith(today), "last_poll is of the controller's day")
    fleet.claim(fleet.listed()[0]["state"] == "applied", "it is not silent")
