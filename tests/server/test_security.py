import asyncio
import re

import pytest
from starlette.testclient import TestClient

from tumorboard.server import app, security

from .fake_server import fake_state

PORT = 8123
OWN = f"127.0.0.1:{PORT}"
FOREIGN = (
    "http://evil.example",
    "null",
    "https://127.0.0.1.evil.example",
    f"http://127.0.0.1:{PORT + 1}",
    f"http://localhost.evil:{PORT}",
    "file://",
)
BAD_HOSTS = (
    "evil.example",
    f"evil.example:{PORT}",
    "127.0.0.1.evil",
    f"127.0.0.1.evil:{PORT}",
    "",
    "127.0.0.1",
    "localhost",
    f"127.0.0.1:{PORT + 1}",
    f"127.0.0.1:{PORT}0",
    f"[::1]:{PORT}",
    f"0.0.0.0:{PORT}",
    f"127.0.0.2:{PORT}",
    f"2130706433:{PORT}",
    f"127.1:{PORT}",
    f"localhost.:{PORT}",
    f"user@127.0.0.1:{PORT}",
    f"127.0.0.1:{PORT}/",
    f"127.0.0.1:{PORT}/../x",
    f"127.0.0.1:{PORT}#",
    f"127.0.0.1:{PORT}, evil.example",
    f"evil.example, 127.0.0.1:{PORT}",
    f"169.254.169.254:{PORT}",
    f"{PORT}",
    ":",
    f"http://127.0.0.1:{PORT}",
)


def client(tmp_path, token="", host="127.0.0.1"):
    built = app.build(fake_state(tmp_path))
    guarded = security.RequestGuard(built, security.access_rules(host, PORT, token))
    return TestClient(guarded, base_url=f"http://{OWN}", follow_redirects=False), built


@pytest.mark.parametrize("host", BAD_HOSTS)
def test_another_name_is_not_answered(host, tmp_path):
    http, _ = client(tmp_path)
    assert http.get("/api/health", headers={"Host": host}).status_code == 421


@pytest.mark.parametrize("host", [OWN, f"localhost:{PORT}", f"LOCALHOST:{PORT}"])
def test_its_own_names_are_answered(host, tmp_path):
    http, _ = client(tmp_path)
    assert http.get("/api/health", headers={"Host": host}).status_code == 200


def test_two_hosts_are_not_answered(tmp_path):
    http, _ = client(tmp_path)
    answer = http.get("/api/health", headers=[("Host", OWN), ("Host", "evil.example")])
    assert answer.status_code == 421


def test_no_host_at_all_is_not_answered(tmp_path):
    http, _ = client(tmp_path)  # which would add a Host, so its server is http without it
    scope = {"type": "http", "method": "GET", "path": "/api/health", "headers": [], "query_string": b""}
    sent = []

    async def receive():
        return {"type": "http.request"}

    async def send(message):
        sent.append(message)

    asyncio.run(http.app(scope, receive, send))
    assert sent[0]["status"] == 421


def test_no_route_that_takes_something_answers_a_foreign_page(tmp_path, slice_png):
    http, built = client(tmp_path)
    posts = [path for path, methods in built.openapi()["paths"].items() if set(methods) - {"get"}]
    assert len(posts) >= 2
    for path in posts:
        for origin in FOREIGN:
            assert http.post(path, content=slice_png, headers={"Origin": origin}).status_code == 403
        for site in ("cross-site", "same-site", ""):
            assert http.post(path, content=slice_png, headers={"Sec-Fetch-Site": site}).status_code == 403


@pytest.mark.parametrize(
    "headers",
    [{}, {"Origin": f"http://{OWN}", "Sec-Fetch-Site": "same-origin"}, {"Sec-Fetch-Site": "none"}],
    ids=["program", "own page", "typed"],
)
def test_own_pages_and_programs_are_answered(headers, tmp_path, slice_png):
    with client(tmp_path)[0] as http:
        assert http.post("/api/predict", content=slice_png, headers=headers).status_code == 200


def test_no_foreign_page_may_read_an_answer(tmp_path):
    http, _ = client(tmp_path)
    for path in ("/", "/api/run", "/openapi.json", "/nothing"):
        headers = http.get(path, headers={"Origin": "http://evil.example"}).headers
        assert not [name for name in headers if name.startswith("access-control-")]
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert "script-src 'self'" in headers["content-security-policy"]
        assert not re.search("unsafe|http:|https:|\\*", headers["content-security-policy"])


SECRET = "abcdefgh12345678"  # noqa: S105


def test_with_a_token_nothing_is_answered_without_it(tmp_path):
    http, built = client(tmp_path, SECRET)
    for path in ("/", "/page.js", "/report", "/openapi.json", *built.openapi()["paths"]):
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Cookie": "tumorboard-token=wrong"}):
            answer = http.get(path, headers=headers)
            assert answer.status_code == 401
            assert SECRET not in answer.text
    assert http.get("/?token=wrong").status_code == 401


def test_the_token_is_taken_from_a_header_or_sets_a_cookie(tmp_path):
    http, _ = client(tmp_path, SECRET)
    assert http.get("/api/run", headers={"Authorization": f"bearer {SECRET}"}).status_code == 200
    answer = http.get(f"/?token={SECRET}")
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert http.get("/").status_code == 200  # the client keeps the cookie


def test_a_machine_reached_by_others_goes_by_its_addresses(tmp_path):
    http, _ = client(tmp_path, SECRET, "0.0.0.0")  # noqa: S104
    shown = {"Authorization": f"Bearer {SECRET}"}
    own = [f"192.0.2.7:{PORT}", f"[2001:db8::7]:{PORT}"]
    others = [f"evil.example:{PORT}", "192.0.2.7", f"192.0.2.7:{PORT + 1}", "[2001:db8::7]"]
    codes = [http.get("/api/health", headers={**shown, "Host": host}).status_code for host in [*own, *others]]
    assert codes == [200] * len(own) + [421] * len(others)
