"""TurnRunner: the tool loop of one turn: request, run tools, request again, until the model answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from ipycachechat.caching.breakdown import BlockRow, summarize_rows
from ipycachechat.conversation.events import Event
from ipycachechat.conversation.messages import Message
from ipycachechat.engine import compaction
from ipycachechat.engine.client import ModelClient
from ipycachechat.engine.request_runner import RequestRunner
from ipycachechat.engine.turn_draft import TurnDraft
from ipycachechat.engine.turn_request import endpoint_for
from ipycachechat.errors import ContextTooLong, EmptyAnswer
from ipycachechat.providers.endpoint import ModelEndpoint
from ipycachechat.providers.timeouts import Sleep
from ipycachechat.tools.runner import ToolRunner


class TurnRunner:
    """Runs the requests and the tools of one turn; the results are in `draft`."""

    def __init__(
        self,
        client: ModelClient,
        endpoint: ModelEndpoint,
        draft: TurnDraft,
        emit: Callable[[Event], None],
        sleep: Sleep,
    ) -> None:
        request = draft.request
        self.draft, self.endpoint = draft, endpoint_for(endpoint, request, draft.past)
        self._tools = ToolRunner(
            request.tools, draft.redact, request.approve_tool_call, request.run_async_tool, emit
        )
        self._requests = RequestRunner(client, self.endpoint, draft, emit, self._tools.run_on_caller, sleep)

    async def run(self) -> None:
        """Run until the model has answered. Raises ChatError; what has arrived by then is in the draft."""
        steps, max_steps = 0, self.draft.request.max_steps
        while True:
            reply = await self._reply(closing=steps > max_steps)
            if not reply.tool_calls:
                self.draft.replies.append(reply)
                return
            steps += 1
            results = self.draft.begin_calls(reply)
            await self._tools.run(reply.tool_calls, results, last=steps >= max_steps, over=steps > max_steps)
            self.draft.end_calls()

    @property
    def rows(self) -> tuple[BlockRow, ...]:
        """The prefix of the last request and when its blocks expire, in a few rows."""
        return summarize_rows(self._requests.rows)

    async def _reply(self, *, closing: bool) -> Message:
        """Return the next reply; while the context is too long, shorten tool results and repeat the request."""
        request = self.draft.request
        while True:
            try:
                reply = await self._requests.run(closing=closing)
            except ContextTooLong as error:
                if not self.draft.shorten():
                    raise self._with_largest_turns(error) from None
                continue
            if closing and reply.tool_calls:  # although they were forbidden
                reply = replace(reply, tool_calls=())
                if not reply.text.strip():
                    raise EmptyAnswer(
                        f"{request.model} gave no answer after {request.max_steps} rounds of tool calls",
                        "Raise max_steps, or ask for less at a time.",
                    )
            return reply

    def _with_largest_turns(self, error: ContextTooLong) -> ContextTooLong:
        rows = self._requests.rows
        if not rows:
            return error
        sizes = [(row.turn, row.tokens) for row in rows]
        largest = compaction.describe_largest_turns(sizes, len(self.draft.past.turns))
        return ContextTooLong(
            error.message,
            f"Largest: {largest}. Remove turns (undo), continue from an earlier one (fork), or choose a larger model.",
        )
