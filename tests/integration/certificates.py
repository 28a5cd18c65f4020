"""Certificates for servers on loopback."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from attrs import frozen
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from twisted.internet.ssl import CertificateOptions, PrivateCertificate

#: The subjects of a certificate: an address, and a name that only a proxy of a test knows.
_NAMES = [x509.IPAddress(ip_address("127.0.0.1")), x509.DNSName("controller.test")]


@frozen
class Certificate:
    """PEM files: a certificate for 127.0.0.1, its key, and the authority that signed it."""

    certificate: Path
    key: Path
    authority: Path
    authority_key: Path

    def options(self) -> CertificateOptions:
        """Return the options with which a server presents the certificate."""
        return PrivateCertificate.loadPEM(self.key.read_bytes() + self.certificate.read_bytes()).options()


def make_certificate(folder: Path, begins: int = -1, ends: int = 1, address: str = "") -> Certificate:
    """
    Write a certificate for 127.0.0.1, and the authority that signed it, which no system trusts.

    @param begins: days from now after which it is valid.
    @param ends: days from now after which it has expired.
    @param address: The address in the certificate, in place of the addresses of this machine.
    """
    folder.mkdir(parents=True, exist_ok=True)
    made = Certificate(folder / "server.pem", folder / "server.key", folder / "ca.pem", folder / "ca.key")
    authority_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    authority = _signed(
        "an authority for tests", authority_key, "an authority for tests", authority_key, True, (-9, 9), address
    )
    certificate = _signed("127.0.0.1", key, "an authority for tests", authority_key, False, (begins, ends), address)
    made.authority.write_bytes(authority.public_bytes(Encoding.PEM))
    made.certificate.write_bytes(certificate.public_bytes(Encoding.PEM))
    for path, private in ((made.key, key), (made.authority_key, authority_key)):
        path.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return made


def _signed(
    subject: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: str,
    issuer_key: ec.EllipticCurvePrivateKey,
    authority: bool,
    days: tuple[int, int],
    address: str,
) -> x509.Certificate:
    def name(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    now = datetime.now(UTC)
    names = [x509.IPAddress(ip_address(address))] if address else _NAMES
    # Python 3.13 holds an authority to RFC 5280.
    of_issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key())
    usage = x509.KeyUsage(True, False, False, False, False, authority, authority, False, False)
    return (
        x509.CertificateBuilder()
        .subject_name(name(subject))
        .issuer_name(name(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + timedelta(days=days[0]))
        .not_valid_after(now + timedelta(days=days[1]))
        .add_extension(x509.BasicConstraints(authority, None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(of_issuer, critical=False)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(issuer_key, hashes.SHA256())
    )
