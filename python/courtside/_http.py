"""Requests to the HTTP interface: `urllib` alone, no redirects, errors as `ApiError`."""

from __future__ import annotations

import http.client
import json
import secrets
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from .errors import ApiError

_CHUNK = 1 << 18
_MAX_ERROR = 1 << 16


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """The token must not be sent to another server."""

    def redirect_request(self, *_arguments: Any, **_named: Any) -> None:
        return None


class Connection:
    """A server, and what every request to it has in common."""

    def __init__(self, url: str, token: str | None, timeout: float) -> None:
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{url!r} is not the address of a server, such as http://127.0.0.1:8000")
        if parts.username or parts.password or parts.query or parts.fragment:
            raise ValueError("the address of the server must not have a password or a query; pass token=")
        self.url = url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._timeout = timeout
        is_local = parts.hostname in ("127.0.0.1", "::1", "localhost")
        handlers: list[urllib.request.BaseHandler] = [_NoRedirects()]
        if is_local:
            handlers.append(urllib.request.ProxyHandler({}))
        self._opener = urllib.request.build_opener(*handlers)

    @contextmanager
    def open(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        data: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Iterator[http.client.HTTPResponse]:
        """Sends a request. Yields the response if its status is a success."""
        given = {name: value for name, value in (query or {}).items() if value is not None}
        address = f"{self.url}{path}" + (f"?{urllib.parse.urlencode(given)}" if given else "")
        request = urllib.request.Request(address, data, {**self._headers, **(headers or {})}, method=method)
        try:
            with self._opener.open(request, timeout=self._timeout) as response:
                yield response
        except urllib.error.HTTPError as error:
            with error:
                raise _refused(error) from None
        except urllib.error.URLError as error:
            hint = "is `courtside serve` running there?"
            raise ApiError(None, f"{self.url} cannot be reached: {error.reason}", hint) from None
        except (OSError, http.client.HTTPException) as error:
            raise ApiError(None, f"the connection to {self.url} broke: {error or type(error).__name__}") from None

    def json(self, method: str, path: str, *, query: Mapping[str, Any] | None = None, body: Any = None) -> Any:
        """Sends a request with a JSON body, if there is one. Returns the JSON of the response; `None` for an empty one."""
        data = None if body is None else json.dumps(body).encode()
        headers = {} if body is None else {"Content-Type": "application/json"}
        with self.open(method, path, query=query, data=data, headers=headers) as response:
            text = response.read()
        try:
            return json.loads(text) if text else None
        except ValueError:
            raise ApiError(response.status, f"{self.url}{path} did not answer with JSON", "is it Courtside?") from None

    def upload(self, path: str, file: Path) -> Any:
        """Sends a file as a form, in chunks. Returns the JSON of the response."""
        boundary = secrets.token_hex(16)
        name = file.name.replace("\\", "_").replace('"', "%22").replace("\r", " ").replace("\n", " ")
        head = (
            f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'
            "Content-Type: application/octet-stream\r\n\r\n"
        ).encode()
        tail = f"\r\n--{boundary}--\r\n".encode()
        with open(file, "rb") as content:
            length = len(head) + file.stat().st_size + len(tail)
            headers = {"Content-Type": f"multipart/form-data; boundary={boundary}", "Content-Length": str(length)}
            with self.open("POST", path, data=_parts(head, content, tail), headers=headers) as response:
                return json.load(response)


def chunks(file: IO[bytes] | http.client.HTTPResponse) -> Iterator[bytes]:
    """The content of a file or a response, in chunks."""
    while chunk := file.read(_CHUNK):
        yield chunk


def _parts(head: bytes, content: IO[bytes], tail: bytes) -> Iterator[bytes]:
    yield head
    yield from chunks(content)
    yield tail


def _refused(error: urllib.error.HTTPError) -> ApiError:
    if error.code in (301, 302, 303, 307, 308):
        return ApiError(error.code, "the server redirects to another address, which is not followed")
    try:
        detail = json.loads(error.read(_MAX_ERROR)).get("detail")
    except (ValueError, AttributeError, OSError):
        detail = None
    hint = "pass token=, the server's COURTSIDE_TOKEN" if error.code == 401 else None
    return ApiError(error.code, _detail_text(detail) or f"HTTP {error.code} {error.reason}", hint)


def _detail_text(detail: Any) -> str:
    """The text of a `detail`, which is a list with an entry for each invalid field, or text."""
    if not isinstance(detail, list):
        return str(detail or "")
    entries = [entry for entry in detail if isinstance(entry, dict)]
    return "; ".join(f"{'.'.join(map(str, entry.get('loc', ())))}: {entry.get('msg')}" for entry in entries)
