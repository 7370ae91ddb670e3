"""The name of a certificate's subject, as RFC 4514 writes it.

The certificate is one that OpenSSL has verified, so what is read here is well-formed; what is not raises ValueError all
the same, and has no name.
"""

from __future__ import annotations

from collections.abc import Iterator

__all__ = ["subject_name"]

# RFC 4514 section 3; every other type is written as its number.
SHORT = {
    "2.5.4.3": "CN",
    "2.5.4.7": "L",
    "2.5.4.8": "ST",
    "2.5.4.10": "O",
    "2.5.4.11": "OU",
    "2.5.4.6": "C",
    "2.5.4.9": "STREET",
    "0.9.2342.19200300.100.1.25": "DC",
    "0.9.2342.19200300.100.1.1": "UID",
}

# What a value's tag says of its octets; the other kinds of text, which nobody makes any more, are written as octets.
ENCODINGS = {0x0C: "utf-8", 0x13: "ascii", 0x16: "ascii", 0x1E: "utf-16-be", 0x1C: "utf-32-be"}

EXPLICIT_VERSION = 0xA0


def subject_name(certificate: bytes) -> str | None:
    """The subject of a certificate in DER; None if it cannot be read."""
    try:
        _, whole, _ = _element(certificate)
        _, to_be_signed, _ = _element(whole)
        fields = list(_elements(to_be_signed))
        if fields[0][0] == EXPLICIT_VERSION:
            del fields[0]
        subject = fields[4][1]  # after the serial number, the algorithm, the issuer and the times
        return ",".join(reversed([_relative_name(each) for _, each, _ in _elements(subject)]))
    except (IndexError, ValueError):
        return None


def _element(octets: bytes) -> tuple[int, bytes, int]:
    """The tag and the content of what begins here (X.690), and where the next begins."""
    length, start = octets[1], 2
    if length & 0x80:
        start += length & 0x7F
        length = int.from_bytes(octets[2:start], "big")
    end = start + length
    if end > len(octets):
        raise ValueError("an element is cut short")
    return octets[0], octets[start:end], end


def _elements(octets: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """Tag, content and encoding of each element in a row."""
    while octets:
        tag, content, end = _element(octets)
        yield tag, content, octets[:end]
        octets = octets[end:]


def _relative_name(octets: bytes) -> str:
    return "+".join(_attribute(content) for _, content, _ in _elements(octets))


def _attribute(octets: bytes) -> str:
    (_, identifier, _), (tag, value, encoded) = _elements(octets)
    kind = _dotted(identifier)
    if kind not in SHORT or tag not in ENCODINGS:
        return f"{SHORT.get(kind, kind)}=#{encoded.hex()}"
    return f"{SHORT[kind]}={_escaped(value.decode(ENCODINGS[tag]))}"


def _dotted(identifier: bytes) -> str:
    numbers, number = [], 0
    for octet in identifier:
        number = number << 7 | octet & 0x7F
        if not octet & 0x80:
            numbers.append(number)
            number = 0
    first = min(numbers[0] // 40, 2)
    return ".".join(map(str, [first, numbers[0] - 40 * first, *numbers[1:]]))


def _escaped(text: str) -> str:
    """RFC 4514 section 2.4."""
    text = "".join("\\00" if each == "\0" else f"\\{each}" if each in '"+,;<>\\' else each for each in text)
    if text.startswith((" ", "#")):
        text = "\\" + text
    if text.endswith(" ") and len(text) > 2:
        text = text[:-1] + "\\ "
    return text
