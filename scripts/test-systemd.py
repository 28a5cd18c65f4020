#!/usr/bin/env python3
"""
Run the systemd units in a container whose first process is systemd. Install them as docs/operations.rst says, publish,
wait for the worker, and restart, hang, break and stop them.

The script needs root, and docker or podman. ENGINE names the engine; BUILD_OPTIONS go to its "build", which fetches
Debian packages. The container is privileged, since systemd confines its services. The script takes some minutes, and
removes its container and images.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from proving import Failed, eventually, expect

ROOT = Path(__file__).resolve().parents[1]

ROLES = ("controller", "worker", "agent")
SERVICES = [f"confd-{role}.service" for role in ROLES]

#: Names of the image and the container.
PROGRAM, MACHINE = "localhost/confd-test-program", "confd-test-systemd"

CONTROLLER, WORKER = "http://127.0.0.1:8080", "http://127.0.0.1:8082"

#: The masked units would act on the machine around the container.
CONTAINERFILE = f"""
FROM {PROGRAM}
USER 0:0
RUN apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq --yes --no-install-recommends \
    systemd dbus polkitd curl redis-server nats-server && rm -rf /var/lib/confd
RUN systemctl mask systemd-sysctl.service systemd-modules-load.service systemd-udevd.service getty.target \
    console-getty.service redis-server.service nats-server.service
COPY . /srv/deploy
WORKDIR /srv
HEALTHCHECK NONE
"""

#: systemd needs version 2 of the control groups, and mounts that its services see.
BOOT = """
if [ "$(stat -f -c %T /sys/fs/cgroup)" != cgroup2fs ]; then
    umount -R /sys/fs/cgroup
    mount -t cgroup2 cgroup2 /sys/fs/cgroup
fi
mount --make-rshared /
exec /lib/systemd/systemd
"""

#: Sends requests until the file "over" exists, then prints the number of answers and of refused connections.
CLIENT = """
import http.client, pathlib
answered = refused = 0
while not pathlib.Path("over").exists():
    link = http.client.HTTPConnection("127.0.0.1", 8080, timeout=60)
    try:
        link.request("GET", "/health")
        answered += link.getresponse().status == 200
    except ConnectionRefusedError:
        refused += 1
    except (OSError, http.client.HTTPException):
        pass
    link.close()
print(answered, refused)
"""


def engine() -> str:
    """Return the engine of containers."""
    if os.environ.get("ENGINE"):
        return os.environ["ENGINE"]
    for name in ("docker", "podman"):
        if shutil.which(name) and subprocess.run([name, "info"], capture_output=True).returncode == 0:
            return name
    raise SystemExit("no engine: install docker or podman and be root, or set ENGINE")


class Machine:
    """A container that systemd runs."""

    def __init__(self) -> None:
        self._engine = engine()

    def _call(self, *arguments: str, given: str | None = None) -> str:
        done = subprocess.run([self._engine, *arguments], input=given, cwd=ROOT, capture_output=True, text=True)
        if done.returncode:
            raise Failed(f"{' '.join(arguments)}: {(done.stdout + done.stderr)[-2000:]}")
        return done.stdout

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Build the images and start the container; remove both afterwards."""
        options = shlex.split(os.environ.get("BUILD_OPTIONS", ""))
        self._remove()
        try:
            self._call("build", *options, "--tag", PROGRAM, ".")
            self._call("build", *options, "--tag", f"localhost/{MACHINE}", "--file", "-", "deploy", given=CONTAINERFILE)
            flags = [
                "--privileged",
                "--cgroupns=private",
                "--tmpfs=/run",
                "--env=container=oci",
                "--stop-signal=KILL",
                "--entrypoint=/bin/sh",
            ]
            self._call("run", "--detach", f"--name={MACHINE}", *flags, f"localhost/{MACHINE}", "-c", BOOT)
            eventually("systemd is up", lambda: self.run("systemctl list-units confd-none") is not None)
            yield
        finally:
            self._remove()

    def _remove(self) -> None:
        for command in (["rm", "--force", MACHINE], ["rmi", "--force", f"localhost/{MACHINE}", PROGRAM]):
            subprocess.run([self._engine, *command], capture_output=True)

    def run(self, command: str) -> str:
        """
        Run a shell command in the container, and return its output.

        @raise Failed: if its status is not 0.
        """
        return self._call("exec", MACHINE, "sh", "-c", command).strip()

    def start(self, command: str) -> subprocess.Popen[str]:
        """Start a shell command in the container, and return its process."""
        return subprocess.Popen([self._engine, "exec", MACHINE, "sh", "-c", command], stdout=subprocess.PIPE, text=True)

    def get(self, url: str, *options: str) -> str:
        """Return body and status of a request."""
        return self.run(
            shlex.join(["curl", "-sS", "--globoff", "--max-time", "60", "-w", " %{http_code}", *options, url])
        )

    def current(self) -> str:
        """Return body and status of the current configuration."""
        return self.get(f"{CONTROLLER}/api/v1/config", "-u", "admin:of-admin")

    def publish(self, path: str, **members: object) -> dict[str, Any]:
        """Publish a URL of the controller and other members with a poll interval of an hour; return the answer."""
        body = json.dumps({"url": CONTROLLER + path} | members)
        json_of = ("-H", "Content-Type: application/json", "-d", body, "-u", "admin:of-admin")
        answer, _, status = self.get(f"{CONTROLLER}/api/v1/config?poll_interval=3600", *json_of).rpartition(" ")
        expect("the status of what was published", status, "200")
        published: dict[str, Any] = json.loads(answer)
        return published

    def show(self, unit: str, name: str) -> str:
        """Return a property of a unit."""
        return self.run(f"systemctl show --property={name} --value {unit}")

    def pids(self) -> list[str]:
        """Return the main process ids of the three services."""
        return [self.show(service, "MainPID") for service in SERVICES]


def install(machine: Machine) -> None:
    """Install the controller by the commands of the page, and worker and agent in the same way."""
    section = (ROOT / "docs/operations.rst").read_text().partition("Deploy with systemd\n---")[2].partition("\n---")[0]
    commands = re.findall(r"^   \$ sudo (.+)$", section, re.M)
    programs = [command.split()[0] for command in commands[:2]]
    expect("the page begins with commands that the image has run", programs, ["python3", "/opt/confd/bin/pip"])
    machine.run("umask 077; printf of-admin >admin.password; printf of-agent >agent.password")
    machine.run("install -D -m 0644 -t /etc/confd deploy/etc/agent.env deploy/etc/worker.env")
    machine.run(f"sed -i s,^CONTROLLER_URL=.*,CONTROLLER_URL={CONTROLLER}, /etc/confd/agent.env")
    for role in ("agent", "worker"):
        machine.run(f"install -m 0644 deploy/systemd/confd-{role}.service /etc/systemd/system")
    for command in commands[2:]:
        machine.run(command)
    # Type=notify: when this returns, all services listen; the controller finishes its start a moment later.
    machine.run("systemctl enable --now confd-worker.service confd-agent.service")
    for address in (CONTROLLER, "http://[::1]:8080"):
        expect(f"{address} as soon as it has started", machine.get(f"{address}/health"), '{"status":"ok"} 200')
    eventually("the controller is ready", lambda: machine.get(f"{CONTROLLER}/ready") == '{"status":"ready"} 200')


def arrives(machine: Machine, path: str = "/health", body: str = '{"status":"ok"}') -> None:
    """Publish a path, and wait until the worker fetches it."""
    expect("published", machine.publish(path)["published"], True)
    eventually(f"/hit answers with the content of {path}", lambda: machine.get(f"{WORKER}/hit") == f"{body} 200")


def confined(machine: Machine) -> None:
    """Check that a service has no privileges, a filter, a dynamic user, hidden passwords, and a folder of its own."""
    for role, pid in zip(ROLES, machine.pids(), strict=True):
        status = dict(line.split(":\t", 1) for line in machine.run(f"cat /proc/{pid}/status").splitlines())
        found = [status[name].strip() for name in ("NoNewPrivs", "Seccomp", "CapEff", "CapBnd")]
        expect(f"how the {role} is confined", found, ["1", "2", "0" * 16, "0" * 16])
        expect(f"the {role} has a dynamic user", 61184 <= int(status["Uid"].split()[0]) <= 65519, True)
        expect(f"the {role} shows a password", "of-a" in machine.run(f"cat /proc/{pid}/environ | tr '\\0' ' '"), False)
    modes = machine.run("cd /var/lib/private && stat -c %a confd-controller confd-agent")
    expect("the modes of the folders of state", modes, "700\n700")
    wrong = machine.get(f"{CONTROLLER}/api/v1/config", "-u", "admin:admin123")
    expect("the built-in password is refused", wrong.endswith(" 401"), True)


def restarts(machine: Machine) -> None:
    """Check that a restart refuses no connection and loses nothing, and that a connection starts the controller."""
    before = machine.current()
    client = machine.start(f"python3 -c {shlex.quote(CLIENT)}")
    for _ in range(3):
        machine.run("systemctl restart confd-controller.service")
    machine.run("touch over")
    answered, refused = (int(word) for word in client.communicate(timeout=90)[0].split())
    expect("connections refused during the restart", refused, 0)
    expect("some were answered", answered > 0, True)
    machine.run("systemctl stop confd-controller.service")
    expect("a connection starts it", machine.get(f"{CONTROLLER}/health"), '{"status":"ok"} 200')
    eventually("the configuration is the same", lambda: machine.current() == before)


def alone(machine: Machine) -> None:
    """Check that an agent without a controller configures its worker from its own copy."""
    machine.run("systemctl stop confd-controller.socket confd-controller.service")
    machine.run("systemctl restart confd-worker.service confd-agent.service")
    eventually("the worker has its configuration", lambda: machine.get(f"{WORKER}/config").endswith(" 200"))
    machine.run("systemctl start confd-controller.socket confd-controller.service")


def hang(machine: Machine) -> None:
    """Check that systemd restarts a hung service, and that it works again."""
    before = machine.pids()
    machine.run(f"kill -STOP {' '.join(before)}")
    wanted = dict.fromkeys(SERVICES, "active")

    def restarted() -> bool:
        found = {service: machine.show(service, "ActiveState") for service in SERVICES}
        return found == wanted and not set(before) & set(machine.pids())

    eventually("systemd has restarted all three services", restarted)
    arrives(machine, "/ready", '{"status":"ready"}')
    expect("core dumps", machine.run("find / -xdev -name 'core*' -type f -size +4M"), "")


def breaks(machine: Machine) -> None:
    """Check that the journal names a wrong setting, the port stays open, and a corrected service starts by itself."""
    machine.run("cp /etc/confd/controller.env good.env; echo DEFAULT_POLL_INTERVAL=0 >>/etc/confd/controller.env")
    machine.run("systemctl restart confd-controller.service || true")
    eventually("systemd has tried often", lambda: int(machine.show("confd-controller.service", "NRestarts")) >= 6)
    said = machine.run("journalctl --no-pager --lines=40 --unit=confd-controller.service")
    expect("the journal names the setting", "DEFAULT_POLL_INTERVAL" in said, True)
    expect("the port", machine.show("confd-controller.socket", "ActiveState"), "active")
    machine.run("cp good.env /etc/confd/controller.env")
    eventually("the controller is up", lambda: machine.show("confd-controller.service", "ActiveState") == "active")


def brokers(machine: Machine) -> None:
    """Check that the clients of both brokers work in the sandbox."""
    servers = {"REDIS": "redis-server --save ''", "NATS": "/usr/sbin/nats-server --addr 127.0.0.1"}
    for strategy, command in servers.items():
        machine.run(f"systemd-run --quiet --unit=confd-test-broker {command}")
        for role in ("controller", "agent"):
            machine.run(f"echo DISTRIBUTION_STRATEGY={strategy} >>/etc/confd/{role}.env")
        machine.run("systemctl restart confd-controller.service confd-agent.service")
        eventually(f"{strategy} is ready", lambda: machine.get(f"{CONTROLLER}/ready").endswith(" 200"))
        arrives(machine)
        arrives(machine, "/ready", '{"status":"ready"}')
        machine.run("systemctl stop confd-test-broker.service")


def files(machine: Machine) -> None:
    """Check that an agent with the drop-in writes an environment file, and may restart its own unit only."""
    example = ROOT / "docs/examples/environment"
    machine.run("useradd --system --no-create-home confd && install -d -o confd -m 0755 /etc/shop")
    for where, text in (
        ("systemd/system/shop.service", (example / "shop.service").read_text()),
        ("confd/outputs.toml", (example / "outputs.toml").read_text()),
        ("polkit-1/rules.d/50-confd-agent.rules", adapted("polkit/confd-agent.rules")),
        ("systemd/system/confd-agent.service.d/files.conf", adapted("systemd/confd-agent.service.d/files.conf")),
    ):
        machine.run(f"install -D -m 0644 /dev/null /etc/{where} && printf %s {shlex.quote(text)} >/etc/{where}")
    machine.run("printf 'OUTPUTS=FILE\\nOUTPUTS_FILE=/etc/confd/outputs.toml\\n' >>/etc/confd/agent.env")
    machine.run("systemctl daemon-reload && systemctl restart confd-agent.service")
    for title in ("two words", 'a "quoted" one'):
        machine.publish("/health", environment={"TITLE": title})
        eventually(f"the shop has {title}", lambda title=title: f"TITLE={title}" in journal(machine, "shop.service"))
        eventually("the agent reports it", lambda: '"applied":1' in convergence(machine))
    other = machine.run(
        "runuser -u confd -- systemctl --no-ask-password reload-or-restart confd-worker.service 2>&1 || true"
    )
    expect("the answer to the user of the agent", "Interactive authentication required" in other, True)


def adapted(name: str) -> str:
    """Return a file of F{deploy} for the folder and the unit of the shop."""
    text = (ROOT / "deploy" / name).read_text()
    return text.replace("/etc/nginx/conf.d", "/etc/shop").replace("nginx.service", "shop.service")


def journal(machine: Machine, unit: str) -> str:
    """Return the last lines of a unit."""
    return machine.run(f"journalctl --no-pager --lines=100 --unit={unit}")


def convergence(machine: Machine) -> str:
    """Return the convergence of the newest version."""
    return machine.get(f"{CONTROLLER}/api/v1/config/convergence", "-u", "admin:of-admin")


def stops(machine: Machine) -> None:
    """Check that all services end in time, with status 0."""
    began = time.monotonic()
    machine.run(f"systemctl stop confd-controller.socket {' '.join(SERVICES)}")
    expect("the stop took less than 20 s", time.monotonic() - began < 20, True)
    for service in SERVICES:
        found = [machine.show(service, name) for name in ("Result", "ExecMainStatus", "ActiveState")]
        expect(f"the end of {service}", found, ["success", "0", "inactive"])


def main() -> int:
    """Run one step after the other; return status 1 if a step failed."""
    machine = Machine()
    try:
        with machine.running():
            for step in (install, arrives, confined, restarts, alone, hang, breaks, brokers, files, stops):
                try:
                    step(machine)
                except Failed:
                    print(machine.run("journalctl --no-pager --lines=30 --unit='confd*'"), file=sys.stderr)
                    raise
                print(f"{step.__name__}: passed", flush=True)
    except Failed as error:
        print(f"FAILED: {error}", flush=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
