"""No request is served that two readers may take for different ones."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.web.sample_api import SampleSite

GET = b"GET /open HTTP/1.1\r\n"
HOST = b"Host: localhost\r\n"
POST = b"POST /wish HTTP/1.1\r\n" + HOST
CHUNKED = b"Transfer-Encoding: chunked\r\n"

#: What would be a request of its own for a reader that is taken in.
SMUGGLED = b"GET /open?smuggled HTTP/1.1\r\n" + HOST + b"\r\n"

#: The framing is in doubt: one refusal, and the connection is closed, for what follows may be anything.
FRAMING = {
    "Content-Length and Transfer-Encoding": POST + b"Content-Length: 4\r\n" + CHUNKED + b"\r\n0\r\n\r\n",
    "Transfer-Encoding and Content-Length": POST + CHUNKED + b"Content-Length: 4\r\n\r\n0\r\n\r\n",
    "two Content-Lengths": POST + b"Content-Length: 4\r\nContent-Length: 5\r\n\r\nxxxxx",
    "two equal Content-Lengths": POST + b"Content-Length: 4\r\nContent-Length: 4\r\n\r\nxxxx",
    "a list of Content-Lengths": POST + b"Content-Length: 4, 4\r\n\r\nxxxx",
    "Content-Length +4": POST + b"Content-Length: +4\r\n\r\nxxxx",
    "Content-Length -4": POST + b"Content-Length: -4\r\n\r\nxxxx",
    "Content-Length 0x4": POST + b"Content-Length: 0x4\r\n\r\nxxxx",
    "Content-Length 4_0": POST + b"Content-Length: 4_0\r\n\r\nxxxx",
    "Content-Length 4.0": POST + b"Content-Length: 4.0\r\n\r\nxxxx",
    "Content-Length of nothing": POST + b"Content-Length:\r\n\r\nxxxx",
    "Content-Length with a vertical tab": POST + b"Content-Length: \x0b4\r\n\r\nxxxx",
    "Content-Length in Arabic": POST + "Content-Length: ٤\r\n\r\nxxxx".encode(),
    "xchunked": POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "chunked, identity": POST + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "identity": POST + b"Transfer-Encoding: identity\r\n\r\n",
    "identity, and a length": POST + b"Transfer-Encoding: identity\r\nContent-Length: 4\r\n\r\nxxxx",
    "gzip, chunked": POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "chunked twice": POST + CHUNKED + CHUNKED + b"\r\n0\r\n\r\n",
    "chunked, then identity": POST + CHUNKED + b"Transfer-Encoding: identity\r\n\r\n0\r\n\r\n",
    "identity, then chunked": POST + b"Transfer-Encoding: identity\r\n" + CHUNKED + b"\r\n0\r\n\r\n",
    "Identity, then CHUNKED": POST + b"transfer-encoding: Identity\r\nTRANSFER-ENCODING: CHUNKED\r\n\r\n0\r\n\r\n",
    "identity twice": POST + b"Transfer-Encoding: identity\r\n" * 2 + b"\r\n",
    "length, then identity": POST + b"Content-Length: 4\r\nTransfer-Encoding: identity\r\n\r\nxxxx",
    "length, chunked, identity": POST + b"Content-Length: 4\r\n" + CHUNKED + b"Transfer-Encoding: identity\r\n\r\nxxxx",
    "chunked, other headers, identity": POST + CHUNKED + b"X: y\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
    "chunked, then nothing": POST + CHUNKED + b"Transfer-Encoding:\r\n\r\n0\r\n\r\n",
    "identity in HTTP/1.0": b"POST /wish HTTP/1.0\r\n" + HOST + b"Transfer-Encoding: identity\r\n\r\n",
    "Transfer-Encoding of nothing": POST + b"Transfer-Encoding:\r\n\r\n0\r\n\r\n",
    "Transfer-Encoding that is a list with nothing": POST + b"Transfer-Encoding: , chunked\r\n\r\n0\r\n\r\n",
    "chunked with a parameter": POST + b"Transfer-Encoding: chunked;q=1\r\n\r\n0\r\n\r\n",
    "chunked that is folded": POST + b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
    "chunked with a line folded behind it": POST + CHUNKED + b" , identity\r\n\r\n0\r\n\r\n",
    "chunked with a bare CR": POST + b"Transfer-Encoding: chunked\r\r\n\r\n0\r\n\r\n",
    "space before the colon of Transfer-Encoding": POST + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "chunked of a GET, and identity": GET + HOST + CHUNKED + b"Transfer-Encoding: identity\r\n\r\n0\r\n\r\n",
    "Content-Length 4 4": POST + b"Content-Length: 4 4\r\n\r\nxxxx",
    "Content-Length, and one of nothing": POST + b"Content-Length: 4\r\nContent-Length:\r\n\r\nxxxx",
    "Content-Length of 5 000 digits": POST + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\nxxxx",
    "chunk size with a space behind it": POST + CHUNKED + b"\r\n1 \r\nx\r\n0\r\n\r\n",
    "chunk size with a sign behind it": POST + CHUNKED + b"\r\n1_0\r\nx\r\n0\r\n\r\n",
    "chunk size -1": POST + CHUNKED + b"\r\n-1\r\nx\r\n0\r\n\r\n",
    "chunk size that is no number": POST + CHUNKED + b"\r\nxyz\r\nx\r\n0\r\n\r\n",
    "chunk size with NUL": POST + CHUNKED + b"\r\n1\x00\r\nx\r\n0\r\n\r\n",
    "chunk extension without end": POST + CHUNKED + b"\r\n1;" + b"a" * 5000,
    "chunk extension with a bare CR": POST + CHUNKED + b"\r\n1;a\rb\r\nx\r\n0\r\n\r\n",
    "chunk extension of a last chunk": POST + CHUNKED + b"\r\n0;a\nb\r\n\r\n",
    "chunk ended by a bare CR": POST + CHUNKED + b"\r\n1\r\nx\r0\r\n\r\n",
    "trailer with a bare LF": POST + CHUNKED + b"\r\n0\r\nX: a\n\nGET /open?smuggled HTTP/1.1\r\nHost: x\r\n\r\n",
    "trailer with a bare CR": POST + CHUNKED + b"\r\n0\r\nX: a\rY: b\r\n\r\n",
    "trailer with NUL": POST + CHUNKED + b"\r\n0\r\nX: a\x00\r\n\r\n",
    "trailer that is no header": POST + CHUNKED + b"\r\n0\r\nGET /open?smuggled HTTP/1.1\r\n\r\n",
    "trailer that is folded": POST + CHUNKED + b"\r\n0\r\nX: a\r\n b\r\n\r\n",
    "trailer with a space before the colon": POST + CHUNKED + b"\r\n0\r\nX : a\r\n\r\n",
    "trailers without end": POST + CHUNKED + b"\r\n0\r\n" + b"X: aaaaaaa\r\n" * 400,
    "trailer that does not end": POST + CHUNKED + b"\r\n0\r\nX: " + b"a" * 5000,
    "chunked with a vertical tab": POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "chunked in quotes": POST + b'Transfer-Encoding: "chunked"\r\n\r\n0\r\n\r\n',
    "chunked in HTTP/1.0": b"POST /wish HTTP/1.0\r\n" + HOST + CHUNKED + b"\r\n0\r\n\r\n",
    "chunk size 0x1": POST + CHUNKED + b"\r\n0x1\r\nx\r\n0\r\n\r\n",
    "chunk size +1": POST + CHUNKED + b"\r\n+1\r\nx\r\n0\r\n\r\n",
    "chunk size with a space": POST + CHUNKED + b"\r\n 1\r\nx\r\n0\r\n\r\n",
    "chunk size of nothing": POST + CHUNKED + b"\r\n\r\nx\r\n0\r\n\r\n",
    "chunk that is longer than it says": POST + CHUNKED + b"\r\n1\r\nxx\r\n0\r\n\r\n",
    "chunk ended by a bare LF": POST + CHUNKED + b"\r\n1\r\nx\n0\r\n\r\n",
    "chunk size ended by a bare LF": POST + CHUNKED + b"\r\n1\nx\r\n0\r\n\r\n",
    "chunk extension with a bare LF": POST + CHUNKED + b"\r\n1;a\nb\r\nx\r\n0\r\n\r\n",
    "chunk size of a thousand digits": POST + CHUNKED + b"\r\n" + b"0" * 2000 + b"1\r\nx\r\n0\r\n\r\n",
    "space before the colon": POST + b"Content-Length : 4\r\n\r\nxxxx",
    "tab before the colon": POST + b"Content-Length\t: 4\r\n\r\nxxxx",
    "no colon": POST + b"Content-Length 4\r\n\r\nxxxx",
    "no name": POST + b": 4\r\n\r\n",
    "name that is no token": POST + b"Content[Length: 4\r\n\r\n",
    "name with NUL": POST + b"Content-Length\x00: 4\r\n\r\nxxxx",
    "name that is not ASCII": POST + "Content-Längth: 4\r\n\r\n".encode(),
    "value with NUL": GET + HOST + b"X: a\x00b\r\n\r\n",
    "value with a control character": GET + HOST + b"X: a\x01b\r\n\r\n",
    "value with DEL": GET + HOST + b"X: a\x7fb\r\n\r\n",
    "query that is not ASCII": "GET /open?ö HTTP/1.1\r\n".encode() + HOST + b"\r\n",
    "RTSP": b"GET /open RTSP/1.0\r\n" + HOST + b"\r\n",
    "ICE": b"SOURCE /open ICE/1.0\r\n" + HOST + b"\r\n",
    "bare LF before the request": b"\n" + GET + HOST + b"\r\n",
    "CR before the request": b"\r" + GET + HOST + b"\r\n",
    "Content-Length of 5 000 zeros": POST + b"Content-Length: " + b"0" * 5000 + b"\r\n\r\n",
    "value with a bare CR": GET + HOST + b"X: a\rContent-Length: 4\r\n\r\n",
    "value with a bare LF": GET + HOST + b"X: a\nContent-Length: 4\r\n\r\n",
    "headers ended by bare LFs": b"GET /open HTTP/1.1\nHost: localhost\n\n\r\n\r\n",
    "folded header": GET + HOST + b"X: a\r\n b\r\n\r\n",
    "folded by a tab": GET + HOST + b"X: a\r\n\tb\r\n\r\n",
    "folded Content-Length": POST + b"Content-Length:\r\n 4\r\n\r\nxxxx",
    "folded first line": b"GET /open HTTP/1.1\r\n " + HOST + b"\r\n",
    "white space before the request": b" " + GET + HOST + b"\r\n",
    "two empty lines before the request": b"\r\n\r\n" + GET + HOST + b"\r\n",
    "no Host": GET + b"\r\n",
    "two Hosts": GET + HOST + b"Host: elsewhere\r\n\r\n",
    "two equal Hosts": GET + HOST + HOST + b"\r\n",
    "Host that is a list": GET + b"Host: a, b\r\n\r\n",
    "Host with a path": GET + b"Host: localhost/elsewhere\r\n\r\n",
    "Host with a user": GET + b"Host: a@b\r\n\r\n",
    "Host with a space": GET + b"Host: a b\r\n\r\n",
    "Host that is not ASCII": GET + "Host: löcal\r\n\r\n".encode(),
    "absolute URI": b"GET http://localhost/open HTTP/1.1\r\n" + HOST + b"\r\n",
    "authority": b"CONNECT localhost:80 HTTP/1.1\r\n" + HOST + b"\r\n",
    "asterisk": b"OPTIONS * HTTP/1.1\r\n" + HOST + b"\r\n",
    "path without a slash": b"GET open HTTP/1.1\r\n" + HOST + b"\r\n",
    "no path": b"GET  HTTP/1.1\r\n" + HOST + b"\r\n",
    "no version": b"GET /open\r\n" + HOST + b"\r\n",
    "HTTP/0.9": b"GET /open\r\n\r\n",
    "HTTP/1.2": b"GET /open HTTP/1.2\r\n" + HOST + b"\r\n",
    "HTTP/2.0": b"GET /open HTTP/2.0\r\n" + HOST + b"\r\n",
    "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "http/1.1": b"GET /open http/1.1\r\n" + HOST + b"\r\n",
    "two spaces": b"GET  /open HTTP/1.1\r\n" + HOST + b"\r\n",
    "tabs": b"GET\t/open\tHTTP/1.1\r\n" + HOST + b"\r\n",
    "space in the path": b"GET /open x HTTP/1.1\r\n" + HOST + b"\r\n",
    "NUL in the path": b"GET /open\x00 HTTP/1.1\r\n" + HOST + b"\r\n",
    "bare CR in the path": b"GET /open\rX HTTP/1.1\r\n" + HOST + b"\r\n",
    "method that is no token": b"G(T /open HTTP/1.1\r\n" + HOST + b"\r\n",
    "method that nobody registered": b"X-CUSTOM /open HTTP/1.1\r\n" + HOST + b"\r\n",
    "method in lower case": b"get /open HTTP/1.1\r\n" + HOST + b"\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
}

#: The framing is clear, the path is not.
PATHS = [
    b"//open",
    b"//",
    b"/open//",
    b"/./open",
    b"/../open",
    b"/open/..",
    b"/open/.",
    b"/%2e/open",
    b"/%2E%2e/open",
    b"/.%2e/open",
    b"/x/%2e%2e/open",
    b"/fail%2fNotFound",
    b"/fail%2FNotFound",
    b"/fail%5cNotFound",
    b"/open%00",
    b"/%ff",
    b"/%c3%28",
    b"/fail/%ed%a0%80",
    b"/\xc3\xb6pen",
    b"/\xff",
]


class SmugglingTests(SynchronousTestCase):
    """Ambiguous forms of requests that the site would answer."""

    def test_ambiguous_request_is_refused_once_and_the_rest_is_not_read(self) -> None:
        for name, raw in FRAMING.items():
            caller = SampleSite().connect()
            caller.send(raw + SMUGGLED)
            caller.send(SMUGGLED)
            replies = caller.replies()
            self.assertEqual([reply.status for reply in replies], [400], name)
            self.assertEqual(replies[0].headers["connection"], "close", name)
            self.assertTrue(caller.wire.ended, name)
            self.assertNotIn("smuggled", replies[0].body.decode(), name)

    def test_ambiguous_request_in_single_bytes_is_refused(self) -> None:
        for name, raw in FRAMING.items():
            caller = SampleSite().connect()
            for position in range(len(raw)):
                caller.send(raw[position : position + 1])
            caller.send(SMUGGLED)
            self.assertEqual([reply.status for reply in caller.replies()], [400], name)

    def test_ambiguous_path_is_refused(self) -> None:
        for path in PATHS:
            caller = SampleSite().connect()
            caller.send(b"GET " + path + b" HTTP/1.1\r\n" + HOST + b"\r\n" + SMUGGLED)
            self.assertEqual([reply.status for reply in caller.replies()], [400], path)

    def test_path_that_resembles_an_endpoint_gets_404(self) -> None:
        for path in (
            "/open/",
            "/Open",
            "/open;x",
            "/open%20",
            "/%6fpen/",
            "/open#x",
            "/wish\\x",
            "/",
            "/fail/a%252fb/c",
        ):
            reply = SampleSite().connect().get(path)
            self.assertEqual((reply.status, reply.code), (404, "not_found"), path)

    def test_unknown_method_gets_405_and_keeps_the_connection(self) -> None:
        caller = SampleSite().connect()
        for method in ("TRACE", "OPTIONS", "PUT", "PROPFIND"):
            reply = caller.request(method, "/open")
            self.assertEqual((reply.status, reply.headers["allow"]), (405, "GET, HEAD"), method)
        self.assertEqual(caller.get("/open").status, 200)

    def test_unusual_but_valid_request_is_served(self) -> None:
        for raw in (
            b"\r\n" + GET + HOST + b"\r\n",
            GET + b"Host:\r\n\r\n",
            GET + b"Host: [::1]:8080\r\n\r\n",
            GET + b"host:\tlocalhost:8080 \r\n\r\n",
            GET + b"Host: a..b\r\n\r\n",
            GET + b"Host: " + b"x" * 200 + b"\r\n\r\n",
            GET + HOST + b"X:\r\nY: :\r\n\r\n",
            GET + HOST + b"Content-Length: 0\r\n\r\n",
            GET + HOST + b"Content-Length: 4\r\n\r\nxxxx",
            GET + HOST + CHUNKED + b"\r\n0\r\n\r\n",
            GET + HOST + b"Transfer-Encoding:\tCHUNKED \r\n\r\n0\r\n\r\n",
            GET + HOST + CHUNKED + b"\r\n1;a=b\r\nx\r\n000\r\nX: a\r\nY:\r\n\r\n",
            b"GET /%6Fpen HTTP/1.1\r\n" + HOST + b"\r\n",
            b"GET /open?//../%2f%00%ff HTTP/1.1\r\n" + HOST + b"\r\n",
            b"GET /open HTTP/1.0\r\n\r\n",
        ):
            caller = SampleSite().connect()
            caller.send(raw)
            self.assertEqual([reply.status for reply in caller.replies()], [200], raw)
