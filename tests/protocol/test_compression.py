"""HPACK (RFC 7541): our loops over field blocks and Huffman codes against those of the hpack package."""

from __future__ import annotations

import re
from collections import Counter

import hpack
import hpack.huffman_table
import pytest
from hpack.huffman import HuffmanEncoder
from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH
from hypothesis import assume, given
from hypothesis import strategies as st

from trio_h2.protocol import huffman
from trio_h2.protocol.block_decoder import BlockDecoder
from trio_h2.protocol.compression import FieldEncoder
from trio_h2.protocol.field_rules import is_plain
from trio_h2.protocol.huffman import decode_huffman
from trio_h2.protocol.limits import field_section_size

from . import helpers as h

NAMES = st.sampled_from([b":path", b":status", b"cookie", b"etag", b"x-a", b"x-" + b"long" * 40])
VALUES = st.one_of(st.sampled_from([b"", b"/", b"200", b"a" * 5000]), st.binary(max_size=40))
FIELDS = st.lists(
    st.one_of(st.tuples(NAMES, VALUES), st.builds(hpack.NeverIndexedHeaderTuple, NAMES, VALUES)), max_size=8
)


def decoded(decoder: BlockDecoder | hpack.Decoder, block: bytes) -> object:
    """The fields, each with whether it may be indexed; or the class of the error."""
    try:
        fields = our_fields(decoder, block) if isinstance(decoder, BlockDecoder) else decoder.decode(block, raw=True)
    except hpack.InvalidTableIndexError:  # hpack raises a subclass, for compatibility
        return hpack.InvalidTableIndexError
    except hpack.HPACKError as error:
        return type(error)
    return [(*field, getattr(field, "indexable", True)) for field in fields]


def our_fields(decoder: BlockDecoder, block: bytes) -> list[tuple[bytes, bytes]]:
    """The fields, of which the size is known, and which of them are not plain: all that are not in the tables, too."""
    fields, telling, size = decoder.decode(block)
    assert size == field_section_size(fields)
    rest = iter(fields)
    assert all(any(field is each for each in rest) for field in telling)
    left_out = Counter(map(id, fields)) - Counter(map(id, telling))
    assert all(is_plain(*field) for field in fields if left_out[id(field)])
    return fields


def decoders(allowed: int = 4096) -> tuple[BlockDecoder, hpack.Decoder]:
    ours, theirs = BlockDecoder(), hpack.Decoder(max_header_list_size=2**62)
    ours.max_allowed_table_size = theirs.max_allowed_table_size = allowed
    return ours, theirs


def check_same(ours: BlockDecoder, theirs: hpack.Decoder, block: bytes) -> object:
    """Both make the same of a block, of its effect on the table too."""
    result = decoded(ours, block)
    assert result == decoded(theirs, block)
    assert [field for field, _, _ in ours.table.entries] == list(theirs.header_table.dynamic_entries)
    assert ours.table.max_size == theirs.header_table.maxsize
    return result


@pytest.mark.parametrize("updates", [1, 2, 3, 130_000])
def test_4_2_a_block_begins_with_at_most_two_updates_of_the_table_size(updates: int) -> None:
    ours, _ = decoders()
    with h.counted_calls() as calls:
        if updates <= 2:
            assert ours.decode(b"\x20" * updates + b"\x82")[0] == [(b":method", b"GET")]
        else:
            with pytest.raises(hpack.HPACKDecodingError, match="more than two table size updates"):
                ours.decode(b"\x20" * updates + b"\x82")
    assert calls[0] < 5_000


@given(st.lists(st.tuples(FIELDS, st.booleans(), st.sampled_from([None, None, 0, 100, 4096])), max_size=8))
def test_6_blocks_of_an_encoder_decode_as_hpack_decodes_them(
    sections: list[tuple[list[tuple[bytes, bytes]], bool, int | None]],
) -> None:
    encoder = hpack.Encoder()
    ours, theirs = decoders()
    for fields, huffman_coded, table_size in sections:
        # The same size again hpack's encoder would signal later, beside others (section 4.2).
        if table_size not in (None, encoder.header_table_size):
            encoder.header_table_size = table_size
        result = check_same(ours, theirs, encoder.encode(fields, huffman=huffman_coded))
        assert isinstance(result, list)


@given(st.lists(st.binary(max_size=30), max_size=6), st.sampled_from([0, 60, 4096]))
def test_6_any_octets_decode_as_hpack_decodes_them(blocks: list[bytes], allowed: int) -> None:
    ours, theirs = decoders(allowed)
    for block in blocks:
        assume(re.match(rb"(?:[\x20-\x3e]|\x3f[\x80-\xff]*.?){3}", block, re.DOTALL) is None)  # hpack allows any number
        if not isinstance(check_same(ours, theirs, block), list):
            return


@pytest.mark.parametrize(
    ("block", "error"),
    [
        pytest.param(b"\x80", hpack.InvalidTableIndexError, id="2.3.3: index 0"),
        pytest.param(b"\xbe", hpack.InvalidTableIndexError, id="2.3.3: an index past both tables"),
        pytest.param(b"\x7f\x00\x01a", hpack.InvalidTableIndexError, id="2.3.3: a name past both tables"),
        pytest.param(b"\xff\x80", hpack.HPACKDecodingError, id="5.1: an integer that is cut off"),
        pytest.param(b"\xff" + b"\xff" * 20, hpack.HPACKDecodingError, id="5.1: an integer without end"),
        pytest.param(b"\x40", hpack.HPACKDecodingError, id="6.2.1: no name"),
        pytest.param(b"\x40\x01a", hpack.HPACKDecodingError, id="6.2.1: no value"),
        pytest.param(b"\x40\x01a\x05b", hpack.HPACKDecodingError, id="5.2: a value that is cut off"),
        pytest.param(b"\x40\x05a", hpack.HPACKDecodingError, id="5.2: a name that is cut off"),
        pytest.param(b"\x04\x81\x00", hpack.HPACKDecodingError, id="5.2: padding of zeros"),
        pytest.param(b"\x04\x81\xff", hpack.HPACKDecodingError, id="5.2: padding of a whole octet"),
        pytest.param(b"\x04\x84\xff\xff\xff\xff", hpack.HPACKDecodingError, id="5.2: EOS"),
        pytest.param(b"\x82\x20", hpack.HPACKDecodingError, id="4.2: a size update after a field"),
        pytest.param(b"\x3f\xe2\x1f", hpack.InvalidTableSizeError, id="6.3: a size above what we allow"),
    ],
)
def test_bad_blocks(block: bytes, error: type[Exception]) -> None:
    ours, theirs = decoders()
    assert check_same(ours, theirs, block) is error


@pytest.mark.parametrize("octets", [b"\xff\x80", b"\xff" * 20, b"\x40\xff", b"\x3f" + b"\xff" * 20])
def test_5_1_what_is_said_of_a_bad_integer_shows_no_addresses(octets: bytes) -> None:
    """It goes to the peer, in GOAWAY."""
    with pytest.raises(hpack.HPACKDecodingError, match="an integer is cut off, or too long") as caught:
        BlockDecoder().decode(octets)
    assert "0x" not in str(caught.value)


def test_4_2_a_new_table_size_is_signalled_once() -> None:
    encoder = FieldEncoder()
    encoder.set_table_size(100)
    assert [encoder.encode(((b":status", b"200"),)) for _ in range(3)] == [b"\x3f\x45\x88", b"\x88", b"\x88"]


def test_4_2_a_size_that_was_not_taken_up() -> None:
    ours, theirs = decoders(100)
    assert check_same(ours, theirs, b"\x82") is hpack.InvalidTableSizeError


@given(st.binary(max_size=60))
def test_5_2_huffman_codes_are_those_of_hpack_and_come_back(text: bytes) -> None:
    coded = huffman.HuffmanEncoder().encode(text)
    assert coded == HuffmanEncoder(REQUEST_CODES, REQUEST_CODES_LENGTH).encode(text)
    assert decode_huffman(coded) == text


@given(st.lists(FIELDS, max_size=8))
def test_6_what_we_encode_is_what_was_given(sections: list[list[tuple[bytes, bytes]]]) -> None:
    encoder, decoder = FieldEncoder(), hpack.Decoder(max_header_list_size=2**62)
    for fields in sections * 2:
        result = decoded(decoder, encoder.encode(tuple(fields)))
        short = [field[0] == b"cookie" and len(field[1]) < 20 for field in fields]
        assert result == [
            (*field, getattr(field, "indexable", True) and not secret)
            for field, secret in zip(fields, short, strict=True)
        ]


@pytest.mark.parametrize(
    "field", [(b":path", b"/a"), (b"content-length", b"5"), (b"set-cookie", b"a=1"), (b"traceparent", b"00-1-2-01")]
)
def test_6_2_2_volatile_fields_leave_the_table_alone(field: tuple[bytes, bytes]) -> None:
    encoder, decoder = FieldEncoder(), hpack.Decoder()
    first = encoder.encode((field, (b"server", b"x")))
    again = encoder.encode((field, (b"server", b"x")))
    other = encoder.encode(((field[0], b"another"), (b"server", b"x")))
    assert [list(decoder.decode(block, raw=True)) for block in (first, again, other)] == [
        [field, (b"server", b"x")],
        [field, (b"server", b"x")],
        [(field[0], b"another"), (b"server", b"x")],
    ]
    assert list(decoder.header_table.dynamic_entries) == [(b"server", b"x")]


def test_6_the_same_list_again_is_the_same_block_only_while_the_table_stands_still() -> None:
    encoder, decoder = FieldEncoder(), hpack.Decoder()
    fields, another = ((b":status", b"200"), (b"server", b"x")), ((b":status", b"200"), (b"server", b"y"))
    blocks = []
    for each in (fields, fields, fields, another, fields, fields, fields):
        blocks.append(encoder.encode(each))
        assert list(decoder.decode(blocks[-1], raw=True)) == list(each)
    assert blocks[1] == blocks[2] != blocks[5] == blocks[6]
    encoder.set_table_size(0)
    for _ in range(3):
        assert list(decoder.decode(encoder.encode(fields), raw=True)) == list(fields)


@pytest.mark.parametrize(
    ("field", "secret"),
    [
        ((b"authorization", b"Basic c2VjcmV0"), True),
        ((b"authorization", b"Bearer " + b"x" * 100), True),
        ((b"proxy-authorization", b"Basic c2VjcmV0"), True),
        ((b"cookie", b"id=" + b"x" * 16), True),
        ((b"cookie", b"id=" + b"x" * 17), False),
        ((b"x-key", b"1"), False),
        (hpack.NeverIndexedHeaderTuple(b"x-key", b"1"), True),
    ],
)
def test_rfc7541_7_1_3_what_could_be_guessed_is_never_indexed(field: tuple[bytes, bytes], secret: bool) -> None:
    """Marked or not, first or again: whether it was in the table before is not to be seen."""
    encoder, decoder = FieldEncoder(), hpack.Decoder()
    for _ in range(2):
        (got,) = decoder.decode(encoder.encode((field,)), raw=True)
        assert got == field
        assert got.indexable is not secret
        assert len(decoder.header_table.dynamic_entries) == (0 if secret else 1)


def test_6_1_a_volatile_field_that_the_static_table_has_is_indexed() -> None:
    assert FieldEncoder().encode(((b":path", b"/"),)) == b"\x84"


@given(st.binary(max_size=12))
def test_5_2_any_octets_are_the_huffman_codes_that_hpack_takes_them_for(text: bytes) -> None:
    try:
        expected = hpack.huffman_table.decode_huffman(text)
    except hpack.HPACKDecodingError:
        with pytest.raises(hpack.HPACKDecodingError):
            decode_huffman(text)
    else:
        assert decode_huffman(text) == expected
