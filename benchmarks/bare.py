"""A bare twisted.web resource that answers 304 to each request: the yardstick for the polls of a controller."""

from __future__ import annotations

import sys

from twisted.web.resource import Resource
from twisted.web.server import Request, Site


class NotModified(Resource):
    """Answer 304 to each GET."""

    isLeaf = True

    def render_GET(self, request: Request) -> bytes:
        """Return an empty body with status 304."""
        request.setResponseCode(304)
        return b""


def main() -> None:
    """Serve on loopback, on the port in the first argument."""
    from twisted.internet import reactor

    reactor.listenTCP(int(sys.argv[1]), Site(NotModified()), interface="127.0.0.1")  # type: ignore[attr-defined,arg-type]
    reactor.run()  # type: ignore[attr-defined]


if __name__ == "__main__":
    main()
