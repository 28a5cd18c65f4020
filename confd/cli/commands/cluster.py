"""The commands for the identity of a database: C{epoch} and C{cluster}."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

import click

from confd.cli.api_client import value_of
from confd.cli.command import Group
from confd.cli.errors import CommandError, Exit
from confd.cli.options import comment_option, yes_option
from confd.cli.session import Session, common, pass_session
from confd.cli.text import plural
from confd.codec.strict_json import JsonObject
from confd.codec.text import printable

_AHEAD, _FOREIGN = "is ahead of this controller", "follows another cluster"

#: What is shown of a controller on PostgreSQL.
_CONTROLLER = ("address", "release", "state", "lag")

F = TypeVar("F", bound=Callable[..., object])


@click.group("epoch", cls=Group, short_help="Show the epoch, or raise it after a restore.")
def epoch() -> None:
    """
    Manage the epoch. Raise it after the database of the controller was restored from a backup, so that agents that are
    ahead of the backup follow again. Without a subcommand: epoch show.
    """


epoch.default = "show"


#: Seconds between two looks of C{--wait}.
_LOOK_SECONDS = 1.0


def _wait_option(what: str) -> Callable[[F], F]:
    return click.option(
        "--wait",
        type=click.IntRange(1, 3600),
        metavar="SECONDS",
        help=f"Wait until an agent {what}, at most SECONDS: agents report after their next poll.",
    )


def _look(session: Session, wait: int | None, reported: Callable[[JsonObject], object], what: str) -> JsonObject:
    """
    Return what the controller says of the cluster.

    @param wait: seconds to wait until C{reported} is true of it; C{None} for no wait.
    @raise CommandError: no agent reported in time.
    """
    clock = session.clock
    deadline = clock.monotonic() + (wait or 0)
    while True:
        found: JsonObject = session.controller.get("/api/v1/cluster")
        if wait is None or reported(found):
            return found
        if clock.monotonic() >= deadline:
            raise CommandError(Exit.NO_QUORUM, f"No agent has reported within {wait} s that it {what}.")
        clock.sleep(_LOOK_SECONDS)


def _show(session: Session, found: JsonObject) -> None:

    def draw() -> None:
        session.screen.facts([("Cluster", found["cluster_id"]), ("Epoch", found["epoch"])])
        if "controllers" in found:
            rows = [[each[name] for name in _CONTROLLER] for each in found["controllers"]]
            session.screen.line("")
            session.screen.table([name.upper() for name in _CONTROLLER], rows)
        ahead = found["ahead"]
        if ahead["agents"]:
            session.screen.line(
                f"{plural(ahead['agents'], 'agent')} ahead of this controller, up to epoch {ahead['epoch']}. "
                "If the database was restored from a backup, run: confdctl epoch raise"
            )
        for each in found["foreign"]:
            session.screen.line(
                f"{plural(each['agents'], 'agent')} of another cluster, at epoch {each['epoch']}. If this controller "
                f"replaces that cluster, run: confdctl cluster adopt {printable(each['cluster_id'])}"
            )

    session.screen.show(found, draw)


@epoch.command(
    "show", short_help="Show the epoch.", examples=[("confdctl epoch", "show the epoch and the agents ahead of it")]
)
@_wait_option(_AHEAD)
@common(namespace=False)
@pass_session
def show_epoch(session: Session, wait: int | None) -> None:
    """Show the epoch, and the agents that are ahead of it."""
    _show(session, _look(session, wait, lambda found: found["ahead"]["agents"], _AHEAD))


@epoch.command(
    "raise",
    short_help="Raise the epoch above that of all agents, after a restore.",
    examples=[
        ("confdctl epoch raise -m 'restored from the backup of Monday'", "raise it above every known epoch"),
        ("confdctl epoch raise --to 5", "raise it to 5"),
    ],
)
@click.option(
    "--to", type=click.IntRange(min=1), metavar="N", help="New epoch.  [default: one above every known epoch]"
)
@comment_option
@yes_option()
@common(namespace=False)
@pass_session
def raise_epoch(session: Session, to: int | None, comment: str | None, yes: bool) -> None:
    """Raise the epoch. Each namespace gets a new version with its current document, which all agents apply."""
    session.confirm("Raise the epoch, so that all agents follow this controller?", yes)
    _begin_epoch(session, "/api/v1/epoch/raise", {"epoch": to, "comment": comment})


@click.group("cluster", cls=Group, short_help="Show the cluster, adopt an identity, or rotate the signing key.")
def cluster() -> None:
    """
    Manage the identity of the controller's database. Agents follow the first cluster that they registered with. Without
    a subcommand: cluster show.
    """


cluster.default = "show"


@cluster.command(
    "show", short_help="Show the cluster.", examples=[("confdctl cluster", "show it and the agents of other clusters")]
)
@_wait_option(_FOREIGN)
@common(namespace=False)
@pass_session
def show_cluster(session: Session, wait: int | None) -> None:
    """Show the cluster, and the agents that belong to another one."""
    _show(session, _look(session, wait, lambda found: found["foreign"], _FOREIGN))


@cluster.command(
    "adopt",
    short_help="Replace a lost cluster.",
    examples=[
        ("confdctl cluster adopt", "make the agents of the only other cluster follow this controller; asks first"),
        ("confdctl cluster adopt 3f2a...", "make the agents of that cluster follow this controller"),
    ],
)
@click.argument("cluster_id", metavar="[UUID]", type=click.UUID, required=False)
@click.option("--epoch", type=click.IntRange(min=1), metavar="N", help="Epoch.  [default: one above every known epoch]")
@comment_option
@yes_option()
@common(namespace=False)
@pass_session
def adopt_cluster(session: Session, cluster_id: object, epoch: int | None, comment: str | None, yes: bool) -> None:
    """
    Take over the identity of the cluster UUID, whose database is lost. Its agents then follow this controller. Without
    UUID it is the only other cluster that agents follow.

    Do not adopt a cluster that still has a controller.
    """
    cluster_id = cluster_id or _only_foreign(session)
    session.confirm(f"Adopt the cluster {cluster_id}, so that its agents follow this controller?", yes)
    _begin_epoch(session, "/api/v1/cluster/adopt", {"cluster_id": str(cluster_id), "epoch": epoch, "comment": comment})


@cluster.command(
    "rotate-key",
    short_help="Sign announcements with a new key.",
    examples=[("confdctl cluster rotate-key", "when the database or a copy of it may be exposed")],
)
@yes_option()
@common(namespace=False)
@pass_session
def rotate_key(session: Session, yes: bool) -> None:
    """
    Sign announcements with a new key. Agents learn it by themselves. The previous key stays valid until the next
    rotation.
    """
    session.confirm("Sign announcements with a new key?", yes)
    made = value_of(session.controller.call("POST", "/api/v1/signing-key/rotate"))
    session.screen.show(
        made, lambda: session.screen.line(f"{printable(made['message'])}: {printable(made['signing_key'])}")
    )


def _only_foreign(session: Session) -> str:
    """
    Return the id of the only other cluster that agents follow.

    @raise CommandError: no agent follows another cluster, or agents follow several.
    """
    ids = [printable(each["cluster_id"]) for each in session.controller.get("/api/v1/cluster")["foreign"]]
    if not ids:
        raise CommandError(
            Exit.NOT_FOUND, f"No agent has reported that it {_FOREIGN}; wait for one: confdctl cluster --wait 120"
        )
    if len(ids) > 1:
        raise CommandError(Exit.USAGE, f"Agents follow several other clusters; name one: {', '.join(ids)}.")
    return ids[0]


def _begin_epoch(session: Session, path: str, body: Mapping[str, object]) -> None:
    answer = session.controller.call("POST", path, {name: value for name, value in body.items() if value is not None})
    made = value_of(answer)

    def draw() -> None:
        session.screen.line(f"{printable(made['message'])}: cluster {made['cluster_id']}, epoch {made['epoch']}.")
        rows = [[each["name"], each["version"], each["epoch"]] for each in made["namespaces"]]
        session.screen.table(["NAMESPACE", "VERSION", "EPOCH"], rows)

    session.screen.show(made, draw)
