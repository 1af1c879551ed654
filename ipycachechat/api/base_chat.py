"""Settings, history and usage: what `Chat` and `AsyncChat` share."""

from __future__ import annotations

import inspect
import os
import weakref
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from ipycachechat import defaults
from ipycachechat.api.options import CallOptions, dollars, system_text
from ipycachechat.api.results import DisplayText, response_of
from ipycachechat.billing.records import Ledger
from ipycachechat.conversation import from_wire
from ipycachechat.conversation.history import History
from ipycachechat.engine.session import ChatSession
from ipycachechat.engine.turn_request import PLACEHOLDER, TurnRequest
from ipycachechat.errors import BadInput
from ipycachechat.prompts.builder import Prompt
from ipycachechat.prompts.inputs import to_content, to_messages
from ipycachechat.providers.timeouts import DEFAULT_LIMITS
from ipycachechat.runtime.event_loop import BackgroundLoop
from ipycachechat.text.redaction import SecretStr
from ipycachechat.tools.schema import Tools, make_tools

if TYPE_CHECKING:
    from ipycachechat.providers.response import Response

Think = Literal["low", "medium", "high"]


class ToolCache:
    """The tools of the last request, ready to call: making them takes a while."""

    def __init__(self) -> None:
        self._last: tuple[Any, Any, Tools] | None = None

    def resolve(self, tools: Any, ns: Any) -> Tools:
        """Return the tools made of `tools` and `ns`, which are compared by identity. Raises BadInput."""
        if isinstance(tools, Tools):
            return tools
        if self._last is None or self._last[0] is not tools or self._last[1] is not ns:
            self._last = tools, ns, make_tools(tools, ns)
        return self._last[2]


class BaseChat:
    """Settings, history and usage, which `Chat` and `AsyncChat` share."""

    def __init__(
        self,
        model: str = "",
        system: str = "",
        tools: Iterable[Any] | None = None,
        hist: Iterable[Any] | None = None,
        cache: bool = True,
        ttl: str = "auto",
        temp: float | None = None,
        max_tokens: int | None = None,
        think: Think | None = None,
        ns: Any = None,
        api_base: str | None = None,
        api_key: str | None = None,
        max_steps: int = defaults.MAX_TOOL_STEPS,
        retries: int = DEFAULT_LIMITS.retries,
        budget: float | None = None,
        session: ChatSession | None = None,
        **options: Any,
    ) -> None:
        """Send nothing and leave litellm unimported before the first prompt.

        `model`: PROVIDER/MODEL as litellm names it, `local`, or "": by the keys in the environment.
        `system`: the system prompt.
        `tools`: functions, sync or async, with typed parameters and a docstring; or definitions as dicts, whose
        functions are in `ns` by name.
        `hist`: earlier messages, oldest first: texts, lists of parts, messages as dicts or litellm's objects;
        without roles they alternate, the user's first.
        `cache`: False places no checkpoints. `ttl`: lifetime of cache entries: "auto" (the cheaper one), "5m" or
        "1h", where the provider offers a choice.
        `temp`: temperature, 0 to 2. `max_tokens`: limit of one answer; None: the model's own, at most 16,000.
        `think`: effort of thinking before each answer, for models that can.
        `api_base`, `api_key`: address and key of the provider; None: from the environment.
        `max_steps`: rounds of tool calls in one turn before the model has to answer.
        `retries`: number of retries after errors that may be temporary.
        `budget`: US dollars that the chat and its forks may cost; None: no limit. A request that could exceed it is
        not sent.
        `session`: an existing session to continue, as `fork` does, in place of `system`, `hist` and `budget`.
        `options`: anything else that litellm takes, such as `top_p`, `stop`, `seed`.
        Raises BadInput if an option is wrong.

        >>> chat = Chat("anthropic/claude-sonnet-5", hist=["What is 2+3?", "It's 5"])
        >>> [message["role"] for message in chat.hist]
        ['user', 'assistant']
        """
        self.model = model
        self.tools, self.ns = tools, ns
        self.cache, self.ttl = cache, ttl
        self.temp, self.max_tokens, self.think = temp, max_tokens, think
        self.api_base, self.api_key = api_base, api_key
        self.max_steps, self.retries = max_steps, retries
        self.options = dict(options)
        if session is None:
            past = from_wire.conversation(to_messages(() if hist is None else hist), system_text(system))
            self.session = ChatSession(past)
            self.budget = budget
        else:
            self.session = session
        self._loop = BackgroundLoop()
        self._stream: weakref.ref[Any] | None = None
        """The last stream; a stream that is no longer referenced is closed."""
        self._request(PLACEHOLDER, {}, planning=True)  # reports wrong options now

    @property
    def tools(self) -> Any:
        """The tools as given. A conversation with tool calls also sends the tools that it had before."""
        return self._tools

    @tools.setter
    def tools(self, tools: Any) -> None:
        self._tools = tuple(tools) if isinstance(tools, list | Iterator) else tools
        self._tool_cache = ToolCache()

    @property
    def api_key(self) -> str | None:
        """The key, if one was given; hidden in its repr."""
        return self._api_key

    @api_key.setter
    def api_key(self, key: str | None) -> None:
        self._api_key = SecretStr(key) if isinstance(key, str) else key

    @property
    def budget(self) -> float | None:
        """US dollars that the chat and its forks may cost in total; None: no limit."""
        return self.session.client.budgets.limits[0] or None

    @budget.setter
    def budget(self, limit: float | None) -> None:
        limits = dollars(limit), 0.0
        self.session.client.budgets.set_limits(lambda: limits)

    @property
    def system(self) -> str:
        """The system prompt. Setting it changes the start of every later request."""
        return self.session.history.current.system

    @system.setter
    def system(self, text: str) -> None:
        self.session.versions.set_system(system_text(text))

    @property
    def hist(self) -> list[dict[str, Any]]:
        """The messages as dicts of JSON values; `hist=` takes them back unchanged, to the byte.

        They are a copy: to change the conversation, set `hist`.

        >>> chat = Chat("local", hist=["hi", "Hello"])
        >>> chat.hist = chat.hist[:1]
        >>> chat.hist
        [{'role': 'user', 'content': 'hi'}]
        """
        return from_wire.to_dicts(self.session.history.current)

    @hist.setter
    def hist(self, messages: Iterable[Any]) -> None:
        new = from_wire.conversation(to_messages(messages))

        def changed(history: History) -> History:
            old, turns = history.current, list(new.turns)
            for index, (old_turn, new_turn) in enumerate(zip(old.turns, new.turns, strict=False)):
                if old_turn.messages != new_turn.messages:
                    break
                turns[index] = old_turn  # with its cell, its usage and its pin
            return history.change(replace(old, system=new.system or old.system, all_turns=tuple(turns)))

        self.session.versions.change(changed)

    @property
    def usage(self) -> Ledger:
        """The sum of this chat's requests: tokens read, written and fresh, and US dollars.

        Requests of `map` and `structured` are included, those of forks are not.
        """
        return self.session.totals

    @property
    def last(self) -> Response | None:
        """The model's last answer: litellm's ModelResponse, with the usage of that one request."""
        result = self.session.answer()
        return response_of(result) if result is not None and result.response is not None else None

    def why(self, turn: int = 0) -> str:
        """Return the expected and actual cache reads of a turn (from 1; 0: the last), and why it read less."""
        from ipycachechat.rendering import reports

        turns = len(self.session.history.current.turns)
        if not isinstance(turn, int) or not 0 <= turn <= turns:
            raise BadInput(f"There is no turn {turn!r}", f"There are {turns}.")
        if not turn and self.session.last_error is not None:
            return DisplayText(reports.failure(self.session.last_error))
        return DisplayText(reports.why(self.session.answer(turn)))

    def undo(self) -> bool:
        """Undo the last change of the conversation; return False if there is none."""
        return self.session.versions.undo()

    def reset(self) -> None:
        """Remove all turns and keep the system prompt; can be undone."""
        self.session.versions.reset()

    def __repr__(self) -> str:
        turns = len(self.session.history.current.turns)
        name = self.model or "default model"
        return f"{type(self).__name__}({name}, {turns} turn{'s' * (turns != 1)})"

    def _settings(self) -> dict[str, Any]:
        """Return the options that a call may override, by name."""
        return {
            "model": self.model,
            "tools": self.tools,
            "ns": self.ns,
            "cache": self.cache,
            "ttl": self.ttl,
            "temp": self.temp,
            "max_tokens": self.max_tokens,
            "think": self.think,
            "api_base": self.api_base,
            "api_key": self.api_key,
            "max_steps": self.max_steps,
            "retries": self.retries,
        }

    def _prompt(self, prompt: Any) -> Prompt:
        """Return the prompt. Raises BadInput."""
        return Prompt(content=to_content(prompt))

    def _request(self, prompt: Any, per_call: Mapping[str, Any], *, planning: bool = False) -> TurnRequest:
        """Return a prompt (None: the unanswered question of `hist`) with the options of this call. Raises BadInput.

        `planning`: it is not sent; without an unanswered question, None stands for any next prompt.
        """
        stream = self._stream() if self._stream is not None else None
        if not planning and stream is not None and inspect.getgeneratorstate(stream) != inspect.GEN_CLOSED:
            raise BadInput(
                "A stream of this chat is still open",
                "Read it to its end or close() it; or ask a fork of the chat.",
            )
        turns = self.session.history.current.turns
        unanswered = turns[-1] if turns and not turns[-1].replies else None
        if prompt is None and planning and unanswered is None:
            prompt = PLACEHOLDER
        settings = self._settings()
        extra = {**self.options, **{name: per_call[name] for name in per_call if name not in settings}}
        system = extra.pop("system", None)
        extra.pop("stream_options", None)  # always set: without it some providers report no usage
        own = CallOptions(extra, **{name: per_call.get(name, value) for name, value in settings.items()})
        if own.temp is not None:
            extra["temperature"] = float(own.temp)
        if own.think is not None:
            extra[defaults.EFFORT_OPTION] = own.think
        answers_pending = False
        if prompt is not None:
            built = self._prompt(prompt)
        elif unanswered is not None:
            built, answers_pending = Prompt(content=unanswered.prompt), True
        else:
            raise BadInput("There is no prompt", "Give one, or a hist that ends with a question.")
        request = TurnRequest(
            built.content,
            str(own.model or "").strip() or defaults.default_model(os.environ),
            system=None if system is None else system_text(system),
            max_tokens=int(own.max_tokens or 0),
            ttl=defaults.TTLS[own.ttl],
            cache=bool(own.cache),
            options=extra,
            tools=self._tool_cache.resolve(own.tools, own.ns),
            max_steps=int(own.max_steps),
            limits=replace(DEFAULT_LIMITS, retries=int(own.retries)),
            cell_runs=unanswered.cell_runs if answers_pending and unanswered else built.cell_runs,
            redacted=built.redacted,
            notes=(*built.notes, *built.cell_context_note),
            answers_pending_prompt=answers_pending,
            api_base=own.api_base or "",
            api_key=SecretStr(own.api_key or ""),
        )
        if not planning and prompt is not None and unanswered is not None:
            raise BadInput(
                "The conversation ends with a question that has no answer",
                "Ask without a prompt to get the answer, or remove the question: chat.hist = chat.hist[:-1]",
            )
        return request
