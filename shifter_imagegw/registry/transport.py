# SPDX-License-Identifier: BSD-3-Clause
"""One HTTP request at a time: proxies, trust, time limits, and failures in words.

The only module that knows the HTTP library. It follows no redirect and knows no credentials;
`~/.netrc` is never read and cookies are never kept.
"""

from __future__ import annotations

import contextlib
import datetime
import http.client
import http.cookiejar
import logging
import os
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
import requests.adapters
import requests.utils
import urllib3.connectionpool
import urllib3.exceptions

from shifter_imagegw.registry import addresses, patience
from shifter_imagegw.registry.endpoint import Endpoint, Origin
from shifter_imagegw.registry.errors import RegistryError, RegistryUnreachableError, cleaned
from shifter_imagegw.registry.retry import parse_retry_after

_CONNECTIONS = 32  # kept open for each host; more are opened when needed
_USER_AGENT = "shifter-imagegw"

# Its warnings and debug lines hold whole URLs, and so the secrets of signed links.
logging.getLogger("urllib3").setLevel(logging.ERROR)

Timeout = tuple[float, float]  # seconds to connect, and between two packets


class Answer:
    """A response: its head, and a body that is read as it comes, never decoded."""

    def __init__(self, response: requests.Response, origin: Origin, longest: float) -> None:
        self._longest = longest  # seconds for the whole of a small body
        self.status = response.status_code
        self.headers: Mapping[str, str] = response.headers
        self.origin = origin
        self._response = response

    def __enter__(self) -> Answer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._response.close()

    def header_lines(self, name: str) -> list[str]:
        """Every line of a header that may be repeated."""
        lines: list[str] = self._response.raw.headers.getlist(name)
        return lines

    def retry_after(self) -> float | None:
        """Seconds that the server asks us to wait."""
        return parse_retry_after(
            self.headers.get("Retry-After"), datetime.datetime.now(datetime.UTC)
        )

    def length(self) -> int | None:
        """Bytes that the body will have, where the server says so."""
        text = self.headers.get("Content-Length", "")
        return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None

    def read_some(self, limit: int) -> bytes:
        """What has come of the body, at most `limit` bytes; b"" at its end."""
        try:
            data: bytes = self._response.raw.read1(limit, decode_content=False)
        except (urllib3.exceptions.HTTPError, OSError) as error:
            # `from None`: the library's texts hold the whole URL.
            raise RegistryError(
                f"the connection to {self.origin} broke: {_reason(error)}", retriable=True
            ) from None
        return data or b""

    def read_all(self, limit: int, what: str) -> bytes:
        """The whole body, refused when longer than `limit` bytes; `what` names it."""
        if (self.length() or 0) > limit:
            raise _too_large(what, limit)
        until = time.monotonic() + self._longest
        body = bytearray()
        while chunk := self.read_some(limit + 1 - len(body)):
            body += chunk
            if len(body) > limit:
                raise _too_large(what, limit)
            if time.monotonic() > until:
                raise RegistryError(
                    f"{what} did not come within {self._longest:.0f} s from {self.origin}",
                    retriable=True,
                )
        return bytes(body)


class Transport:
    """Sends requests to one endpoint and to wherever that refers; usable from many threads."""

    def __init__(self, endpoint: Endpoint, timeout: Timeout) -> None:
        if endpoint.ca_file is not None and not endpoint.ca_file.is_file():
            raise RegistryError(
                f"the CA file {endpoint.ca_file} of registry {endpoint.label} is not there"
            )
        self._endpoint = endpoint
        self._timeout = timeout
        self._home = _session(_context_at_home(endpoint))
        self._lock = threading.Lock()
        self._abroad: requests.Session | None = None
        self._allowed: frozenset[str] = frozenset()

    def close(self) -> None:
        self._home.close()
        if self._abroad is not None:
            self._abroad.close()

    def get(self, url: str, headers: Mapping[str, str]) -> Answer:
        """One request. Raises RegistryError where no answer comes, whatever its status."""
        try:
            origin = Origin.of(url)
        except ValueError:
            raise RegistryError(
                f"registry {self._endpoint.label} refers to {shown(url)}, which is no http or "
                "https address"
            ) from None
        proxies = _proxies(url)
        session, verify = self._route(origin, url, proxies)
        try:
            response = session.get(
                url,
                headers=dict(headers),
                timeout=self._timeout,
                stream=True,
                allow_redirects=False,
                proxies=proxies,
                verify=verify,
            )
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            # `from None`: the library's texts hold the whole URL, and may hold headers.
            raise _unreachable(origin, error) from None
        except ValueError:
            raise RegistryError(f"{origin} cannot be asked for {shown(url)}") from None
        return Answer(response, origin, longest=sum(self._timeout))

    def _route(
        self, origin: Origin, url: str, proxies: dict[str, str]
    ) -> tuple[requests.Session, bool | str]:
        bundle = _ca_bundle()
        if origin == self._endpoint.origin:
            return self._home, str(self._endpoint.ca_file or "") or bundle
        session = self._session_abroad()
        if requests.utils.select_proxy(url, proxies):
            # The proxy resolves the name; only what is an address already can be judged here.
            addresses.require_reachable(origin.host, self._allowed)
        return session, bundle

    def _session_abroad(self) -> requests.Session:
        """The session for other hosts, which may be in the endpoint's own networks at most."""
        with self._lock:
            if self._abroad is None:
                self._allowed = addresses.kinds_of_host(self._endpoint.origin.host)
                self._abroad = _session(
                    _context_abroad(self._endpoint), addresses.guarded_pools(self._allowed)
                )
            return self._abroad


class _Adapter(requests.adapters.HTTPAdapter):
    def __init__(
        self,
        context: ssl.SSLContext | None,
        pools: Mapping[str, type[urllib3.connectionpool.HTTPConnectionPool]] | None,
    ) -> None:
        self._context = context
        self._pools = pools
        super().__init__(pool_connections=_CONNECTIONS, pool_maxsize=_CONNECTIONS)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        super().init_poolmanager(*args, ssl_context=self._context, **kwargs)
        manager = self.poolmanager
        manager.pool_classes_by_scheme = patience.patient(
            self._pools or manager.pool_classes_by_scheme
        )

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:  # noqa: ANN401
        is_new = proxy not in self.proxy_manager
        manager = super().proxy_manager_for(proxy, ssl_context=self._context, **kwargs)
        if is_new:
            manager.pool_classes_by_scheme = patience.patient(manager.pool_classes_by_scheme)
        return manager


def _session(
    context: ssl.SSLContext | None,
    pools: Mapping[str, type[urllib3.connectionpool.HTTPConnectionPool]] | None = None,
) -> requests.Session:
    session = requests.Session()
    session.trust_env = False  # no ~/.netrc; proxies are taken from the environment below
    session.cookies.set_policy(http.cookiejar.DefaultCookiePolicy(allowed_domains=()))
    session.headers.clear()
    session.headers.update({"User-Agent": _USER_AGENT, "Accept-Encoding": "identity"})
    adapter = _Adapter(context, pools)
    session.mount("http://", adapter)
    session.mount("https://", adapter)
    return session


def _context_at_home(endpoint: Endpoint) -> ssl.SSLContext | None:
    """Trust for the endpoint itself: its own authority and no other, where it has one."""
    if endpoint.origin.scheme == "http":
        return None  # a context costs tens of milliseconds
    if endpoint.ca_file is None:
        return ssl.create_default_context()
    with _ca_failures_named(endpoint.ca_file):
        return ssl.create_default_context(cafile=os.fspath(endpoint.ca_file))


def _context_abroad(endpoint: Endpoint) -> ssl.SSLContext:
    """Trust for where the endpoint refers to: the system's authorities, and its own."""
    context = ssl.create_default_context()
    if endpoint.ca_file is not None:
        with _ca_failures_named(endpoint.ca_file):
            context.load_verify_locations(cafile=os.fspath(endpoint.ca_file))
    return context


@contextlib.contextmanager
def _ca_failures_named(ca_file: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:  # SSLError is one
        raise RegistryError(f"the CA file {ca_file} cannot be used: {_cause(error)}") from None


def _ca_bundle() -> str | bool:
    """The authorities that the environment names; True for the usual ones."""
    for variable in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        path = os.environ.get(variable)
        if path and not os.path.exists(path):
            raise RegistryError(f"{variable} names {path}, which is not there")
        if path:
            return path
    return True


def _proxies(url: str) -> dict[str, str]:
    """The environment's proxies for `url`; `socks://`, as the original took it, is SOCKS 5."""
    found = requests.utils.get_environ_proxies(url, no_proxy=None)
    return {
        scheme: f"socks5h{proxy.removeprefix('socks')}" if proxy.startswith("socks://") else proxy
        for scheme, proxy in found.items()
    }


def _too_large(what: str, limit: int) -> RegistryError:
    return RegistryError(f"{what} is refused: it is larger than {limit >> 20} MiB")


def shown(url: str) -> str:
    """A URL without what may be secret in it: user, query and fragment."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "a broken URL"
    return repr(cleaned(f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}", 120))


def _unreachable(origin: Origin, error: Exception) -> RegistryError:
    return RegistryUnreachableError(
        f"{origin} cannot be reached: {_reason(error)}", retriable=_may_pass(error)
    )


def _may_pass(error: Exception) -> bool:
    lasting = (requests.exceptions.SSLError, requests.exceptions.InvalidSchema)
    if isinstance(error, lasting) or isinstance(_innermost(error), ssl.SSLCertVerificationError):
        return False
    return isinstance(
        error,
        (
            requests.ConnectionError,
            requests.Timeout,
            requests.exceptions.ChunkedEncodingError,
            urllib3.exceptions.HTTPError,
        ),
    )


def _reason(error: Exception) -> str:
    """Why, without the library's own text, which holds URLs and objects."""
    if isinstance(error, requests.exceptions.ProxyError):
        return f"the proxy on the way there failed ({_cause(error)})"
    if isinstance(error, requests.ConnectTimeout):
        return "no connection in time"
    return _cause(error)


def _cause(error: Exception) -> str:
    cause = _innermost(error)
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({cleaned(cause.verify_message, 120)})"
    if isinstance(cause, ssl.SSLError):
        return f"TLS failed ({cleaned(cause.reason or 'unknown reason', 80)})"
    if isinstance(cause, urllib3.exceptions.NameResolutionError):
        return "its name cannot be resolved"
    if isinstance(cause, requests.exceptions.InvalidSchema):
        return "its proxy needs the Python package PySocks"
    if isinstance(cause, patience.TooSlowError):
        return str(cause)
    if isinstance(cause, (TimeoutError, urllib3.exceptions.TimeoutError, requests.Timeout)):
        return "no answer in time"
    if isinstance(cause, http.client.IncompleteRead):
        return "it ended too early"
    if isinstance(cause, OSError) and cause.strerror:
        return cleaned(cause.strerror.lower(), 80)
    return "it did not answer as a web server does"


def _innermost(error: BaseException) -> BaseException:
    """The failure that requests and urllib3 wrapped, as deep as it is informative."""
    informative = (
        urllib3.exceptions.NameResolutionError,
        ssl.SSLError,
        ConnectionError,
        TimeoutError,
    )
    for _ in range(8):
        if isinstance(error, informative):
            return error
        reason = getattr(error, "reason", None)
        inner = reason if isinstance(reason, BaseException) else error.__cause__
        if inner is None:
            inner = next((arg for arg in error.args if isinstance(arg, BaseException)), None)
        if inner is None:
            inner = error.__context__
        if inner is None:
            return error
        error = inner
    return error
