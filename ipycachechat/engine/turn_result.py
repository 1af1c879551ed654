"""Place the finished turn in the conversation and build its TurnResult."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ipycachechat.caching.request import prompt_messages
from ipycachechat.conversation.placement import count_replaced, place_turn
from ipycachechat.conversation.turns import Conversation, Turn
from ipycachechat.engine.client import ModelClient
from ipycachechat.engine.events import TurnResult
from ipycachechat.engine.turn_draft import TurnDraft
from ipycachechat.engine.turn_request import PLACEHOLDER, TurnRequest, past_of, request_options
from ipycachechat.engine.turn_runner import TurnRunner
from ipycachechat.engine.versions import Versions
from ipycachechat.errors import LAST_NOT_BILLED, NOT_BILLED, UNCHANGED, ChatError, ConnectionLost
from ipycachechat.providers.endpoint import ModelEndpoint


def finish_turn(
    client: ModelClient, versions: Versions, runner: TurnRunner, error: ChatError | None, *, cancelled: bool
) -> TurnResult:
    """Add the turn to the conversation, unless nothing arrived that could be kept, and return its result.

    `cancelled`: it ended by an exception other than `error`, which the caller raises again.
    """
    draft, records = runner.draft, runner.draft.records
    request = draft.request
    if cancelled or isinstance(error, ConnectionLost):
        draft.interrupt()
    if not draft.replies:
        versions.drop_draft()
        return TurnResult(cost=records.cost, error=error)
    if error is not None and not isinstance(error, ConnectionLost):  # the tools' effects remain
        hint = error.hint.removeprefix(UNCHANGED).strip()
        error = error.with_hint(f"{hint} The tool calls so far are kept, marked as interrupted.".strip())
        if error.billed == NOT_BILLED:  # but the requests before it were
            error = error.with_billing(LAST_NOT_BILLED)
    turn = draft.finished(interrupted=cancelled or error is not None)
    with versions.lock:
        old = versions.current
        number = len(past_of(request, old).turns) + 1
        versions.change(lambda history: history.change(_with_turn(history.current, draft, turn)))
        new = versions.current
    last = records.records[-1] if records.records else None  # none if recording it failed
    return TurnResult(
        turn=turn,
        cost=records.cost,
        error=error,
        number=number,
        expected=records.expected,
        reason=records.reason,
        cache_is_promised=last is not None and last.cache_is_promised,
        warm_until=last.warm_until if last else None,
        replaced=count_replaced(old, request.placement) > 0,
        stale=tuple(sorted(later for later in new.stale if later > number)),
        uncached_tokens=_uncached_tokens(client, request, runner.endpoint, old, new)
        if len(new.turns) > number
        else 0,
        detached_turns=_newly_detached(old, new),
        requests=len(records.records),
        rows=runner.rows,
        timing=records.timing,
        request_id=last.request_id if last else "",
        notes=(*request.notes, *draft.notes, *redaction_note(draft.redacted)),
        response=draft.response,
    )


def redaction_note(labels: Sequence[str]) -> tuple[str, ...]:
    """Return a note about secrets that were masked, if there were any."""
    if not labels:
        return ()
    from ipycachechat.text.redaction import describe_redactions  # its patterns are slow to compile

    return (describe_redactions(labels),)


def _with_turn(conversation: Conversation, draft: TurnDraft, turn: Turn) -> Conversation:
    """Return the conversation with a turn added, and with tool results shortened as they were for it."""
    turns = conversation.all_turns
    pairs = zip(draft.original_past.turns, draft.past.turns, strict=True)
    if shortened := {id(long): short for long, short in pairs if long is not short}:
        turns = tuple(shortened.get(id(turn), turn) for turn in turns)
    conversation = replace(conversation, all_turns=turns, tools=draft.definitions)
    return place_turn(conversation, turn, draft.request.placement)


def _uncached_tokens(
    client: ModelClient, request: TurnRequest, endpoint: ModelEndpoint, old: Conversation, new: Conversation
) -> int:
    """Return the number of tokens that the next prompt could read after `old` but not after `new`."""

    def read(conversation: Conversation) -> int:
        messages = prompt_messages(conversation, Turn(PLACEHOLDER, ()), endpoint.view)
        options = request_options(request, conversation, endpoint)
        return client.prepare(endpoint, messages, options, request.ttl).expected.read

    return max(0, read(old) - read(new))


def _newly_detached(old: Conversation, new: Conversation) -> tuple[Turn, ...]:
    """Return the turns that were detached since the answer before this one."""
    since = max((turn.asked_at for turn in old.all_turns), default=0.0)
    return tuple(turn for turn in new.all_turns if turn.detached is not None and turn.detached > since)
