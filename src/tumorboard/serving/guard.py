"""Who may ask: the checks before any route, and the headers after every one.

A page of any other site can make a browser send requests to this machine. So the request must name this
server (a rebound name does not), come from this server's own pages if it comes from a page, and carry the
token where one is set.
"""

import hmac
import ipaddress
import socket
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_COOKIE = "tumorboard-token"
_READING = ("GET", "HEAD", "OPTIONS")
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


@dataclass(frozen=True)
class Rules:
    """What a request must show.

    Args:
        hosts: The accepted Host headers, lower case, with their port.
        port: Where the server listens.
        token: The shared secret, "" for none.
    """

    hosts: frozenset[str]
    port: int
    token: str = field(default="", repr=False)

    def names_us(self, host: str) -> bool:
        """Whether a Host header is this server's name.

        With a token, any address of this machine is: what a rebound name could send lacks the token.
        """
        return host.lower() in self.hosts or (bool(self.token) and _is_address(host, self.port))


def rules(host: str, port: int, token: str = "") -> Rules:
    """The rules of a server that listens there."""
    names = {_bracketed(host)} | ({"localhost", "127.0.0.1"} if host in ("127.0.0.1", "localhost") else set())
    names |= {socket.gethostname().lower()} if token else set()
    return Rules(frozenset(with_port for name in names for with_port in _with_port(name, port)), port, token)


class Guard:
    """The ASGI middleware that holds the rules."""

    def __init__(self, app: ASGIApp, rules: Rules) -> None:
        self._app, self._rules = app, rules

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer for the application, or let it answer; every answer gets the headers."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        answer = _refusal(scope, self._rules) or self._app
        await answer(scope, receive, send_with_headers)


def _refusal(scope: Scope, rules: Rules) -> Response | None:
    """The answer to a request that breaks a rule."""
    headers = Headers(scope=scope)
    hosts = headers.getlist("host")
    if len(hosts) != 1 or not rules.names_us(hosts[0]):
        return _said(421, "this server does not go by that name; open the address that it printed")
    if scope["method"] not in _READING and not _own_page(headers, hosts[0]):
        return _said(403, "requests from pages of other sites are refused")
    if rules.token:
        return _token_refusal(scope, headers, rules.token)
    return None


def _own_page(headers: Headers, host: str) -> bool:
    """Whether a page of ours sent it, or no page at all: a program sends neither of these headers."""
    site, origins = headers.getlist("sec-fetch-site"), headers.getlist("origin")
    own = {f"http://{host.lower()}", f"https://{host.lower()}"}
    return all(one in ("same-origin", "none") for one in site) and all(one.lower() in own for one in origins)


def _token_refusal(scope: Scope, headers: Headers, token: str) -> Response | None:
    """Ask for the token: in a header, in our cookie, or once in the page's address, which sets the cookie."""
    asked = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
    if scope["path"] == "/" and scope["method"] == "GET" and _same(asked, token):
        opened = RedirectResponse("/", 303)
        opened.set_cookie(_COOKIE, token, httponly=True, samesite="strict")
        return opened
    scheme, _, shown = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and _same(shown.strip(), token):
        return None
    if _same(_cookie(headers), token):
        return None
    answer = _said(401, "a token is needed: open /?token=TOKEN, or send Authorization: Bearer TOKEN")
    answer.headers["WWW-Authenticate"] = "Bearer"
    return answer


def _cookie(headers: Headers) -> str:
    try:
        morsel = SimpleCookie(headers.get("cookie", "")).get(_COOKIE)
    except CookieError:
        return ""
    return morsel.value if morsel else ""


def _same(shown: str, token: str) -> bool:
    return hmac.compare_digest(shown.encode(), token.encode())


def _said(status: int, detail: str) -> Response:
    return JSONResponse({"detail": detail}, status)


def _bracketed(host: str) -> str:
    return f"[{host.lower()}]" if ":" in host else host.lower()


def _with_port(name: str, port: int) -> tuple[str, ...]:
    return (f"{name}:{port}", name) if port == 80 else (f"{name}:{port}",)


def _is_address(host: str, port: int) -> bool:
    name, _, given = host.rpartition(":") if not host.endswith("]") else (host, "", "80")
    try:
        ipaddress.ip_address(name.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return given == str(port)
