"""Which addresses may be fetched from."""

from __future__ import annotations

import pytest

from birefnet.serving.addresses import is_public, judge, resolve
from birefnet.serving.refusal import Refusal

PUBLIC = ("93.184.216.34", "8.8.8.8", "2606:2800:220:1:248:1893:25c8:1946", "2a00:1450:4001:81b::200e")
PRIVATE = (
    *("127.0.0.1", "127.255.255.254", "0.0.0.0", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254"),
    *("100.64.0.1", "192.0.0.1", "192.0.2.1", "198.18.0.1", "203.0.113.1", "224.0.0.1", "240.0.0.1", "255.255.255.255"),
    *("::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd12::1", "fec0::1", "ff02::1", "2001:db8::1"),
    *("::ffff:127.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b:1::7f00:1"),
    *("2002:7f00:1::", "2002:a9fe:a9fe::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2", "no address", ""),
)


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("address", PRIVATE)
def test_all_others(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    "url",
    [
        *("http://127.0.0.1/x", "http://localhost/", "http://localhost./", "http://LOCALHOST/", "https://[::1]/"),
        *("http://2130706433/", "http://0177.0.0.1/", "http://0x7f.0.0.1/", "http://0x7f000001/", "http://127.1/"),
        *("http://0/", "http://017700000001/", "http://[::ffff:127.0.0.1]/", "http://[::ffff:7f00:1]/"),
        *("http://169.254.169.254/latest/meta-data/", "http://[fe80::1]/", "http://10.1.2.3/", "http://[fd00::1]/"),
        "http://\u0661\u0662\u0667.0.0.1/",  # Arabic digits
        "http://127\u30020.0.1/",  # an ideographic full stop
    ],
)
def test_every_way_of_writing_this_machine_or_this_network_is_refused(url: str) -> None:
    with pytest.raises(Refusal) as refused:
        judge(url, resolve)
    assert refused.value.status_code == 422


@pytest.mark.parametrize(
    "url",
    [
        *("file:///etc/passwd", "ftp://example.org/x", "gopher://example.org/", "//example.org/x", "example.org/x"),
        *("http:///x", "http://", "", "http://user@example.org/", "http://a:b@example.org/", "http://[::1", "data:,x"),
        *("http://example.org:22/", "http://example.org:0/", "http://example.org:99999/", "https://example.org:80/"),
        *("http://exa mple.org/", "http://example.org\\@127.0.0.1/", "http://" + "a" * 300 + ".org/", "http://\ud800/"),
    ],
)
def test_what_is_no_plain_address_of_the_web_is_refused(url: str) -> None:
    with pytest.raises(Refusal):
        judge(url, lambda host, port: ["127.0.0.1"])


def test_one_private_address_among_public_ones_is_enough() -> None:
    with pytest.raises(Refusal):
        judge("http://example.org/", lambda host, port: ["93.184.216.34", "10.0.0.1"])


def test_a_place_holds_the_judged_address_and_the_name() -> None:
    place = judge("https://B\u00fccher.example/a b/\u00e4.png?q=1&\u00e4", lambda host, port: ["93.184.216.34"])
    assert (place.scheme, place.port, place.address) == ("https", 443, "93.184.216.34")
    assert place.host == "xn--bcher-kva.example"
    assert place.target == "/a%20b/%C3%A4.png?q=1&%C3%A4"


def test_a_name_nobody_knows_is_said_so() -> None:
    def unknown(host: str, port: int) -> list[str]:
        raise OSError("no such name")

    with pytest.raises(Refusal, match="not known"):
        judge("http://nowhere.example/", unknown)
