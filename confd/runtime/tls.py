"""TLS at both ends: keys and certificates out of files, and anew when those change, without a restart."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Any

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
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import SSL4ServerEndpoint
from twisted.internet.interfaces import (
    IOpenSSLClientConnectionCreator,
    IOpenSSLServerConnectionCreator,
    IStreamServerEndpoint,
)
from twisted.web.iweb import IPolicyForHTTPS
from zope.interface import implementer

from confd.errors import StartError
from confd.runtime.certificate_errors import MISNAMED, describe_certificate_error
from confd.runtime.certificate_expiry import InUse
from confd.runtime.files import read_file
from confd.runtime.reactor import Reactor
from confd.runtime.reload import ReloadedFiles

#: What the C{ssl} endpoint may say besides its port.
_ARGUMENTS = {"port", "privateKey", "certKey", "extraCertChain", "interface", "backlog"}

#: Bytes of a file of keys or certificates at most: many times the bundle of a system.
_LIMIT = 16 * 1048576

_FIELD = re.compile(r"((?:\\.|[^:\\])*)(?::|\Z)")


@frozen
class Pair:
    """A key, the certificate that is its own, and those between it and its authority."""

    key: PKey = field(repr=False)
    certificate: X509
    chain: list[X509]

    @classmethod
    def load(cls, key: str, certificate: str, chain: str | None = None) -> Pair:
        """
        Read it; what follows on the certificate in its file belongs to the chain.

        @raise ValueError: in one sentence.
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
        return read_file(path, _LIMIT)[0]
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from None


def _certificates(path: str) -> list[Certificate]:
    raw = _read(path)
    try:
        return load_pem_x509_certificates(raw)
    except ValueError:
        raise ValueError(f"{path} holds no PEM certificate") from None


def _authorities(setting: str, path: str) -> tuple[Any, InUse]:
    """Return what to trust, and when that expires."""
    found = _certificates(path)
    roots = ssl.trustRootFromCertificates([ssl.Certificate(X509.from_cryptography(each)) for each in found])
    return roots, InUse(setting, path, [each.not_valid_after_utc for each in found], alternatives=True)


@frozen
class Served:
    """
    What a server shows and whom it trusts.

    @ivar options: for the connections of clients.
    @ivar in_use: the files of certificates.
    """

    options: ssl.CertificateOptions
    in_use: Sequence[InUse]


@frozen
class Presented:
    """
    What a client shows and whom it trusts.

    @ivar roots: the authorities that it trusts.
    @ivar own: its certificate, if it has one.
    @ivar in_use: the files of certificates.
    """

    roots: Any
    own: Pair | None
    in_use: Sequence[InUse]


@implementer(IOpenSSLServerConnectionCreator)
@define(eq=False)
class _Serving:
    """Hands out what is in force to each connection."""

    _served: ReloadedFiles[Served]

    def serverConnectionForTLS(self, protocol: object) -> Connection:
        return Connection(self._served.value.options.getContext(), None)


def is_tls(described: str) -> bool:
    """Whether an endpoint is one of TLS."""
    return described.startswith("ssl:")


def server_endpoint(
    reactor: Reactor,
    in_thread: Callable[..., Deferred[Any]],
    described: str,
    client_ca: str | None,
    setting: str = "LISTEN",
) -> tuple[IStreamServerEndpoint, ReloadedFiles[Served]]:
    """
    An C{ssl:} endpoint whose certificate can be renewed. It takes TLS 1.2 and newer.

    @param described: as Twisted describes it, C{ssl:443:privateKey=key.pem:certKey=cert.pem}.
    @param client_ca: PEM certificates; clients then need a certificate that one of them signed.
    @param setting: the one that holds C{described}.
    @return: also what is to be started and stopped with it.
    @raise ValueError: in one sentence.
    """
    creator, served = _serving(reactor, in_thread, described, client_ca, setting)
    given = _arguments(described)
    port, backlog = int(given["port"]), int(given.get("backlog", "50"))
    return SSL4ServerEndpoint(reactor, port, creator, backlog, given.get("interface", "")), served


def _serving(
    reactor: Reactor, in_thread: Callable[..., Deferred[Any]], described: str, client_ca: str | None, setting: str
) -> tuple[IOpenSSLServerConnectionCreator, ReloadedFiles[Served]]:
    """Return what begins TLS with each client of such an endpoint: see L{server_endpoint}."""
    given = _arguments(described)
    key = given.get("privateKey", "server.pem")
    certificate, chain = given.get("certKey", key), given.get("extraCertChain")

    def load() -> Served:
        pair = Pair.load(key, certificate, chain)
        in_use = [InUse(setting, certificate, pair.expiries())]
        trusted = None
        if client_ca is not None:
            trusted, of_clients = _authorities("CLIENT_CA_FILE", client_ca)
            in_use.append(of_clients)
        options = ssl.CertificateOptions(pair.key, pair.certificate, extraCertChain=pair.chain, trustRoot=trusted)
        options.getContext()
        return Served(options, in_use)

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
            raise ValueError(f"ssl takes {', '.join(sorted(_ARGUMENTS))}, and no {name!r}")
        if name:
            given[name] = re.sub(r"\\(.)", r"\1", value)
    if not given.get("port", "").isdigit():
        raise ValueError("it names no port")
    return given


class CertificateRefused(TLSError):
    """The certificate of a peer cannot be trusted; the text says why, as part of a sentence."""

    def __init__(self, words: str) -> None:
        # Twisted looks into the arguments of OpenSSL's errors: a list of library, function and reason.
        super().__init__([("", "", words)])
        self._words = words

    def __str__(self) -> str:
        return self._words


@implementer(IOpenSSLClientConnectionCreator)
@frozen
class _Verifying:
    """
    Begins TLS with a host.

    @ivar host: what a certificate must name, in ASCII.
    @ivar context: verifies it.
    """

    host: str
    context: Context

    def clientConnectionForTLS(self, protocol: object) -> Connection:
        """See L{IOpenSSLClientConnectionCreator}."""
        connection = Connection(self.context, None)
        if not _is_address(self.host):
            connection.set_tlsext_host_name(self.host.encode("ascii"))
        return connection


def _is_address(host: str) -> bool:
    return isIPAddress(host) or isIPv6Address(host)


def _verifier(host: str) -> Callable[[Connection, X509, int, int, int], bool]:
    """Return what refuses a certificate that cannot be trusted or does not name the host (RFC 9525)."""

    def verify(_: Connection, certificate: X509, error: int, depth: int, is_valid: int) -> bool:
        # As the callback of a context, its error ends the handshake: OpenSSL alerts the peer, and pyOpenSSL raises it.
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
    host: str, roots: Any = None, shown: Mapping[str, Any] = MappingProxyType({})
) -> IOpenSSLClientConnectionCreator:
    """
    Return what begins TLS with a host and checks that its certificate names it.

    @param host: an address, or a name; unlike Twisted it takes underscores, which containers and Compose put there.
    @param roots: authorities to trust instead of the system's.
    @param shown: arguments of L{ssl.CertificateOptions} for the certificate to show.
    """
    # Certificates name neither zones nor the root of the domain names.
    name = host.partition("%")[0].removesuffix(".")
    ascii_name = name if name.isascii() else name.encode("idna").decode("ascii")
    context = ssl.CertificateOptions(trustRoot=roots or ssl.platformTrust(), **shown).getContext()
    context.set_verify(VERIFY_PEER | VERIFY_FAIL_IF_NO_PEER_CERT, _verifier(ascii_name))
    return _Verifying(ascii_name, context)


@implementer(IPolicyForHTTPS)
class ClientTls(ReloadedFiles[Presented]):
    """Whom an HTTP client believes, and who it says that it is."""

    def __init__(
        self,
        reactor: Reactor,
        in_thread: Callable[..., Deferred[Any]],
        whose: str,
        ca_file: str | None,
        cert_file: str | None = None,
        key_file: str | None = None,
    ) -> None:
        """
        @param whose: the beginning of the names of the settings, for errors.
        @param ca_file: PEM certificates that are trusted instead of the system's roots.
        @param cert_file: the certificate to show, with what is between it and its authority.
        @param key_file: its key.
        @raise StartError: if they cannot be used.
        """

        def load() -> Presented:
            roots, own, in_use = ssl.platformTrust(), None, []
            setting = f"{whose}_CA_FILE"
            try:
                if ca_file is not None:
                    roots, trusted = _authorities(setting, ca_file)
                    in_use.append(trusted)
                setting = f"{whose}_CERT_FILE"
                if cert_file is not None and key_file is not None:
                    own = Pair.load(key_file, cert_file)
                    in_use.append(InUse(setting, cert_file, own.expiries()))
            except ValueError as error:
                raise ValueError(f"{setting}: {error}") from None
            return Presented(roots, own, in_use)

        try:
            super().__init__(reactor, in_thread, [path for path in (ca_file, cert_file, key_file) if path], load)
        except ValueError as error:
            raise StartError(f"{error}.") from None

    def in_use(self) -> Sequence[InUse]:
        """Return the files of certificates in use."""
        return self.value.in_use

    def creatorForNetloc(self, hostname: bytes, port: int) -> IOpenSSLClientConnectionCreator:
        """See L{IPolicyForHTTPS}."""
        own = self.value.own
        shown = (
            {} if own is None else {"privateKey": own.key, "certificate": own.certificate, "extraCertChain": own.chain}
        )
        return client_options(hostname.decode("ascii"), self.value.roots, shown)
