"""Describe certificates that are not trusted, for daemons and confdctl alike."""

from __future__ import annotations

import sys

#: Descriptions by OpenSSL's number of the verification error (X509_V_ERR, see openssl-verification-options(1)).
_DESCRIPTIONS = {
    9: "its certificate is not valid yet; check the clock of this machine",
    10: "its certificate has expired; renew it, or correct the clock of this machine",
    18: "its certificate is self-signed and not trusted here",
    23: "its certificate is revoked; renew it",
}

#: Errors that disappear once the authority of the certificate is trusted.
_UNTRUSTED = frozenset((2, 18, 19, 20, 21))

#: A certificate that does not name the host.
MISNAMED = "its certificate is not trusted for this address, since it names others"

_HOST_MISMATCHES = (62, 64)

#: Descriptions by OpenSSL's text of the alert with which a server refuses a client certificate (RFC 8446 section 6.2).
_ALERTS = {
    "certificate expired": "it refuses the certificate of this client, which has expired; renew it",
    "certificate revoked": "it refuses the certificate of this client, which is revoked; renew it",
    "certificate required": "it requires a client certificate; for a controller, set CONTROLLER_CERT_FILE",
    "unknown ca": "it does not trust the authority of this client's certificate",
    "bad certificate": "it refuses the certificate of this client",
    "certificate unknown": "it refuses the certificate of this client",
    "unsupported certificate": "it refuses the certificate of this client, which is not issued for clients",
}


class CertificateProblem(Exception):
    """The certificate of a peer is not trusted; the text gives the reason, as part of a sentence."""


def is_tls_error(error: BaseException | None) -> bool:
    """Return whether an error comes from pyOpenSSL, which a process without TLS never loads."""
    library = sys.modules.get("OpenSSL.SSL")
    return library is not None and isinstance(error, library.Error)


def is_untrusted(code: int) -> bool:
    """Return whether the certificate would be valid if its authority were trusted."""
    return code in _UNTRUSTED


def describe_certificate_error(code: int, message: str) -> str:
    """
    Return the reason why a peer's certificate is not trusted, as part of a sentence.

    @param code: OpenSSL's number of the verification error.
    @param message: OpenSSL's text, for errors that this module does not describe.
    """
    if code in _HOST_MISMATCHES:
        return MISNAMED
    if code in _UNTRUSTED - _DESCRIPTIONS.keys():
        return "its certificate is from an authority that is not trusted here"
    return _DESCRIPTIONS.get(code, f"its certificate cannot be trusted ({message})")


def describe_tls_error(reason: str) -> str:
    """
    Return the reason why a handshake failed, as part of a sentence.

    @param reason: OpenSSL's text; its beginning differs between releases.
    """
    return next((words for alert, words in _ALERTS.items() if reason.endswith(f"alert {alert}")), reason)
