"""The commands on all agents together: C{status} and C{watch}."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator

import click

from confd.cli.command import Command
from confd.cli.commands.completing import complete_version
from confd.cli.commands.convergence import draw_agents_behind, in_words, latencies, wait_for_quorum
from confd.cli.commands.publish import QUORUM_PERCENT, TIMEOUT_SECONDS, quorum_option, require_wait, timeout_option
from confd.cli.errors import CommandError, Exit
from confd.cli.session import Session, common, pass_session
from confd.cli.text import format_time, plural
from confd.codec.strict_json import JsonObject
from confd.codec.text import printable

#: First pause before a broken event stream is opened again; it doubles with each failure.
_FIRST_PAUSE_SECONDS = 1.0
#: Longest such pause.
_MAX_PAUSE_SECONDS = 30.0

#: Events that C{watch --live} shows, and the titles of its columns.
_LIVE_ROWS, _LIVE_HEAD = 12, ("TIME", "EVENT", "WHAT")


@click.command(
    "status",
    cls=Command,
    short_help="Show the current version and the agents that applied it.",
    examples=[
        ("confdctl status", "show the current version and its convergence"),
        ("confdctl status --version 7", "show the convergence of version 7"),
        ("confdctl status --wait --timeout 60", "wait until all agents have applied the current version"),
        ("confdctl status --all", "name up to 100 agents that are behind, in place of 10"),
    ],
)
@click.option(
    "--version",
    type=click.IntRange(min=1),
    metavar="N",
    help="Show version N instead of the current one.",
    shell_complete=complete_version,
)
@click.option(
    "--wait",
    is_flag=False,
    flag_value=0,
    type=click.IntRange(min=0),
    metavar="[VERSION]",
    help="Wait until the agents have applied VERSION.  [default: the current one]",
)
@quorum_option
@timeout_option
@click.option("--all", "all_known", is_flag=True, help="Name up to 100 agents that are behind, in place of 10.")
@common()
@pass_session
def status(
    session: Session,
    version: int | None,
    wait: int | None,
    quorum: float | None,
    timeout: float | None,
    all_known: bool,
) -> None:
    """Show the cluster, a version and its convergence, and name the agents that are behind."""
    require_wait(wait, quorum, timeout)
    if version is not None and wait:
        raise CommandError(Exit.USAGE, "--version and --wait VERSION name two versions; leave one out.")
    version = version or wait or None
    controller, scope = session.controller, {"namespace": session.namespace}
    cluster = controller.get("/api/v1/cluster")
    current = controller.get("/api/v1/config", **scope)["version"]
    asked = current if version is None else version
    reached: bool | None = True
    if wait is not None:
        seconds = timeout or TIMEOUT_SECONDS
        reached, _ = wait_for_quorum(session, session.namespace, asked, quorum or QUORUM_PERCENT, seconds)
    convergence = controller.get(f"/api/v1/config/versions/{asked}/convergence", **scope)
    revision = controller.get(f"/api/v1/config/versions/{asked}", **scope)
    del revision["data"]

    def draw() -> None:
        counts = in_words(convergence)
        lines: list[tuple[str, object]] = [
            ("Cluster", f"{cluster['cluster_id']}, epoch {cluster['epoch']}"),
            ("Namespace", session.namespace),
            ("Version", f"{asked} ({revision['tag']})" + ("" if asked == current else f"; {current} is current")),
            ("Published", f"{format_time(revision['updated_at'])} by {revision['author']}"),
            ("Comment", revision["comment"] or None),
            ("Poll", f"every {revision['poll_interval_seconds']} s"),
            *_rollout(convergence),
            ("Agents", f"{convergence['targeted']}: {counts}" if counts else "none"),
            *_silent(session),
            ("Propagation", latencies(convergence)),
        ]  # fmt: skip
        session.screen.facts(lines)
        draw_agents_behind(session, convergence, all_known)

    session.screen.show({"cluster": cluster, "version": revision, "convergence": convergence}, draw)
    if not reached:
        when = f" after {seconds:g} s" if reached is None else f": {plural(convergence['failed'], 'agent')} failed"
        raise CommandError(Exit.NO_QUORUM, f"Quorum not reached{when}.")


def _rollout(convergence: JsonObject) -> list[tuple[str, object]]:
    """Return the line on the open rollout, if any."""
    rollout = convergence.get("rollout")
    if not rollout:
        return []
    members = plural(rollout["members"], "member")
    said = f"{rollout['id']} delivers version {rollout['candidate']} to {members}, which are not counted here"
    return [("Rollout", said)]


def _silent(session: Session) -> list[tuple[str, object]]:
    """Return the line on the agents that are silent now, whatever they reported before, if any."""
    found = {each["name"]: each for each in session.controller.get("/api/v1/namespaces")}.get(session.namespace)
    silent = found["agents"] - found["live_agents"] if found else 0
    return [("Silent", f"{plural(silent, 'agent')} now; confdctl agents --state silent names them")] if silent else []


@click.command(
    "watch",
    cls=Command,
    short_help="Print changes of versions, agents, convergence and rollouts as they happen.",
    examples=[
        ("confdctl watch", "print all events until Ctrl-C"),
        ("confdctl watch --live", "show the convergence and the latest events in place"),
        ("confdctl watch -o json --only config", "print one line of JSON for each publish"),
    ],
)
@click.option(
    "--only", type=click.Choice(["config", "agents", "convergence", "rollout"]), help="Print only events of this kind."
)
@click.option(
    "--count", type=click.IntRange(min=1), metavar="N", help="Stop after N events.  [default: run until Ctrl-C]"
)
@click.option("--live", is_flag=True, help="Show the convergence and the latest events in place, at a terminal.")
@common()
@pass_session
def watch(session: Session, only: str | None, count: int | None, live: bool) -> None:
    """Print the events of a namespace as they happen. A broken connection is opened again."""
    if live and not session.screen.form.for_people:
        raise CommandError(Exit.USAGE, "--live draws for people; leave out -o, or leave out --live.")
    if live:
        return _watch_live(session, only, count)
    for name, value in _events(session, only, count, session.screen.say):
        at = f"{session.clock.now():%H:%M:%S}  {printable(name):<11}  "
        said = "\n".join(f"{at}{words}" for words in _event_words(name, value))
        session.screen.event({"event": name, "data": value}, said)
    return None


def _watch_live(session: Session, only: str | None, count: int | None) -> None:
    """Show the latest events, and the convergence below them, in place."""
    latest: deque[list[str]] = deque(maxlen=_LIVE_ROWS)
    sentence = f"{session.namespace}: waiting for the first event."
    with session.screen.live() as show:

        def tell(problem: str) -> None:
            show(_LIVE_HEAD, latest, problem, problem)

        tell(sentence)
        for name, value in _events(session, only, count, tell):
            words = _event_words(name, value)
            at = f"{session.clock.now():%H:%M:%S}"
            latest.extend([at, name, each] for each in words)
            if name == "convergence":
                sentence = f"{session.namespace}: {words[0]}"
            show(_LIVE_HEAD, latest, sentence, f"{at}  {name:<11}  {words[-1]}")


def _events(
    session: Session, only: str | None, count: int | None, say: Callable[[str], None]
) -> Iterator[tuple[str, JsonObject]]:
    """
    Yield events without heartbeats, and open a broken connection again.

    @param only: the kind of the events; C{None} for all.
    @param count: events to yield; C{None} for no end.
    @param say: gets a sentence before each pause.
    """
    pause, seen = _FIRST_PAUSE_SECONDS, 0
    while True:
        try:
            for name, value in _in_order(session.controller.events(namespace=session.namespace)):
                pause = _FIRST_PAUSE_SECONDS
                if name == "heartbeat" or only not in (None, name):
                    continue
                yield name, value
                seen += 1
                if seen == count:
                    return
            broken = "The controller ended the stream."
        except CommandError as failure:
            if failure.status is not Exit.UNREACHABLE:
                raise
            broken = failure.sentence
            pause = failure.pause(pause)
        say(f"{printable(broken)} Reconnecting in {pause:.3g} s.")
        session.clock.sleep(pause)
        pause = min(2 * pause, _MAX_PAUSE_SECONDS)


def _in_order(events: Iterator[tuple[str, JsonObject]]) -> Iterator[tuple[str, JsonObject]]:
    """Yield events; the convergence of a new version follows the event of the version, which may arrive behind it."""
    current = 0
    held: list[tuple[str, JsonObject]] = []
    for name, value in events:
        if name == "config":
            current = value["version"]
            yield name, value
        elif name == "convergence" and value["version"] > current and not held:
            held.append((name, value))
            continue
        yield from held
        held.clear()
        if name != "config":
            yield name, value


def _event_words(name: str, value: JsonObject) -> list[str]:
    """Return an event in words, a line for each agent."""
    if name == "config":
        said = f": {value['comment']}" if value.get("comment") else ""
        return [f"{printable(value['tag'])} by {printable(value['author'])}{printable(said)}"]
    if name == "convergence":
        counts = in_words(value) or "no reports yet"
        return [f"version {value['version']} on {plural(value['targeted'], 'agent')}: {counts}; {latencies(value)}"]
    if name == "rollout":
        return [f"{value['id']}, wave {value['wave']} of {len(value['waves'])}: {printable(value['next'])}"]
    if name == "agents":
        lines = [
            f"{printable(each['hostname'] or each['id'])} {printable(each['state'] or 'pending')}"
            + (f" {each['applied_version']}" if each.get("applied_version") else "")
            + (f": {printable(each['error'])}" if each.get("error") else "")
            for each in value["agents"]
        ]
        return lines + ["... and more"] * bool(value.get("more"))
    return [printable(value)]
