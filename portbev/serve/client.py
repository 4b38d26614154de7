"""A client of the server: what ``--check`` and the benchmark send."""

from __future__ import annotations

import io
import json
import secrets
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from http.client import HTTPException
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from portbev.errors import PortbevError
from portbev.files import parse_json
from portbev.serve.body import REQUEST
from portbev.serve.inputs import is_picture

if TYPE_CHECKING:
    from portbev.export.interface import Field


class Client:
    """Asks the server at ``url``.

    Args:
        timeout: seconds that an answer may take.
    """

    def __init__(self, url: str, *, timeout: float = 60.0) -> None:
        if not url.startswith(("http://", "https://")):
            cure = "Give the address that the server printed: http://127.0.0.1:8000"
            raise PortbevError("is no address of a server", where=url, cure=cure)
        self.url, self.timeout = url.rstrip("/"), timeout

    def metadata(self) -> dict[str, Any]:
        """What the server says of itself."""
        said: dict[str, Any] = self._ask(urllib.request.Request(f"{self.url}/metadata"))
        return said

    def predict(self, body: bytes, content_type: str) -> dict[str, Any]:
        """The answer to a request of :func:`multipart`.

        Raises:
            PortbevError: it was refused, in the server's words, or there is no server.
        """
        headers = {"Content-Type": content_type}
        said: dict[str, Any] = self._ask(urllib.request.Request(f"{self.url}/predict", body, headers))
        return said

    def forget(self, session: str) -> None:
        """End a stream."""
        self._ask(urllib.request.Request(f"{self.url}/sessions/{session}", method="DELETE"))

    def _ask(self, request: urllib.request.Request) -> Any:
        try:
            with urllib.request.urlopen(request, timeout=self.timeout) as answer:
                content = answer.read()
        except urllib.error.HTTPError as error:
            raise PortbevError(f"the server answers {error.code}: {_line(error.read())}", where=self.url) from error
        except (OSError, HTTPException) as error:
            reason = getattr(error, "reason", None) or error
            cure = "Start it: portbev serve RUN; it prints its address"
            raise PortbevError(f"no server answers: {reason}", where=self.url, cure=cure) from error
        try:
            return parse_json(content) if content else None
        except ValueError as error:
            raise PortbevError("the answer is no JSON: it is another server", where=self.url) from error


def _line(content: bytes) -> str:
    try:
        return str(json.loads(content)["error"])
    except (ValueError, KeyError, TypeError):
        return content[:200].decode("utf-8", "replace")


def multipart(arrays: Mapping[str, NDArray[Any]], fields: Sequence[Field], **others: Any) -> tuple[bytes, str]:
    """The body of a request and its content type: pictures as PNG and arrays as ``.npy``, so that no bit is lost.

    Args:
        arrays: by the names of the fields.
        others: what else the request says: ``token``, ``min_score``, ``session``, ``continues``.
    """
    parts: dict[str, bytes] = {}
    pictures = {field.name for field in fields if is_picture(field)}
    inputs = {
        name: _pictures(name, values, parts) if name in pictures else _file(name, _npy(values), parts)
        for name, values in arrays.items()
    }
    text = json.dumps({"inputs": inputs, **others}).encode()
    boundary = secrets.token_hex(16)
    body = bytearray()
    for name, content in {REQUEST: text, **parts}.items():
        body += f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n'.encode() + content + b"\r\n"
    body += f"--{boundary}--\r\n".encode()
    return bytes(body), f"multipart/form-data; boundary={boundary}"


def _pictures(name: str, values: NDArray[Any], parts: dict[str, bytes]) -> Any:
    if values.ndim > 3:
        return [_pictures(f"{name}.{index}", one, parts) for index, one in enumerate(values)]
    stream = io.BytesIO()
    Image.fromarray(values).save(stream, "PNG", compress_level=1)
    return _file(name, stream.getvalue(), parts)


def _file(name: str, content: bytes, parts: dict[str, bytes]) -> dict[str, str]:
    parts[name] = content
    return {"part": name}


def _npy(values: NDArray[Any]) -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array(stream, np.asarray(values), allow_pickle=False)
    return stream.getvalue()
