#!/usr/bin/env python3
"""A program that takes its configuration from an agent over HTTP: python3 worker.py PORT."""

import json
import sys
import uuid
from http.server import BaseHTTPRequestHandler, HTTPServer

held, boot_id = {}, str(uuid.uuid4())  # The agent delivers again when the boot_id changes.


class Worker(BaseHTTPRequestHandler):
    def do_POST(self):
        document = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if document.get("retries", 0) > 10:  # 422 rejects a document: the old one stays, and the report says why.
            return self.answer(422, {"error": "retries is greater than 10", "code": "too_many_retries"})
        held.update(config=document, version=self.headers["X-Config-Version"])
        self.answer(200, {})

    def do_GET(self):
        health = {"status": "ok", "has_config": bool(held), "version": held.get("version"), "boot_id": boot_id}
        self.answer(200, health) if self.path == "/health" else self.answer(
            200 if held else 404, held or {"code": "none"}
        )

    def answer(self, status, value):
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(value).encode())


HTTPServer(("127.0.0.1", int(sys.argv[1])), Worker).serve_forever()
