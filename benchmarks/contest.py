"""Compare confd on one core with its alternatives: start the servers in turn, and send each the same requests."""

from __future__ import annotations

import base64
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.findings import Scale, say
from benchmarks.host import on_core
from benchmarks.load import Rate, Target, as_fast_as_it_goes
from benchmarks.peers import ETCD_KEY, EtcdServer, Nginx
from tests.integration.fleet import AGENT, Fleet, request
from tests.integration.servers import missing

#: A document of a usual length.
DOCUMENT = {"url": "https://ip.me", "pad": "x" * 400}

_JSON = {"Content-Type": "application/json"}

#: The program of each peer, by name; confd itself needs none.
_PROGRAMS = {"etcd": "etcd", "nginx": "nginx"}

Maker = Callable[[], AbstractContextManager[Target]]


@contextmanager
def scratch() -> Iterator[Path]:
    """Yield a folder, and remove it afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="confd-bench-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@contextmanager
def controller(*options: str) -> Iterator[Fleet]:
    """Run a controller on the first core."""
    with scratch() as folder:
        fleet = Fleet(folder, 300)
        try:
            with on_core(0):
                fleet.controller("--log-level", "warn", *options).start()
            yield fleet
        finally:
            fleet.close()


@contextmanager
def etcd() -> Iterator[EtcdServer]:
    """Run etcd on the first core, with L{DOCUMENT} as its one value."""
    with scratch() as folder:
        server = EtcdServer(folder)
        try:
            with on_core(0):
                server.start()
            server.call("put", key=ETCD_KEY, value=encoded(DOCUMENT))
            yield server
        finally:
            server.stop()


@contextmanager
def nginx(behind: int = 9) -> Iterator[Nginx]:
    """Run nginx on the first core."""
    with scratch() as folder:
        # The worker of nginx may run as another user, and needs access to the folder.
        folder.chmod(0o755)
        server = Nginx(folder, behind=behind)
        try:
            with on_core(0):
                server.start()
            yield server
        finally:
            # SIGTERM ends the worker too; SIGKILL would leave it.
            server.stop(15)


def encoded(value: Any) -> str:
    """Return the JSON of a value in Base64, as the gateway of etcd takes it."""
    return base64.b64encode(json.dumps(value).encode()).decode()


def authorization(who: tuple[str, str] = AGENT) -> dict[str, str]:
    """Return the Authorization header."""
    return {"Authorization": "Basic " + base64.b64encode(":".join(who).encode()).decode()}


def posting(url: str, pid: int, body: Any, headers: Mapping[str, str] | None = None) -> Target:
    """Return a POST of JSON as a target."""
    return Target(url, pid, "POST", _JSON | dict(headers or {}), json.dumps(body))


def etcd_call(server: EtcdServer, what: str, **body: Any) -> Target:
    """Return a call of the gateway as a target."""
    return posting(f"http://127.0.0.1:{server.port}/v3/kv/{what}", server.pid, {"key": ETCD_KEY} | body)


def tag_of(fleet: Fleet) -> str:
    """Return the current ETag."""
    return request("GET", f"{fleet.url}/api/v1/config", auth=AGENT).headers["etag"]


def lacking(names: Sequence[str]) -> list[str]:
    """Return the peers that are not installed."""
    return [name for name in names if name in _PROGRAMS and missing(_PROGRAMS[name]) is not None]


def contest(makers: Mapping[str, Maker], connections: int, scale: Scale, kept: bool = True) -> dict[str, Rate]:
    """
    Measure each installed server, and return its median rate. The turns spread other load of the machine over all.

    @param makers: start the servers by name; only one is busy at a time.
    @param kept: pin the load to the last core.
    """
    with ExitStack() as stack:
        absent = lacking(list(makers))
        targets = {name: stack.enter_context(make()) for name, make in makers.items() if name not in absent}
        found: dict[str, list[Rate]] = {name: [] for name in targets}
        for number in range(scale.times):
            for name, target in targets.items():
                with on_core(-1) if kept else nullcontext():
                    rate = as_fast_as_it_goes(target, connections, scale.seconds)
                found[name].append(rate)
                say(f"  {name}, {number + 1} of {scale.times}: {rate.second:.0f}/s, {rate.cpu:.0f} us each")
    return {name: middle(rates) for name, rates in found.items()}


def middle(rates: Sequence[Rate]) -> Rate:
    """Return the median of each figure, and the sum of the errors."""
    return Rate(
        median(each.second for each in rates),
        median(each.cpu for each in rates),
        median(each.p99 for each in rates),
        sum(each.wrong for each in rates),
    )


def columns(found: Mapping[str, Rate], **more: Any) -> list[dict[str, Any]]:
    """Return the rows of a table."""
    return [
        {"who": name}
        | more
        | {
            "per second": rate.second,
            "per CPU second": 1e6 / rate.cpu if rate.cpu else None,
            "p99 ms": rate.p99,
            "errors": rate.wrong,
        }
        for name, rate in found.items()
    ]


def ratio(found: Mapping[str, Rate], peer: str, who: str = "confd", per_cpu: bool = False) -> float:
    """Return the rate of C{who} divided by that of C{peer}; NaN without the peer."""
    if peer not in found:
        return float("nan")
    ours, theirs = found[who], found[peer]
    return theirs.cpu / ours.cpu if per_cpu else ours.second / theirs.second
