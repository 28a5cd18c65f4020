"""Agents that configure real services: what they report, and what the services serve then."""

from __future__ import annotations

import json
import signal
import socket
from pathlib import Path

from attrs import define, field
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.integration.file_fleet import file_fleet
from tests.integration.fleet import eventually, free_port, request
from tests.integration.servers import RedisServer, Server, missing


@define(eq=False)
class Service(Server):
    """
    A service that is up when it has written its process id.

    @ivar arguments: Its command line.
    """

    arguments: list[str] = field(factory=list)

    @property
    def pid_file(self) -> Path:
        """The file with the process id of the service."""
        return self.folder / "service.pid"

    def command(self) -> list[str]:
        """Return the command line."""
        return self.arguments

    def _up(self) -> bool:
        if self.pid_file.exists() and self.pid_file.read_text().strip() == str(self.pid):
            return True
        assert self._child is not None and self._child.poll() is None, (self.folder / "server.log").read_text()
        return False


class Prometheus(Server):
    """C{prometheus}, which another program may reload."""

    def command(self) -> list[str]:
        """Return the command line."""
        return ["prometheus", "--web.enable-lifecycle", f"--web.listen-address=127.0.0.1:{self.port}"]

    def greets(self, connection: socket.socket) -> bool:
        """Return whether it accepts connections."""
        return True


class ServiceTests(SynchronousTestCase):
    """A controller, an agent, and a service with its files in one folder."""

    #: Commands without which the tests are skipped.
    needs: tuple[str, ...] = ()

    def setUp(self) -> None:
        for each in (*self.needs, "curl"):
            if (why := missing(each)) is not None:
                raise SkipTest(why)
        self.files = file_fleet(self)
        self.port = free_port()

    def started(self, *arguments: str, folder: str = "service") -> Service:
        """Start a service that ends with the test."""
        service = Service(self.files.folder / folder, arguments=list(arguments))
        self.addCleanup(service.stop, signal.SIGTERM)
        service.start()
        return service

    def served(self, path: str = "/", port: int | None = None) -> str:
        """Return what the service answers."""
        return request("GET", f"http://127.0.0.1:{port or self.port}{path}").body.decode()

    def refuses(self, port: int) -> bool:
        """Return whether no service listens on a port."""
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) != 0


class NginxSiteTests(ServiceTests):
    """The example with one site of an nginx."""

    needs = ("nginx",)

    def setUp(self) -> None:
        super().setUp()
        files = self.files
        for name in ("nginx.conf", "site.conf.j2", "probe.sh"):
            files.example(f"nginx/{name}", f"service/{name}")
        folder = files.folder / "service"
        (folder / "sites").mkdir(mode=0o755)
        self.nginx = ["nginx", "-e", "stderr", "-p", str(folder), "-c", "nginx.conf", "-g"]
        self.nginx.append(f"pid {folder}/service.pid;")
        # One "pid" is enough.
        conf = folder / "nginx.conf"
        conf.write_text(conf.read_text().replace("pid nginx.pid;\n", ""))
        self.service = self.start_nginx()
        self.first = files.publish(url=f"{files.fleet.url}/health", port=self.port)

    def start_nginx(self) -> Service:
        """Start nginx in the foreground."""
        return self.started(*self.nginx[:-1], f"daemon off; {self.nginx[-1]}")

    def start_agent(self, more: str = "") -> None:
        """
        Start the agent, and wait until nginx serves the first version.

        @param more: Settings of the file.
        """
        folder = self.files.folder / "service"
        settings = self.files.settings(
            "nginx/outputs.toml",
            {
                "retry = 60": "retry = 1",
                "[[file]]\n": f"[[file]]\nprobe_within = 3\n{more}\n",
                "/etc/nginx/sites-enabled/confd.conf": f"{folder}/sites/site.conf",
                "/etc/confd/": f"{folder}/",
                '"/usr/sbin/nginx", ': "".join(f"{json.dumps(each)}, " for each in self.nginx),
                ":8090/": f":{self.port}/",
            },
        )
        self.files.start("--outputs-file", settings)
        self.files.applied(self.first)
        self.assertEqual(self.served("/confd").strip(), self.first)

    def test_good_document(self) -> None:
        """nginx serves each version that the agent reports as applied."""
        self.start_agent()
        tag = self.files.publish(url=f"{self.files.fleet.url}/ready", port=self.port)
        self.files.applied(tag)
        # A process of the previous configuration may still take a connection after the reload.
        eventually(lambda: self.served("/confd").strip() == tag)
        self.assertEqual(request("GET", f"http://127.0.0.1:{self.port}/").status, 200)

    def test_bad_syntax(self) -> None:
        """The report has the words of nginx, which goes on with the previous file."""
        self.start_agent()
        self.files.publish(url=f"{self.files.fleet.url}/ready", port=self.port, timeout="soon")
        said = self.files.failed("The test ")
        self.assertIn('"proxy_read_timeout" directive invalid value', said)
        self.assertIn("The previous file is back.", said)
        self.assertEqual(self.served("/confd").strip(), self.first)
        self.assertNotIn("soon", (self.files.folder / "service/sites/site.conf").read_text())

    def test_service_stopped(self) -> None:
        """The agent reports the reload that fails, and tries again until nginx runs."""
        self.start_agent()
        self.service.stop(signal.SIGTERM)
        tag = self.files.publish(url=f"{self.files.fleet.url}/ready", port=self.port)
        self.files.failed("The previous file is back, but its reload failed too")
        self.start_nginx()
        self.files.applied(tag)
        # A process of the previous configuration may still take a connection after the reload.
        eventually(lambda: self.served("/confd").strip() == tag)

    def test_taken_port(self) -> None:
        """nginx accepts the reload and keeps its old port; the probe notices."""
        self.start_agent()
        taken = int(self.files.fleet.url.rpartition(":")[2])
        self.files.publish(url=f"{self.files.fleet.url}/ready", port=taken)
        said = self.files.failed("did not succeed within 3 s")
        self.assertIn("The previous file is back and in use.", said)
        self.assertEqual(self.served("/confd").strip(), self.first)

    def test_health(self) -> None:
        """A service that dies after the apply makes the report failed, and its return heals the report."""
        self.start_agent("health_interval = 1\nhealth_timeout = 1")
        self.service.stop(signal.SIGTERM)
        said = self.files.failed("Applied, but the health check failed 3 times in a row")
        self.assertIn("refused the connection", said)
        self.start_nginx()
        self.files.applied(self.first)


class NginxWholeConfigurationTests(ServiceTests):
    """An nginx whose only configuration file is the output."""

    needs = ("nginx",)

    def setUp(self) -> None:
        super().setUp()
        folder = self.files.folder / "service"
        folder.mkdir(mode=0o755)
        site = """
pid {{ meta.folder }}/service.pid; error_log stderr; events {}
http { access_log off; client_body_temp_path t; proxy_temp_path t; fastcgi_temp_path t; uwsgi_temp_path t;
scgi_temp_path t; server { listen 127.0.0.1:{{ doc.port }};
location / { {{ doc.directive }} "{{ confd.tag }}"; } } }
"""
        template = self.files.place("whole.conf.j2", site)
        command = f"/usr/sbin/nginx -e stderr -p {folder} -c"
        self.first = self.files.publish(port=self.port, directive="return 200")
        self.probe = self.files.example("nginx/probe.sh")
        self.options = (
            *("--file-path", f"{folder}/nginx.conf", "--file-template", template),
            *("--agent-metadata", f"folder={folder}", "--file-check", f"{command} {{path}} -t -q"),
            *("--file-probe", f"{self.probe} http://127.0.0.1:{self.port}/", "--file-probe-within", "60"),
        )
        self.folder = folder
        self.command = command

    def test_check_precedes_replacement(self) -> None:
        """A file that nginx refuses never gets its name."""
        conf = self.folder / "nginx.conf"
        # The first version: nginx does not run yet, and the check leaves an empty pid file.
        reload = f"/bin/sh -c 'test ! -s {self.folder}/service.pid || {self.command} nginx.conf -s reload'"
        self.files.start(*self.options, "--file-reload", reload, "--file-retry", "1")
        eventually(conf.exists)
        service = self.started("nginx", "-e", "stderr", "-p", str(self.folder), "-c", "nginx.conf", "-g", "daemon off;")
        self.files.applied(self.first)
        before = conf.stat().st_ino
        self.files.publish(port=self.port, directive="retrun 200")
        said = self.files.failed("The check /usr/sbin/nginx ended with status 1")
        self.assertIn('unknown directive "retrun"', said)
        self.assertEqual(conf.stat().st_ino, before)
        self.assertEqual(self.served(), self.first)
        tag = self.files.publish(port=self.port, directive="return 201")
        self.files.applied(tag)
        # A process of the previous configuration may still take a connection after the reload.
        eventually(lambda: self.served() == tag)
        service.stop()


class HaproxyTests(ServiceTests):
    """The example with HAProxy, which a signal reloads."""

    needs = ("haproxy",)

    def setUp(self) -> None:
        super().setUp()
        files, folder = self.files, self.files.folder / "service"
        files.example("haproxy/haproxy.cfg.j2")
        probe = files.example("nginx/probe.sh")
        before = f"defaults\n mode http\nfrontend old\n bind 127.0.0.1:{self.port}\n"
        config = files.place("service/haproxy.cfg", before)
        pid = f"{folder}/service.pid"
        settings = files.settings(
            "haproxy/outputs.toml",
            {
                "/etc/haproxy/haproxy.cfg": config,
                "/etc/confd/haproxy.cfg.j2": f"{files.folder}/haproxy.cfg.j2",
                "/etc/confd/probe.sh": probe,
                "/run/haproxy.pid": pid,
                ":8090/": f":{self.port}/",
                "[[file]]": "retry = 1\n[[file]]\nprobe_within = 3",
            },
        )
        self.command = ["haproxy", "-W", "-f", config, "-p", pid]
        self.service = self.started(*self.command)
        self.first = self.publish()
        files.start("--outputs-file", settings)
        files.applied(self.first)

    def publish(self, **members: object) -> str:
        """Publish a document for the example."""
        controller = self.files.fleet.url.removeprefix("http://")
        return self.files.publish(**{"port": self.port, "servers": {"one": controller}} | members)

    def test_good_document(self) -> None:
        """HAProxy serves each version that the agent reports as applied."""
        self.assertEqual(self.served("/confd"), self.first)
        tag = self.publish(balance="leastconn")
        self.files.applied(tag)
        eventually(lambda: self.served("/confd") == tag)
        eventually(lambda: "ok" in self.served("/health"))

    def test_bad_syntax(self) -> None:
        """The check refuses the file before it gets its name."""
        before = Path(self.command[3]).read_bytes()
        self.publish(balance="by dice")
        said = self.files.failed("The check /usr/sbin/haproxy ended with status 1")
        self.assertIn("balance only supports 'roundrobin'", said)
        self.assertEqual(Path(self.command[3]).read_bytes(), before)
        self.assertEqual(self.served("/confd"), self.first)

    def test_taken_port(self) -> None:
        """HAProxy takes the signal and keeps its old process; the probe notices."""
        self.publish(port=int(self.files.fleet.url.rpartition(":")[2]))
        self.files.failed("did not succeed within 3 s")
        eventually(lambda: self.served("/confd") == self.first)

    def test_service_stopped(self) -> None:
        """The signal of a reload fails without a process, until the process runs again."""
        self.service.stop(signal.SIGKILL)
        tag = self.publish(balance="leastconn")
        self.files.failed("The signal ")
        self.service.pid_file.unlink()
        self.started(*self.command)
        self.files.applied(tag)


class RedisTests(ServiceTests):
    """A redis-server that gets a setting from a template, and its health."""

    needs = ("redis-server", "redis-cli")

    def test_setting_and_health(self) -> None:
        """The reload gives Redis the new limit, and the report follows the life of the server."""
        files, server = self.files, RedisServer(self.files.folder / "service")
        self.addCleanup(server.stop)
        server.start()
        template = files.place("redis.conf.j2", "maxmemory {{ doc.megabytes }}mb\n")
        client = f"redis-cli -e -p {server.port}"
        first = files.publish(megabytes=100)
        files.start(
            *("--file-path", f"{files.folder}/redis.conf", "--file-template", template),
            *("--file-reload", f"sh -c '{client} config set $(cat \"$CONFD_FILE\")'"),
            *("--file-probe", f"sh -c '{client} config get maxmemory | grep -qx 1.*'", "--file-probe-within", "1"),
            *("--file-health", f"{client} ping", "--file-health-interval", "1", "--file-health-timeout", "1"),
        )
        files.applied(first)
        self.assertEqual(server.call("config get maxmemory"), ["*2"])
        files.publish(megabytes="many")
        self.assertIn("argument must be a memory value", files.failed("The reload "))
        server.stop(signal.SIGTERM)
        second = files.publish(megabytes=101)
        files.failed("The reload ")
        server.start()
        # The delay before the next attempt is a minute; a new version is tried at once.
        second = files.publish(megabytes=102)
        files.applied(second)
        server.stop(signal.SIGTERM)
        files.failed("Applied, but the health check failed 3 times in a row: ")
        server.start()
        files.applied(second)


class PrometheusTests(ServiceTests):
    """A Prometheus that reloads over HTTP."""

    needs = ("prometheus",)

    def test_reload_endpoint(self) -> None:
        """Prometheus uses each version that is applied, and a rejected one is rolled back."""
        files, config = self.files, self.files.place("prometheus.yml", "global: {scrape_interval: 10s}\n")
        server = Prometheus(files.folder / "service", (f"--config.file={config}",))
        base = f"http://127.0.0.1:{server.port}"
        self.addCleanup(server.stop)
        server.start()
        first = files.publish(prometheus={"global": {"scrape_interval": "11s"}})
        files.start(
            *("--file-path", config, "--file-pointer", "/prometheus", "--file-retry", "0"),
            *("--file-reload", f"{base}/-/reload", "--file-probe", f"{base}/-/ready", "--file-mode", "0644"),
        )
        files.applied(first)
        eventually(lambda: "scrape_interval: 11s" in self.served("/api/v1/status/config", server.port))
        files.publish(prometheus={"global": {"scrape_interval": "often"}})
        self.assertIn("/-/reload answered 500", files.failed("The previous file is back and in use."))
        self.assertIn("scrape_interval: 11s", self.served("/api/v1/status/config", server.port))
