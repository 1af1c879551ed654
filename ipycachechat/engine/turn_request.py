"""TurnRequest: a prompt and every option that holds for its turn."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import KW_ONLY, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from ipycachechat.caching import request as request_form
from ipycachechat.caching.prefix import RequestOptions
from ipycachechat.conversation.messages import Content, ToolCall, files_of
from ipycachechat.conversation.placement import END, Placement, past_for
from ipycachechat.conversation.turns import Conversation
from ipycachechat.defaults import EFFORT_OPTION, MAX_TOOL_STEPS
from ipycachechat.errors import BadInput
from ipycachechat.providers.endpoint import ModelEndpoint
from ipycachechat.providers.timeouts import DEFAULT_LIMITS, RequestLimits
from ipycachechat.tools import schema
from ipycachechat.tools.schema import Tools

if TYPE_CHECKING:
    from ipycachechat.conversation.cell_runs import CellRun
    from ipycachechat.text.redaction import Redactor

PLACEHOLDER = "."
"""The shortest prompt; it stands for the next one, since a request has to end with a prompt."""


@dataclass(frozen=True, slots=True)
class TurnRequest:
    """A prompt, the model that is asked, and the options of the turn."""

    prompt: Content
    model: str
    placement: Placement = END
    _: KW_ONLY
    system: str | None = None
    """System prompt of this turn alone; None: the conversation's."""
    max_tokens: int = 0
    """Length limit of each answer; 0: the model's own limit."""
    ttl: int | None = None
    """Lifetime of new cache entries in seconds; None: the cheaper one."""
    cache: bool = True
    """False places no checkpoints."""
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """Further options by litellm's names."""
    tools: Tools = Tools()
    max_steps: int = MAX_TOOL_STEPS
    """Rounds of tool calls before the model has to answer."""
    run_async_tool: Callable[[Callable[[], Any]], Awaitable[Any]] | None = None
    """Runs an async tool on the caller's event loop, as `tools.calls.await_result` does on the current one."""
    approve_tool_call: Callable[[ToolCall], bool] | None = None
    """Asked before each tool call, on the caller's thread."""
    ask_user: Callable[[str], bool] | None = None
    """Asks the user a yes/no question, on the caller's thread; None: no user can be asked."""
    confirm: bool = False
    """True if the user is asked before a request over budget; else it is an error."""
    confirm_over: float = 0.0
    """US dollars above which the user is asked before the turn's first request; 0: never."""
    cell_runs: tuple[CellRun, ...] = ()
    """Cells that ran, sent in front of the prompt."""
    redactor: Redactor | None = None
    """Removes secrets from tool results."""
    redacted: tuple[str, ...] = ()
    """Labels of the secrets that were removed from the prompt."""
    notes: tuple[str, ...] = ()
    """Sentences on the prompt to show under the answer."""
    answers_pending_prompt: bool = False
    """True if the prompt is the conversation's last turn already, and has no answer."""
    limits: RequestLimits = DEFAULT_LIMITS
    retry_broken_stream: bool = True
    """True if a reply that breaks off is requested again; False where its chunks cannot be taken back."""
    shares_prefix: bool = False
    """True if the prompt is one of several with the same past: only that past is cached."""
    api_base: str = ""
    api_key: str = field(default="", repr=False)


def placed(request: TurnRequest, conversation: Conversation) -> TurnRequest:
    """Return the request with its turn's place; a prompt that waits for its answer replaces itself."""
    if not request.answers_pending_prompt:
        return request
    return replace(
        request, answers_pending_prompt=False, placement=Placement(replaces=conversation.turns[-1])
    )


def past_of(request: TurnRequest, conversation: Conversation) -> Conversation:
    """Return the part of the conversation that the prompt follows."""
    return past_for(conversation, placed(request, conversation).placement)


def request_options(request: TurnRequest, past: Conversation, endpoint: ModelEndpoint) -> RequestOptions:
    """Return the tools and options of a request."""
    definitions = [json.loads(definition) for definition in tool_definitions(request, past)]
    return request_form.request_options(endpoint.rules, definitions, request.options)


def tool_definitions(request: TurnRequest, past: Conversation) -> tuple[str, ...]:
    """Return the tools to send as JSON: the request's, and those of earlier calls.

    Without the earlier ones, a past with calls could be neither sent nor read from the cache.
    """
    calls = [call for turn in past.turns for message in turn.replies for call in message.tool_calls]
    if not calls:
        return request.tools.definitions
    current = dict(zip(request.tools.names, request.tools.definitions, strict=True))
    earlier = {schema.tool_name(definition): definition for definition in past.tools}
    sent = {name: current.get(name, definition) for name, definition in earlier.items()} | current
    return tuple(sent.values()) or schema.placeholder_definitions(calls)


def endpoint_for(endpoint: ModelEndpoint, request: TurnRequest, past: Conversation) -> ModelEndpoint:
    """Return the endpoint for this request.

    OpenAI serves tools with reasoning from the Responses API, which has a cache of its own and is the only one that
    takes earlier reasoning back.
    """
    if endpoint.rules.thinking_format != "openai":
        return endpoint
    if request.options.get(EFFORT_OPTION) and tool_definitions(request, past):
        return replace(endpoint, cache_scope=(*endpoint.cache_scope, "responses"))
    return replace(endpoint, view=replace(endpoint.view, thinking_format=""))


def validate_request(request: TurnRequest, endpoint: ModelEndpoint) -> None:
    """Raise BadInput if the model is known not to support what the request needs."""
    for file in files_of(request.prompt):
        if endpoint.view.rejects(file):
            accepted = ", ".join(sorted(endpoint.view.accepted_files or ())) or "text alone"
            name = f" ({file.name})" if file.name else ""
            raise BadInput(
                f"{request.model} takes no {file.kind}{name}; it accepts {accepted}",
                "Choose a model that accepts it, or send its text.",
            )
    if request.options.get(EFFORT_OPTION) and endpoint.supports_thinking is False:
        raise BadInput(
            f"{request.model} does not support thinking", "Leave think out, or choose a reasoning model."
        )
    if request.tools.definitions and endpoint.supports_tools is False:
        raise BadInput(
            f"{request.model} cannot call tools", "Leave the tools out, or choose a model that supports them."
        )
