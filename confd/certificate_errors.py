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
