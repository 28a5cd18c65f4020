"""Requests without permission to every operation of a controller and of a worker."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path

from attrs import field, frozen
from twisted.trial.unittest import SynchronousTestCase

from confd.codec.headers import basic_authorization
from tests.integration.fleet import ADMIN, AGENT, Fleet, Process, Response, base_of, free_port, request
from tests.integration.launcher import fork
from tests.operations import Operation, operations

#: Credentials of no identity.
STRANGERS = (None, (ADMIN[0], "wrong"), ("", ""), (AGENT[0], ADMIN[1]))

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "get")


@frozen
class ServedApi:
    """
    A process and its API document.

    @ivar identities: The credentials of each security scheme of the document.
    """

    process: Process
    identities: dict[str, tuple[str, str]]
    document: object = field()

    @document.default
    def _read(self) -> object:
        return request("GET", f"{base_of(self.process)}/openapi.json").json()

    def ask(self, method: str, path: str, auth: tuple[str, str] | None = None) -> Response:
        """Send a request with an exact path; read only the beginning of an endless answer."""
        port = int(base_of(self.process).rpartition(":")[2])
        headers = {} if auth is None else {"Authorization": basic_authorization(*auth).decode()}
        with closing(HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
            connection.request(method, path, headers=headers)
            response = connection.getresponse()
            lasting = response.getheader("Content-Type") == "text/event-stream"
            named = {name.lower(): text for name, text in response.getheaders()}
            return Response(response.status, named, b"" if lasting else response.read())


def concrete(path: str) -> str:
    """Return a path with values in place of its variables."""
    return re.sub(r"\{\w+\}", "1", path)


def spellings(path: str) -> set[str]:
    """Return other spellings of a path that a server may take for the same path."""
    return {
        f"/{path}", f"{path}/", f"{path}//", f"/.{path}", f"/x/..{path}", f"/%2e{path}", f"/%2e%2e{path}",
        f"{path}/%2e", f"{path}/..", f"{path};x", f"{path}%3bx", f"{path}%00", f"{path}%2f", f"{path}%20",
        path.upper(), path.replace("/", "%2f"), path.replace("/", "\\"), f"{path}.json", f"http://127.0.0.1{path}",
    } - {path}  # fmt: skip


class WalkTests(SynchronousTestCase):
    """A controller, and a worker that knows its agent by a password."""

    def setUp(self) -> None:
        scratch = tempfile.TemporaryDirectory(prefix="confd-walk-")
        self.addCleanup(scratch.cleanup)
        fleet = Fleet(Path(scratch.name), launch=fork)
        self.addCleanup(fleet.close)
        port = free_port()
        health = f"http://127.0.0.1:{port}/health"
        known = {"WORKER_USERNAME": AGENT[0], "WORKER_PASSWORD": AGENT[1]}
        # The test sends many wrong passwords.
        patient = ("--login-failures", "0")
        worker = ["confd-worker", "--port", str(port), *patient]
        processes = [fleet.controller(*patient), fleet.add("worker", worker, health, **known)]
        for process in processes:
            process.start()
        self.controller = ServedApi(processes[0], {"admin": ADMIN, "agent": AGENT})
        self.worker = ServedApi(processes[1], {"agent": AGENT})

    def doors(self) -> Iterator[tuple[ServedApi, Operation, str]]:
        """Yield every operation of both services, with a concrete path."""
        for served in (self.controller, self.worker):
            for operation in operations(served.document):
                yield served, operation, concrete(operation.path)

    def test_strangers(self) -> None:
        """Without credentials, or with wrong ones, only the public paths answer."""
        for served, door, path in self.doors():
            for auth in STRANGERS:
                answer = served.ask(door.method, path, auth)
                where = (door.method, path, auth, answer)
                if door.who:
                    self.assertEqual(answer.status, 401, where)
                    self.assertEqual(answer.headers["www-authenticate"], 'Basic realm="confd", charset="UTF-8"', where)
                else:
                    # The sign-in wants a body; the sign-out has no answer to show.
                    self.assertIn(answer.status, {200, 503} if door.method == "GET" else {204, 415}, where)

    def test_roles(self) -> None:
        """Each identity may call its own operations and no others."""
        for served, door, path in self.doors():
            for name, auth in served.identities.items():
                answer = served.ask(door.method, path, auth)
                where = (door.method, path, name, answer)
                if door.who and name not in door.who:
                    self.assertEqual((answer.status, answer.json()["code"]), (403, "forbidden"), where)
                else:
                    self.assertNotIn(answer.status, {401, 403, 405}, where)

    def test_spellings(self) -> None:
        """No other spelling of a path avoids the check, redirects, or leads to an operation."""
        for served, door, path in self.doors():
            for spelling in spellings(path):
                for auth in (None, *served.identities.values()):
                    answer = served.ask(door.method, spelling, auth)
                    # A path that ends with a variable may take the rest as its value.
                    value = door.path.endswith("}") and spelling.startswith(path)
                    kept_out = {400, 401, 403, 404} if value else {400, 404}
                    self.assertIn(answer.status, kept_out, (door.method, spelling, auth, answer))

    def test_methods(self) -> None:
        """An undocumented method gets 405 with the allowed methods."""
        for served in (self.controller, self.worker):
            allowed: dict[str, set[str]] = {}
            for door in operations(served.document):
                methods = {"GET", "HEAD"} if door.method == "GET" else {door.method}
                allowed.setdefault(door.path, set()).update(methods)
            for path, methods in allowed.items():
                for method in set(METHODS) - methods:
                    answer = served.ask(method, concrete(path), ADMIN)
                    if method.isupper():
                        self.assertEqual(answer.status, 405, (method, path, answer))
                        self.assertEqual(set(answer.headers["allow"].split(", ")), methods, (method, path))
                    else:
                        self.assertEqual(answer.status, 400, (method, path, answer))

    def test_head(self) -> None:
        """HEAD answers like GET, with the same headers and no body."""
        # A backup holds the audit entry of the backup before.
        changing = {"date", "x-request-id", "content-length", "transfer-encoding", "x-confd-backup-checksum"}
        for served, door, path in self.doors():
            if door.method != "GET":
                continue
            for auth in (None, *served.identities.values()):
                got, asked = (served.ask(method, path, auth) for method in ("GET", "HEAD"))
                where = (path, auth, got, asked)
                self.assertEqual(asked.body, b"", where)
                self.assertEqual(asked.status, got.status, where)
                kept = [{name: each.headers[name] for name in each.headers.keys() - changing} for each in (got, asked)]
                self.assertEqual(kept[0], kept[1], where)
