"""Brokers that are forged into, killed, emptied, hung or full of rubbish: F-23 to F-32, of each kind of broker."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

from attrs import evolve

from confd.codec import announcement
from confd.codec.signing import SigningKey
from tests.faults.harness import FaultHarness, percentile, processor, resident
from tests.faults.rows import Row, Rows
from tests.integration.brokers import Broker
from tests.integration.fleet import PATIENCE
from tests.integration.forgery import forgeries
from tests.integration.proxy import Faults
from tests.integration.recorded_fleet import BOUND, INTERVAL

#: Seconds between polls that no row lives to see.
FAR = 600

#: Seconds in which a push path is up again.
RETURN = 20.0

OUTAGE = 8.0

_AGAIN = "pushed again in 20 s"


def _broker(fleet: FaultHarness) -> Broker:
    assert fleet.broker is not None
    return fleet.broker


def _begin(fleet: FaultHarness) -> None:
    _broker(fleet).server.start()
    fleet.begin()
    fleet.until_path(fleet.strategy)
    _published(fleet)


def _published(fleet: FaultHarness) -> None:
    fleet.until(lambda: fleet.publish().published, "published", PATIENCE)


def _pushed_again(fleet: FaultHarness) -> None:
    """Changes are pushed as before, with nobody polling."""
    with fleet.recovers(RETURN, "pushed again"):
        fleet.until(lambda: fleet.publish(FAR).published, "published", PATIENCE)
        fleet.until_path(fleet.strategy)
    fleet.publish(FAR)
    fleet.converges(BOUND)
    fleet.publish(INTERVAL)
    fleet.converges(BOUND)


def _ignored(fleet: FaultHarness, messages: list[bytes]) -> None:
    """What agents hear changes nothing, and costs little."""
    agent = fleet.agents[fleet.only]
    used, began, polls = processor(agent.pid), time.monotonic(), fleet.total("confd_polls_total", agent)
    _broker(fleet).inject(messages)
    time.sleep(1)
    lasted = time.monotonic() - began
    share = (processor(agent.pid) - used) / lasted
    fleet.claim(share < 0.5 * fleet.slack, f"processor time of the agent: {share:.0%}")
    extra = fleet.total("confd_polls_total", agent) - polls
    fleet.claim(extra <= lasted + lasted / INTERVAL + 2, f"one hint causes one GET a second: {extra} in {lasted:.1f} s")
    fleet.publish()
    fleet.converges(BOUND)


def _forged(fleet: FaultHarness) -> None:
    _begin(fleet)
    unsigned = forgeries(_broker(fleet).latest(), fleet.random)
    _ignored(fleet, (unsigned * 40)[:500])


def _replayed(fleet: FaultHarness) -> None:
    _begin(fleet)
    overheard = []
    for _ in range(4):
        overheard.append(_broker(fleet).latest())
        _published(fleet)
    fleet.converges(BOUND)
    _ignored(fleet, overheard * 50)
    _broker(fleet).inject(overheard)
    fleet.proxies[-1].drop()
    fleet.converges(BOUND)


def _strangers_key(fleet: FaultHarness) -> None:
    _begin(fleet)
    genuine = _broker(fleet).latest()
    configuration = announcement.read(genuine).configuration
    made = []
    for ahead in range(1, 100):
        signed = json.loads(
            announcement.announce(evolve(configuration, version=configuration.version + ahead), SigningKey.generate())
        )
        made += [signed, signed | {"key_id": json.loads(genuine)["key_id"]}]
    _ignored(fleet, [json.dumps(each).encode() for each in made])


def _future_version(fleet: FaultHarness) -> None:
    _begin(fleet)
    genuine = json.loads(_broker(fleet).latest())
    versions = [str(2**63), str(2**53), str(2**64), "9" * 17, "9" * 400, str(int(genuine["version"]) + 1)]
    epochs = [genuine | {"epoch": each} for each in (2, 99, 2**31, 2**53)]
    _ignored(
        fleet,
        [json.dumps(each).encode() for each in [genuine | {"version": each} for each in versions] + epochs] * 20,
    )


def _rubbish(fleet: FaultHarness) -> None:
    _begin(fleet)
    agent = fleet.agents[fleet.only]
    before = resident(agent.pid)
    for _ in range(10):
        _broker(fleet).inject([b"\xff" * (2**20 - 100)] * 20)
        grown = resident(agent.pid) - before
        fleet.claim(grown < 64 * 2**20, f"memory is bounded: {grown / 2**20:.0f} MiB more")
    fleet.publish()
    fleet.converges(BOUND)
    _pushed_again(fleet)


def _restarted_empty(fleet: FaultHarness) -> None:
    _begin(fleet)
    _broker(fleet).server.stop()
    fleet.claim(not fleet.publish().published, "a POST without a broker says so")
    fleet.converges(BOUND)
    _broker(fleet).server.start()
    _pushed_again(fleet)


def _down(fleet: FaultHarness) -> None:
    """At the start of all, and for a while; everything arrives by poll."""
    fleet.begin()
    took = []
    until = time.monotonic() + OUTAGE
    while time.monotonic() < until:
        answer = fleet.publish()
        took.append(answer.took)
        fleet.claim(not answer.published, "a POST without a broker says so")
        time.sleep(0.2)
    fleet.at_most(percentile(took, 0.99), 0.1, "p99 of POST")
    fleet.converges(BOUND)
    _broker(fleet).server.start()
    _pushed_again(fleet)


def _hung(fleet: FaultHarness) -> None:
    _begin(fleet)
    _broker(fleet).server.hang()
    took = []
    try:
        for _ in range(50):
            took.append(fleet.publish().took)
            time.sleep(0.1)
        fleet.converges(BOUND)
    finally:
        _broker(fleet).server.resume()
    fleet.at_most(percentile(took, 0.99), 0.1, "p99 of POST")
    _pushed_again(fleet)


def _subscribers_cut(fleet: FaultHarness) -> None:
    _begin(fleet)
    for _ in range(5):
        fleet.publish(FAR)
        _broker(fleet).kill_subscribers(fleet.proxies[-1])
        fleet.publish(FAR)
        fleet.converges(RETURN)
    fleet.publish()
    fleet.converges(BOUND)


def _harmed(fleet: FaultHarness, faults: Faults) -> None:
    _begin(fleet)
    proxy = fleet.proxies[-1]
    proxy.faults = faults
    for _ in range(40):
        fleet.publish()
        time.sleep(fleet.random.uniform(0, 0.1))
    fleet.converges(BOUND)
    fleet.claim(proxy.harmed, "messages were harmed")
    proxy.heal()
    _pushed_again(fleet)


def _unreliable(fleet: FaultHarness) -> None:
    _harmed(fleet, Faults(drop=0.3, double=0.3, delay=0.5, cut=True))


def _flipped(fleet: FaultHarness) -> None:
    _harmed(fleet, Faults(flip=0.5))


def _cut_off(fleet: FaultHarness) -> None:
    _begin(fleet)
    proxy = fleet.proxies[-1]
    proxy.blackhole()
    for _ in range(3):
        fleet.publish()
    fleet.converges(BOUND)
    proxy.heal()
    _pushed_again(fleet)


_Fault = tuple[str, str, str, str, Callable[[FaultHarness], None]]

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

#: The kinds of brokers, and the strategy of the agents of each.
_KINDS = {"REDIS": "REDIS", "NATS": "NATS", "JETSTREAM": "NATS", "KAFKA": "KAFKA"}

ROWS = Rows(
    Row(
        f"{number} {kind}", f"{title} ({kind.title()})", how, bar, run, strategy=strategy, kind=kind, most=150,
        quick=(number, kind) in (("F-23", "REDIS"), ("F-26", "NATS")),
    )
    for number, title, how, bar, run in _FAULTS
    for kind, strategy in _KINDS.items()
)  # fmt: skip
