"""Tests of L{confd.runtime.settings}: the table of settings, and the rules between its rows."""

import io
from contextlib import redirect_stdout
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import confd.agent.tap
import confd.controller.tap
import confd.dev
import confd.worker.tap
from confd.codec.bodies import METADATA_MAX, STRATEGY_MAX
from confd.errors import StartError
from confd.runtime.environment import own_environment
from confd.runtime.options import read
from confd.runtime.setting import settings_of
from confd.runtime.setting_types import is_private
from confd.runtime.settings import AgentSettings, ControllerSettings, DevSettings, WorkerSettings, all_roles

ROLES = all_roles()
TAPS = (confd.controller.tap, confd.agent.tap, confd.worker.tap, confd.dev)

#: Endpoints that only this machine can reach.
PRIVATE = (
    "tcp:8080:interface=127.0.0.1", "tcp:interface=127.0.0.1:port=8080", "tcp:port=8080:interface=127.8.9.10",
    "tcp:8080:interface=localhost", r"tcp6:8080:interface=\:\:1", "ssl:443:interface=127.0.0.1:privateKey=a.pem",
    "unix:/run/confd.sock", "unix:/run/confd.sock:mode=660", r"tcp:8080:interface=\:\:ffff\:127.0.0.1",
)  # fmt: skip
#: Endpoints that others may reach, or of which one cannot tell.
PUBLIC = (
    "tcp:8080", "tcp:8080:interface=", "tcp:8080:interface=0.0.0.0", "tcp:8080:interface=10.0.0.1", "tcp6:8080",
    r"tcp6:8080:interface=\:\:", "tcp6:8080:interface=::", "ssl:443", "systemd:domain=INET:index=0", "fd:3", "",
    "tcp:8080:interface=127.0.0.1.evil.com", "tcp:8080:interface=1270.0.1", r"tcp:8080\:interface=127.0.0.1",
    "tcp:8080:interface=127.0.0.1:interface=0.0.0.0", "tcp:8080:interface=0.0.0.0:interface=127.0.0.1",
    "tcp:8080:interface=localhost.example.com", "haproxy:tcp:8080:interface=127.0.0.1", "unixes:/x",
    "tcp:8080:interface=0177.0.0.1", "tcp:8080:interface=2130706433",
)  # fmt: skip


def reasons(role, **environ):
    """The mistakes in an environment."""
    try:
        read(role, {}, environ, all_roles)
    except StartError as error:
        return list(error.reasons)
    return []


def names(role, **environ):
    """The settings that they name."""
    return [reason.partition(":")[0] for reason in reasons(role, **environ)]


class DefaultTests(SynchronousTestCase):
    """What holds where nothing is said."""

    def test_the_controller_has_the_documented_defaults(self):
        settings = read(ControllerSettings, {}, {})
        self.assertEqual(settings.endpoint, "tcp:8080:interface=127.0.0.1")
        self.assertEqual(settings.db_path, "./controller.db")
        self.assertEqual((settings.agent_username, settings.agent_password), ("agent", "secret123"))
        self.assertEqual((settings.admin_username, settings.admin_password), ("admin", "admin123"))
        self.assertEqual(settings.default_poll_interval, 30)
        self.assertEqual(settings.default_config, {"url": "https://ip.me"})
        self.assertEqual(settings.max_config_bytes, 1048576)
        self.assertEqual((settings.log_level, settings.log_format), ("info", None))

    def test_the_agent_has_the_documented_defaults(self):
        settings = read(AgentSettings, {}, {})
        self.assertEqual(settings.controller_url, ("http://localhost:8080",))
        self.assertEqual((settings.controller_username, settings.controller_password), ("agent", "secret123"))
        self.assertEqual(settings.worker_url, "http://localhost:8082")
        self.assertEqual((settings.worker_username, settings.worker_password), (None, None))
        self.assertEqual((settings.cache_file, settings.backoff_max), ("./agent_config.cache", 30))
        self.assertEqual((settings.namespace, settings.distribution_strategy), ("default", "POLLER"))
        self.assertEqual((settings.agent_metadata, settings.agent_listen), ("", None))

    def test_credentials_in_worker_url_are_separated_from_the_address(self):
        for text, url, login in (
            ("http://w:hunter2@worker:8082", "http://worker:8082", ("w", "hunter2")),
            ("HTTP://w:p%40%2Fhunter2:x@worker/confd/", "http://worker/confd", ("w", "p@/hunter2:x")),
            ("https://w@x:hunter2@[::1]:1", "https://[::1]:1", ("w@x", "hunter2")),
        ):
            if login[0] is None:
                self.assertIn(
                    "WORKER_URL", str(self.assertRaises(StartError, read, AgentSettings, {}, {"WORKER_URL": text}))
                )
                continue
            settings = read(AgentSettings, {}, {"WORKER_URL": text})
            self.assertEqual((settings.worker_url, settings.worker_login), (url, login))
            self.assertNotIn("hunter2", repr(settings))
        settings = read(AgentSettings, {}, {"WORKER_USERNAME": "w", "WORKER_PASSWORD": "p"})
        self.assertEqual(settings.worker_login, ("w", "p"))

    def test_half_of_the_credentials_in_worker_url_is_refused_without_showing_it(self):
        both = {"WORKER_USERNAME": "w", "WORKER_PASSWORD": "hunter2"}
        for text, more in (
            ("http://w@h", {}), ("http://w:@h", {}), ("http://:hunter2@h", {}), ("http://@h", {}),
            ("http://w:hunter2@", {}), ("http://w:hunter2@h:x", {}), ("http://w:hunter2@h?q", {}),
            ("ftp://w:hunter2@h", {}), ("http://w:hun/ter2@h", {}), ("http://w:hunter2@h", both),
            ("http://w%0A:hunter2@h", {}),
        ):  # fmt: skip
            error = str(self.assertRaises(StartError, read, AgentSettings, {}, {"WORKER_URL": text, **more}))
            self.assertTrue(error.startswith("WORKER_URL: "), error)
            self.assertNotIn("ter2", error)
        self.assertRaises(StartError, read, AgentSettings, {}, {"CONTROLLER_URL": "http://w:hunter2@h"})

    def test_the_worker_has_the_documented_defaults(self):
        settings = read(WorkerSettings, {}, {})
        self.assertEqual(settings.endpoint, "tcp:8082:interface=127.0.0.1")
        self.assertEqual((settings.hit_timeout, settings.hit_max_bytes), (30, 10485760))
        self.assertEqual((settings.worker_username, settings.worker_password), (None, None))

    def test_port_listens_on_loopback_and_listen_replaces_it(self):
        for role in (ControllerSettings, WorkerSettings):
            self.assertEqual(read(role, {"PORT": "1"}, {}).endpoint, "tcp:1:interface=127.0.0.1")
            self.assertEqual(read(role, {"PORT": "1", "LISTEN": "unix:/x"}, {}).endpoint, "unix:/x")


class BoundTests(SynchronousTestCase):
    """What is refused, by name, and all at once."""

    def test_each_mistake_has_a_line(self):
        wrong = {"LOG_LEVEL": "loud", "PORT": "0", "DEFAULT_POLL_INTERVAL": "86401", "DISTRIBUTION_STRATEGY": "X"}
        self.assertEqual(names(ControllerSettings, **wrong), list(wrong))

    def test_each_setting_keeps_to_its_bounds(self):
        for role, name, values in (
            (ControllerSettings, "PORT", ("0", "65536", "-1", "http", "80.0")),
            (ControllerSettings, "DEFAULT_POLL_INTERVAL", ("0", "86401", "9999999999", "abc", "-5", "1.5")),
            (ControllerSettings, "MAX_CONFIG_BYTES", ("0", "1000000000")),
            (ControllerSettings, "ALLOW_DEFAULT_CREDENTIALS", ("maybe",)),
            (ControllerSettings, "DEFAULT_CONFIG", ("{", "[]", "7", "null", '"x"', '{"a": NaN}', '{"a": 1, "a": 2}',
                                                    '{"a": 9007199254740993}')),
            (ControllerSettings, "AGENT_USERNAME", ("a:b",)),
            (ControllerSettings, "ADMIN_USERNAME", ("a:b",)),
            (ControllerSettings, "LOG_FORMAT", ("xml",)),
            (AgentSettings, "CONTROLLER_URL", ("localhost", "http://", "ftp://x", "http://a,b")),
            (AgentSettings, "CONTROLLER_USERNAME", ("a:b",)),
            (AgentSettings, "WORKER_URL", ("http://a,http://b", "x")),
            (AgentSettings, "BACKOFF_MAX", ("0", "301")),
            (AgentSettings, "NAMESPACE", ("Blue", "a_b", "a" * 64)),
            (WorkerSettings, "HIT_TIMEOUT", ("0", "soon")),
            (WorkerSettings, "HIT_MAX_BYTES", ("0", "-1")),
            (AgentSettings, "REDIS_ADDRESS", ("localhost", "localhost:0")),
            (AgentSettings, "REDIS_DB", ("-1", "x")),
            (AgentSettings, "NATS_URL", ("http://x", "nats://me:hunter2@x")),
            (ControllerSettings, "NATS_SUBJECT", ("a.*", "a b")),
            (DevSettings, "WORKER_PORT", ("0", "tcp", "http://10.0.0.1:80")),
        ):  # fmt: skip
            for value in values:
                with self.subTest(name=name, value=value):
                    self.assertEqual(names(role, **{name: value}), [name])

    def test_an_unknown_broker_is_refused_by_name(self):
        (reason,) = reasons(ControllerSettings, DISTRIBUTION_STRATEGY="POLLER,PIGEON")
        self.assertTrue(reason.startswith("DISTRIBUTION_STRATEGY: 'PIGEON' is not one of "), reason)
        self.assertEqual(reasons(ControllerSettings, DISTRIBUTION_STRATEGY="poller, STREAM"), [])

    def test_misspelt_names_of_the_go_system_are_refused_with_a_suggestion(self):
        for role, name, meant in (
            (AgentSettings, "CONTROLLER_USER", "CONTROLLER_USERNAME"),
            (ControllerSettings, "ADMIN_USER", "ADMIN_USERNAME"),
            (ControllerSettings, "AGENT_PASSWD", "AGENT_PASSWORD"),
            (ControllerSettings, "DB_PATHS", "DB_PATH"),
            (ControllerSettings, "ADMIN_PASSWORDFILE", "ADMIN_PASSWORD_FILE"),
        ):
            self.assertEqual(reasons(role, **{name: "x"}), [f"{name}: no such setting; did you mean {meant}?"])

    def test_retired_variables_are_refused_by_the_agent(self):
        self.assertEqual(names(AgentSettings, POLL_INTERVAL="10", AGENT_ID="a-1"), ["POLL_INTERVAL", "AGENT_ID"])
        self.assertEqual(reasons(WorkerSettings, POLL_INTERVAL="10"), [])

    def test_the_settings_of_all_roles_fit_into_one_environment(self):
        environ = {each.name: each.default for role in ROLES for each in settings_of(role) if each.default is not None}
        environ |= {"PATH": "/bin", "LISTEN_FDS": "1", "LISTEN_PID": "7", "POD_NAMESPACE": "x", "MY_NAMESPACE": "x",
                    "DOCKER_USERNAME": "x", "DOCKER_PASSWORD": "x", "ARM_PASSWORD": "x", "DB_PASSWORD": "x",
                    "CONTROLLER_SERVICE_PORT": "80", "CONTROLLER_PORT": "tcp://10.0.0.1:80"}  # fmt: skip
        for role in ROLES:
            self.assertEqual(reasons(role, **environ), [])


class CredentialTests(SynchronousTestCase):
    """Who may get in."""

    strong = {"AGENT_PASSWORD": "s", "ADMIN_PASSWORD": "t"}

    def test_only_loopback_and_unix_endpoints_are_private(self):
        for endpoint in PRIVATE:
            self.assertTrue(is_private(endpoint), endpoint)
        for endpoint in PUBLIC:
            self.assertFalse(is_private(endpoint), endpoint)

    def test_built_in_passwords_are_refused_beyond_loopback(self):
        for endpoint in PRIVATE:
            self.assertEqual(reasons(ControllerSettings, LISTEN=endpoint), [])
        for endpoint in filter(None, PUBLIC):
            self.assertEqual(names(ControllerSettings, LISTEN=endpoint), ["AGENT_PASSWORD", "ADMIN_PASSWORD"])
            self.assertEqual(names(ControllerSettings, LISTEN=endpoint, AGENT_PASSWORD="s"), ["ADMIN_PASSWORD"])
            self.assertEqual(reasons(ControllerSettings, LISTEN=endpoint, **self.strong), [])
            self.assertEqual(reasons(ControllerSettings, LISTEN=endpoint, ALLOW_DEFAULT_CREDENTIALS="true"), [])

    def test_a_built_in_password_that_is_set_stays_built_in(self):
        found = names(ControllerSettings, LISTEN="tcp:80", AGENT_PASSWORD="secret123", ADMIN_PASSWORD="admin123")
        self.assertEqual(found, ["AGENT_PASSWORD", "ADMIN_PASSWORD"])

    def test_an_empty_password_closes_its_identity_and_is_no_built_in_one(self):
        closed = {"ADMIN_PASSWORD": "", "AGENT_PASSWORD": ""}
        self.assertEqual(names(ControllerSettings, LISTEN="tcp:80", **closed), [])
        self.assertEqual(read(ControllerSettings, {}, closed).admin_password, "")
        self.assertEqual(read(ControllerSettings, {}, {"CONFD_ADMIN_PASSWORD": ""}).admin_password, "")
        self.assertEqual(read(ControllerSettings, {}, {"DB_PATH": ""}).db_path, "./controller.db")

    def test_an_empty_password_beside_its_file_counts_as_unset(self):
        path = self.mktemp()
        Path(path).write_text("from a file")
        for environ in (
            {"ADMIN_PASSWORD": "", "ADMIN_PASSWORD_FILE": path},
            {"CONFD_ADMIN_PASSWORD": "", "ADMIN_PASSWORD_FILE": path},
            {"ADMIN_PASSWORD": "", "CONFD_ADMIN_PASSWORD": "from a file"},
        ):
            self.assertEqual(read(ControllerSettings, {}, environ).admin_password, "from a file")

    def test_the_two_identities_need_different_names(self):
        self.assertEqual(names(ControllerSettings, AGENT_USERNAME="admin"), ["AGENT_USERNAME"])

    def test_half_of_the_workers_credentials_is_refused_by_both_ends(self):
        for role in (AgentSettings, WorkerSettings):
            self.assertEqual(names(role, WORKER_USERNAME="w"), ["WORKER_PASSWORD"])
            self.assertEqual(names(role, WORKER_PASSWORD="w"), ["WORKER_USERNAME"])
            self.assertEqual(reasons(role, WORKER_PASSWORD="w", WORKER_USERNAME="w"), [])

    def test_half_of_the_nats_credentials_and_a_token_beside_them_are_refused(self):
        for role in (AgentSettings, ControllerSettings):
            self.assertEqual(names(role, NATS_USERNAME="w"), ["NATS_PASSWORD"])
            self.assertEqual(names(role, NATS_PASSWORD="w"), ["NATS_USERNAME"])
            self.assertEqual(names(role, NATS_PASSWORD="w", NATS_USERNAME="w", NATS_TOKEN="t"), ["NATS_TOKEN"])
            self.assertEqual(reasons(role, NATS_TOKEN="t"), [])

    def test_kafka_servers_and_half_of_the_credentials(self):
        for role in (AgentSettings, ControllerSettings):
            self.assertEqual(names(role, KAFKA_USERNAME="w"), ["KAFKA_PASSWORD"])
            self.assertEqual(names(role, KAFKA_PASSWORD="w"), ["KAFKA_USERNAME"])
            self.assertEqual(names(role, KAFKA_CA_FILE="ca.pem"), ["KAFKA_CA_FILE"])
            self.assertEqual(reasons(role, KAFKA_CA_FILE="ca.pem", KAFKA_TLS_ENABLED="true"), [])
            for wrong in ("kafka", "me:hunter2@kafka:9092", "kafka:9092,kafka"):
                self.assertEqual(names(role, KAFKA_BOOTSTRAP=wrong), ["KAFKA_BOOTSTRAP"])
            for wrong in ("..", "a topic", "x" * 250):
                self.assertEqual(names(role, KAFKA_TOPIC=wrong), ["KAFKA_TOPIC"])
            found = read(role, {"KAFKA_BOOTSTRAP": "a:1, [::1]:2", "DISTRIBUTION_STRATEGY": "KAFKA"}, {})
            self.assertEqual((found.kafka_bootstrap, found.asyncio), ((("a", 1), ("::1", 2)), True))

    def test_every_password_is_a_secret(self):
        for role in ROLES:
            for declared in settings_of(role):
                self.assertEqual(
                    declared.secret,
                    declared.name.endswith(
                        ("PASSWORD", "TOKEN", "PROXY", "DATABASE_URL", "WEBHOOK_URLS", "WEBHOOK_SECRET")
                    ),
                    declared.name,
                )
                if declared.secret:
                    pairs = ("WORKER_PASSWORD", "NATS_PASSWORD", "KAFKA_PASSWORD")
                    both = {declared.name.replace("PASSWORD", "USERNAME"): "w"} if declared.name in pairs else {}
                    if declared.name.startswith("WEBHOOK"):
                        both = {"WEBHOOK_URLS": "https://h/", "WEBHOOK_SECRET": "x" * 16}
                    values = {"DATABASE_URL": "postgresql://u:hunter2@h/d", "WEBHOOK_URLS": "https://h/hunter2"}
                    value = values.get(declared.name, "hunter2-and-longer")
                    self.assertNotIn("hunter2", repr(read(role, {**both, declared.name: value}, {})))


class LimitTests(SynchronousTestCase):
    """What an agent says of itself fits the API, or is refused at the start."""

    def test_metadata_and_strategy_are_accepted_up_to_their_limits(self):
        for name, most in (("AGENT_METADATA", METADATA_MAX), ("DISTRIBUTION_STRATEGY", STRATEGY_MAX)):
            read(AgentSettings, {name: "é" * most}, {})
            error = self.assertRaises(StartError, read, AgentSettings, {name: "é" * (most + 1)}, {})
            self.assertEqual(error.reasons, (f"{name}: must be at most {most} characters; it has {most + 1}.",))


class RetiredTests(SynchronousTestCase):
    """Settings that an earlier release, or the Go system, read."""

    def test_only_the_controller_refuses_processes(self):
        self.assertEqual(
            reasons(ControllerSettings, PROCESSES="2"),
            ["PROCESSES: is no longer supported, since a controller is one process; remove the setting."],
        )
        for role in (AgentSettings, WorkerSettings, DevSettings):
            self.assertEqual(reasons(role, PROCESSES="2"), [])

    def test_variables_of_go_compose_files_are_refused_with_the_name_to_use(self):
        for theirs, ours in (
            ("CONTROLLER_DB_PATH", "DB_PATH"), ("CONTROLLER_ADMIN_USER", "ADMIN_USERNAME"),
            ("CONTROLLER_ADMIN_PASS", "ADMIN_PASSWORD"), ("CONTROLLER_AGENT_USER", "AGENT_USERNAME"),
            ("CONTROLLER_AGENT_PASS", "AGENT_PASSWORD"),
        ):  # fmt: skip
            for name in (theirs, f"CONFD_{theirs}"):
                expected = f"{name}: is a name of the Go system, which confd does not read; set {ours} instead."
                self.assertEqual(reasons(ControllerSettings, **{name: "hunter2"}), [expected])
            for role in (AgentSettings, WorkerSettings, DevSettings):
                self.assertEqual(reasons(role, **{theirs: "hunter2"}), [])

    def test_a_setting_prefixed_with_its_role_is_refused_by_that_role(self):
        """A setting with its role before it, or with USER and PASS, is refused by the role that it names, and by no
        other."""
        for role, name, meant in (
            (ControllerSettings, "CONTROLLER_ADMIN_USERNAME", "ADMIN_USERNAME"),
            (ControllerSettings, "CONTROLLER_AGENT_PASSWORD", "AGENT_PASSWORD"),
            (ControllerSettings, "CONTROLLER_AGENT_PASS_FILE", "AGENT_PASSWORD_FILE"),
            (ControllerSettings, "CONTROLLER_DEFAULT_POLL_INTERVAL", "DEFAULT_POLL_INTERVAL"),
            (ControllerSettings, "CONTROLLER_DISTRIBUTION_STRATEGY", "DISTRIBUTION_STRATEGY"),
            (ControllerSettings, "ADMIN_PASS", "ADMIN_PASSWORD"), (ControllerSettings, "REDIS_PASS", "REDIS_PASSWORD"),
            (ControllerSettings, "CONTROLLER_LISTEN", "LISTEN"), (AgentSettings, "AGENT_CACHE_FILE", "CACHE_FILE"),
            (AgentSettings, "NATS_USER", "NATS_USERNAME"),
            (AgentSettings, "AGENT_CONTROLLER_PASS", "CONTROLLER_PASSWORD"),
            (AgentSettings, "CONTROLLER_PASS", "CONTROLLER_PASSWORD"), (AgentSettings, "AGENT_NAMESPACE", "NAMESPACE"),
            (AgentSettings, "WORKER_PASS", "WORKER_PASSWORD"), (AgentSettings, "AGENT_WORKER_URL", "WORKER_URL"),
            (WorkerSettings, "WORKER_HIT_TIMEOUT", "HIT_TIMEOUT"), (WorkerSettings, "WORKER_LISTEN", "LISTEN"),
            (WorkerSettings, "WORKER_USER", "WORKER_USERNAME"), (WorkerSettings, "WORKER_LOG_LEVEL", "LOG_LEVEL"),
        ):  # fmt: skip
            with self.subTest(name=name):
                self.assertEqual(
                    reasons(role, **{name: "hunter2"}), [f"{name}: no such setting; did you mean {meant}?"]
                )
        for role, name in (
            (AgentSettings, "CONTROLLER_DISTRIBUTION_STRATEGY"), (WorkerSettings, "CONTROLLER_LISTEN"),
            (ControllerSettings, "AGENT_CACHE_FILE"), (ControllerSettings, "WORKER_LOG_LEVEL"),
            (ControllerSettings, "CONTROLLER_DB_PASS"), (ControllerSettings, "CONTROLLER_PASS"),
        ):  # fmt: skip
            self.assertEqual(reasons(role, **{name: "x"}), [], name)


class HelpTests(SynchronousTestCase):
    """C{--help} of each command."""

    def test_help_shows_each_setting_with_variable_and_default(self):
        for tap in TAPS:
            out = io.StringIO()
            with redirect_stdout(out):
                self.assertRaises(SystemExit, tap.Options({"ADMIN_PASSWORD": "hunter2"}).parseOptions, ["--help"])
            # Without its spaces, for it breaks lines at hyphens, too.
            shown = "".join(out.getvalue().split())
            self.assertNotIn("hunter2", shown)
            for declared in settings_of(tap.Options.role):
                self.assertIn(f"--{declared.option}=", shown)
                default = "unset" if declared.default is None else declared.default or '""'
                self.assertIn(f"({declared.name}; default: {default})".replace(" ", ""), shown)

    def test_each_command_knows_the_settings_of_the_others(self):
        for tap in TAPS:
            self.assertEqual(tap.Options.siblings(), ROLES)
            self.assertIn(tap.Options.role, ROLES)


class PrefixTests(SynchronousTestCase):
    """C{CONFD_} before a name, and variables that platforms make."""

    def test_every_setting_of_every_role_has_a_prefixed_name_that_wins(self):
        for role in ROLES:
            for each in settings_of(role):
                bare, file = each.name, each.file_name
                given = {f"CONFD_{bare}": "prefixed", bare: "bare"} | ({file: "/bare"} if each.secret else {})
                self.assertEqual(own_environment(role, given), {bare: "prefixed"})
                self.assertEqual(own_environment(role, {bare: "bare", f"CONFD_{bare}": ""}), {bare: "bare"})
                if each.secret:
                    given = {f"CONFD_{file}": "/prefixed", bare: "bare", file: "/bare"}
                    self.assertEqual(own_environment(role, given), {file: "/prefixed"})
        settings = read(ControllerSettings, {}, {"CONFD_PORT": "81", "PORT": "x", "CONFD_DB_PATH": "/d"}, all_roles)
        self.assertEqual((settings.port, settings.db_path), (81, "/d"))

    def test_a_misspelt_name_with_the_prefix_is_refused(self):
        self.assertEqual(
            reasons(ControllerSettings, CONFD_ADMIN_PASWORD="x")[0],
            "CONFD_ADMIN_PASWORD: no such setting; did you mean CONFD_ADMIN_PASSWORD?",
        )

    def test_mistakes_name_the_variable_that_was_set(self):
        """With the prefix where that is what counts, in every kind of mistake, and not in what was written."""
        for role in ROLES:
            for each in settings_of(role):
                if reasons(role, **{each.name: "\udcff"}):
                    self.assertEqual(names(role, **{f"CONFD_{each.name}": "\udcff"})[0], f"CONFD_{each.name}")
        self.assertEqual(names(ControllerSettings, CONFD_PROCESSES="2"), ["CONFD_PROCESSES"])
        self.assertEqual(
            reasons(ControllerSettings, CONFD_ADMIN_PASSWORD_FILE="/nowhere")[0],
            "ADMIN_PASSWORD: CONFD_ADMIN_PASSWORD_FILE names '/nowhere', which cannot be read:"
            " No such file or directory.",
        )
        self.assertEqual(
            reasons(ControllerSettings, CONFD_LISTEN="tcp:80", AGENT_PASSWORD="a"),
            ["ADMIN_PASSWORD: is the built-in one, and CONFD_LISTEN reaches beyond loopback;"
             " set ADMIN_PASSWORD or ADMIN_PASSWORD_FILE."],
        )  # fmt: skip
        (said,) = reasons(ControllerSettings, CONFD_LISTEN="LISTEN")
        self.assertTrue(said.startswith("CONFD_LISTEN: 'LISTEN' is not an endpoint"), said)
        error = self.assertRaises(StartError, read, WorkerSettings, {"PORT": "x"}, {"CONFD_PORT": "80"})
        self.assertTrue(str(error).startswith("PORT: "), error)
        link = {"CONFD_WORKER_PORT": "tcp://10.0.0.1:8082", "WORKER_PORT": "0"}
        self.assertEqual(names(DevSettings, **link), ["WORKER_PORT"])

    def test_a_default_that_begins_with_a_byte_order_mark(self):
        (said,) = reasons(ControllerSettings, DEFAULT_CONFIG='\ufeff{"url": "http://x"}')
        self.assertIn("byte order mark", said)

    def test_service_links_stop_no_start(self):
        """Services named like roles, brokers, settings and confd itself, as Kubernetes and Docker tell of them."""
        for service in (
            "worker", "controller", "agent", "redis", "nats", "confd", "confd-worker", "confd-controller", "admin",
            "port", "listen", "worker-url", "hit", "db", "log", "cache", "max", "client", "data", "namespace",
        ):  # fmt: skip
            name = service.upper().replace("-", "_")
            environ = {f"{name}_SERVICE_HOST": "10.0.0.1", f"{name}_SERVICE_PORT": "8082",
                       f"{name}_SERVICE_PORT_HTTP": "8082", f"{name}_SERVICE_PORT_HTTPS_ALT": "8443",
                       f"{name}_PORT": "tcp://10.0.0.1:8082", f"{name}_PORT_8082_TCP": "tcp://10.0.0.1:8082",
                       f"{name}_PORT_8082_TCP_PROTO": "tcp", f"{name}_PORT_8082_TCP_PORT": "8082",
                       f"{name}_PORT_8082_TCP_ADDR": "10.0.0.1"}  # fmt: skip
            for role in ROLES:
                self.assertEqual(reasons(role, **environ), [], service)
                self.assertEqual(read(role, {}, environ, all_roles), read(role, {}, {}, all_roles))
        self.assertEqual(
            read(DevSettings, {}, {"CONFD_WORKER_PORT": "81", "WORKER_PORT": "tcp://[::1]:8"}).worker_port, 81
        )

    def test_links_are_refused_where_somebody_wrote_them(self):
        error = self.assertRaises(StartError, read, DevSettings, {"WORKER_PORT": "tcp://10.0.0.1:80"}, {})
        self.assertIn("WORKER_PORT", str(error))


class AgentApiTests(SynchronousTestCase):
    """The settings of the API of an agent."""

    def test_an_endpoint_that_others_can_reach_needs_a_token(self):
        for endpoint in ("tcp:8083", "tcp:8083:interface=10.0.0.1"):
            (reason,) = reasons(AgentSettings, AGENT_API_LISTEN=endpoint)
            self.assertTrue(reason.startswith("AGENT_API_LISTEN: other machines can reach it;"), reason)
            self.assertEqual(reasons(AgentSettings, AGENT_API_LISTEN=endpoint, AGENT_API_TOKEN="s3cret"), [])
        for endpoint in ("tcp:8083:interface=127.0.0.1", "unix:/run/agent.sock"):
            self.assertEqual(reasons(AgentSettings, AGENT_API_LISTEN=endpoint), [])

    def test_mistakes_are_named(self):
        self.assertEqual(names(AgentSettings, AGENT_API_LISTEN="x"), ["AGENT_API_LISTEN"])
        self.assertEqual(names(AgentSettings, OFREP_POINTER="flags"), ["OFREP_POINTER"])
        for token in ("a b", "ü"):
            (reason,) = reasons(AgentSettings, AGENT_API_TOKEN=token)
            self.assertEqual(reason, "AGENT_API_TOKEN: must be printable ASCII characters without spaces.")
