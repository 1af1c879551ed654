"""ToolRunner: approve, run and collect the tool calls of one reply."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Sequence
from contextvars import copy_context
from functools import partial
from typing import Any

from ipycachechat.conversation.events import Event, RunOnCallerThread, ToolCallFinished, ToolCallStarted
from ipycachechat.conversation.messages import Content, Message, ToolCall
from ipycachechat.errors import BadInput
from ipycachechat.prompts.content import tool_result_content
from ipycachechat.text.redaction_log import RedactionLog
from ipycachechat.tools import calls
from ipycachechat.tools.calls import ToolError
from ipycachechat.tools.schema import Tools

NO_MORE_CALLS = "[No more tools can be called in this turn. Answer with what you know so far.]"
NOT_ALLOWED = "The user did not allow this call."


class ToolRunner:
    """Runs tool calls: async tools on the caller's event loop, the others on the caller's thread."""

    def __init__(
        self,
        tools: Tools,
        redact: RedactionLog,
        approve: Callable[[ToolCall], bool] | None,
        run_async: Callable[[Callable[[], Any]], Awaitable[Any]] | None,
        emit: Callable[[Event], None],
    ) -> None:
        """`redact` removes secrets from results. `approve` is called before each call, on the caller's thread.

        `run_async` awaits a call on another event loop; None: on the running one.
        """
        self._tools, self._redact, self._approve, self._emit = tools, redact, approve, emit
        self._run_async = run_async or calls.await_result

    async def run(
        self, requested: Sequence[ToolCall], results: list[Message | None], *, last: bool, over: bool
    ) -> None:
        """Put the result of each call into `results`, in order: async tools run concurrently, others one by one.

        `last`: a note says that no tools can be called after these. `over`: not even these are run.
        """
        works = [await self._prepare(call, over) for call in requested]

        def finish(index: int, value: Any) -> None:
            call = requested[index]
            content = _result_content(value, self._redact)
            if last and index == len(works) - 1:
                content = _with_note(content)
            results[index] = result = Message("tool", content, tool_call_id=call.id)
            self._emit(ToolCallFinished(call, result))

        async def run_async(index: int, work: Callable[[], Any]) -> None:
            finish(index, await self._run_async(work))

        running = []
        try:
            for index, work in enumerate(works):
                if not isinstance(work, ToolError) and self._is_async(requested[index]):
                    self._emit(ToolCallStarted(requested[index]))
                    running.append(asyncio.create_task(run_async(index, work)))
            for index, work in enumerate(works):
                if isinstance(work, ToolError) or not self._is_async(requested[index]):
                    self._emit(ToolCallStarted(requested[index]))
                    finish(index, work if isinstance(work, ToolError) else await self.run_on_caller(work))
            await asyncio.gather(*running)
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    def _is_async(self, call: ToolCall) -> bool:
        return calls.is_async(self._tools.functions.get(call.name))

    async def _prepare(self, call: ToolCall, over: bool) -> Callable[[], Any] | ToolError:
        """Return the call as a function, or an error if it is invalid or the user does not allow it."""
        if over:
            return ToolError(NO_MORE_CALLS)
        try:
            work = calls.bind_call(call, self._tools)
        except Exception as error:  # from a library that reads types and schemas
            return calls.error_from(error)
        approve = self._approve
        if isinstance(work, ToolError) or approve is None:
            return work
        answer = await self.run_on_caller(lambda: approve(call))
        if isinstance(answer, ToolError):
            raise BadInput(
                f"There was no one to ask about {call.name}: {answer.message}", "Nothing was called."
            )
        return work if answer is True else ToolError(NOT_ALLOWED)

    async def run_on_caller(self, work: Callable[[], Any]) -> Any:
        """Return what `work` returns on the caller's thread, or a ToolError if it raises."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()

        def set_result(value: Any) -> None:
            if not future.done():
                future.set_result(value)

        def run() -> None:
            try:
                value = work()
            except (Exception, SystemExit) as error:
                value = calls.error_from(error)
            loop.call_soon_threadsafe(set_result, value)

        # In this context, so that code on any thread can see that it runs within a tool.
        self._emit(RunOnCallerThread(partial(copy_context().run, run)))
        value = await future
        if inspect.isawaitable(value):
            # Through gather, so that a tool that ignores its own cancellation cannot ignore the turn's.
            (value,) = await asyncio.gather(self._run_async(lambda: value))
        return value


def _result_content(value: Any, redact: RedactionLog) -> Content:
    """Return a tool's result or its error as content for the model."""
    value = f"Error: {value.message}" if isinstance(value, ToolError) else value
    return tool_result_content(value, redact)


def _with_note(content: Content) -> Content:
    if isinstance(content, str):
        return f"{content}\n\n{NO_MORE_CALLS}"
    return (*content, NO_MORE_CALLS)
