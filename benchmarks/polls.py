"""
How many conditional polls does a controller answer on one core?

Beside it: nginx, which answers the same from a file, and etcd, which answers a read of one key through its gateway.
Run it with C{python -m benchmarks.polls}.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from attrs import evolve

from benchmarks.contest import (
    authorization,
    columns,
    contest,
    controller,
    etcd,
    etcd_call,
    lacking,
    nginx,
    ratio,
    tag_of,
)
from benchmarks.findings import Bar, Finding, Scale, main
from benchmarks.load import Target
from benchmarks.plots import Chart
from tests.integration.fleet import AGENT, Fleet, request

CONNECTIONS = 64

#: Names of two rows: requests that the response cache does not hold, and requests of many agents.
LENGTH, TOKENS = "confd, not remembered", "confd, agents with tokens"


@contextmanager
def confd(*options: str) -> Iterator[Target]:
    """Run a controller; its agent polls with the current tag."""
    with controller(*options) as fleet:
        yield polled(fleet)


def polled(fleet: Fleet) -> Target:
    """Return the poll of an agent that has the current version."""
    joined = request("POST", f"{fleet.url}/api/v1/register", {"hostname": "bench"}, AGENT).json()["agent_id"]
    headers = authorization() | {"If-None-Match": tag_of(fleet), "X-Agent-ID": joined}
    return Target(f"{fleet.url}/api/v1/config", fleet.processes[0].pid, headers=headers)


@contextmanager
def confd_at_length() -> Iterator[Target]:
    """Run a controller whose response cache is of no use; C{LOG_LEVEL=debug} would also write lines."""
    with confd() as target:
        # A request of this length does not fit into the response cache.
        yield Target(target.url, target.pid, headers=dict(target.headers) | {"X-Padding": "x" * 1024})


@contextmanager
def confd_with_tokens(agents: int) -> Iterator[Target]:
    """Run a controller; so many agents poll in turn, each with its own token."""
    with controller() as fleet:
        target = polled(fleet)
        yield evolve(target, turns=[_holder(fleet, f"agent-{number}") for number in range(agents)])


def _holder(fleet: Fleet, name: str) -> dict[str, str]:
    body = {"agent_id": name, "hostname": "bench"}
    token = request("POST", f"{fleet.url}/api/v1/register", body, AGENT).json()["token"]
    return authorization((name, token)) | {"X-Agent-ID": name}


@contextmanager
def a_file() -> Iterator[Target]:
    """Run nginx with a file that does not change."""
    with nginx() as server:
        url = f"http://127.0.0.1:{server.port}/config.json"
        yield Target(url, server.worker, headers={"If-None-Match": request("GET", url).headers["etag"]})


@contextmanager
def a_key() -> Iterator[Target]:
    """Run etcd with one key."""
    with etcd() as server:
        yield etcd_call(server, "range")


def measure(scale: Scale) -> Finding:
    """Measure each server."""
    holders = partial(confd_with_tokens, scale.agents[0])
    makers = {"confd": confd, TOKENS: holders, LENGTH: confd_at_length, "nginx": a_file, "etcd": a_key}
    found = contest(makers, CONNECTIONS, scale)
    return Finding(
        "polls",
        "Conditional polls on one core",
        columns(found),
        [
            Bar("confd by nginx's static 304", ratio(found, "nginx"), 0.5),
            Bar("confd by nginx's static 304, per CPU second", ratio(found, "nginx", per_cpu=True), 0.5),
            Bar("confd by etcd's JSON gateway", ratio(found, "etcd"), 8),
            Bar("confd by etcd's JSON gateway, per CPU second", ratio(found, "etcd", per_cpu=True), 8),
            Bar(f"{LENGTH}, by etcd's JSON gateway", ratio(found, "etcd", LENGTH), 2.5),
            Bar(f"{TOKENS}, by one agent", ratio(found, "confd", TOKENS), 0.9),
        ],
        [
            Chart("Polls per second", [(name, rate.second) for name, rate in found.items()]),
            Chart("Polls per CPU second", [(name, 1e6 / rate.cpu) for name, rate in found.items() if rate.cpu]),
        ],
        lacking(list(makers)),
    )


if __name__ == "__main__":
    sys.exit(main(__doc__, measure))
