"""What a certificate says, as JSON has it."""

from __future__ import annotations

from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes

__all__ = ["certificate_facts"]

UNREADABLE = (x509.DuplicateExtension, x509.InvalidVersion, x509.UnsupportedGeneralNameType)
"""What `cryptography` raises of certificates that TLS does without reading all of."""


def certificate_facts(der: bytes) -> dict[str, Any]:
    """Of whom and by whom it is, the names that it is for, how long it holds, and its SHA-256.

    Args:
        der: the certificate, unchecked. What makes none is said under `error`.
    """
    try:
        certificate = x509.load_der_x509_certificate(der)
        return {
            "subject": certificate.subject.rfc4514_string(),
            "issuer": certificate.issuer.rfc4514_string(),
            "names": _names(certificate),
            "not_before": certificate.not_valid_before_utc.isoformat(),
            "not_after": certificate.not_valid_after_utc.isoformat(),
            "sha256": certificate.fingerprint(hashes.SHA256()).hex(),
        }
    except (ValueError, *UNREADABLE) as error:
        return {"error": str(error)}


def _names(certificate: x509.Certificate) -> list[str]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return [str(each.value) for each in names]
