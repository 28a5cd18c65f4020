"""The command C{doctor}, which finds problems between C{confdctl} and the agents."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import timedelta
from email.utils import parsedate_to_datetime

import click
from attrs import asdict, frozen

import confd
from confd.cli.api_client import value_of
from confd.cli.command import Command
from confd.cli.commands.convergence import in_words
from confd.cli.commands.rollout_progress import is_open
from confd.cli.errors import CommandError, Exit
from confd.cli.session import Session, common, pass_session
from confd.cli.text import plural
from confd.codec.text import printable

#: Largest accepted difference between the two clocks.
_MAX_SKEW_SECONDS = 5.0

#: Remaining validity of a certificate below which to warn, as the roles do.
_MIN_CERTIFICATE_VALIDITY = timedelta(days=30)

_RELEASE = re.compile(rb'^confd_build_info\{[^}]*version="([^"]+)"', re.MULTILINE)


@frozen
class Finding:
    """
    The result of one check.

    @ivar state: C{ok}, C{warn} or C{fail}.
    @ivar remedy: the action to take; empty if none is needed.
    """

    check: str
    state: str
    found: str
    remedy: str = ""


@click.command(
    "doctor",
    cls=Command,
    short_help="Find problems, and say what to do.",
    examples=[
        ("confdctl doctor", "check the default controller"),
        ("confdctl --profile prod doctor", "check the controller of a profile"),
        ("confdctl doctor --webhooks", "also send a test event to each webhook"),
    ],
)
@click.option("--webhooks", is_flag=True, help="Send an event to each URL in WEBHOOK_URLS, too.")
@common()
@pass_session
def doctor(session: Session, webhooks: bool) -> None:
    """
    Check settings, connection, certificate, credentials, clocks and releases, the store and brokers of the controller,
    the agents, and their poll interval.
    """
    findings = list(_examine(session, webhooks))

    def draw() -> None:
        session.screen.table(["CHECK", "STATE", "RESULT"], [[each.check, each.state, each.found] for each in findings])
        for each in findings:
            if each.remedy:
                session.screen.line(f"\n{each.check}: {each.remedy}")

    session.screen.show([asdict(each) for each in findings], draw)
    failed = [each.check for each in findings if each.state == "fail"]
    if failed:
        raise CommandError(Exit.UNSOUND, f"Failed checks: {', '.join(failed)}.")


def _examine(session: Session, webhooks: bool) -> Iterator[Finding]:
    for check, look, remedy in (
        ("settings", _settings, "Correct it; confdctl --help explains the settings."),
        ("controller", _reachable, "Start it, or name another controller with --url, CONFD_URL or a profile."),
        ("certificate", _certificate, "Try again."),
        ("clock", _clock, "Try again."),
        ("release", _release, "Try again."),
        ("ready", _ready, "Check the proxies between confdctl and the controller."),
        ("credentials", _credentials, "Set ADMIN_USERNAME and ADMIN_PASSWORD, or name a --password-file."),
        ("namespace", _namespace, "Choose a namespace that confdctl namespaces lists."),
        ("cluster", _cluster, "Try again."),
        ("rollout", _rollout, "Try again."),
        ("agents", _agents, "Try again."),
        ("herd", _herd, "Try again."),
        *([("webhooks", _webhooks, "Try again.")] if webhooks else []),
    ):
        try:
            yield from look(session)
        except CommandError as failure:
            yield Finding(check, "fail", failure.sentence, remedy)
            if check in ("settings", "controller", "credentials"):
                # The other checks would fail for the same reason.
                return


def _settings(session: Session) -> Iterator[Finding]:
    target = session.target
    origin = target.origins["url"]
    yield Finding("settings", "ok", f"{target.url} ({origin}), namespace {target.namespace}, as {target.username}")
    for remark in target.remarks:
        yield Finding("settings", "warn", remark, "Make the file readable for yourself only.")
    if target.url.startswith("http:") and not target.loopback:
        yield Finding("settings", "warn", "the password crosses the network unencrypted", "Use an https:// address.")


def _reachable(session: Session) -> Iterator[Finding]:
    answer = session.controller.open("/health")
    if answer.status != 200:
        raise CommandError(
            Exit.UNREACHABLE,
            f"{session.target.url}/health answers {answer.status}, but not like a confd controller; check the address.",
        )
    yield Finding("controller", "ok", "the controller answers")


def _certificate(session: Session) -> Iterator[Finding]:
    expiry = session.controller.certificate_expiry()
    if expiry is None:
        return
    left = expiry - session.clock.now()
    days = "less than a day" if left.days < 1 else "1 day" if left.days == 1 else f"{left.days} days"
    found = f"the certificate expires in {days}, at {expiry:%Y-%m-%dT%H:%M:%SZ}"
    if left > _MIN_CERTIFICATE_VALIDITY:
        yield Finding("certificate", "ok", found)
    else:
        yield Finding(
            "certificate", "warn", found,
            "Renew the certificate that LISTEN of the controller names, or that of the proxy in front of it.",
        )  # fmt: skip


def _clock(session: Session) -> Iterator[Finding]:
    try:
        theirs = parsedate_to_datetime(session.controller.open("/health").headers.get("date", ""))
        skew = (session.clock.now() - theirs).total_seconds()
    except (TypeError, ValueError):
        yield Finding(
            "clock",
            "warn",
            "the controller sends no Date header",
            "Check the proxies between confdctl and the controller.",
        )
        return
    if abs(skew) <= _MAX_SKEW_SECONDS:
        yield Finding("clock", "ok", f"within {_MAX_SKEW_SECONDS:g} s of the controller's clock")
    else:
        yield Finding(
            "clock", "warn", f"this clock is {abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} the controller's",
            "Only times in lists are affected; synchronize both machines by NTP.",
        )  # fmt: skip


def _release(session: Session) -> Iterator[Finding]:
    match = _RELEASE.search(session.controller.open("/metrics").body)
    theirs = match[1].decode("ascii", "replace") if match else None
    if theirs == confd.__version__:
        yield Finding("release", "ok", f"both run {theirs}")
    else:
        yield Finding(
            "release", "warn", f"the controller runs {theirs or 'an unknown release'}, confdctl {confd.__version__}",
            "Install the same release on both sides.",
        )  # fmt: skip


def _ready(session: Session) -> Iterator[Finding]:
    answer = session.controller.open("/ready")
    try:
        value = json.loads(answer.body)
        if answer.status == 200:
            warnings = [value.pop(name) for name in list(value) if name.startswith("database_")]
            parts = ", ".join(f"{name} {said}" for name, said in value.items() if name != "status")
            yield Finding("ready", "ok", f"store and brokers work{': ' if parts else ''}{parts}")
            for each in warnings:
                found, _, remedy = each.partition("; ")
                yield Finding("database", "warn", found, f"{remedy[:1].upper()}{remedy[1:]}.")
            return
        problems = [(each["part"], each["message"]) for each in value["details"]]
    except (ValueError, KeyError, TypeError, AttributeError):
        raise CommandError(
            Exit.FAILED, f"/ready answers {answer.status} with a body that confdctl does not understand."
        ) from None
    for part, problem in problems:
        yield Finding("ready", "fail", f"{part}: {problem}", f"Repair {part}; the controller recovers by itself.")


def _credentials(session: Session) -> Iterator[Finding]:
    session.controller.get("/api/v1/namespaces")
    yield Finding("credentials", "ok", f"{session.controller.target.username} has administrator access")


def _namespace(session: Session) -> Iterator[Finding]:
    version = session.controller.get("/api/v1/config", namespace=session.namespace)["version"]
    yield Finding("namespace", "ok", f"version {version} of {session.namespace} is current")


def _cluster(session: Session) -> Iterator[Finding]:
    found = session.controller.get("/api/v1/cluster")
    controllers = found.get("controllers", [])
    lost = [each["address"] for each in controllers if each["state"] == "lost"]
    if controllers:
        releases = " and ".join(sorted({each["release"] for each in controllers}))
        running = plural(len(controllers) - len(lost), "controller")
        yield Finding("controllers", "ok", f"{running} on the database, of release {releases}")
    for each in lost:
        yield Finding(
            "controllers", "warn", f"{each} ended without a stop in the last hour", "Start it, or see why it ended."
        )
    if found["ahead"]["agents"]:
        yield Finding(
            "cluster", "fail", f"{found['ahead']['agents']} agents are ahead of this controller and do not follow it",
            "If its database was restored from a backup, run: confdctl epoch raise",
        )  # fmt: skip
    for each in found["foreign"]:
        yield Finding(
            "cluster", "fail", f"{each['agents']} agents follow the cluster {each['cluster_id']} instead",
            f"If that cluster is lost, run: confdctl cluster adopt {each['cluster_id']}",
        )  # fmt: skip


def _rollout(session: Session) -> Iterator[Finding]:
    latest = next(session.controller.pages("/api/v1/rollouts", 1, namespace=session.namespace), None)
    if latest is None or not is_open(latest):
        yield Finding("rollout", "ok", "none is open")
        return
    well = latest["state"] != "paused"
    yield Finding(
        "rollout", "ok" if well else "warn", f"rollout {latest['id']} is {latest['state']}, in wave {latest['wave']}",
        "" if well else "Run confdctl rollout to see why; then resume, promote or abort it.",
    )  # fmt: skip


def _agents(session: Session) -> Iterator[Finding]:
    found = session.controller.get("/api/v1/config/convergence", namespace=session.namespace)
    well = not (found["failed"] or found["silent"])
    yield Finding(
        "agents", "ok" if well else "warn", f"{found['targeted']}: {in_words(found)}" if found["targeted"] else "none",
        "" if well else "Run confdctl status to see which agents are behind, and why.",
    )  # fmt: skip


def _herd(session: Session) -> Iterator[Finding]:
    """Compare the poll interval with the least that the requests of HERD_REQUESTS allow."""
    requests = session.controller.get("/api/v1/cluster").get("herd", {}).get("requests")
    if not requests:
        return
    live = sum(each["live_agents"] for each in session.controller.get("/api/v1/namespaces"))
    interval = session.controller.get("/api/v1/config", namespace=session.namespace)["poll_interval_seconds"]
    least = max(1, -(-live // requests))
    found = (
        f"the poll interval is {interval} s; {live} live agents and HERD_REQUESTS={requests} need {least} s at least"
    )
    if interval >= least:
        yield Finding("herd", "ok", found)
    else:
        yield Finding("herd", "warn", found, f"Publish with --poll-interval {least}, or raise HERD_REQUESTS.")


def _webhooks(session: Session) -> Iterator[Finding]:
    results = value_of(session.controller.call("POST", "/api/v1/webhooks/ping"))["items"]
    if not results:
        yield Finding("webhooks", "warn", "the controller has none", "Set WEBHOOK_URLS and WEBHOOK_SECRET there.")
    for each in results:
        check, host = f"webhook {each['number']}", printable(each["host"])
        waiting = f"; {plural(each['waiting'], 'event')} waiting" if each["waiting"] else ""
        if each["error"]:
            sentence = printable(each["error"]).rstrip(".")
            yield Finding(check, "fail", sentence + waiting, "Correct the receiver, or the URL in WEBHOOK_URLS.")
        else:
            yield Finding(check, "ok", f"{host} took the test event{waiting}")
