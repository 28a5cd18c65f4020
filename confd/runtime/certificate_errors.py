"""Words for certificates that cannot be trusted, the same for daemons and confdctl."""

from __future__ import annotations

#: By OpenSSL's number of the verification error (X509_V_ERR, see openssl-verification-options(1)).
_WORDS = {
    9: "its certificate is not valid yet; wait, or correct the clock of this machine",
    10: "its certificate has expired; renew it, or correct the clock of this machine",
    18: "its certificate is self-signed and not trusted here",
    23: "its certificate is revoked; renew it",
}

#: Errors that naming an authority mends.
_UNTRUSTED = frozenset((2, 18, 19, 20, 21))

#: A certificate that does not name the host.
MISNAMED = "its certificate is not trusted for this address, since it names others"

_HOST_MISMATCHES = (62, 64)

#: By the alert with which a peer refuses the certificate of a client (RFC 8446 section 6.2), in OpenSSL's words.
_ALERTS = {
    "certificate expired": "it refuses the certificate of this client, which has expired; renew it",
    "certificate revoked": "it refuses the certificate of this client, which is revoked; renew it",
    "certificate required": "it asks for a certificate of this client; for a controller, set CONTROLLER_CERT_FILE",
    "unknown ca": "it refuses the certificate of this client, as it does not trust its authority",
    "bad certificate": "it refuses the certificate of this client",
    "certificate unknown": "it refuses the certificate of this client",
    "unsupported certificate": "it refuses the certificate of this client, as it is not made for clients",
}


def is_untrusted(code: int) -> bool:
    """Return whether the certificate would be trusted if its authority were named."""
    return code in _UNTRUSTED


def describe_certificate_error(code: int, message: str) -> str:
    """
    Return what is wrong with a peer's certificate, as part of a sentence.

    @param code: OpenSSL's number of the verification error.
    @param message: OpenSSL's words, for errors without words here.
    """
    if code in _HOST_MISMATCHES:
        return MISNAMED
    if code in _UNTRUSTED - _WORDS.keys():
        return "its certificate is from an authority that is not trusted here"
    return _WORDS.get(code, f"its certificate cannot be trusted ({message})")


def describe_tls_error(reason: str) -> str:
    """
    Return why a handshake failed, as part of a sentence.

    @param reason: OpenSSL's words, whose beginning differs between its releases.
    """
    return next((words for alert, words in _ALERTS.items() if reason.endswith(f"alert {alert}")), reason)
