"""Ways to the API server that can be cut and mended without anybody else noticing."""

from __future__ import annotations

import base64
import contextlib
import socket
import threading
from typing import Self
from urllib.parse import urlsplit


class Relay:
    """Listens on a loopback `port` and passes bytes on to the server of the URL.

    `cut` ends every connection and refuses new ones; `mend` listens again.
    """

    def __init__(self, server: str) -> None:
        url = urlsplit(server)
        self._target = (url.hostname or "", url.port or 443)
        self._sockets: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._listener = self._listen(0)
        self.port: int = self._listener.getsockname()[1]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.cut()

    def cut(self) -> None:
        with self._lock:
            _end(self._listener)
            for each in self._sockets:
                _end(each)
            self._sockets.clear()

    def mend(self) -> None:
        if self._listener.fileno() == -1:
            self._listener = self._listen(self.port)

    def _listen(self, port: int) -> socket.socket:
        listener = socket.create_server(("127.0.0.1", port))
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()
        return listener

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                near, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(listener, near), daemon=True).start()

    def _serve(self, listener: socket.socket, near: socket.socket) -> None:
        try:
            far = self._far(near)
        except OSError:
            _end(near)
            return
        far.settimeout(None)
        with self._lock:
            if listener.fileno() == -1:
                _end(near)
                _end(far)
                return
            self._sockets |= {near, far}
        for source, sink in ((near, far), (far, near)):
            threading.Thread(target=self._pass_on, args=(source, sink), daemon=True).start()

    def _far(self, near: socket.socket) -> socket.socket:
        """The connection to the server. Raises OSError where there is to be none."""
        return socket.create_connection(self._target, timeout=5)

    def _pass_on(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
        for each in (source, sink):
            _end(each)
        with self._lock:
            self._sockets -= {source, sink}


class Proxy(Relay):
    """The same as an HTTP proxy that wants a user and a password."""

    def __init__(self, server: str, user: str, password: str) -> None:
        super().__init__(server)
        self._wanted = base64.b64encode(f"{user}:{password}".encode())

    def _far(self, near: socket.socket) -> socket.socket:
        asked = b""
        near.settimeout(5)
        while not asked.endswith(b"\r\n\r\n"):
            data = near.recv(65536)
            if not data:
                raise ConnectionResetError
            asked += data
        near.settimeout(None)
        if self._wanted not in asked:
            near.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
            raise PermissionError
        far = super()._far(near)
        near.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        return far


def _end(which: socket.socket) -> None:
    """Closes it for both sides at once, a thread that waits for it included."""
    with contextlib.suppress(OSError):
        which.shutdown(socket.SHUT_RDWR)
    which.close()
