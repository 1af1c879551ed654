"""A redirect to another host takes neither the key nor the conversation along."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from support.talks import SONNET, Talk, nothing
from wire import HttpError, Reply

from ipycachechat.errors import NOT_BILLED, RequestRefused


class OtherServer:
    """A server on another port that records what reaches it."""

    def __init__(self) -> None:
        self.requests: list[str] = []
        requests = self.requests

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                requests.append(f"{self.headers}\n{body!r}")
                self.send_response(500)
                self.end_headers()

            do_GET = do_POST

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def other() -> Iterator[OtherServer]:
    other = OtherServer()
    yield other
    other.server.shutdown()
    other.server.server_close()


@pytest.mark.parametrize(
    ("model", "status", "host"),
    [
        *((SONNET, status, "localhost") for status in (301, 302, 303, 307, 308)),
        (SONNET, 307, "127.0.0.1"),
        ("claude-sonnet-5", 307, "localhost"),
        ("gemini/gemini-2.5-flash", 307, "localhost"),
        ("openrouter/anthropic/claude-sonnet-4.5", 308, "localhost"),
    ],
)
def test_a_redirect_to_another_origin_is_not_followed(
    talk: Talk, other: OtherServer, status: int, host: str, model: str
) -> None:
    talk.model = model
    address = f"http://{host}:{other.server.server_port}"
    talk.server.script(Reply(fault=HttpError(status, headers={"location": f"{address}/v1/messages"})))
    result = talk.loop.run_until_complete(talk.chat.send(talk.next("the conversation"), nothing))
    assert other.requests == []
    error = result.error
    assert isinstance(error, RequestRefused) and error.billed == NOT_BILLED
    assert f"a redirect to {address}, which was not followed" in error.message
    assert len(talk.server.requests) == 1 and not talk.chat.history.current.turns
    assert talk.ask("and now?").turn is not None


def test_a_redirect_on_the_same_origin_is_followed(talk: Talk) -> None:
    talk.server.script(
        Reply(fault=HttpError(307, headers={"location": "/anthropic/v1/messages"})), Reply("answered")
    )
    result = talk.loop.run_until_complete(talk.chat.send(talk.next("hello"), nothing))
    assert result.error is None and result.turn is not None and result.turn.replies[-1].text == "answered"
    assert len(talk.server.requests) == 2
