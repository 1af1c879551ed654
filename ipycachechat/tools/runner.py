"""The tools that an answer calls: who is asked, who runs them, and what of it there is when it is stopped."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from contextvars import copy_context
from dataclasses import replace
from functools import partial
from typing import Any

from ipycachechat.conversation.events import Event, RunOnCallerThread, ToolCallFinished, ToolCallStarted
from ipycachechat.conversation.messages import Content, Message, ToolCall
from ipycachechat.engine.turn_request import TurnRequest
from ipycachechat.errors import BadInput
from ipycachechat.tools import calls
from ipycachechat.tools.calls import ToolError

NO_MORE = "[No more tools can be called in this turn: answer with what is known by now.]"
REFUSED = "The person did not allow this call."


class ToolRunner:
    """The calls of one turn, an answer's after the other's."""

    def __init__(self, ask: TurnRequest, tell: Callable[[Event], None]) -> None:
        self.redacted: list[str] = []
        """Labels of what was secret in results, and was taken out."""
        self._ask, self._tell = ask, tell
        self._under_way: tuple[Message, list[Message | None]] | None = None
        """The answer whose tools are being called, and their results so far."""

    @property
    def busy(self) -> bool:
        """Whether calls are under way, or were when all ended."""
        return self._under_way is not None

    def partial_results(self) -> list[Message]:
        """The answer whose tools are being called, with the calls that have a result, and those; nothing if that is
        nothing."""
        if self._under_way is None:
            return []
        reply, results = self._under_way
        done = [(call, one) for call, one in zip(reply.tool_calls, results, strict=True) if one is not None]
        if not done and not reply.text.strip():
            return []
        return [replace(reply, tool_calls=tuple(call for call, _ in done)), *(result for _, result in done)]

    def end(self) -> None:
        """Nothing is under way any more."""
        self._under_way = None

    async def results(self, reply: Message, *, last: bool, over: bool) -> list[Message]:
        """The results of all calls, in their order: async tools run side by side, the others one by one.

        `last`: there are to be no more calls after them; `over`: nor these.
        """
        results: list[Message | None] = [None] * len(reply.tool_calls)
        self._under_way = reply, results
        works = [await self._work(call, over) for call in reply.tool_calls]

        def give(number: int, value: Any) -> None:
            call = reply.tool_calls[number]
            content = self._redacted(calls.tool_result(value))
            if last and number == len(works) - 1:
                content = _with_note(content)
            results[number] = result = Message("tool", content, tool_call_id=call.id)
            self._tell(ToolCallFinished(call, result))

        async def beside(number: int, work: Callable[[], Any]) -> None:
            give(number, await (self._ask.run_async_tool or calls.awaited)(work))

        running = []
        try:
            for number, work in enumerate(works):
                if not isinstance(work, ToolError) and self._is_async(reply.tool_calls[number]):
                    self._tell(ToolCallStarted(reply.tool_calls[number]))
                    running.append(asyncio.create_task(beside(number, work)))
            for number, work in enumerate(works):
                if isinstance(work, ToolError) or not self._is_async(reply.tool_calls[number]):
                    self._tell(ToolCallStarted(reply.tool_calls[number]))
                    give(number, work if isinstance(work, ToolError) else await self.run_on_caller(work))
            await asyncio.gather(*running)
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
        self._under_way = None
        return [result for result in results if result is not None]

    def _redacted(self, content: Content) -> Content:
        """Return the content without secrets; files stay as they are."""
        if isinstance(content, str):
            return self._redacted_text(content)
        return tuple(self._redacted_text(part) if isinstance(part, str) else part for part in content)

    def _redacted_text(self, text: str) -> str:
        if self._ask.redactor is None:
            return text
        redacted = self._ask.redactor(text)
        self.redacted += redacted.found
        return redacted.text

    def _is_async(self, call: ToolCall) -> bool:
        return calls.is_async(self._ask.tools.functions.get(call.name))

    async def _work(self, call: ToolCall, over: bool) -> Callable[[], Any] | ToolError:
        """What is to be done for a call, unless nothing can be, or the person does not want it done."""
        if over:
            return ToolError(NO_MORE)
        try:
            work = calls.bind_call(call, self._ask.tools)
        except Exception as error:  # of a library that looks at types and schemas
            return calls.failed(error)
        allow = self._ask.approve_tool_call
        if isinstance(work, ToolError) or allow is None:
            return work
        answer = await self.run_on_caller(lambda: allow(call))
        if isinstance(answer, ToolError):
            raise BadInput(f"Nobody could be asked about {call.name}: {answer.why}", "Nothing was called.")
        return work if answer is True else ToolError(REFUSED)

    async def run_on_caller(self, work: Callable[[], Any]) -> Any:
        """What the work gives, or a `Failed`, from the thread of whoever asked."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()

        def give(value: Any) -> None:
            if not future.done():
                future.set_result(value)

        def run() -> None:
            try:
                value = work()
            except (Exception, SystemExit) as error:
                value = calls.failed(error)
            loop.call_soon_threadsafe(give, value)

        # In this context, so that a tool is known for one wherever it runs.
        self._tell(RunOnCallerThread(partial(copy_context().run, run)))
        value = await future
        if inspect.isawaitable(value):
            # Gathered, since what swallows its own cancelling does not swallow the turn's.
            (value,) = await asyncio.gather((self._ask.run_async_tool or calls.awaited)(lambda: value))
        return value


def _with_note(content: Content) -> Content:
    if isinstance(content, str):
        return f"{content}\n\n{NO_MORE}"
    return (*content, NO_MORE)
