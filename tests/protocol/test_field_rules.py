"""Header rules, each test named by the section of the RFC whose rule it checks.

Where a rule is the same for both directions, the test asks `BOTH` of a received and a sent section.
"""

from __future__ import annotations

from collections.abc import Callable

import hpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_h2.headers import NeverIndexed
from trio_h2.protocol.field_rules import Fields as FieldList
from trio_h2.protocol.field_rules import Malformed, check_trailers, check_trailers_untrusted, join_cookies
from trio_h2.protocol.request_rules import RequestHead, check_request, parse_request_untrusted
from trio_h2.protocol.response_rules import ResponseHead, check_response, parse_response_untrusted

from . import helpers as h

Field = tuple[bytes, bytes]
Fields = list[Field]
Verdict = RequestHead | ResponseHead | Malformed | None
Judge = Callable[[Fields], Verdict]

METHOD, SCHEME = (b":method", b"GET"), (b":scheme", b"https")
AUTHORITY, PATH = (b":authority", b"example.org"), (b":path", b"/")
GET = [METHOD, SCHEME, AUTHORITY, PATH]
OK = [(b":status", b"200")]
CONNECT = [(b":method", b"CONNECT"), (b":authority", b"example.org:443")]
WEBSOCKET = [(b":method", b"CONNECT"), (b":protocol", b"websocket"), SCHEME, AUTHORITY, (b":path", b"/chat")]


def received_request(fields: FieldList) -> RequestHead | Malformed:
    return parse_request_untrusted(fields, extended_connect=True)


def sent_request(fields: FieldList) -> RequestHead | Malformed:
    return check_request(fields, extended_connect=True)


BOTH_REQUESTS = pytest.mark.parametrize("judge", [received_request, sent_request])
BOTH_RESPONSES = pytest.mark.parametrize("judge", [parse_response_untrusted, check_response])
BOTH_TRAILERS = pytest.mark.parametrize("judge", [check_trailers_untrusted, check_trailers])

# Every entrance, with the least that a valid section of its kind holds.
RECEIVED: list[tuple[Judge, Fields]] = [
    (received_request, GET),
    (parse_response_untrusted, OK),
    (check_trailers_untrusted, []),
]
SENT: list[tuple[Judge, Fields]] = [(sent_request, GET), (check_response, OK), (check_trailers, [])]
EVERY_RECEIVED = pytest.mark.parametrize(("judge", "least"), RECEIVED)
EVERY_SENT = pytest.mark.parametrize(("judge", "least"), SENT)
EVERYWHERE = pytest.mark.parametrize(("judge", "least"), RECEIVED + SENT)


def malformed(verdict: Verdict, said: str = "") -> bool:
    """Whether the verdict is Malformed for the reason that was meant."""
    return isinstance(verdict, Malformed) and said in verdict.reason


def changed(fields: Fields, name: bytes, value: bytes) -> Fields:
    return [(name, value) if field[0] == name else field for field in fields]


def without(fields: Fields, *names: bytes) -> Fields:
    return [field for field in fields if field[0] not in names]


# --- what comes out --------------------------------------------------------------------------------------


@BOTH_REQUESTS
def test_rfc9113_8_3_1_a_request_head_holds_the_control_data(judge: Judge) -> None:
    head = judge([*GET, (b"accept", b"*/*"), (b"content-length", b"12")])
    assert head == RequestHead(b"GET", b"https", b"example.org", b"/", None, 12, 4)
    assert not head.is_tunnel


@BOTH_RESPONSES
def test_rfc9113_8_3_2_a_response_head_holds_the_status(judge: Judge) -> None:
    head = judge([*OK, (b"server", b"x"), (b"content-length", b"12")])
    assert head == ResponseHead(200, 12, 1)
    assert not head.is_informational
    early = judge([(b":status", b"103"), (b"link", b"</x>")])
    assert early == ResponseHead(103, None, 1)
    assert early.is_informational


def test_fields_as_hpack_decodes_them_are_judged() -> None:
    decoded = list(hpack.Decoder().decode(hpack.Encoder().encode(GET), raw=True))
    assert received_request(decoded) == RequestHead(b"GET", b"https", b"example.org", b"/", None, None, 4)


# --- RFC 9113 8.2, 8.2.1 ---------------------------------------------------------------------------------


@EVERYWHERE
@pytest.mark.parametrize("name", [b"X-Name", b"x-namE", b"Host"])
def test_rfc9113_8_2_1_uppercase_name_is_malformed(judge: Judge, least: Fields, name: bytes) -> None:
    assert malformed(judge([*least, (name, b"1")]), "not in lower case")


@EVERYWHERE
def test_rfc9113_8_2_1_prohibited_octet_in_a_name_is_malformed(judge: Judge, least: Fields) -> None:
    for octet in [*range(0x21), *range(0x41, 0x5B), *range(0x7F, 0x100), ord(":")]:
        for name in (b"x%cname", b"x%c"):
            assert malformed(judge([*least, (name % octet, b"1")])), octet


@EVERY_RECEIVED
def test_rfc9113_8_2_1_every_other_octet_in_a_name_is_received(judge: Judge, least: Fields) -> None:
    allowed = {*range(0x21, 0x7F)} - {*range(0x41, 0x5B), ord(":")}
    for octet in allowed:
        assert not malformed(judge([*least, (b"x%c" % octet, b"1")])), octet


@EVERY_SENT
def test_rfc9110_5_1_a_sent_name_is_a_token(judge: Judge, least: Fields) -> None:
    token = set(b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz")
    for octet in range(0x100):
        verdict = judge([*least, (b"x%c" % octet, b"1")])
        assert malformed(verdict) == (octet not in token), octet


@EVERYWHERE
def test_rfc9110_5_1_empty_name_is_malformed(judge: Judge, least: Fields) -> None:
    assert malformed(judge([*least, (b"", b"1")]), "empty")


@EVERYWHERE
@pytest.mark.parametrize("octet", [b"\0", b"\r", b"\n"])
def test_rfc9113_8_2_1_nul_cr_lf_in_a_value_are_malformed(judge: Judge, least: Fields, octet: bytes) -> None:
    for value in (octet, octet + b"a", b"a" + octet, b"a" + octet + b"b"):
        assert malformed(judge([*least, (b"x-name", value)]), "'x-name'")


@EVERYWHERE
@pytest.mark.parametrize("value", [b" ", b"\t", b" a", b"a ", b"\ta", b"a\t", b" a "])
def test_rfc9113_8_2_1_space_at_the_ends_of_a_value_is_malformed(judge: Judge, least: Fields, value: bytes) -> None:
    assert malformed(judge([*least, (b"x-name", value)]), "'x-name'")


@EVERYWHERE
@pytest.mark.parametrize("value", [b"", b"a", b"a b", b"a\tb", b"\x80\xff", bytes(range(0x21, 0x7F))])
def test_rfc9113_8_2_1_other_values_are_valid(judge: Judge, least: Fields, value: bytes) -> None:
    assert not malformed(judge([*least, (b"x-name", value)]))


@pytest.mark.parametrize("octet", [*({*range(0x20)} - {*b"\0\t\n\r"}), 0x7F])
def test_rfc9110_5_5_other_controls_in_a_value_are_received_but_not_sent(octet: int) -> None:
    field = (b"x-name", b"a%cb" % octet)
    for judge, least in RECEIVED:
        assert not malformed(judge([*least, field]))
    for judge, least in SENT:
        assert malformed(judge([*least, field]), "'x-name'")


@BOTH_REQUESTS
@pytest.mark.parametrize("name", [name for name, _ in GET])
def test_rfc9113_8_2_1_holds_for_the_values_of_pseudo_fields(judge: Judge, name: bytes) -> None:
    assert malformed(judge(changed(GET, name, b"/\0")))
    assert malformed(judge(changed(GET, name, b"/ ")))


def test_a_reason_shows_no_value_and_no_more_than_64_octets_of_a_name() -> None:
    verdict = received_request([*GET, (b"x" * 1000 + b"\n", b"secret\0")])
    assert isinstance(verdict, Malformed)
    assert "secret" not in verdict.reason
    assert len(verdict.reason) < 200


# --- RFC 9113 8.2.2 --------------------------------------------------------------------------------------


@EVERYWHERE
@pytest.mark.parametrize("name", [b"connection", b"proxy-connection", b"keep-alive", b"transfer-encoding", b"upgrade"])
def test_rfc9113_8_2_2_connection_specific_fields_are_malformed(judge: Judge, least: Fields, name: bytes) -> None:
    assert malformed(judge([*least, (name, b"close")]), "connection-specific")


@BOTH_REQUESTS
def test_rfc9113_8_2_2_te_in_a_request_holds_trailers_alone(judge: Judge) -> None:
    assert not malformed(judge([*GET, (b"te", b"trailers")]))
    assert not malformed(judge([*GET, (b"te", b"Trailers"), (b"te", b"trailers")]))
    for value in (b"", b"gzip", b"trailers, gzip", b"trailers;q=0.5"):
        assert malformed(judge([*GET, (b"te", value)]), "te holds")
    assert malformed(judge([*GET, (b"te", b"trailers"), (b"te", b"gzip")]), "te holds")


@BOTH_RESPONSES
def test_rfc9113_8_2_2_te_in_a_response_is_malformed(judge: Judge) -> None:
    assert malformed(judge([*OK, (b"te", b"trailers")]), "connection-specific")


def test_rfc9113_8_2_2_te_in_trailers_holds_trailers_alone() -> None:
    assert check_trailers_untrusted([(b"te", b"trailers")]) is None
    assert malformed(check_trailers_untrusted([(b"te", b"gzip")]), "te holds")


# --- RFC 9113 8.2.3 --------------------------------------------------------------------------------------


def test_rfc9113_8_2_3_cookie_crumbs_are_joined_at_the_place_of_the_first() -> None:
    a, b = (b"a", b"1"), (b"b", b"2")
    crumbs = [a, (b"cookie", b"a=b"), b, (b"cookie", b"c=d"), (b"cookie", b"e=f"), a]
    assert join_cookies(crumbs) == [a, (b"cookie", b"a=b; c=d; e=f"), b, a]


@pytest.mark.parametrize("fields", [[], [(b"a", b"1")], [(b"a", b"1"), (b"cookie", b"a=b")]])
def test_rfc9113_8_2_3_without_crumbs_the_same_list_comes_back(fields: Fields) -> None:
    assert join_cookies(fields) is fields


def test_rfc7541_7_1_3_one_secret_crumb_makes_the_whole_cookie_secret() -> None:
    plain = join_cookies([hpack.HeaderTuple(b"cookie", b"a=b"), (b"cookie", b"c=d")])
    assert [getattr(field, "indexable", True) for field in plain] == [True]
    secret = join_cookies([(b"cookie", b"a=b"), hpack.NeverIndexedHeaderTuple(b"cookie", b"c=d")])
    assert secret == [(b"cookie", b"a=b; c=d")]
    assert isinstance(secret[0], NeverIndexed)


# --- RFC 9113 8.3 ----------------------------------------------------------------------------------------


@EVERYWHERE
@pytest.mark.parametrize("name", [b":", b":unknown", b"::method", b":Method", b":path "])
def test_rfc9113_8_3_unknown_pseudo_field_is_malformed(judge: Judge, least: Fields, name: bytes) -> None:
    assert malformed(judge([(name, b"1"), *least]), "not a pseudo-header field of this section")


@BOTH_REQUESTS
def test_rfc9113_8_3_response_pseudo_field_in_a_request_is_malformed(judge: Judge) -> None:
    assert malformed(judge([*OK, *GET]), "':status' is not a pseudo-header field of this section")


@BOTH_RESPONSES
@pytest.mark.parametrize("field", [*GET, (b":protocol", b"websocket")])
def test_rfc9113_8_3_request_pseudo_field_in_a_response_is_malformed(judge: Judge, field: Field) -> None:
    assert malformed(judge([*OK, field]), "is not a pseudo-header field of this section")


@EVERYWHERE
def test_rfc9113_8_3_pseudo_field_after_a_regular_one_is_malformed(judge: Judge, least: Fields) -> None:
    for position in range(len(least)):
        late = [*least[:position], (b"x-name", b"1"), *least[position:]]
        assert malformed(judge(late), "comes after a regular field")


@BOTH_REQUESTS
def test_rfc9113_8_3_pseudo_field_after_a_field_with_a_rule_of_its_own_is_malformed(judge: Judge) -> None:
    assert malformed(judge([(b"host", b"example.org"), *GET]), "comes after a regular field")


@EVERYWHERE
def test_rfc9113_8_3_repeated_pseudo_field_is_malformed(judge: Judge, least: Fields) -> None:
    for field in least:
        assert malformed(judge([field, *least]), "is repeated")
        assert malformed(judge([*least, field]), "is repeated")


# --- RFC 9113 8.3.1 --------------------------------------------------------------------------------------


@BOTH_REQUESTS
@pytest.mark.parametrize("name", [b":method", b":scheme", b":path", b":authority"])
def test_rfc9113_8_3_1_missing_pseudo_field_is_malformed(judge: Judge, name: bytes) -> None:
    assert malformed(judge(without(GET, name)), name.decode() + " is missing")


@BOTH_REQUESTS
def test_rfc9113_8_3_1_no_fields_at_all_is_malformed(judge: Judge) -> None:
    assert malformed(judge([]), ":method is missing")


@BOTH_REQUESTS
def test_rfc9110_9_1_method_is_a_token(judge: Judge) -> None:
    for method in (b"GET", b"get", b"M-SEARCH", b"!#$%&'*+-.^_`|~09azAZ"):
        head = judge(changed(GET, b":method", method))
        assert isinstance(head, RequestHead)
        assert head.method == method
    for method in (b"", b"GE T", b"GET/", b"GET:", b"G\xc9T", b"(GET)", b"G\x01T"):
        assert malformed(judge(changed(GET, b":method", method))), method


@BOTH_REQUESTS
def test_rfc3986_3_1_scheme_grammar(judge: Judge) -> None:
    for scheme in (b"http", b"https", b"HTTPS", b"coap+tcp", b"a1.b-c"):
        assert not malformed(judge(changed(GET, b":scheme", scheme))), scheme
    for scheme in (b"", b"1http", b"ht tp", b"http:", b"https://", b"+a", b"h\xc9"):
        assert malformed(judge(changed(GET, b":scheme", scheme)), ":scheme"), scheme


@BOTH_REQUESTS
@pytest.mark.parametrize("scheme", [b"http", b"https", b"Https"])
def test_rfc9113_8_3_1_path_of_http_is_absolute(judge: Judge, scheme: bytes) -> None:
    fields = changed(GET, b":scheme", scheme)
    for path in (b"/", b"/a/b?c=d&e", b"//a", b"/%20", b"/?", b'/a|b{c}"', b"/caf\xc3\xa9"):
        head = judge(changed(fields, b":path", path))
        assert isinstance(head, RequestHead), path
        assert head.path == path
    for path in (b"", b"a", b"?a", b"*", b"http://a.org/", b"/a b", b"/a#b", b"/a\x01", b"/\x7f", b"/\t/"):
        assert malformed(judge(changed(fields, b":path", path))), path


@BOTH_REQUESTS
def test_rfc9113_8_3_1_asterisk_is_for_options_alone(judge: Judge) -> None:
    fields = changed(GET, b":path", b"*")
    assert malformed(judge(fields), ":path")
    options = changed(fields, b":method", b"OPTIONS")
    assert isinstance(judge(options), RequestHead)
    assert isinstance(judge(changed(options, b":path", b"/")), RequestHead)
    assert malformed(judge(changed(options, b":path", b"**")), ":path")
    assert malformed(judge(changed(options, b":path", b"")), ":path")


@BOTH_REQUESTS
def test_rfc9113_8_3_1_authority_of_http_is_a_host_and_an_optional_port(judge: Judge) -> None:
    good = [b"example.org", b"example.org:443", b"EXAMPLE.org:", b"127.0.0.1:80", b"[::1]", b"[::1]:8443"]
    good += [b"[fe80::1%25eth0]", b"[v1.x:y]", b"a_b", b"xn--caf-dma.example", b"%C3%A9", b"a!$&'()*+,;=~-"]
    for authority in good:
        head = judge(changed(GET, b":authority", authority))
        assert isinstance(head, RequestHead), authority
        assert head.authority == authority
    bad = [b"", b":443", b"user@example.org", b"user:pw@example.org", b"a b", b"a/b", b"a?b", b"a#b", b"a\\b"]
    bad += [b"a:b", b"a:1:2", b"::1", b"[::1", b"::1]", b"[]", b"[::1]x", b"a\x01", b"caf\xc3\xa9", b"<a>"]
    for authority in bad:
        assert malformed(judge(changed(GET, b":authority", authority))), authority


@BOTH_REQUESTS
def test_rfc9113_8_3_1_other_schemes_need_no_authority_and_no_absolute_path(judge: Judge) -> None:
    fields = changed(GET, b":scheme", b"urn")
    assert isinstance(judge(fields), RequestHead)
    assert isinstance(judge(without(fields, b":authority")), RequestHead)
    for authority in (b"", b"user@host:1", b"[::1]"):
        assert isinstance(judge(changed(fields, b":authority", authority)), RequestHead), authority
    for authority in (b"a b", b"a/b", b"a?b", b"a#b", b"a\x7f"):
        assert malformed(judge(changed(fields, b":authority", authority)), ":authority"), authority
    for path in (b"", b"isbn:1", b"*", b"/a"):
        assert isinstance(judge(changed(fields, b":path", path)), RequestHead), path
    for path in (b"a b", b"a#b", b"\x01"):
        assert malformed(judge(changed(fields, b":path", path)), ":path"), path
    assert malformed(judge(without(fields, b":path")), ":path is missing")


@BOTH_REQUESTS
def test_rfc9113_8_3_1_host_says_the_same_as_authority(judge: Judge) -> None:
    for host in (b"example.org", b"EXAMPLE.Org"):
        head = judge([*GET, (b"host", host)])
        assert isinstance(head, RequestHead)
        assert head.authority == b"example.org"
    for host in (b"", b"example.com", b"example.org:80", b"example.org."):
        assert malformed(judge([*GET, (b"host", host)]), "host differs"), host


@BOTH_REQUESTS
def test_rfc9113_8_3_1_host_may_name_the_default_port_of_the_scheme(judge: Judge) -> None:
    assert isinstance(judge([*GET, (b"host", b"example.org:443")]), RequestHead)
    http = changed(GET, b":scheme", b"http")
    assert isinstance(judge([*http, (b"host", b"example.org:80")]), RequestHead)
    assert malformed(judge([*http, (b"host", b"example.org:443")]), "host differs")


@BOTH_REQUESTS
def test_rfc9110_7_2_host_is_not_repeated(judge: Judge) -> None:
    assert malformed(judge([*GET, (b"host", b"example.org"), (b"host", b"example.org")]), "host is repeated")


def test_rfc9113_8_3_1_host_is_the_authority_of_a_received_request_without_one() -> None:
    fields = without(GET, b":authority")
    head = received_request([*fields, (b"host", b"example.org:8443")])
    assert head == RequestHead(b"GET", b"https", b"example.org:8443", b"/", None, None, 3)
    for host in (b"", b"user@example.org", b"a b", b"a/b"):
        assert malformed(received_request([*fields, (b"host", host)])), host
    twice = [*fields, (b"host", b"example.org"), (b"host", b"example.org")]
    assert malformed(received_request(twice), "host is repeated")


def test_rfc9113_8_3_1_a_sent_request_says_authority() -> None:
    fields = [*without(GET, b":authority"), (b"host", b"example.org")]
    assert malformed(sent_request(fields), ":authority is missing")


# --- RFC 9113 8.5, RFC 8441 4 ----------------------------------------------------------------------------


@BOTH_REQUESTS
def test_rfc9113_8_5_connect_has_an_authority_alone(judge: Judge) -> None:
    head = judge([*CONNECT, (b"user-agent", b"x")])
    assert head == RequestHead(b"CONNECT", None, b"example.org:443", None, None, None, 2)
    assert head.is_tunnel
    assert malformed(judge([*CONNECT, SCHEME]), "CONNECT has a :scheme or a :path")
    assert malformed(judge([*CONNECT, PATH]), "CONNECT has a :scheme or a :path")
    assert malformed(judge([*CONNECT, SCHEME, PATH]), "CONNECT has a :scheme or a :path")
    assert malformed(judge(CONNECT[:1]), ":authority of CONNECT")


@BOTH_REQUESTS
def test_rfc9113_8_5_authority_of_connect_is_a_host_and_a_port(judge: Judge) -> None:
    for authority in (b"example.org:1", b"127.0.0.1:65535", b"[::1]:443"):
        assert isinstance(judge(changed(CONNECT, b":authority", authority)), RequestHead), authority
    bad = [b"", b"example.org", b"example.org:", b":443", b"example.org:0", b"example.org:65536", b"a:999999"]
    bad += [b"user@example.org:443", b"a b:443", b"a/b:443", b"https://a:443", b"::1:443", b"a:4a"]
    for authority in bad:
        assert malformed(judge(changed(CONNECT, b":authority", authority)), "CONNECT"), authority


@BOTH_REQUESTS
def test_rfc9113_8_5_host_does_not_stand_in_for_the_authority_of_connect(judge: Judge) -> None:
    assert malformed(judge([*CONNECT[:1], (b"host", b"example.org:443")]), ":authority of CONNECT")
    assert isinstance(judge([*CONNECT, (b"host", b"example.org:443")]), RequestHead)
    assert malformed(judge([*CONNECT, (b"host", b"example.org")]), "host differs")


@BOTH_REQUESTS
def test_rfc8441_4_extended_connect_has_the_target_of_any_request(judge: Judge) -> None:
    head = judge(WEBSOCKET)
    assert head == RequestHead(b"CONNECT", b"https", b"example.org", b"/chat", b"websocket", None, 5)
    assert head.is_tunnel
    for name in (b":scheme", b":path", b":authority"):
        assert malformed(judge(without(WEBSOCKET, name)), name.decode() + " is missing")
    assert malformed(judge(changed(WEBSOCKET, b":path", b"*")), ":path")
    assert malformed(judge(changed(WEBSOCKET, b":authority", b"a@b")), ":authority")


@pytest.mark.parametrize("judge", [parse_request_untrusted, check_request])
def test_rfc8441_3_protocol_needs_the_setting(judge: Callable[..., Verdict]) -> None:
    assert malformed(judge(WEBSOCKET, extended_connect=False), "SETTINGS_ENABLE_CONNECT_PROTOCOL")
    assert isinstance(judge(CONNECT, extended_connect=False), RequestHead)
    assert isinstance(judge(GET, extended_connect=False), RequestHead)


@BOTH_REQUESTS
def test_rfc8441_4_protocol_is_for_connect_alone(judge: Judge) -> None:
    assert malformed(judge(changed(WEBSOCKET, b":method", b"GET")), "other than CONNECT")
    assert malformed(judge(without(WEBSOCKET, b":method")), "other than CONNECT")


@BOTH_REQUESTS
def test_rfc8441_4_protocol_is_an_upgrade_token(judge: Judge) -> None:
    for protocol in (b"connect-udp", b"HTTP/2.0"):
        assert isinstance(judge(changed(WEBSOCKET, b":protocol", protocol)), RequestHead), protocol
    for protocol in (b"", b"web socket", b"a/b/c", b"/", b"a,b"):
        assert malformed(judge(changed(WEBSOCKET, b":protocol", protocol)), ":protocol"), protocol


# --- RFC 9113 8.3.2, 8.6 ---------------------------------------------------------------------------------


@BOTH_RESPONSES
def test_rfc9113_8_3_2_missing_status_is_malformed(judge: Judge) -> None:
    assert malformed(judge([]), ":status is missing")
    assert malformed(judge([(b"server", b"x")]), ":status is missing")


@BOTH_RESPONSES
def test_rfc9110_15_status_is_three_digits(judge: Judge) -> None:
    for status in (b"100", b"200", b"204", b"304", b"418", b"599"):
        head = judge([(b":status", status)])
        assert isinstance(head, ResponseHead)
        assert head.status == int(status)
    for status in (b"", b"2", b"20", b"2000", b"099", b"000", b"+20", b"-20", b"2OO", b"20.", b"200 OK"):
        assert malformed(judge([(b":status", status)]), ":status"), status


def test_rfc9110_15_status_above_599_is_received_but_not_sent() -> None:
    for status in (600, 999):
        fields = [(b":status", b"%d" % status)]
        assert parse_response_untrusted(fields) == ResponseHead(status, None, 1)
        assert malformed(check_response(fields), ":status")


@BOTH_RESPONSES
def test_rfc9113_8_6_status_101_is_malformed(judge: Judge) -> None:
    assert malformed(judge([(b":status", b"101")]), "101")


# --- RFC 9113 8.1: trailers ------------------------------------------------------------------------------


@BOTH_TRAILERS
def test_rfc9113_8_1_trailers_are_regular_fields(judge: Judge) -> None:
    assert judge([]) is None
    assert judge([(b"grpc-status", b"0"), (b"x-checksum", b"")]) is None


@BOTH_TRAILERS
@pytest.mark.parametrize("field", [*GET, *OK, (b":protocol", b"websocket")])
def test_rfc9113_8_1_pseudo_field_in_trailers_is_malformed(judge: Judge, field: Field) -> None:
    assert malformed(judge([field]), "is not a pseudo-header field of this section")
    assert malformed(judge([(b"x-name", b"1"), field]), "is not a pseudo-header field of this section")


@pytest.mark.parametrize("field", [(b"content-length", b"1"), (b"host", b"a"), (b"te", b"trailers")])
def test_rfc9110_6_5_1_framing_and_routing_fields_are_ignored_in_trailers_and_not_sent(field: Field) -> None:
    assert check_trailers_untrusted([field]) is None
    assert malformed(check_trailers([field]), "not allowed in trailers")


# --- RFC 9113 8.1.1, RFC 9110 8.6: content-length --------------------------------------------------------


def length_of(verdict: Verdict) -> int | None:
    assert isinstance(verdict, (RequestHead, ResponseHead))
    return verdict.content_length


HAVE_LENGTH = RECEIVED[:2] + SENT[:2]


@pytest.mark.parametrize(("judge", "least"), HAVE_LENGTH)
def test_rfc9110_8_6_content_length_is_a_number(judge: Judge, least: Fields) -> None:
    assert length_of(judge(least)) is None
    for value in (b"0", b"5", b"0042", b"9223372036854775807", b"9" * 19):
        assert length_of(judge([*least, (b"content-length", value)])) == int(value)
    bad = [b"", b"-1", b"+1", b"1.0", b"0x10", b"1e3", b"1_000", b"five", b"5 5", b"1" * 20, b"0" * 20]
    bad += [b",", b"5,", b",5", b"5,,5", b"5;5", "\u0665".encode()]
    for value in bad:
        assert malformed(judge([*least, (b"content-length", value)]), "content-length"), value


@pytest.mark.parametrize(("judge", "least"), RECEIVED[:2])
def test_rfc9110_8_6_the_same_content_length_several_times_is_received_as_one(judge: Judge, least: Fields) -> None:
    for values in ([b"42", b"42"], [b"42, 42"], [b"42,42", b"042"], [b"42 ,\t42"]):
        assert length_of(judge([*least, *((b"content-length", value) for value in values)])) == 42


@pytest.mark.parametrize(("judge", "least"), SENT[:2])
def test_rfc9110_8_6_content_length_is_sent_once(judge: Judge, least: Fields) -> None:
    for values in ([b"42", b"42"], [b"42, 42"]):
        assert malformed(judge([*least, *((b"content-length", value) for value in values)]), "content-length")


@pytest.mark.parametrize(("judge", "least"), HAVE_LENGTH)
def test_rfc9113_8_1_1_content_lengths_that_differ_are_malformed(judge: Judge, least: Fields) -> None:
    for values in ([b"42", b"43"], [b"42, 43"], [b"42", b"42, 43"], [b"42", b"x"]):
        fields = [*least, *((b"content-length", value) for value in values)]
        assert malformed(judge(fields), "content-length"), values


@pytest.mark.parametrize(("judge", "least"), HAVE_LENGTH)
def test_rfc9113_10_5_content_lengths_are_judged_before_they_are_split(judge: Judge, least: Fields) -> None:
    """A value of 4 KiB that is in HPACK's table can come a dozen times for a dozen octets."""
    for count in (1, 15):
        fields = [*least, *[(b"content-length", b"0," * 2_000 + b"0")] * count]
        with h.counted_calls() as calls:
            assert malformed(judge(fields), "content-length")
        assert calls[0] < 200


@pytest.mark.parametrize(("judge", "least"), RECEIVED[:2])
def test_rfc9110_8_6_content_lengths_of_256_octets_are_read(judge: Judge, least: Fields) -> None:
    at_the_limit = [(b"content-length", b"5" + b" ,  5" * 25)] * 2
    assert sum(len(value) for _, value in at_the_limit) == 252
    assert length_of(judge([*least, *at_the_limit, (b"content-length", b"0005")])) == 5
    assert malformed(judge([*least, *at_the_limit, (b"content-length", b"00005")]), "more than 256 octets")


@pytest.mark.parametrize("fields", [[(b"content-length", b"0," * 2_000)] * 15, [(b"content-length", b"x")]])
def test_rfc9110_6_5_1_content_length_in_trailers_is_not_looked_at(fields: Fields) -> None:
    with h.counted_calls() as calls:
        assert check_trailers_untrusted(fields) is None
    assert calls[0] < 100


@pytest.mark.parametrize("status", [b"100", b"103", b"204"])
def test_rfc9110_8_6_content_length_of_1xx_and_204_is_ignored_and_not_sent(status: bytes) -> None:
    for value in (b"0", b"5", b"x"):
        fields = [(b":status", status), (b"content-length", value)]
        assert length_of(parse_response_untrusted(fields)) is None
        assert malformed(check_response(fields), "content-length is not allowed")


@BOTH_RESPONSES
def test_rfc9110_8_6_content_length_of_304_is_kept(judge: Judge) -> None:
    assert length_of(judge([(b":status", b"304"), (b"content-length", b"5")])) == 5


def test_rfc9110_9_3_6_content_length_of_2xx_to_connect_is_ignored_and_not_sent() -> None:
    fields = [(b":status", b"200"), (b"content-length", b"5")]
    assert length_of(parse_response_untrusted(fields, to_connect=True)) is None
    assert malformed(check_response(fields, to_connect=True), "content-length is not allowed")
    refused = [(b":status", b"403"), (b"content-length", b"5")]
    assert length_of(parse_response_untrusted(refused, to_connect=True)) == 5
    assert length_of(check_response(refused, to_connect=True)) == 5


@pytest.mark.parametrize("least", [CONNECT, WEBSOCKET])
def test_rfc9110_9_3_6_content_length_of_connect_is_ignored_and_not_sent(least: Fields) -> None:
    fields = [*least, (b"content-length", b"5")]
    assert length_of(received_request(fields)) is None
    assert malformed(sent_request(fields), "content-length is not allowed")


# --- anything at all -------------------------------------------------------------------------------------

NAMES = st.sampled_from(
    b":method :scheme :authority :path :protocol :status :x X x-name host te content-length cookie".split()
)
VALUES = st.sampled_from(
    b"GET CONNECT OPTIONS https urn example.org example.org:443 / * websocket 200 204 42 4,4 trailers".split()
)
FIELD_LISTS = st.lists(st.tuples(NAMES | st.binary(), VALUES | st.binary()), max_size=12)


@given(FIELD_LISTS, st.booleans())
def test_nothing_a_peer_sends_raises(fields: Fields, flag: bool) -> None:
    for parse, check in (
        (
            parse_request_untrusted(fields, extended_connect=flag),
            check_request(fields, extended_connect=flag),
        ),
        (parse_response_untrusted(fields, to_connect=flag), check_response(fields, to_connect=flag)),
        (check_trailers_untrusted(fields), check_trailers(fields)),
    ):
        # What may be sent may be received, and says the same.
        assert isinstance(check, Malformed) or parse == check
    join_cookies(fields)


@given(st.permutations(GET), st.lists(st.tuples(st.sampled_from([b"a", b"cookie"]), st.just(b"1"))))
def test_rfc9113_8_3_pseudo_fields_come_in_any_order(pseudo: Fields, regular: Fields) -> None:
    head = received_request([*pseudo, *regular])
    assert head == RequestHead(b"GET", b"https", b"example.org", b"/", None, None, 4)
