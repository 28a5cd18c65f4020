"""Servers that are asked the same in turn: confd on one core, and beside it what people would pick instead."""

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

from benchmarks.dialects import ETCD_KEY
from benchmarks.findings import Scale, say
from benchmarks.host import on_core
from benchmarks.load import Rate, Target, as_fast_as_it_goes
from benchmarks.peers import EtcdServer, Nginx
from tests.integration.fleet import AGENT, Fleet, request
from tests.integration.servers import missing

#: About as long as a document is.
DOCUMENT = {"url": "https://ip.me", "pad": "x" * 400}

_JSON = {"Content-Type": "application/json"}

#: The programs of those who are compared, by name; confd itself needs none.
_PROGRAMS = {"etcd": "etcd", "nginx": "nginx"}

Maker = Callable[[], AbstractContextManager[Target]]


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder that is gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="confd-bench-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@contextmanager
def controller(*options: str) -> Iterator[Fleet]:
    """A controller on the first core."""
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
    """An etcd on the first core that holds L{DOCUMENT}."""
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
    """An nginx on the first core."""
    with scratch() as folder:
        # Its worker may be another user, who has to get there.
        folder.chmod(0o755)
        server = Nginx(folder, behind=behind)
        try:
            with on_core(0):
                server.start()
            yield server
        finally:
            # Its worker ends with it, unless it is killed.
            server.stop(15)


def encoded(value: Any) -> str:
    """As etcd's gateway takes and gives it."""
    return base64.b64encode(json.dumps(value).encode()).decode()


def authorization(who: tuple[str, str] = AGENT) -> dict[str, str]:
    """The header."""
    return {"Authorization": "Basic " + base64.b64encode(":".join(who).encode()).decode()}


def posting(url: str, pid: int, body: Any, headers: Mapping[str, str] | None = None) -> Target:
    """A POST of JSON."""
    return Target(url, pid, "POST", _JSON | dict(headers or {}), json.dumps(body))


def etcd_call(server: EtcdServer, what: str, **body: Any) -> Target:
    """One call of the gateway."""
    return posting(f"http://127.0.0.1:{server.port}/v3/kv/{what}", server.pid, {"key": ETCD_KEY} | body)


def tag_of(fleet: Fleet) -> str:
    """The ETag in force."""
    return request("GET", f"{fleet.url}/api/v1/config", auth=AGENT).headers["etag"]


def lacking(names: Sequence[str]) -> list[str]:
    """Those among the peers that are not installed."""
    return [name for name in names if name in _PROGRAMS and missing(_PROGRAMS[name]) is not None]


def contest(makers: Mapping[str, Maker], connections: int, scale: Scale, kept: bool = True) -> dict[str, Rate]:
    """
    All that are installed, in turn, so that what else the machine does is the same for each; medians.

    @param makers: start each of them; none works while another is measured.
    @param kept: whether the load is kept on the last core.
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
    """The median of each figure; errors are summed up."""
    return Rate(
        median(each.second for each in rates),
        median(each.cpu for each in rates),
        median(each.p99 for each in rates),
        sum(each.wrong for each in rates),
    )


def columns(found: Mapping[str, Rate], **more: Any) -> list[dict[str, Any]]:
    """As the rows of a table."""
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
    """How many times as many, in a second or in one of processor time; not a number where the peer is missing."""
    if peer not in found:
        return float("nan")
    ours, theirs = found[who], found[peer]
    return theirs.cpu / ours.cpu if per_cpu else ours.second / theirs.second
