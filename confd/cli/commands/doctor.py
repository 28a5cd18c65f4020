"""C{doctor}: what is wrong between here and the agents, and what to do about it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import timedelta
from email.utils import parsedate_to_datetime

import click
from attrs import asdict, frozen

import confd
from confd.cli.command import Command
from confd.cli.commands.convergence import in_words
from confd.cli.errors import CommandError, Exit
from confd.cli.session import Session, common, pass_session

#: Seconds that the two clocks may differ.
_SKEW = 5.0

#: How long before the expiry of a certificate to warn, as the log of a role does.
_RENEWAL = timedelta(days=30)

_RELEASE = re.compile(rb'^confd_build_info\{[^}]*version="([^"]+)"', re.MULTILINE)


@frozen
class Finding:
    """
    One thing that was looked at.

    @ivar state: C{ok}, C{warn}, or C{fail}.
    @ivar remedy: what to do, empty where nothing is.
    """

    check: str
    state: str
    found: str
    remedy: str = ""


@click.command(
    "doctor",
    cls=Command,
    short_help="What is wrong, and what to do about it.",
    examples=[("confdctl doctor", "when something does not work"), ("confdctl --profile prod doctor", "over there")],
)
@common()
@pass_session
def doctor(session: Session) -> None:
    """
    Look at settings, the way to the controller, its certificate, your credentials, both clocks, the controller's store
    and brokers, both releases, and the fleet.
    """
    findings = list(_examine(session))

    def draw() -> None:
        session.screen.table(["CHECK", "", "FOUND"], [[each.check, each.state, each.found] for each in findings])
        for each in findings:
            if each.remedy:
                session.screen.line(f"\n{each.check}: {each.remedy}")

    session.screen.show([asdict(each) for each in findings], draw)
    failed = [each.check for each in findings if each.state == "fail"]
    if failed:
        raise CommandError(Exit.UNSOUND, f"Not well: {', '.join(failed)}.")


def _examine(session: Session) -> Iterator[Finding]:
    for check, look, remedy in (
        ("settings", _settings, "confdctl --help explains the settings."),
        ("controller", _reachable, "Start it, or name another with --url, CONFD_URL or a profile."),
        ("certificate", _certificate, "Try again."),
        ("clock", _clock, "Try again."),
        ("release", _release, "Try again."),
        ("ready", _ready, "Look at what stands between here and the controller."),
        ("credentials", _credentials, "Set ADMIN_USERNAME and ADMIN_PASSWORD, or name a --password-file."),
        ("namespace", _namespace, "confdctl namespaces lists those that there are."),
        ("cluster", _cluster, "Try again."),
        ("agents", _agents, "Try again."),
    ):
        try:
            yield from look(session)
        except CommandError as failure:
            yield Finding(check, "fail", failure.sentence, remedy)
            if check in ("settings", "controller", "credentials"):
                # Whatever follows would only say the same again.
                return


def _settings(session: Session) -> Iterator[Finding]:
    target = session.target
    whence = target.origins["url"]
    yield Finding("settings", "ok", f"{target.url} ({whence}), namespace {target.namespace}, as {target.username}")
    for remark in target.remarks:
        yield Finding("settings", "warn", remark, "Let nobody but you read it.")
    if target.url.startswith("http:") and not target.loopback:
        yield Finding(
            "settings", "warn", "the password goes over the network for all to see", "Use an https:// address."
        )


def _reachable(session: Session) -> Iterator[Finding]:
    answer = session.controller.open("/health")
    if answer.status != 200:
        raise CommandError(
            Exit.UNREACHABLE,
            f"{session.target.url}/health answers {answer.status}; is that the address of a confd controller?",
        )
    yield Finding("controller", "ok", "it answers")


def _certificate(session: Session) -> Iterator[Finding]:
    expiry = session.controller.certificate_expiry()
    if expiry is None:
        return
    left = expiry - session.clock.now()
    days = "less than a day" if left.days < 1 else "1 day" if left.days == 1 else f"{left.days} days"
    found = f"it expires in {days}, at {expiry:%Y-%m-%dT%H:%M:%SZ}"
    if left > _RENEWAL:
        yield Finding("certificate", "ok", found)
    else:
        yield Finding(
            "certificate", "warn", found,
            "Renew the certificate that LISTEN of the controller names, or that of the proxy before it.",
        )  # fmt: skip


def _clock(session: Session) -> Iterator[Finding]:
    try:
        theirs = parsedate_to_datetime(session.controller.open("/health").headers.get("date", ""))
        skew = (session.clock.now() - theirs).total_seconds()
    except (TypeError, ValueError):
        yield Finding(
            "clock", "warn", "the controller does not tell the time", "Something in between takes its Date header away."
        )
        return
    if abs(skew) <= _SKEW:
        yield Finding("clock", "ok", f"within {_SKEW:g} s of the controller's")
    else:
        yield Finding(
            "clock", "warn", f"it is {abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} the controller's",
            "Nothing is decided by it, but times in lists mislead; set both machines by NTP.",
        )  # fmt: skip


def _release(session: Session) -> Iterator[Finding]:
    match = _RELEASE.search(session.controller.open("/metrics").body)
    theirs = match[1].decode("ascii", "replace") if match else None
    if theirs == confd.__version__:
        yield Finding("release", "ok", f"both are {theirs}")
    else:
        yield Finding(
            "release", "warn", f"the controller is {theirs or 'of no known one'}, confdctl is {confd.__version__}",
            "Install the same release of both.",
        )  # fmt: skip


def _ready(session: Session) -> Iterator[Finding]:
    answer = session.controller.open("/ready")
    try:
        value = json.loads(answer.body)
        if answer.status == 200:
            parts = ", ".join(f"{name} {said}" for name, said in value.items() if name != "status")
            yield Finding("ready", "ok", f"store and brokers are of use{': ' if parts else ''}{parts}")
            return
        problems = [(each["part"], each["message"]) for each in value["details"]]
    except (ValueError, KeyError, TypeError, AttributeError):
        raise CommandError(
            Exit.FAILED, f"/ready answers {answer.status}, and nothing that confdctl understands."
        ) from None
    for part, problem in problems:
        yield Finding(
            "ready", "fail", f"{part}: {problem}", f"See to {part}; the controller goes on by itself after that."
        )


def _credentials(session: Session) -> Iterator[Finding]:
    session.controller.get("/api/v1/namespaces")
    yield Finding("credentials", "ok", f"{session.controller.target.username} may change things")


def _namespace(session: Session) -> Iterator[Finding]:
    version = session.controller.get("/api/v1/config", namespace=session.namespace)["version"]
    yield Finding("namespace", "ok", f"version {version} of {session.namespace} is in force")


def _cluster(session: Session) -> Iterator[Finding]:
    found = session.controller.get("/api/v1/cluster")
    if found["ahead"]["agents"]:
        yield Finding(
            "cluster", "fail", f"{found['ahead']['agents']} agents are ahead of this controller and do not follow it",
            "If its database was restored from a backup: confdctl epoch raise",
        )  # fmt: skip
    for each in found["foreign"]:
        yield Finding(
            "cluster", "fail", f"{each['agents']} agents belong to the cluster {each['cluster_id']} and do not follow",
            f"If that one is lost: confdctl cluster adopt {each['cluster_id']}",
        )  # fmt: skip


def _agents(session: Session) -> Iterator[Finding]:
    found = session.controller.get("/api/v1/config/convergence", namespace=session.namespace)
    well = not (found["failed"] or found["silent"])
    yield Finding(
        "agents", "ok" if well else "warn", f"{found['targeted']}: {in_words(found)}" if found["targeted"] else "none",
        "" if well else "confdctl status names those that do not have it, and why.",
    )  # fmt: skip
