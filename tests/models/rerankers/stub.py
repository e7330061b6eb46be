"""A model server on loopback that answers as a test wants it to, however badly."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Body = Any
"""JSON, or bytes that are sent as they are."""
Reply = tuple[int, Body] | Callable[[BaseHTTPRequestHandler], None]


@dataclass
class Stub:
    """What was asked of it, and where it listens."""

    url: str
    requests: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    running: int = 0
    most_running: int = 0


@contextmanager
def serving(reply: Callable[[dict[str, Any], str], Reply]) -> Iterator[Stub]:
    """`reply(body, path)` gives the status and the body of every answer."""
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 10

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                stub.requests.append(body)
                stub.headers.append({k.lower(): v for k, v in self.headers.items()})
                stub.paths.append(self.path)
                stub.running += 1
                stub.most_running = max(stub.most_running, stub.running)
            try:
                answer = reply(body, self.path)
                if callable(answer):
                    answer(self)
                else:
                    self.send(*answer)
            except (BrokenPipeError, ConnectionError):
                self.close_connection = True
            finally:
                with lock:
                    stub.running -= 1

        def send(self, status: int, body: Body, **headers: str) -> None:
            content = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.handle_error = lambda *_: None  # type: ignore[method-assign]
    stub = Stub(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield stub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def chat(text: str | None, logprobs: Any = None, **message: Any) -> dict[str, Any]:
    """A chat completion."""
    return {
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": text, **message},
                "logprobs": logprobs,
                "finish_reason": "stop",
            }
        ]
    }


def first_token(**alternatives: float) -> dict[str, Any]:
    """Log-probabilities of the first token, as OpenAI gives them."""
    listed = [{"token": token, "logprob": value} for token, value in alternatives.items()]
    best = max(listed, key=lambda one: float(str(one["logprob"])))
    return {"content": [{**best, "top_logprobs": listed}]}
