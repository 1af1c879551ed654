"""A loopback server that speaks the providers' protocols, enforces their rules, and logs requests.

    with WireServer() as wire:
        wire.script(Reply("Hello"), Reply(fault=HttpError(429, "Slow down", headers={"retry-after": "1"})))
        ...                      # any HTTP client, in any process, at wire.url or the *_url of a provider
        wire.requests[0].bill    # what the provider charges

Base URLs for litellm 1.106.2, as `api_base=` or in the environment (`wire.env()` gives them all):
Anthropic `ANTHROPIC_API_BASE`, then `ANTHROPIC_BASE_URL`: without `/v1/messages`, which it appends;
OpenAI `OPENAI_BASE_URL`, then `OPENAI_API_BASE`: with `/v1`; it appends `/chat/completions` or `/responses`;
Gemini `GEMINI_API_BASE`: with `/v1beta`; it appends `/models/{model}:generateContent`;
OpenRouter `OPENROUTER_API_BASE`: it appends `/chat/completions`.
Paths are accepted with and without `/v1`, `/v1beta` and `/models`.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections import deque
from types import TracebackType
from typing import Any

from aiohttp import web

from .anthropic import Anthropic
from .calls import Answer, ApiError
from .clock import Clock
from .gemini import PATH, Gemini
from .openai import OpenAI
from .openai_responses import OpenAIResponses
from .openrouter import OpenRouter
from .play import Dialect, Dropped, Player
from .replies import Script, default_reply
from .requests import Request


class WireServer:
    """The server in a thread of its own; a context manager."""

    def __init__(self, clock: Clock | None = None, context_limit: int | None = None) -> None:
        self.clock = clock or Clock()
        self.context_limit = context_limit
        self.requests: list[Request] = []
        self.always: Script = default_reply
        self._reasoning: dict[str, str] = {}  # kept by the Responses API; no cache, so never emptied
        self.forget()
        self.port = 0
        self._scripts: deque[tuple[str | None, Script]] = deque()
        self._lock = threading.Condition()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="wire", daemon=True)
        self._ready, self._stop = threading.Event(), asyncio.Event()
        self._open: set[asyncio.Task[Any]] = set()

    @property
    def url(self) -> str:
        """Base URL of the server, without a final slash."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def anthropic_url(self) -> str:
        """Base URL for Anthropic."""
        return self.url

    @property
    def openai_url(self) -> str:
        """Base URL for OpenAI."""
        return f"{self.url}/v1"

    @property
    def gemini_url(self) -> str:
        """Base URL for Gemini."""
        return f"{self.url}/v1beta"

    @property
    def openrouter_url(self) -> str:
        """Base URL for a router: OpenAI's protocol, where Claude names obey `cache_control`."""
        return f"{self.url}/openrouter/v1"

    def env(self, key: str = "test-key") -> dict[str, str]:
        """Environment that sends every provider's requests here, with a key for each."""
        return {
            "ANTHROPIC_API_BASE": self.anthropic_url,
            "OPENAI_BASE_URL": self.openai_url,
            "OPENAI_API_BASE": self.openai_url,
            "GEMINI_API_BASE": self.gemini_url,
            "OPENROUTER_API_BASE": self.openrouter_url,
            **{f"{name}_API_KEY": key for name in ("ANTHROPIC", "OPENAI", "GEMINI", "OPENROUTER")},
        }

    def script(self, *replies: Script, provider: str | None = None) -> None:
        """Queue replies for the next valid requests, or only for those of one provider."""
        with self._lock:
            self._scripts.extend((provider, reply) for reply in replies)

    @property
    def unused(self) -> int:
        """Number of scripted replies that were not used."""
        return len(self._scripts)

    def wait(self, n: int, timeout: float = 5.0) -> list[Request]:
        """Wait until n requests have arrived; TimeoutError if they do not."""
        with self._lock:
            if not self._lock.wait_for(lambda: len(self.requests) >= n, timeout):
                raise TimeoutError(f"{len(self.requests)} of {n} requests after {timeout} s")
            return self.requests[:n]

    def clear(self) -> None:
        """Empty the log and the queue, but not the caches."""
        with self._lock:
            self.requests.clear()
            self._scripts.clear()

    def clear_scripts(self) -> None:
        """Empty the queue only."""
        with self._lock:
            self._scripts.clear()

    def forget(self) -> None:
        """Empty the caches."""
        self.anthropic, self.openai, self.gemini, self.openrouter = (
            Anthropic(),
            OpenAI(),
            Gemini(),
            OpenRouter(),
        )
        self.responses = OpenAIResponses(self.openai, self._reasoning)

    def __enter__(self) -> WireServer:
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def _run(self) -> None:
        """Run the server's thread."""
        try:
            self._loop.run_until_complete(self._serve())
        finally:
            self._loop.close()

    async def _serve(self) -> None:
        """Serve until the server is stopped, then cancel open requests."""
        app = web.Application(client_max_size=1 << 28)
        app.router.add_route("*", "/{path:.*}", self._handle)
        runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.5, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.port = runner.addresses[0][1]
        self._ready.set()
        await self._stop.wait()
        for task in self._open:
            task.cancel()
        await runner.cleanup()

    async def _handle(self, http: web.Request) -> web.StreamResponse:
        """Log a request, answer it, and record how it ended."""
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        record = await self._log(http)
        try:
            response = await self._answer(http, record)
            record.status = response.status
            record.closed = "complete"
            return response
        except Dropped:
            record.closed = "server"
            return web.Response(status=500)
        except (asyncio.CancelledError, ConnectionError):
            record.closed = "server" if self._stop.is_set() else "client"
            raise
        finally:
            self._open.discard(task)
            record.ended = time.monotonic()
            record.ended_event.set()

    async def _log(self, http: web.Request) -> Request:
        """Return the log entry of a request."""
        started, wall = time.monotonic(), time.time()
        raw = await http.read()
        try:
            body = json.loads(raw) if raw else None
        except ValueError:
            body = raw.decode(errors="replace")
        dialect = self._dialect(http.path)
        with self._lock:
            record = Request(
                provider=dialect.name
                if dialect
                else "gemini"
                if "cachedContents" in http.path
                else "unknown",
                method=http.method,
                path=http.path,
                query=dict(http.query),
                headers={name.lower(): value for name, value in http.headers.items()},
                body=body,
                raw=raw,
                started=started,
                wall=wall,
                serial=len(self.requests) + 1,
            )
            self.requests.append(record)
            self._lock.notify_all()
        return record

    def _dialect(self, path: str) -> Dialect | None:
        """The protocol spoken at a path."""
        if path.endswith(("/messages", "/messages/count_tokens")):
            return self.anthropic
        if path.endswith("/chat/completions"):
            return self.openrouter if path.startswith(("/openrouter/", "/proxy/")) else self.openai
        if path.endswith("/responses"):
            return self.responses
        if PATH.match(path):
            return self.gemini
        return None

    async def _answer(self, http: web.Request, record: Request) -> web.StreamResponse:
        """Validate a request and play its reply."""
        answer = Answer(record.serial, self.clock.now)
        dialect = self._dialect(http.path)
        if dialect is None:
            return self._answer_other(record)
        try:
            record.key = dialect.key(record.headers, record.query)
            if not isinstance(record.body, dict):
                raise ApiError(400, "We could not parse the JSON body of your request.")
            record.call = call = dialect.read(http.path, record.body)
            if self.context_limit is not None and call.prompt > self.context_limit:
                raise dialect.too_long(call, self.context_limit)
        except ApiError as error:
            record.error = error.message
            body = dialect.error(error, answer)
            return web.json_response(body, status=error.status, headers=dialect.headers(answer))
        if http.path.endswith("/count_tokens"):
            return web.json_response({"input_tokens": call.prompt})
        if http.path.endswith(":countTokens"):
            return web.json_response({"totalTokens": call.prompt})
        plan = dialect.plan(record.key, call, answer.now)
        script = self._next(dialect.name)
        reply = script(call) if callable(script) else script
        reply = reply.fitted(call.max_tokens).named(dialect.tool_prefix, record.serial)
        return await Player(http, record, dialect, call, reply, plan, answer).play()

    def _next(self, provider: str) -> Script:
        """Take the next scripted reply that is meant for a provider."""
        with self._lock:
            for i, (wanted, script) in enumerate(self._scripts):
                if wanted in (None, provider):
                    del self._scripts[i]
                    return script
            return self.always

    def _answer_other(self, record: Request) -> web.Response:
        """Answer a path that exists only to appear in the log."""
        if "cachedContents" in record.path:
            name = f"cachedContents/loopback{record.serial}"
            listed: dict[str, Any] = {"cachedContents": []} if record.method == "GET" else {"name": name}
            return web.json_response({**listed, "usageMetadata": {"totalTokenCount": 0}})
        record.error = "Not found"
        return web.json_response(
            {
                "error": {
                    "message": f"Invalid URL ({record.method} {record.path})",
                    "type": "invalid_request_error",
                    "param": None,
                    "code": None,
                }
            },
            status=404,
        )
