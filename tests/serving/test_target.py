"""However a request's address is written, and whatever stands in front of the server, the same route answers."""

from __future__ import annotations

import socket
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.testclient import TestClient

from birefnet.runtimes.options import RuntimeOptions
from birefnet.serving.app import create_app, create_page_app
from birefnet.serving.service import Service
from birefnet.serving.settings import Settings
from tests.serving.live import in_thread, picture
from tests.serving.test_fal import URL, data_uri

HERE = "http://testserver"  # said whole, because the client of the tests takes //v1 for a server's name
PAGE: dict[str, Any] = {"index.html": b"<!doctype html>", "main.js": b"export {};", "vendor/a.wasm": b"\0asm"}
GETS = ("/health", "/ready", "/metrics", "/docs", "/openapi.json", "/v1/models", "/", "/index.html", "/main.js")


@pytest.fixture
def make(make_client: Any) -> Any:
    """Clients of a server with a page; `peer` is who asks, as the server sees it."""

    def made(peer: str = "127.0.0.1", **settings: Any) -> TestClient:
        service = make_client(**settings).service
        return TestClient(create_app(service, PAGE), client=(peer, 5000), follow_redirects=False)

    return made


@pytest.mark.parametrize("path", GETS)
def test_head_is_answered_wherever_get_is(make: Any, path: str) -> None:
    client = make()
    head, got = client.head(path), client.get(path)
    assert head.status_code == got.status_code == 200 and not head.content
    assert head.headers["content-type"] == got.headers["content-type"]
    if path != "/metrics":  # which grows
        assert head.headers["content-length"] == str(len(got.content))


def test_head_of_results_and_of_what_is_not_there(make: Any) -> None:
    client = make()
    url = client.post(URL, json={"image_url": data_uri(picture())}).json()["image"]["url"]
    assert client.head(url).headers["content-length"] == str(len(client.get(url).content))
    assert client.head("/nothing").status_code == 404
    assert client.head("/v1/remove").status_code == 405
    assert client.head("/ready").status_code == 200
    assert 'route="/health",status="200"' in (client.head("/health"), client.get("/metrics"))[1].text


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/v1/remove", "OPTIONS, POST"),
        ("/v1/models", "GET, HEAD, OPTIONS"),
        ("/api/remove", "GET, HEAD, OPTIONS, POST"),
        (HERE + "//health/", "GET, HEAD, OPTIONS"),
        ("/main.js", "GET, HEAD, OPTIONS"),
    ],
)
def test_options_and_wrong_methods_say_what_is_answered(make: Any, path: str, allowed: str) -> None:
    client = make()
    told = client.options(path)
    assert told.status_code == 204 and told.headers["allow"] == allowed and not told.content
    wrong = client.put(path)
    assert wrong.status_code == 405 and wrong.headers["allow"] == allowed
    assert "`PUT`" in wrong.json()["detail"] and allowed in wrong.json()["detail"]
    assert client.options("/nothing").status_code == 404


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/", "//v1//models", "/v1/models//", "///v1/models?x=1"])
def test_slashes_too_many_mean_the_same(make: Any, path: str) -> None:
    assert make().get(HERE + path).json()["models"]


def test_slashes_too_many_with_a_body(make: Any) -> None:
    client = make()
    for path in ("/v1/remove/", "//v1//remove", "/api/remove/"):
        field = "file" if "api" in path else "image"
        answer = client.post(HERE + path, files={field: picture()})
        assert answer.status_code == 200 and answer.headers["content-type"] == "image/png"
    assert client.post(f"{HERE}/{URL}/", json={"image_url": data_uri(picture())}).status_code == 200


def test_files_of_the_page_do_not_end_in_a_slash(make: Any) -> None:
    client = make()
    assert client.get(HERE + "//main.js").text == "export {};" and client.get("/vendor//a.wasm").status_code == 200
    assert client.get("/main.js/").status_code == client.get("/index.html/").status_code == 404


def raw(port: int, head: str) -> tuple[int, bytes]:
    """Status and body of an answer to a request that is sent as it is."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(f"{head}\r\nConnection: close\r\n\r\n".encode())
        answer = b"".join(iter(lambda: connection.recv(65_536), b""))
    return int(answer.split()[1]), answer.partition(b"\r\n\r\n")[2]


@pytest.mark.parametrize("root", ["", "/cut"])
def test_a_whole_address_on_the_request_line(root: str) -> None:
    with in_thread(Service(Settings(options=RuntimeOptions(threads=1), root_path=root))) as address:
        port = int(address.rpartition(":")[2])
        for target in ("http://example.org/v1/models", "HTTP://example.org:81//v1/models/", "https://[::1]/v1/models"):
            status, body = raw(port, f"GET {target} HTTP/1.1\r\nHost: other.example")
            assert status == 200 and b'"nano"' in body
        assert raw(port, "GET http://example.org HTTP/1.1\r\nHost: x")[0] == 404  # there is no page
        assert raw(port, "GET http://me@example.org/health HTTP/1.1\r\nHost: x")[0] == 404
        assert (
            b"http://example.org:81" + root.encode() + b"/v1/remove"
            in raw(port, "GET http://example.org:81/docs HTTP/1.1\r\nHost: other.example")[1]
        )
        assert raw(port, "HEAD /v1/models HTTP/1.1\r\nHost: x") == (200, b"")
        assert raw(port, "OPTIONS * HTTP/1.1\r\nHost: x") == (204, b"")


@pytest.mark.parametrize("root", ["/cut", "cut/", "/cut/", "//cut"])
@pytest.mark.parametrize("sent", ["/cut", ""])  # by proxies that pass the path on as it is, or cut its beginning off
def test_below_a_root_path_all_addresses_are_right(make: Any, root: str, sent: str) -> None:
    client = make(root_path=root)
    assert client.get(f"{sent}/v1/models").json()["models"]
    assert client.get(f"{sent}//health/").status_code == client.head(f"{sent}/health").status_code == 200
    assert client.post(f"{sent}/v1/remove", content=picture()).status_code == 200
    assert client.post(f"{sent}/api/remove", files={"file": picture()}).status_code == 200
    made = client.post(f"{sent}{URL}", json={"image_url": data_uri(picture())}).json()["image"]["url"]
    assert made.startswith("http://testserver/cut/files/") and client.get(made).status_code == 200
    assert client.get(made.replace("/cut/", "/")).status_code == 200
    wrong = client.post(f"{sent}{URL}", json={"image_url": "data:,"})
    assert wrong.status_code == 422 and wrong.json()["detail"][0]["type"]  # fal's shape, below a path too
    assert client.get(f"{sent}/openapi.json").json()["servers"] == [{"url": "/cut"}]
    docs = client.get(f"{sent}/docs").text
    assert "href='/cut/openapi.json'" in docs and "http://testserver/cut/v1/remove" in docs
    assert client.get(f"{sent}/api").headers["location"] == "/cut/docs"
    assert client.get(f"{sent}/").text == "<!doctype html>" and client.get(f"{sent}/main.js").status_code == 200
    assert client.get(f"{sent}/nothing").status_code == 404
    assert client.get(f"{sent}/v1").status_code == 404


def test_the_root_path_itself_leads_to_the_page(make: Any) -> None:
    client = make(root_path="/my cuts")
    for path in ("/my%20cuts", "/my cuts"):
        moved = client.get(path, params={"a": "b c"})
        assert moved.status_code == 308 and moved.headers["location"] == "/my%20cuts/?a=b+c"
    assert client.get("/my%20cuts/").text == "<!doctype html>"
    assert client.post("/my%20cuts").status_code == 405


@pytest.mark.parametrize("root", ["/v1", "/api", "/files"])
def test_a_root_path_that_is_a_route_too(make: Any, root: str) -> None:
    client = make(root_path=root)
    for sent in (root, ""):
        assert client.get(f"{sent}/v1/models").json()["models"]
        assert client.post(f"{sent}/api/remove", files={"file": picture()}).status_code == 200


def test_a_proxy_on_this_machine_may_say_where_it_is(make: Any) -> None:
    told = {"X-Forwarded-Prefix": "/cut/", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "a.example:444, inner"}
    client = make()
    url = client.post(URL, json={"image_url": data_uri(picture())}, headers=told).json()["image"]["url"]
    assert url.startswith("https://a.example:444/cut/files/")
    assert client.get("/openapi.json", headers=told).json()["servers"] == [{"url": "/cut"}]
    assert client.get("/cut", headers=told).headers["location"] == "/cut/"
    assert "servers" not in client.get("/openapi.json").json()
    for peer, trusted in (("10.1.2.3", ("127.0.0.1",)), ("testclient", ()), ("10.1.2.3", ("10.2.0.0/16",))):
        other = make(peer, trusted_proxies=trusted)
        url = other.post(URL, json={"image_url": data_uri(picture())}, headers=told).json()["image"]["url"]
        assert url.startswith("http://testserver/files/")
    for peer, trusted in (("10.1.2.3", ("10.0.0.0/8",)), ("::ffff:10.1.2.3", ("10.0.0.0/8, ::1",)), ("x", ("*",))):
        assert make(peer, trusted_proxies=trusted).get("/openapi.json", headers=told).json()["servers"]


@pytest.mark.parametrize(
    ("prefixes", "root"),
    [
        (["/a", "/b/"], "/a/b"),
        (["/a, /b"], "/a/b"),
        (["/m%C3%BC%20x"], "/m%C3%BC%20x"),
        (["//evil.example"], "/evil.example"),
        (["https://evil.example"], None),
        (["/a/../b"], None),
        (["/a\\b"], None),
        (["/"], None),
        ([""], None),
    ],
)
def test_prefixes_of_proxies(make: Any, prefixes: list[str], root: str | None) -> None:
    client = make()
    told = client.get("/openapi.json", headers=[("X-Forwarded-Prefix", prefix) for prefix in prefixes])
    assert told.status_code == 200
    assert told.json().get("servers") == (None if root is None else [{"url": root}])


def test_the_operators_root_path_wins_and_odd_headers_change_nothing(make: Any) -> None:
    client = make(root_path="/cut")
    assert client.get("/openapi.json", headers={"X-Forwarded-Prefix": "/x"}).json()["servers"] == [{"url": "/cut"}]
    for host in ("a b", "a/b", "", "a@b", "a:b"):
        odd = {"X-Forwarded-Host": host, "X-Forwarded-Proto": "javascript"}
        assert "http://testserver/cut/v1/remove" in client.get("/docs", headers=odd).text


@pytest.mark.parametrize("root", ["", "/cut"])
def test_an_app_that_holds_this_one(make_client: Any, root: str) -> None:
    inner = create_app(make_client(root_path=root).service, PAGE)
    client = TestClient(Starlette(routes=[Mount("/all", inner)]), follow_redirects=False)
    assert client.get("/all/v1/models").json()["models"] and client.head("/all/v1/models/").status_code == 200
    assert client.get("/all/").text == "<!doctype html>" and client.get("/all/main.js").status_code == 200
    assert client.get("/all/openapi.json").json()["servers"] == [{"url": f"{root}/all"}]
    made = client.post(f"/all{URL}", json={"image_url": data_uri(picture())}).json()["image"]["url"]
    assert made.startswith(f"http://testserver{root}/all/files/")
    assert client.get(made.replace(f"{root}/all", "/all")).status_code == 200


def test_the_page_alone_below_a_path() -> None:
    client = TestClient(create_page_app(PAGE, root_path="/cut"), follow_redirects=False)
    assert client.get("/cut").headers["location"] == "/cut/"
    assert client.get("/cut/main.js").text == client.get("/main.js").text == "export {};"
    assert client.head("/cut/health").status_code == 200 and client.options("/cut/").status_code == 204
