"""A prompt with all that holds for it, and what of that a request says beside the messages."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from ipycachechat.caching import request
from ipycachechat.caching.prefix import RequestOptions
from ipycachechat.conversation import to_wire
from ipycachechat.conversation.messages import Content, ToolCall, files_of
from ipycachechat.conversation.placement import END, Placement
from ipycachechat.conversation.turns import Conversation
from ipycachechat.defaults import MOST_STEPS, THINK
from ipycachechat.errors import BadInput
from ipycachechat.providers.endpoint import ModelEndpoint
from ipycachechat.providers.timeouts import LIMITS, RequestLimits
from ipycachechat.tools import schema
from ipycachechat.tools.schema import Tools

if TYPE_CHECKING:
    from ipycachechat.conversation.cell_runs import CellRun
    from ipycachechat.text.redaction import Redactor


@dataclass(frozen=True, slots=True)
class TurnRequest:
    """A prompt and what holds for it."""

    prompt: Content
    model: str
    placement: Placement = END
    system: str | None = None
    """For this turn alone, in place of the conversation's."""
    max_tokens: int = 0
    """0: the model's own limit."""
    ttl: int | None = None
    """Seconds that the cache is to live; None: whichever is cheaper."""
    cache: bool = True
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """What else is sent, by litellm's names."""
    tools: Tools = Tools()
    max_steps: int = MOST_STEPS
    """Rounds of calls, before the model is told to answer."""
    run_async_tool: Callable[[Callable[[], Any]], Awaitable[Any]] | None = None
    """Runs an async tool on the event loop of whoever asked, as `tools.awaited` does on this one."""
    approve_tool_call: Callable[[ToolCall], bool] | None = None
    """Asked before each call, on the thread of whoever asked."""
    ask_user: Callable[[str], bool] | None = None
    """Says yes or no to a question, on the thread of whoever asked; None: nobody is there."""
    confirm: bool = False
    """Whether that one is asked about what is over a budget."""
    confirm_over: float = 0.0
    """Dollars that the prompt can cost over which that one is asked; 0: never."""
    cell_runs: tuple[CellRun, ...] = ()
    """Cells that ran, of which is told in front of the prompt."""
    redactor: Redactor | None = None
    """Takes what is secret out of what tools return."""
    redacted: tuple[str, ...] = ()
    """Labels of what was taken out of the prompt."""
    notes: tuple[str, ...] = ()
    """What is to be said of the prompt under the answer."""
    answers_pending_prompt: bool = False
    """Whether the prompt stands in the conversation already, at its end, and waits for an answer."""
    limits: RequestLimits = LIMITS
    retry_broken_stream: bool = True
    """Whether an answer that broke off is asked for again: not where each piece is handed on for good."""
    shares_prefix: bool = False
    """Whether the prompt is one of several that follow the same past: only that is cached."""
    api_base: str = ""
    api_key: str = field(default="", repr=False)


def request_options(ask: TurnRequest, past: Conversation, to: ModelEndpoint) -> RequestOptions:
    """What is sent beside the messages."""
    return request.request_options(
        to.rules, [to_wire.loads(one) for one in tool_definitions(ask, past)], ask.options
    )


def tool_definitions(ask: TurnRequest, past: Conversation) -> tuple[str, ...]:
    """The tools to send: today's, and those of a past with calls, without which it could be neither sent nor read."""
    calls = [call for turn in past.turns for message in turn.replies for call in message.tool_calls]
    if not calls:
        return ask.tools.definitions
    now = dict(zip(ask.tools.names, ask.tools.definitions, strict=True))
    before = {schema.name_of(one): one for one in past.tools}
    sent = {name: now.get(name, one) for name, one in before.items()} | now
    return tuple(sent.values()) or schema.placeholder_definitions(calls)


def endpoint_for(to: ModelEndpoint, ask: TurnRequest, past: Conversation) -> ModelEndpoint:
    """The target as this prompt reaches it.

    Litellm asks OpenAI's newer models at another address if there are tools and they are to think of them: another
    cache, and the only place that takes their thoughts back.
    """
    if to.rules.thinking_format != "openai":
        return to
    if ask.options.get(THINK) and tool_definitions(ask, past):
        return replace(to, cache_scope=(*to.cache_scope, "responses"))
    return replace(to, view=replace(to.view, thinking_format=""))


def validate_request(ask: TurnRequest, to: ModelEndpoint) -> None:
    """Raises BadInput for what the model is known not to take."""
    for file in files_of(ask.prompt):
        if to.view.rejects(file):
            takes = ", ".join(sorted(to.view.accepted_files or ())) or "text alone"
            raise BadInput(
                f"{ask.model} takes no {file.kind}{f' ({file.name})' if file.name else ''}; it takes {takes}",
                "Choose a model that does, or give it the text of it.",
            )
    if ask.options.get(THINK) and to.supports_thinking is False:
        raise BadInput(
            f"{ask.model} cannot be told to think", "Leave think out, or choose a model that reasons."
        )
    if ask.tools.definitions and to.tools is False:
        raise BadInput(f"{ask.model} cannot call tools", "Leave the tools out, or choose a model that can.")
