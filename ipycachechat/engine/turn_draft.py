"""TurnDraft: the replies of a turn so far, and the Turn that they make, finished or interrupted."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ipycachechat.billing.records import RequestRecord, TurnRecords
from ipycachechat.conversation.messages import Message
from ipycachechat.conversation.turns import Conversation, Turn, TurnStatus, past_digests
from ipycachechat.engine import compaction
from ipycachechat.engine.turn_request import TurnRequest, tool_definitions
from ipycachechat.errors import ARRIVED, AT_LEAST, BILLING_UNKNOWN, NOTHING_SENT, UNCHANGED, Interrupted
from ipycachechat.providers.exchange import Exchange
from ipycachechat.providers.replay import ReplayedExchange
from ipycachechat.text import truncate
from ipycachechat.text.redaction_log import RedactionLog

if TYPE_CHECKING:
    from ipycachechat.providers.response import Response

Results = list[Message | None]
"""The result of each call of a reply, in order; None while it is missing."""


class TurnDraft:
    """The unfinished turn. Requests and tools add to it; it can be saved and shown at any moment."""

    def __init__(self, request: TurnRequest, past: Conversation, asked_at: float) -> None:
        """`past`: the conversation in front of the prompt. `asked_at`: in seconds of the client's clock."""
        self.request = request
        self.past = self.original_past = past
        """`past` is the original with tool results shortened if the model's context required it."""
        self.definitions = tool_definitions(request, past)
        self.replies: list[Message] = []
        self.records = TurnRecords()
        self.exchange: Exchange | None = None
        """The request in flight, or the one that broke off."""
        self.last_exchange: Exchange | ReplayedExchange | None = None
        """The last request that was answered."""
        self.notes: tuple[str, ...] = ()
        """Sentences on the provider's reports to show under the answer."""
        self._asked_at = asked_at
        self.redact = RedactionLog(request.redactor)
        """Removes secrets from tool results."""
        self._calls: tuple[Message, Results] | None = None
        """The reply whose tools are running, and their results."""

    def begin_request(self, exchange: Exchange) -> None:
        """Take what arrives of a request from now on as the end of the turn."""
        self.exchange = exchange

    def end_request(self, exchange: Exchange | ReplayedExchange) -> None:
        """Take a request as answered."""
        self.exchange, self.last_exchange = None, exchange

    def add_record(self, record: RequestRecord, *, reported: bool = True) -> None:
        """Add what a request was billed; `reported`: the provider said so, or began to answer."""
        self.records = self.records.add(record) if reported else self.records.add_unreported(record)

    def note_impossible_counts(self, counts: tuple[str, ...]) -> None:
        """Note that the provider reported counts that cannot be right."""
        if counts and not self.notes:
            listed = ", ".join(counts)
            self.notes = (
                f"the provider reported token counts that cannot be right, shown as unknown: {listed}",
            )

    def begin_calls(self, reply: Message) -> Results:
        """Return the list that the results of a reply's tool calls are to be put in."""
        self._calls = reply, [None] * len(reply.tool_calls)
        return self._calls[1]

    def end_calls(self) -> None:
        """Add the reply and its tool results to the turn."""
        if self._calls is not None:
            reply, results = self._calls
            self.replies += [reply, *(result for result in results if result is not None)]
        self._calls = None

    @property
    def redacted(self) -> tuple[str, ...]:
        """Labels of the secrets that were removed from the prompt and from tool results."""
        return (*self.request.redacted, *self.redact.labels)

    def shorten(self) -> bool:
        """Shorten tool results, this turn's first; return False if none is long."""
        if replies := compaction.shortened(self.replies):
            self.replies = replies
        elif turns := compaction.shortened_turns(self.past.turns):
            self.past = replace(self.past, all_turns=turns)
        else:
            return False
        return True

    @property
    def turn(self) -> Turn:
        """The turn so far, without the reply that is streaming."""
        request = self.request
        return Turn(
            request.prompt, tuple(self.replies), cell=request.placement.cell, cell_runs=request.cell_runs
        )

    @property
    def partial(self) -> Turn | None:
        """The turn as it would be kept if it were interrupted now; None while nothing has arrived."""
        replies = tuple(self._replies_so_far())
        return replace(self._turn(), replies=replies, status=TurnStatus.INTERRUPTED) if replies else None

    def finished(self, *, interrupted: bool) -> Turn:
        """Return the turn that is kept."""
        records = self.records
        cut_off = self.last_exchange is not None and self.last_exchange.finish_reason == "length"
        status = TurnStatus.CUT_OFF if cut_off else TurnStatus.COMPLETE
        return replace(
            self._turn(),
            usage=records.usage,
            cost=records.cost,
            status=TurnStatus.INTERRUPTED if interrupted else status,
            replayed=records.replayed,
        )

    def interrupt(self) -> None:
        """Take the unfinished reply into the turn, as far as it can be kept."""
        replies = self._replies_so_far()
        if self._calls is None and self.exchange is not None and len(replies) > len(self.replies):
            # To be read, not sent: providers accept a signed thought only with everything that followed it.
            thoughts = self.exchange.message.thinking
            unsigned = (replace(t, provider="", signature="", encrypted="") for t in thoughts)
            replies[-1] = replace(replies[-1], thinking=tuple(unsigned))
        self.replies, self._calls = replies, None

    @property
    def stopped(self) -> Interrupted:
        """The error to report if the user stopped the turn."""
        kept = "The partial answer is kept; rerun the cell to retry."
        if self.records.records:
            billed = AT_LEAST if self.records.usage.at_least else ARRIVED
        else:
            billed = BILLING_UNKNOWN if self.records.unreported else NOTHING_SENT
        return Interrupted("Stopped.", kept if self.replies else UNCHANGED, billed=billed)

    @property
    def response(self) -> Response | None:
        """The last response as a litellm object, as far as it arrived."""
        exchange = self.exchange or self.last_exchange
        return exchange.response if exchange else None

    def _replies_so_far(self) -> list[Message]:
        """Return the replies with what can be kept of the unfinished one: text, and calls that have a result."""
        if self._calls is not None:
            reply, results = self._calls
            pairs = [(c, r) for c, r in zip(reply.tool_calls, results, strict=True) if r is not None]
            if not pairs and not reply.text.strip():
                return [*self.replies]
            answered = replace(reply, tool_calls=tuple(call for call, _ in pairs))
            return [*self.replies, answered, *(result for _, result in pairs)]
        if self.exchange is None:
            return [*self.replies]
        text = (
            self.exchange.text
            if self.exchange.has_finish_reason
            else truncate.drop_partial_word(self.exchange.text)
        )
        return [*self.replies, Message("assistant", text)] if text.strip() else [*self.replies]

    def _turn(self) -> Turn:
        *_, digest = past_digests(self.past.turns)
        request = self.request
        return replace(
            self.turn, model=request.model, system=request.system, asked_at=self._asked_at, past_digest=digest
        )
