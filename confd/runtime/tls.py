"""TLS of servers and clients, with keys and certificates from files that are reloaded when they change."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from attrs import define, field, frozen
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509 import Certificate, load_pem_x509_certificates
from OpenSSL.crypto import X509, PKey
from OpenSSL.SSL import VERIFY_FAIL_IF_NO_PEER_CERT, VERIFY_PEER, Connection, Context
from OpenSSL.SSL import Error as TLSError
from service_identity import CertificateError, VerificationError
from service_identity.hazmat import DNS_ID, IPAddress_ID, verify_service_identity
from service_identity.pyopenssl import extract_patterns
from twisted.internet import ssl
from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.endpoints import SSL4ServerEndpoint
from twisted.internet.interfaces import (
    IOpenSSLClientConnectionCreator,
    IOpenSSLServerConnectionCreator,
    IStreamServerEndpoint,
)
from twisted.web.iweb import IPolicyForHTTPS
from zope.interface import implementer

from confd.errors import StartError
from confd.runtime.certificate_errors import MISNAMED, CertificateProblem, describe_certificate_error
from confd.runtime.certificate_expiry import InUse
from confd.runtime.files import read_file
from confd.runtime.offload import RunInThread
from confd.runtime.reactor import Reactor
from confd.runtime.reload import ReloadedFiles

if TYPE_CHECKING:
    # Twisted exports no public name of this type.
    from twisted.internet._sslverify import IOpenSSLTrustRoot

#: Arguments of an C{ssl} endpoint.
_ARGUMENTS = {"port", "privateKey", "certKey", "extraCertChain", "interface", "backlog"}

#: Bytes of a file of keys or certificates at most: many times the system's bundle.
_MAX_FILE_BYTES = 16 * 1048576

_FIELD = re.compile(r"((?:\\.|[^:\\])*)(?::|\Z)")


@frozen
class KeyPair:
    """A key, its certificate, and the intermediate certificates up to an authority."""

    key: PKey = field(repr=False)
    certificate: X509
    chain: list[X509]

    @classmethod
    def load(cls, key: str, certificate: str, chain: str | None = None) -> KeyPair:
        """
        Load a key pair. Certificates after the first in its file belong to the chain.

        @param key: path of the key.
        @param certificate: path of the certificate.
        @param chain: path of more intermediate certificates.
        @raise ValueError: if the files cannot be used together, in one sentence.
        """
        raw = _read(key)
        try:
            private = PKey.from_cryptography_key(load_pem_private_key(raw, None))  # type: ignore[arg-type]
        except (ValueError, TypeError):
            raise ValueError(f"{key} holds no PEM key without a passphrase") from None
        own, *between = [*_certificates(certificate), *(_certificates(chain) if chain else [])]
        pair = cls(private, X509.from_cryptography(own), list(map(X509.from_cryptography, between)))
        try:
            ssl.CertificateOptions(pair.key, pair.certificate).getContext()
        except TLSError:
            raise ValueError(f"the key in {key} is not that of the certificate in {certificate}") from None
        return pair

    def expiries(self) -> list[datetime]:
        """Return when its certificates expire, UTC."""
        return [each.to_cryptography().not_valid_after_utc for each in (self.certificate, *self.chain)]


def _read(path: str) -> bytes:
    try:
        return read_file(path, _MAX_FILE_BYTES)[0]
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from None


def _certificates(path: str) -> list[Certificate]:
    raw = _read(path)
    try:
        return load_pem_x509_certificates(raw)
    except ValueError:
        raise ValueError(f"{path} holds no PEM certificate") from None


def _authorities(setting: str, path: str) -> tuple[IOpenSSLTrustRoot, InUse]:
    """Load certificate authorities."""
    found = _certificates(path)
    roots = ssl.trustRootFromCertificates([ssl.Certificate(X509.from_cryptography(each)) for each in found])
    return roots, InUse(setting, path, [each.not_valid_after_utc for each in found], alternatives=True)


@frozen
class ServerCertificates:
    """
    The certificate of a server and the authorities of its clients.

    @ivar options: for connections.
    @ivar in_use: the certificate files.
    """

    options: ssl.CertificateOptions
    in_use: Sequence[InUse]


@frozen
class ClientCertificates:
    """
    The certificate of a client and the authorities of servers.

    @ivar roots: the trusted authorities.
    @ivar own: the certificate to present, if any.
    @ivar in_use: the certificate files.
    """

    roots: IOpenSSLTrustRoot
    own: KeyPair | None
    in_use: Sequence[InUse]


@implementer(IOpenSSLServerConnectionCreator)
@define(eq=False)
class _Serving:
    """Begin TLS with a client, with the current certificates."""

    _served: ReloadedFiles[ServerCertificates]

    def serverConnectionForTLS(self, protocol: object) -> Connection:
        return Connection(self._served.value.options.getContext(), None)


def server_endpoint(
    reactor: Reactor,
    in_thread: RunInThread,
    described: str,
    client_ca: str | None,
    setting: str = "LISTEN",
) -> tuple[IStreamServerEndpoint, ReloadedFiles[ServerCertificates]]:
    """
    Return an C{ssl:} endpoint for TLS 1.2 and newer, and the certificates, a service that reloads them.

    @param described: in Twisted's notation, C{ssl:443:privateKey=key.pem:certKey=cert.pem}.
    @param client_ca: path of PEM certificates of authorities; clients then need a certificate signed by one of them.
    @param setting: the setting that holds C{described}.
    @raise ValueError: if the description or a file is invalid, in one sentence.
    """
    creator, served = _serving(reactor, in_thread, described, client_ca, setting)
    given = _arguments(described)
    port, backlog = int(given["port"]), int(given.get("backlog", "50"))
    return SSL4ServerEndpoint(reactor, port, creator, backlog, given.get("interface", "")), served


def _serving(
    reactor: Reactor, in_thread: RunInThread, described: str, client_ca: str | None, setting: str
) -> tuple[IOpenSSLServerConnectionCreator, ReloadedFiles[ServerCertificates]]:
    """Return the connection creator of an endpoint; see L{server_endpoint}."""
    given = _arguments(described)
    key = given.get("privateKey", "server.pem")
    certificate, chain = given.get("certKey", key), given.get("extraCertChain")

    def load() -> ServerCertificates:
        pair = KeyPair.load(key, certificate, chain)
        in_use = [InUse(setting, certificate, pair.expiries())]
        trusted = None
        if client_ca is not None:
            trusted, of_clients = _authorities("CLIENT_CA_FILE", client_ca)
            in_use.append(of_clients)
        options = ssl.CertificateOptions(pair.key, pair.certificate, extraCertChain=pair.chain, trustRoot=trusted)
        options.getContext()
        return ServerCertificates(options, in_use)

    paths = [path for path in (key, certificate, chain, client_ca) if path is not None]
    served = ReloadedFiles(reactor, in_thread, list(dict.fromkeys(paths)), load)
    return _Serving(served), served


def _arguments(described: str) -> dict[str, str]:
    given = {}
    for number, text in enumerate(each[1] for each in _FIELD.finditer(described.partition(":")[2])):
        name, is_named, value = text.partition("=")
        if not (is_named or number):
            name, value = "port", text
        if name and name not in _ARGUMENTS:
            raise ValueError(f"ssl takes {', '.join(sorted(_ARGUMENTS))}, not {name!r}")
        if name:
            given[name] = re.sub(r"\\(.)", r"\1", value)
    if not given.get("port", "").isdigit():
        raise ValueError("the port is missing")
    return given


class CertificateRefused(CertificateProblem, TLSError):
    """The certificate of a peer is not trusted; the text gives the reason, as part of a sentence."""

    def __init__(self, words: str) -> None:
        # Twisted expects the arguments of an OpenSSL error: a list of library, function and reason.
        super().__init__([("", "", words)])
        self._words = words

    def __str__(self) -> str:
        return self._words


@implementer(IOpenSSLClientConnectionCreator)
@frozen
class _Verifying:
    """
    Begin TLS with a host.

    @ivar host: the host that the certificate must name, in ASCII.
    @ivar context: verifies the certificate.
    """

    host: str
    context: Context

    def clientConnectionForTLS(self, protocol: object) -> Connection:
        connection = Connection(self.context, None)
        if not _is_address(self.host):
            connection.set_tlsext_host_name(self.host.encode("ascii"))
        return connection


def _is_address(host: str) -> bool:
    return isIPAddress(host) or isIPv6Address(host)


def _verifier(host: str) -> Callable[[Connection, X509, int, int, int], bool]:
    """Return a callback that refuses certificates that are not trusted or do not name the host (RFC 9525)."""

    def verify(_: Connection, certificate: X509, error: int, depth: int, is_valid: int) -> bool:
        # An error in the callback ends the handshake: OpenSSL alerts the peer, and pyOpenSSL raises the error.
        if not is_valid:
            raise CertificateRefused(describe_certificate_error(error, f"OpenSSL error {error}"))
        if depth == 0:
            try:
                wanted = IPAddress_ID(host) if _is_address(host) else DNS_ID(host)
                verify_service_identity(extract_patterns(certificate), [wanted], [])
            except (VerificationError, CertificateError, ValueError):
                raise CertificateRefused(MISNAMED) from None
        return True

    return verify


def client_options(
    host: str, roots: IOpenSSLTrustRoot | None = None, own: KeyPair | None = None
) -> IOpenSSLClientConnectionCreator:
    """
    Return a connection creator that verifies the certificate of a host.

    @param host: an address or a name. Unlike in Twisted, a name may have underscores, as Compose services do.
    @param roots: authorities to trust instead of the system's.
    @param own: the certificate to present.
    """
    # Certificates contain neither zones of addresses nor the final dot of names.
    name = host.partition("%")[0].removesuffix(".")
    ascii_name = name if name.isascii() else name.encode("idna").decode("ascii")
    trust = roots or ssl.platformTrust()
    options = (
        ssl.CertificateOptions(trustRoot=trust)
        if own is None
        else ssl.CertificateOptions(own.key, own.certificate, extraCertChain=own.chain, trustRoot=trust)
    )
    context = options.getContext()
    context.set_verify(VERIFY_PEER | VERIFY_FAIL_IF_NO_PEER_CERT, _verifier(ascii_name))
    return _Verifying(ascii_name, context)


@implementer(IPolicyForHTTPS)
class ClientTls(ReloadedFiles[ClientCertificates]):
    """The TLS policy of an HTTP client: authorities to trust, and the certificate to present."""

    def __init__(
        self,
        reactor: Reactor,
        in_thread: RunInThread,
        prefix: str,
        ca_file: str | None,
        cert_file: str | None = None,
        key_file: str | None = None,
    ) -> None:
        """
        @param prefix: prefix of the names of the settings, for errors: C{CONTROLLER} or C{WORKER}.
        @param ca_file: path of PEM certificates to trust instead of the system's.
        @param cert_file: path of the certificate to present, followed by its intermediate certificates.
        @param key_file: path of the key of the certificate.
        @raise StartError: if a file cannot be used.
        """

        def load() -> ClientCertificates:
            roots, own, in_use = ssl.platformTrust(), None, []
            setting = f"{prefix}_CA_FILE"
            try:
                if ca_file is not None:
                    roots, trusted = _authorities(setting, ca_file)
                    in_use.append(trusted)
                setting = f"{prefix}_CERT_FILE"
                if cert_file is not None and key_file is not None:
                    own = KeyPair.load(key_file, cert_file)
                    in_use.append(InUse(setting, cert_file, own.expiries()))
            except ValueError as error:
                raise ValueError(f"{setting}: {error}") from None
            return ClientCertificates(roots, own, in_use)

        try:
            super().__init__(reactor, in_thread, [path for path in (ca_file, cert_file, key_file) if path], load)
        except ValueError as error:
            raise StartError(f"{error}.") from None

    def in_use(self) -> Sequence[InUse]:
        """Return the certificate files in use."""
        return self.value.in_use

    def creatorForNetloc(self, hostname: bytes, port: int) -> IOpenSSLClientConnectionCreator:
        return client_options(hostname.decode("ascii"), self.value.roots, self.value.own)
