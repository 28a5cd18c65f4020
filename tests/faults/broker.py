"""Brokers that are forged into, killed, emptied, hung or full of rubbish: F-23 to F-32, of Redis and of NATS."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

from attrs import evolve

from confd.codec import announcement
from confd.codec.signing import SigningKey
from tests.faults.rows import Row, Rows
from tests.faults.scene import Scene, percentile, processor, resident
from tests.integration.arena import BOUND, INTERVAL
from tests.integration.fleet import PATIENCE
from tests.integration.forgery import forgeries
from tests.integration.proxy import Faults
from tests.integration.ways import Broker

#: Seconds between polls that no row lives to see.
FAR = 600

#: Seconds in which a push path is up again.
RETURN = 20.0

OUTAGE = 8.0

_AGAIN = "pushed again in 20 s"


def _broker(scene: Scene) -> Broker:
    assert scene.broker is not None
    return scene.broker


def _begin(scene: Scene) -> None:
    _broker(scene).server.start()
    scene.begin()
    scene.until_path(scene.strategy)
    _published(scene)


def _published(scene: Scene) -> None:
    scene.until(lambda: scene.publish().published, "told", PATIENCE)


def _pushed_again(scene: Scene) -> None:
    """Changes are pushed as before, with nobody polling."""
    with scene.recovers(RETURN, "pushed again"):
        scene.until(lambda: scene.publish(FAR).published, "told", PATIENCE)
        scene.until_path(scene.strategy)
    scene.publish(FAR)
    scene.converges(BOUND)
    scene.publish(INTERVAL)
    scene.converges(BOUND)


def _ignored(scene: Scene, messages: list[bytes]) -> None:
    """What agents hear changes nothing, and costs little."""
    agent = scene.agents[scene.only]
    used, began, polls = processor(agent.pid), time.monotonic(), scene.total("confd_polls_total", agent)
    _broker(scene).inject(messages)
    time.sleep(1)
    lasted = time.monotonic() - began
    share = (processor(agent.pid) - used) / lasted
    scene.claim(share < 0.5 * scene.slack, f"processor time of the agent: {share:.0%}")
    extra = scene.total("confd_polls_total", agent) - polls
    scene.claim(extra <= lasted + lasted / INTERVAL + 2, f"one hint causes one GET a second: {extra} in {lasted:.1f} s")
    scene.publish()
    scene.converges(BOUND)


def _forged(scene: Scene) -> None:
    _begin(scene)
    unsigned = forgeries(_broker(scene).latest(), scene.random)
    _ignored(scene, (unsigned * 40)[:500])


def _replayed(scene: Scene) -> None:
    _begin(scene)
    overheard = []
    for _ in range(4):
        overheard.append(_broker(scene).latest())
        _published(scene)
    scene.converges(BOUND)
    _ignored(scene, overheard * 50)
    _broker(scene).inject(overheard)
    scene.proxies[-1].drop()
    scene.converges(BOUND)


def _strangers_key(scene: Scene) -> None:
    _begin(scene)
    genuine = _broker(scene).latest()
    configuration = announcement.read(genuine).configuration
    made = []
    for ahead in range(1, 100):
        signed = json.loads(
            announcement.announce(evolve(configuration, version=configuration.version + ahead), SigningKey.generate())
        )
        made += [signed, signed | {"key_id": json.loads(genuine)["key_id"]}]
    _ignored(scene, [json.dumps(each).encode() for each in made])


def _future_version(scene: Scene) -> None:
    _begin(scene)
    genuine = json.loads(_broker(scene).latest())
    versions = [str(2**63), str(2**53), str(2**64), "9" * 17, "9" * 400, str(int(genuine["version"]) + 1)]
    epochs = [genuine | {"epoch": each} for each in (2, 99, 2**31, 2**53)]
    _ignored(
        scene, [json.dumps(each).encode() for each in [genuine | {"version": each} for each in versions] + epochs] * 20
    )


def _rubbish(scene: Scene) -> None:
    _begin(scene)
    agent = scene.agents[scene.only]
    before = resident(agent.pid)
    for _ in range(10):
        _broker(scene).inject([b"\xff" * (2**20 - 100)] * 20)
        grown = resident(agent.pid) - before
        scene.claim(grown < 64 * 2**20, f"memory is bounded: {grown / 2**20:.0f} MiB more")
    scene.publish()
    scene.converges(BOUND)
    _pushed_again(scene)


def _restarted_empty(scene: Scene) -> None:
    _begin(scene)
    _broker(scene).server.stop()
    scene.claim(not scene.publish().published, "a POST without a broker says so")
    scene.converges(BOUND)
    _broker(scene).server.start()
    _pushed_again(scene)


def _down(scene: Scene) -> None:
    """At the start of all, and for a while; everything arrives by poll."""
    scene.begin()
    took = []
    until = time.monotonic() + OUTAGE
    while time.monotonic() < until:
        answer = scene.publish()
        took.append(answer.took)
        scene.claim(not answer.published, "a POST without a broker says so")
        time.sleep(0.2)
    scene.at_most(percentile(took, 0.99), 0.1, "p99 of POST")
    scene.converges(BOUND)
    _broker(scene).server.start()
    _pushed_again(scene)


def _hung(scene: Scene) -> None:
    _begin(scene)
    _broker(scene).server.hang()
    took = []
    try:
        for _ in range(50):
            took.append(scene.publish().took)
            time.sleep(0.1)
        scene.converges(BOUND)
    finally:
        _broker(scene).server.resume()
    scene.at_most(percentile(took, 0.99), 0.1, "p99 of POST")
    _pushed_again(scene)


def _subscribers_cut(scene: Scene) -> None:
    _begin(scene)
    for _ in range(5):
        scene.publish(FAR)
        _broker(scene).kill_subscribers(scene.proxies[-1])
        scene.publish(FAR)
        scene.converges(RETURN)
    scene.publish()
    scene.converges(BOUND)


def _harmed(scene: Scene, faults: Faults) -> None:
    _begin(scene)
    proxy = scene.proxies[-1]
    proxy.faults = faults
    for _ in range(40):
        scene.publish()
        time.sleep(scene.random.uniform(0, 0.1))
    scene.converges(BOUND)
    scene.claim(proxy.harmed, "messages were harmed")
    proxy.heal()
    _pushed_again(scene)


def _unreliable(scene: Scene) -> None:
    _harmed(scene, Faults(drop=0.3, double=0.3, delay=0.5, cut=True))


def _flipped(scene: Scene) -> None:
    _harmed(scene, Faults(flip=0.5))


def _cut_off(scene: Scene) -> None:
    _begin(scene)
    proxy = scene.proxies[-1]
    proxy.blackhole()
    for _ in range(3):
        scene.publish()
    scene.converges(BOUND)
    proxy.heal()
    _pushed_again(scene)


_Fault = tuple[str, str, str, str, Callable[[Scene], None]]

_FAULTS: tuple[_Fault, ...] = (
    ("F-23", "forged messages", "500 published from a socket", "applied 0; agent below half a processor", _forged),
    ("F-24", "messages replayed", "overheard and sent again, 200 times", "applied 0", _replayed),
    ("F-25", "signed with a stranger's key", "198, half with the name of ours", "applied 0", _strangers_key),
    ("F-26", "versions from the future", "2^63, 17 and 400 digits, later epochs", "agents jammed 0", _future_version),
    ("F-27", "rubbish", "200 messages of 1 MiB", "memory +64 MiB; converges", _rubbish),
    ("F-28", "broker killed, restarted empty", "SIGKILL", f"converges meanwhile; {_AGAIN}", _restarted_empty),
    ("F-29", "broker down from the start", "started 8 s after all others", f"POST p99 100 ms; {_AGAIN}", _down),
    ("F-30", "broker hung", "SIGSTOP, port open", f"POST p99 100 ms; {_AGAIN}", _hung),
    ("F-31", "subscribers cut off", "CLIENT KILL, or reset by the proxy", "missed 0", _subscribers_cut),
    (
        "F-32",
        "messages lost, doubled, reordered",
        "proxy: 30 %, 30 %, 50 %",
        "never back; ends on the newest",
        _unreliable,
    ),
    ("F-32 flip", "bits turned over in messages", "proxy: one in half of them", "applied 0", _flipped),
    (
        "F-32 cut",
        "partition from the broker",
        "proxy lets nothing through",
        "converges by poll; pushed again",
        _cut_off,
    ),
)

ROWS = Rows(
    Row(
        f"{number} {strategy}", f"{title} ({strategy.title()})", how, bar, run, strategy=strategy, most=150,
        quick=(number, strategy) in (("F-23", "REDIS"), ("F-26", "NATS")),
    )
    for number, title, how, bar, run in _FAULTS
    for strategy in ("REDIS", "NATS")
)  # fmt: skip
