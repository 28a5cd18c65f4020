"""Tests of L{confd.runtime.tls_on_demand}."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from confd.runtime.options import read
from confd.runtime.settings import AgentSettings, ControllerSettings, WorkerSettings
from tests.integration.certificates import make_certificate

#: Leave out TLS, install a reactor, and then fetch from a server over TLS.
SCRIPT = """
import sys
from confd.runtime.tls_on_demand import leave_out_tls
leave_out_tls(["twisted.web.client"])
from twisted.internet import reactor
from twisted.web.client import HTTPConnectionPool
from confd.client.http import Http
from confd.client.web_agent import web_agent
assert not {"OpenSSL", "cryptography"} & set(sys.modules)

key, certificate, authority = sys.argv[1:]
from twisted.internet.defer import succeed
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.web.resource import Resource
from twisted.web.server import Site
from confd.runtime.tls import ClientTls, KeyPair
from twisted.internet.ssl import CertificateOptions

class Hello(Resource):
    isLeaf = True
    def render_GET(self, request):
        return b"over TLS" if request.isSecure() else b"in the clear"

pair = KeyPair.load(key, certificate)
options = CertificateOptions(pair.key, pair.certificate)
port = reactor.listenTCP(0, TLSMemoryBIOFactory(options, False, Site(Hello())), interface="127.0.0.1")
trusted = ClientTls(reactor, lambda work, *arguments: succeed(work(*arguments)), "CONTROLLER", authority)
http = Http(reactor, web_agent(reactor, HTTPConnectionPool(reactor), trusted), None, None)
asking = http.call("The server", "GET", f"https://127.0.0.1:{port.getHost().port}/")
asking.addCallbacks(lambda answer: print(answer.status, answer.body.decode()), lambda failure: print(failure))
asking.addCallback(lambda _: reactor.stop())
reactor.run()
"""


class OnDemandTests(SynchronousTestCase):
    """A reactor without TLS, and a connection with it."""

    def test_a_process_that_left_tls_out_can_still_connect_with_it(self) -> None:
        made = make_certificate(Path(self.mktemp()).resolve())
        files = [str(path) for path in (made.key, made.certificate, made.authority)]
        command = [sys.executable, "-c", SCRIPT, *files]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
        self.assertEqual(done.stdout, "200 over TLS\n")


class SettingsTests(SynchronousTestCase):
    """The settings that name TLS."""

    def test_an_agent_needs_tls_where_a_setting_or_a_plug_in_may(self) -> None:
        for name, value, expected in (
            ("LOG_LEVEL", "info", False),
            ("DISTRIBUTION_STRATEGY", "STREAM", False),
            ("DISTRIBUTION_STRATEGY", "PLUGIN", True),
            ("OUTPUTS", "PLUGIN", True),
            ("OUTPUTS", "HTTP,FILE", False),
            ("CONTROLLER_URL", "http://a.example,HTTPS://b.example", True),
            ("WORKER_URL", "https://a.example", True),
            ("CONTROLLER_CA_FILE", "/ca.pem", True),
            ("WORKER_CA_FILE", "/ca.pem", True),
            ("REDIS_TLS_ENABLED", "true", True),
            ("AGENT_LISTEN", "tcp:8081", False),
            ("AGENT_LISTEN", "ssl:8081", True),
            ("AGENT_API_LISTEN", "unix:/run/confd", False),
            ("AGENT_API_LISTEN", "ssl:8083:interface=127.0.0.1", True),
        ):
            self.assertIs(read(AgentSettings, {name: value}, {}).tls, expected, f"{name}={value}")

    def test_a_worker_needs_tls_where_it_listens_with_it(self) -> None:
        for listen, expected in (("tcp:1", False), ("unix:/run/x", False), ("ssl:1", True), ("tls:x", True)):
            self.assertIs(read(WorkerSettings, {"LISTEN": listen}, {}).tls, expected, listen)

    def test_a_controller_needs_tls_where_it_listens_or_connects_with_it(self) -> None:
        secret = {"WEBHOOK_SECRET": "s" * 32}
        for given, expected in (
            ({}, False),
            ({"LISTEN": "tcp:8080:interface=127.0.0.1"}, False),
            ({"LISTEN": "ssl:8080:interface=127.0.0.1"}, True),
            ({"WEBHOOK_URLS": "http://a.example/x", **secret}, True),
            ({"DISTRIBUTION_STRATEGY": "REDIS"}, False),
            ({"DISTRIBUTION_STRATEGY": "REDIS", "REDIS_TLS_ENABLED": "true"}, True),
        ):
            self.assertIs(read(ControllerSettings, given, {}).tls, expected, f"{given}")
