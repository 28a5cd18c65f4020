"""A harness that runs commands of C{confdctl} against a controller that answers from a table."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from attrs import define, field, frozen
from click.testing import CliRunner

from confd.cli.main import run
from confd.cli.output import Output
from confd.cli.session import Clock, Session
from confd.cli.transport import Reply
from confd.client.forward_proxy import ForwardProxy

TAG = "1a2b3c4d.1.2"
NOW = datetime(2026, 11, 24, 12, 0, 0, tzinfo=UTC)


@frozen
class Request:
    """A request that the controller received."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: Any


@frozen
class CommandResult:
    """The exit status and the output of a command."""

    status: int
    out: str
    err: str


def answer(value: Any, status: int = 200, **headers: str) -> Reply:
    """Return an answer with a JSON body."""
    return Reply(status, {name.replace("_", "-"): text for name, text in headers.items()}, json.dumps(value).encode())


def refusal(status: int, code: str, sentence: str = "No.", **more: Any) -> Reply:
    """Return an error answer of the controller."""
    return answer({"error": sentence, "code": code, "request_id": "r-1", **more}, status)


@define(eq=False)
class FakeController:
    """
    Answers by method and path.

    @ivar table: for each C{"GET /path"} an answer, an exception, a list of them to use up, or what makes one.
    @ivar expiry: when the certificate expires, C{None} without TLS.
    @ivar pieces: what the stream of events consists of; each list is one connection.
    """

    table: dict[str, Any] = field(factory=dict)
    pieces: list[list[Any]] = field(factory=list)
    asked: list[Request] = field(factory=list)
    expiry: datetime | None = None

    def exchange(self, method: str, path: str, headers: Mapping[str, str], body: bytes | None, timeout: float) -> Reply:
        parts = urlsplit(path)
        value = None if body is None else json.loads(body)
        request = Request(method, parts.path, dict(parse_qsl(parts.query)), headers, value)
        self.asked.append(request)
        found = self.table.get(f"{method} {parts.path}", refusal(404, "not_found", "There is nothing at this path."))
        if isinstance(found, list):
            found = found.pop(0)
        if callable(found):
            found = found(request)
        if isinstance(found, Exception):
            raise found
        return found

    def stream(self, path: str, headers: Mapping[str, str], idle: float) -> Iterator[Reply | bytes]:
        for piece in self.pieces.pop(0):
            if isinstance(piece, Exception):
                raise piece
            yield piece

    def certificate_expiry(self, timeout: float) -> datetime | None:
        return self.expiry

    def requests(self, method: str, path: str) -> list[Request]:
        """Return the requests with a method and path."""
        return [each for each in self.asked if (each.method, each.path) == (method, path)]


@define(eq=False)
class CliHarness:
    """
    Where commands are typed.

    @ivar slept: how long commands waited, in seconds; time passes by that alone.
    """

    controller: FakeController = field(factory=FakeController)
    environ: dict[str, str] = field(factory=lambda: {"HOME": "/nonexistent"})
    slept: list[float] = field(factory=list)
    connected: list[tuple[str, str | None]] = field(factory=list)
    execute: Callable[..., object] = os.execve
    browse: Callable[[str], bool] = lambda url: False

    def type(self, *words: str, answers: str | None = None, stdin: bytes = b"") -> CommandResult:
        """
        Run a command.

        @param answers: what somebody at a terminal answers to questions; C{None} if nobody is there.
        """
        given = stdin if answers is None else answers.encode()
        with CliRunner().isolation(input=given) as (out, err, _):
            status = run(self._session(answers is not None), words)
            sys.stdout.flush()
            sys.stderr.flush()
            return CommandResult(status, out.getvalue().decode(), err.getvalue().decode())

    @contextmanager
    def session(self) -> Iterator[Session]:
        """Enter a session at a terminal, and check that it prints nothing."""
        with CliRunner().isolation() as (out, err, _):
            yield self._session(True)
            assert not out.getvalue() + err.getvalue()

    def _session(self, interactive: bool) -> Session:
        clock = Clock(lambda: NOW, lambda: sum(self.slept), self.slept.append)
        screen = Output(sys.stdout, sys.stderr, clock.now)
        return Session(screen, self.environ, interactive, self._connect, clock, self.execute, self.browse)

    def _connect(self, url: str, ca_file: str | None, proxy: ForwardProxy | None) -> FakeController:
        self.connected.append((url, ca_file))
        return self.controller


def current_config(document: Any, **more: Any) -> Reply:
    """Return the answer to C{GET /api/v1/config}."""
    body = {"version": 2, "epoch": 1, "cluster_id": "1a2b3c4d-0000", "poll_interval_seconds": 30, "data": document}
    return answer(body | more, etag=f'"{TAG}"')


def preview(text: str = "--- a\n+++ b\n-x\n+y\n", version: int = 3, **more: Any) -> dict[str, Any]:
    """Return the body of an answer to a dry run."""
    patch = [{"op": "replace", "path": "/url", "value": "y"}] if text else []
    return {
        "message": "Nothing was changed", "dry_run": True, "version": version, "epoch": 1, "patch": patch,
        "text": text, "agents": {"targeted": 4, "live": 3}, **more,
    }  # fmt: skip


def publisher(*answers: Any) -> Callable[[Request], Any]:
    """Return a function that answers dry runs with a preview, and publishes with C{answers} in turn."""
    left: list[Any] = list(answers)

    def reply(request: Request) -> Any:
        return answer(preview()) if request.query.get("dry_run") else left.pop(0)

    return reply


def published(version: int = 3, **more: Any) -> Reply:
    """Return the answer to a publish."""
    body = {"message": "Configuration updated successfully", "version": version, "epoch": 1, "published": True}
    return answer(body | more, etag=f'"1a2b3c4d.1.{version}"')


def convergence(**counts: int) -> dict[str, Any]:
    """Return the body of C{GET /api/v1/config/convergence}."""
    states = dict.fromkeys(("applied", "failed", "applying", "silent", "pending", "passed"), 0) | counts
    return states | {
        "namespace": "default", "version": 3, "epoch": 1, "tag": "1a2b3c4d.1.3", "targeted": sum(states.values()),
        "p50_ms": 12.3, "p99_ms": 90.0, "max_ms": None, "laggards": [],
    }  # fmt: skip


def rollout(state: str = "running", wave: int = 1, **more: Any) -> dict[str, Any]:
    """Return the body of a rollout of two waves, as C{GET /api/v1/rollouts/12} answers it."""
    members = {"members": 1, "applied": 1, "failed": 0, "silent": 0, "pending": 0, "unverified": 0}
    body = {
        "id": 12, "namespace": "default", "base": 2, "candidate": 3, "state": state, "reason": "", "wave": wave,
        "step": 1, "started_by": "admin", "started_at": "2026-11-24T11:59:00Z", "ended_at": None, "ended_as": None,
        "plan": {"name": "canary"}, "members": wave, "gate": {"checks": {}}, "recovery": None,
        "next": "1 of 1 members settled.", "waves": [{"wave": 1, "count": 1, **members}, {"wave": 2, **members}],
    }  # fmt: skip
    if state in ("completed", "aborted", "superseded"):
        body |= {"ended_at": "2026-11-24T12:00:00Z", "gate": None, "next": f"The rollout is {state}."}
    if state in ("aborted", "superseded"):
        body |= {"ended_as": 4, "recovery": {"version": 4, "members": 1, "applied": 1, "failed": 0, "pending": 0}}
    return body | more


def member(agent_id: str, outcome: str = "applied", error: str | None = None) -> dict[str, Any]:
    """Return a member of a rollout."""
    return {
        "id": agent_id, "hostname": f"{agent_id}.example.net", "wave": 1, "how": "picked", "fit": True,
        "outcome": outcome, "verified": True, "error": error, "since": "2026-11-24T12:00:00.5Z",
    }  # fmt: skip


def lines(text: str) -> Sequence[str]:
    """Return the lines that are not empty."""
    return [each.rstrip() for each in text.splitlines() if each.strip()]
