"""The dashboard as paths."""

from __future__ import annotations

from importlib.resources import files
from pathlib import PurePosixPath

from twisted.internet.interfaces import IReactorTime

from confd.controller.api.document_schema import DocumentSchemaApi
from confd.controller.configs.schema import Schema
from confd.runtime.offload import Offload
from confd.web.api.endpoint import ANYONE
from confd.web.auth.principals import Permission
from confd.web.static import TYPES, Assets

_PACKAGE = "confd.controller.dashboard"

#: The files of the page on which people sign in.
_PUBLIC = {"/signin": "signin.html"} | {
    f"/dashboard/{name}": name for name in ("favicon.svg", "signin.js", "style.css")
}


def pages(clock: IReactorTime, offload: Offload, schema: Schema) -> tuple[Assets, Assets, DocumentSchemaApi]:
    """
    Return the dashboard at C{/}, for readers of a configuration, the page C{/signin}, for anyone, and the schema.

    The editor of the dashboard completes names by the schema.
    """
    names = sorted(each.name for each in files(_PACKAGE).iterdir() if PurePosixPath(each.name).suffix in TYPES)
    others = {f"/dashboard/{name}": name for name in names if name not in ("index.html", *_PUBLIC.values())}
    private = Assets(clock, offload, _PACKAGE, {"/": "index.html"} | others, Permission.CONFIG_READ, sign_in="signin")
    return private, Assets(clock, offload, _PACKAGE, _PUBLIC, ANYONE), DocumentSchemaApi(schema)
