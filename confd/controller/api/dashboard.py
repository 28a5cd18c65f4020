"""The dashboard as paths."""

from __future__ import annotations

from importlib.resources import files
from pathlib import PurePosixPath

from twisted.internet.interfaces import IReactorTime

from confd.web.auth.principals import Permission
from confd.web.static import TYPES, Assets

_PACKAGE = "confd.controller.dashboard"


def dashboard(clock: IReactorTime) -> Assets:
    """Serve the page at C{/}, and its files below C{/dashboard/}, all for admins."""
    names = sorted(each.name for each in files(_PACKAGE).iterdir() if PurePosixPath(each.name).suffix in TYPES)
    paths = {"/": "index.html"} | {f"/dashboard/{name}": name for name in names if name != "index.html"}
    return Assets(clock, _PACKAGE, paths, Permission.CONFIG_READ)
