"""Which requests are replied to: the checks before every route, and the headers of every response.

A page of any other site can make a browser send requests to this machine. So a request must name this server
(a rebound name does not), come from this server's own page if it comes from a page, and carry the token where
one is set.
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

_COOKIE = "tumorboard-token-{}"  # with the port, which the cookies of a host do not tell apart
_SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
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
class AccessRules:
    """What a request must show.

    Args:
        hosts: The accepted Host headers, lower case, with their port.
        port: Where the server listens.
        token: The shared secret, "" for none.
    """

    hosts: frozenset[str]
    port: int
    token: str = field(default="", repr=False)

    def accepts_host(self, host: str) -> bool:
        """Tell whether a Host header names this server.

        With a token, any IP address does: a page under a rebound name lacks the token.
        """
        return host.lower() in self.hosts or (bool(self.token) and _is_address(host, self.port))


def access_rules(host: str, port: int, token: str = "") -> AccessRules:
    """Make the rules of a server that listens there."""
    names = {f"[{host.lower()}]" if ":" in host else host.lower()}
    names |= {"localhost", "127.0.0.1"} if host in ("127.0.0.1", "localhost") else set()
    names |= {socket.gethostname().lower()} if token else set()
    hosts = {f"{name}:{port}" for name in names} | (names if port == 80 else set())
    return AccessRules(frozenset(hosts), port, token)


def _is_address(host: str, port: int) -> bool:
    name, _, given = host.rpartition(":") if not host.endswith("]") else (host, "", "80")
    try:
        ipaddress.ip_address(name.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return given == str(port)


class RequestGuard:
    """ASGI middleware that enforces the rules and adds the headers."""

    def __init__(self, app: ASGIApp, rules: AccessRules) -> None:
        self._app, self._rules = app, rules

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse the request, or hand it to the application; every response gets the headers."""
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

        responder = _refusal(scope, self._rules) or self._app
        await responder(scope, receive, send_with_headers)


def _refusal(scope: Scope, rules: AccessRules) -> Response | None:
    """Make the response to a request that breaks a rule."""
    headers = Headers(scope=scope)
    hosts = headers.getlist("host")
    if len(hosts) != 1 or not rules.accepts_host(hosts[0]):
        detail = "this server does not have that name; open the address that it printed"
        return JSONResponse({"detail": detail}, 421)
    # The server's own page may send it, or a program, which sends neither header.
    own = {f"http://{hosts[0].lower()}", f"https://{hosts[0].lower()}"}
    from_own_page = all(
        site in ("same-origin", "none") for site in headers.getlist("sec-fetch-site")
    ) and all(origin.lower() in own for origin in headers.getlist("origin"))
    if scope["method"] not in _SAFE_METHODS and not from_own_page:
        return JSONResponse({"detail": "requests from pages of other sites are refused"}, 403)
    return _token_refusal(scope, headers, rules) if rules.token else None


def _token_refusal(scope: Scope, headers: Headers, rules: AccessRules) -> Response | None:
    """Require the token in a header, in the cookie, or once in the page's address, which sets the cookie."""
    token, query = rules.token, parse_qs(scope["query_string"].decode("latin-1"))
    if scope["path"] == "/" and scope["method"] == "GET" and _equal(query.get("token", [""])[0], token):
        redirect = RedirectResponse("/", 303)
        redirect.set_cookie(_COOKIE.format(rules.port), token, httponly=True, samesite="strict")
        return redirect
    scheme, _, bearer = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and _equal(bearer.strip(), token):
        return None
    try:
        cookie = SimpleCookie(headers.get("cookie", "")).get(_COOKIE.format(rules.port))
    except CookieError:
        cookie = None
    if cookie and _equal(cookie.value, token):
        return None
    detail = "a token is needed: open /?token=TOKEN, or send Authorization: Bearer TOKEN"
    return JSONResponse({"detail": detail}, 401, {"WWW-Authenticate": "Bearer"})


def _equal(given: str, token: str) -> bool:
    return hmac.compare_digest(given.encode(), token.encode())
