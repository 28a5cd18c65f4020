"""Wall clocks that lie and jump: F-54 and F-55."""

from __future__ import annotations

import time

from tests.faults.means import jump, lying_clock
from tests.faults.rows import row
from tests.faults.scene import Scene
from tests.integration.arena import BOUND, INTERVAL
from tests.integration.fleet import PATIENCE

FAKETIME = ("faketime",)


def _jumps(scene: Scene, observed: str) -> None:
    """Polls come as before, whatever the clock on the wall says."""
    agent = scene.agents[scene.only]
    for offset in ("-3600", "+86400", "+0", "-86400", "+3600"):
        before, began = scene.total("confd_polls_total", agent), time.monotonic()
        jump(scene.folder, offset)
        scene.publish()
        scene.converges(BOUND)
        time.sleep(INTERVAL)
        lasted = time.monotonic() - began
        polls = scene.total("confd_polls_total", agent) - before
        scene.claim(
            1 <= polls <= lasted / (INTERVAL * 0.8) + 2, f"{polls} polls in {lasted:.1f} s at {offset} of {observed}"
        )


@row(
    "F-54",
    "the agent's clock jumps while it runs",
    "libfaketime: an hour back, a day forward, and again",
    "polls missed 0, extra 1",
    needs=FAKETIME,
)
def agents_clock(scene: Scene) -> None:
    scene.agents[scene.only].environ = lying_clock(scene.folder, "+0")
    scene.begin()
    _jumps(scene, "the agent")


@row(
    "F-54 controller",
    "the controller's clock jumps while it runs",
    "libfaketime: an hour back, a day forward, and again",
    "polls missed 0, extra 1; all published",
    needs=FAKETIME,
)
def controllers_clock(scene: Scene) -> None:
    scene.controller.environ |= lying_clock(scene.folder, "+0")
    scene.begin()
    _jumps(scene, "the controller")
    (agent,) = scene.listed()
    scene.claim(agent["state"] == "applied", f"its agent is heard: {agent['state']}")
    scene.controller.stop()
    scene.read_database()


@row(
    "F-55",
    "two hosts a day apart",
    "libfaketime: the agent a day behind",
    "applied in time; last_poll by the controller's clock",
    needs=FAKETIME,
)
def a_day_apart(scene: Scene) -> None:
    scene.agents[scene.only].environ = lying_clock(scene.folder, "-86400")
    scene.begin()
    for _ in range(3):
        scene.publish()
        scene.converges(BOUND)
    today = time.strftime("%Y-%m-%d", time.gmtime())
    scene.until(lambda: scene.listed()[0]["last_poll"], "listed", PATIENCE)
    scene.claim(scene.listed()[0]["last_poll"].startswith(today), "last_poll is of the controller's day")
    scene.claim(scene.listed()[0]["state"] == "applied", "it is not silent")
