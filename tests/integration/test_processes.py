"""A controller of several processes: one writer, and fronts that nobody outside can tell from it."""

from __future__ import annotations

import base64
import contextlib
import http.client
import os
import signal
import socket
import ssl
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.certificates import make_certificate
from tests.integration.fleet import ADMIN, AGENT, PATIENCE, Process, children, eventually, request, staged
from tests.integration.test_end_to_end import stop_under_load

#: How often is published while others poll.
PUBLISHES = 60


def basic(auth: tuple[str, str]) -> dict[str, str]:
    """The header that proves who one is."""
    return {"Authorization": "Basic " + base64.b64encode(":".join(auth).encode()).decode()}


def holds(pid: int, made: socket.socket) -> bool:
    """Whether a process has accepted this connection of ours."""
    ends = [f":{port:04X}" for _, port in (made.getpeername(), made.getsockname())]
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()]
    [inode] = [row[9] for row in rows if (row[1][8:], row[2][8:]) == tuple(ends)]
    links = set()
    for each in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            links.add(os.readlink(each))
    return f"socket:[{inode}]" in links


class Case(SynchronousTestCase):
    """A controller of two processes."""

    def setUp(self) -> None:
        self.fleet, _ = staged(self)
        self.writer = self.start()

    def start(self) -> Process:
        """Start it; returns when both processes serve."""
        writer = self.fleet.controller("--processes", "2").start()
        eventually(self.both)
        return writer

    def both(self) -> bool:
        """Whether there is a front, and it is known to serve."""
        return b"\nconfd_fronts 1.0" in request("GET", f"{self.fleet.url}/metrics").body

    def front(self) -> int:
        """The process id of the front."""
        [pid] = eventually(lambda: children(self.writer.pid))
        return int(pid)

    @contextlib.contextmanager
    def stopped(self, pid: int) -> Iterator[None]:
        """While a process is."""
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGCONT)

    def connect(self, which: int, other: int) -> socket.socket:
        """A connection that one process has accepted: the other one is stopped meanwhile."""
        with self.stopped(other):
            made = socket.create_connection(("127.0.0.1", self.fleet.port), PATIENCE)
            self.addCleanup(made.close)
            eventually(lambda: holds(which, made))
        return made

    def over(self, which: str) -> http.client.HTTPConnection:
        """A connection to the C{front} or the C{writer}."""
        pids = self.front(), self.writer.pid
        connection = http.client.HTTPConnection("127.0.0.1", self.fleet.port)
        connection.sock = self.connect(*(pids if which == "front" else reversed(pids)))
        return connection

    def ask(
        self, over: http.client.HTTPConnection, method: str = "GET", path: str = "/api/v1/config", **headers: str
    ) -> tuple[int, bytes]:
        """Status and body of an answer."""
        over.request(method, path, headers=headers)
        answer = over.getresponse()
        return answer.status, answer.read()


class ProcessesTests(Case):
    """What holds for one process holds for two."""

    def test_no_old_answer(self) -> None:
        """Whoever polls after a publish was answered gets it, or what came later, over either process."""
        published, wrong, polls = [1], list[object](), list[int]()
        over = threading.Event()

        def poll(connection: http.client.HTTPConnection) -> None:
            count = 0
            while not over.is_set():
                least = published[0]
                status, body = self.ask(connection, **basic(AGENT))
                count += 1
                if status != 200 or int(body.split(b'"version":')[1].split(b",")[0]) < least:
                    wrong.append((least, status, body))
            polls.append(count)

        pollers = [threading.Thread(target=poll, args=[self.over(each)]) for each in ("front", "writer") * 2]
        publishers = [self.over("front"), self.over("writer")]
        for each in pollers:
            each.start()
        try:
            for number in range(PUBLISHES):
                publisher = publishers[number % 2]
                body = b'{"url": "http://127.0.0.1/%d"}' % number
                headers = basic(ADMIN) | {"Content-Type": "application/json"}
                publisher.request("POST", "/api/v1/config", body, headers)
                answer = publisher.getresponse()
                self.assertEqual((answer.status, bool(answer.read())), (200, True))
                published[0] = number + 2
        finally:
            over.set()
            for each in pollers:
                each.join()
        self.assertEqual(wrong, [])
        self.assertGreater(min(polls), PUBLISHES // 10)

    def test_agent_is_deleted(self) -> None:
        """Its token is refused by either process when the deletion is answered by the other."""
        fronts, writer = self.over("front"), self.over("writer")
        for deleting in (fronts, writer):
            joined = request("POST", f"{self.fleet.url}/api/v1/register", {}, AGENT).json()
            own = basic((joined["agent_id"], joined["token"]))
            for _ in range(3):
                self.assertEqual([self.ask(each, **own)[0] for each in (fronts, writer)], [200, 200])
            gone = self.ask(deleting, "DELETE", f"/api/v1/agents/{joined['agent_id']}", **basic(ADMIN))
            self.assertEqual(gone[0], 200)
            self.assertEqual([self.ask(each, **own)[0] for each in (fronts, writer)], [401, 401])

    def test_stream(self) -> None:
        """A stream over a front has each change, and ends in order when its agent is deleted."""
        joined = request("POST", f"{self.fleet.url}/api/v1/register", {}, AGENT).json()["agent_id"]
        reader = self.over("front")
        reader.request("GET", "/api/v1/stream", headers=basic(AGENT) | {"X-Agent-ID": joined})
        answer = reader.getresponse()
        for version in (1, 2, 3):
            while not (line := answer.readline()).startswith(b"id: "):
                self.assertTrue(line)
            self.assertTrue(line.strip().endswith(b".%d" % version))
            self.fleet.publish({"url": f"http://127.0.0.1/{version}"})
        self.assertIn(b"\nconfd_stream_readers 1.0", request("GET", f"{self.fleet.url}/metrics").body)
        request("DELETE", f"{self.fleet.url}/api/v1/agents/{joined}", auth=ADMIN)
        answer.read()
        self.assertIn(b"\nconfd_stream_readers 0.0", eventually(self._without_readers))

    def _without_readers(self) -> bytes:
        found = request("GET", f"{self.fleet.url}/metrics").body
        return found if b"\nconfd_stream_readers 0.0" in found else b""

    def test_no_secrets(self) -> None:
        """A front has none of the controller's settings where others may look."""
        pid = self.front()
        self.writer.stop()
        self.writer.environ = {"ADMIN_PASSWORD": "a-secret-of-admins", "AGENT_PASSWORD": "a-secret-of-agents"}
        self.writer.start()
        pid = self.front()
        for name in ("environ", "cmdline"):
            self.assertNotIn(b"a-secret", Path(f"/proc/{pid}/{name}").read_bytes())


class FaultTests(Case):
    """Processes that end, and processes that hang."""

    def test_killed_front(self) -> None:
        """Another one takes its place, and who comes meanwhile is served."""
        before = self.front()
        os.kill(before, signal.SIGKILL)
        for _ in range(20):
            self.assertEqual(request("GET", f"{self.fleet.url}/api/v1/config", auth=AGENT).status, 200)
        eventually(lambda: children(self.writer.pid) not in ([], [before]) and self.both())
        self.assertEqual(self.ask(self.over("front"), **basic(AGENT))[0], 200)
        self.assertIn("front 1 has ended", self.writer.log)

    def test_hung_front(self) -> None:
        """One that cannot say that it forgot what is old is killed before a publish is answered."""
        over = self.over("front")
        for _ in range(2):
            self.assertEqual(self.ask(over, **basic(AGENT))[0], 200)
        before = self.front()
        os.kill(before, signal.SIGSTOP)
        writer = http.client.HTTPConnection("127.0.0.1", self.fleet.port)
        writer.sock = socket.create_connection(("127.0.0.1", self.fleet.port), PATIENCE)
        writer.request(
            "POST",
            "/api/v1/config",
            b'{"url": "http://127.0.0.1/"}',
            basic(ADMIN) | {"Content-Type": "application/json"},
        )
        answer = writer.getresponse()
        self.assertEqual((answer.status, bool(answer.read())), (200, True))
        self.assertNotIn(before, children(self.writer.pid))
        with self.assertRaises((http.client.HTTPException, OSError)):
            self.ask(over, **basic(AGENT))
        eventually(self.both)
        self.assertIn(b'"version":2', self.ask(self.over("front"), **basic(AGENT))[1])

    def test_killed_writer(self) -> None:
        """Its fronts end with it, and the port is free."""
        pid = self.front()
        reader = self.over("front")
        reader.request("GET", "/api/v1/stream", headers=basic(AGENT))
        reader.getresponse()
        self.writer.stop(signal.SIGKILL)
        eventually(lambda: not Path(f"/proc/{pid}").exists())
        self.fleet.processes.clear()
        self.writer = self.start()
        self.assertNotEqual(self.front(), pid)

    def test_stop_under_load(self) -> None:
        """What was accepted is answered, whichever process accepted it."""
        stop_under_load(self, self.fleet, self.writer)

    def test_end(self) -> None:
        """A signal that all of them get ends all in order: what is under way is answered, and streams end whole."""
        pid = self.front()
        reader, idle = self.over("front"), self.connect(pid, self.writer.pid)
        reader.request("GET", "/api/v1/stream", headers=basic(AGENT))
        answer = reader.getresponse()
        os.kill(pid, signal.SIGTERM)
        self.assertEqual(self.writer.stop(), 0)
        answer.read()
        self.assertEqual(idle.recv(1), b"")
        eventually(lambda: not Path(f"/proc/{pid}").exists())
        self.assertNotIn("Traceback", self.writer.log)


class EndpointTests(Case):
    """What else can be listened on."""

    def start(self) -> Process:
        """Nothing yet."""
        return Process(self.fleet.folder, "none", [], None)

    def serve(self, endpoint: str, *options: str, before: tuple[str, ...] = ()) -> None:
        """A controller of two processes on an endpoint."""
        arguments = ["confd-controller", "--processes", "2", "--listen", endpoint, *options]
        self.writer = self.fleet.add("controller", arguments)
        self.writer.before = list(before)
        self.writer.start(wait=False)
        eventually(lambda: "confd-controller is up" in self.writer.log and "front 1 is up" in self.writer.log)

    def test_tls(self) -> None:
        """A front ends TLS, asks for certificates, and follows when its own is renewed."""
        folder = self.fleet.folder
        server, client = (make_certificate(folder / name) for name in ("server", "client"))
        where = f"interface=127.0.0.1:privateKey={server.key}:certKey={server.certificate}"
        self.serve(f"ssl:{self.fleet.port}:{where}", "--client-ca-file", str(client.authority))
        answer = self.over_tls(server.authority, client)
        self.assertEqual([answer("/health"), answer("/health")], [200, 200])
        with self.assertRaises((ssl.SSLError, OSError, http.client.HTTPException)):
            self.over_tls(server.authority, None)("/health")
        fresh = make_certificate(folder / "fresh")
        server.key.write_bytes(fresh.key.read_bytes())
        server.certificate.write_bytes(fresh.certificate.read_bytes())
        eventually(lambda: self.writer.log.count("renewed from") == 2)
        self.assertEqual(self.over_tls(fresh.authority, client)("/health"), 200)

    def over_tls(self, trusted: Path, shown: Any) -> Any:
        """What asks a front for a path over TLS."""
        context = ssl.create_default_context(cafile=str(trusted))
        if shown is not None:
            context.load_cert_chain(shown.certificate, shown.key)
        plain = self.connect(self.front(), self.writer.pid)
        connection = http.client.HTTPConnection("127.0.0.1", self.fleet.port)
        connection.sock = context.wrap_socket(plain, server_hostname="127.0.0.1")
        self.addCleanup(connection.sock.close)
        return lambda path: self.ask(connection, path=path)[0]

    def test_unix(self) -> None:
        """A socket of the file system."""
        path = self.fleet.folder / "s"
        self.serve("unix:s")
        for _ in range(8):
            with socket.socket(socket.AF_UNIX) as caller:
                caller.connect(os.path.relpath(path))
                caller.sendall(b"GET /health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
                answer = b"".join(iter(lambda: caller.recv(65536), b""))
            self.assertIn(b'{"status":"ok"}', answer)
        self.assertEqual(self.writer.stop(), 0)
        self.assertFalse(path.exists())
        self.assertNotIn("Traceback", self.writer.log)

    def test_handed_in(self) -> None:
        """A socket that was opened by somebody else, as systemd does."""
        opener = (
            "import os, socket, sys; s = socket.create_server(('127.0.0.1', int(sys.argv[1])));"
            "os.dup2(s.fileno(), 3); os.set_inheritable(3, True);"
            "os.environ.update(LISTEN_FDS='1', LISTEN_FDNAMES='x', LISTEN_PID=str(os.getpid()));"
            "os.execvp(sys.argv[2], sys.argv[2:])"
        )
        before = sys.executable, "-c", opener, str(self.fleet.port)
        self.serve("systemd:domain=INET:index=0", "--allow-default-credentials", "true", before=before)
        self.assertEqual([self.ask(self.over(each), **basic(AGENT))[0] for each in ("front", "writer")], [200, 200])
