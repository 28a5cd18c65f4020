"""Print the events of a confd controller: python3 receiver.py PORT, with the secret in WEBHOOK_SECRET."""

import hashlib
import hmac
import json
import os
import sys
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer

#: An event waits up to 24 hours while the receiver is down.
MAX_AGE = timedelta(hours=25)

seen = set()


def verify(body, signature, secret):
    """Return the event in the body of a request; raise ValueError if it is not genuine."""
    expected = "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    if not hmac.compare_digest(signature, expected):
        raise ValueError("wrong signature")
    event = json.loads(body)
    if datetime.now(UTC) - datetime.fromisoformat(event["at"].replace("Z", "+00:00")) > MAX_AGE:
        raise ValueError("too old")
    return event


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        try:
            event = verify(body, self.headers.get("X-Confd-Signature", ""), os.environ["WEBHOOK_SECRET"])
        except ValueError as error:
            self.send_error(403, str(error))
            return
        # An event may come again.
        if event["id"] not in seen:
            seen.add(event["id"])
            print(event["event"], event["text"], flush=True)
        self.send_response(204)
        self.end_headers()


if __name__ == "__main__":
    HTTPServer(("127.0.0.1", int(sys.argv[1])), Receiver).serve_forever()
