"""A bare twisted.web resource that answers 304 to everything: what a controller's polls are compared with."""

from __future__ import annotations

import sys

from twisted.web.resource import Resource
from twisted.web.server import Request, Site


class NotModified(Resource):
    """It has nothing new."""

    isLeaf = True

    def render_GET(self, request: Request) -> bytes:
        """An answer without a body."""
        request.setResponseCode(304)
        return b""


def main() -> None:
    """Serve on the port of loopback that is the argument."""
    from twisted.internet import reactor

    reactor.listenTCP(int(sys.argv[1]), Site(NotModified()), interface="127.0.0.1")  # type: ignore[attr-defined,arg-type]
    reactor.run()  # type: ignore[attr-defined]


if __name__ == "__main__":
    main()
