"""
How many conditional polls does a controller answer on one core?

Beside it: nginx, that answers the same from a file, and etcd, that answers a read of one key through its JSON gateway.
Run it with C{python -m benchmarks.polls}.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

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


@contextmanager
def confd(*options: str) -> Iterator[Target]:
    """A controller that is polled by an agent which has what is in force."""
    with controller(*options) as fleet:
        yield polled(fleet)


def polled(fleet: Fleet) -> Target:
    """The poll of an agent of a controller that has what is in force."""
    joined = request("POST", f"{fleet.url}/api/v1/register", {"hostname": "bench"}, AGENT).json()["agent_id"]
    headers = authorization() | {"If-None-Match": tag_of(fleet), "X-Agent-ID": joined}
    return Target(f"{fleet.url}/api/v1/config", fleet.processes[0].pid, headers=headers)


@contextmanager
def confd_at_length() -> Iterator[Target]:
    """The same, where no answer is given again: C{LOG_LEVEL=debug} would do it, and write lines besides."""
    with confd() as target:
        # Each of these is a request of its own kind, for it is too long to be remembered.
        yield Target(target.url, target.pid, headers=dict(target.headers) | {"X-Padding": "x" * 1024})


@contextmanager
def a_file() -> Iterator[Target]:
    """A file of nginx, that did not change."""
    with nginx() as server:
        url = f"http://127.0.0.1:{server.port}/config.json"
        yield Target(url, server.worker, headers={"If-None-Match": request("GET", url).headers["etag"]})


@contextmanager
def a_key() -> Iterator[Target]:
    """One key of etcd."""
    with etcd() as server:
        yield etcd_call(server, "range")


def measure(scale: Scale) -> Finding:
    """Ask all of them."""
    makers = {"confd": confd, "confd, not remembered": confd_at_length, "nginx": a_file, "etcd": a_key}
    found = contest(makers, CONNECTIONS, scale)
    return Finding(
        "polls",
        "Conditional polls on one core",
        columns(found),
        [
            Bar("confd by nginx's static 304", ratio(found, "nginx"), 0.5),
            Bar("confd by nginx's static 304, per CPU second", ratio(found, "nginx", per_cpu=True), 0.5),
            Bar("confd by etcd's JSON gateway", ratio(found, "etcd"), 5),
            Bar("confd by etcd's JSON gateway, per CPU second", ratio(found, "etcd", per_cpu=True), 5),
        ],
        [
            Chart("Polls per second", [(name, rate.second) for name, rate in found.items()]),
            Chart("Polls per CPU second", [(name, 1e6 / rate.cpu) for name, rate in found.items() if rate.cpu]),
        ],
        lacking(list(makers)),
    )


if __name__ == "__main__":
    sys.exit(main(__doc__, measure))
