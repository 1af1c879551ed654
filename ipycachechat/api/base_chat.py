"""Settings, history and usage: what `Chat` and `AsyncChat` share."""

from __future__ import annotations

import inspect
import os
import weakref
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, Self

from ipycachechat import defaults
from ipycachechat.api.results import DisplayText, shown
from ipycachechat.api.validation import dollars, system_text, validate_options
from ipycachechat.billing.records import Ledger
from ipycachechat.conversation import from_wire
from ipycachechat.conversation.messages import Content
from ipycachechat.engine.session import ChatSession
from ipycachechat.engine.turn_request import PLACEHOLDER, TurnRequest
from ipycachechat.errors import BadInput
from ipycachechat.prompts.builder import Prompt
from ipycachechat.prompts.data_summary import is_missing
from ipycachechat.prompts.inputs import to_content, to_messages
from ipycachechat.providers.timeouts import DEFAULT_LIMITS
from ipycachechat.runtime.event_loop import BackgroundLoop
from ipycachechat.text.redaction import SecretStr
from ipycachechat.tools.schema import Tools
from ipycachechat.tools.schema import make_tools as tools_of

if TYPE_CHECKING:
    from ipycachechat.providers.response import Response

Think = Literal["low", "medium", "high"]


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
        **options: Any,
    ) -> None:
        """Nothing is sent, and litellm is not imported, before the first prompt.

        `model`: PROVIDER/MODEL as litellm names it, `local`, or "": by the keys in the environment.
        `system`: the system prompt.
        `tools`: functions, sync or async, with typed parameters and a docstring; or definitions as dicts, whose
        functions are in `ns` by name.
        `hist`: what has been said, oldest first: texts, lists of parts, messages as dicts or litellm's objects;
        roles alternate from the user's where none is named.
        `cache`: False sends no checkpoint. `ttl`: how long the cache is to live: "auto" (whichever is cheaper),
        "5m" or "1h", where the provider gives a choice.
        `temp`: temperature, 0 to 2. `max_tokens`: of one answer; None: the model's own limit, at most 16,000.
        `think`: how much to think before each answer, where the model can.
        `api_base`, `api_key`: where to ask and with which key; None: as the environment says.
        `max_steps`: rounds of tool calls in one turn; then the model is told to answer.
        `retries`: how often the same is asked again after an error that may go away.
        `budget`: dollars that it and its forks may cost; what could be more is not sent. None: any number.
        `options`: whatever else litellm takes, such as `top_p`, `stop`, `seed`.
        Raises BadInput, in two lines, for what cannot be.

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
        self.session = ChatSession(
            from_wire.conversation(to_messages(() if hist is None else hist), system_text(system))
        )
        self.budget = budget
        self._loop = BackgroundLoop()
        self._open: weakref.ref[Any] | None = None
        """The stream that is being read; who forgets it, has closed it."""
        self._ask(".")  # whatever is wrong with the settings is told at once

    @classmethod
    def _with_session(cls, session: ChatSession, loop: BackgroundLoop, /, **settings: Any) -> Self:
        """Return a chat on an existing session and event loop, with these settings of the constructor."""
        chat = cls(**settings)
        chat.session, chat._loop = session, loop
        return chat

    @property
    def tools(self) -> Any:
        """The tools as they were given. A conversation with calls goes on sending those that it had before."""
        return self._given

    @tools.setter
    def tools(self, given: Any) -> None:
        self._given = tuple(given) if isinstance(given, list | Iterator) else given
        self._made: tuple[Any, Any, Tools] | None = None

    @property
    def api_key(self) -> str | None:
        """The key, if one was given; its repr does not tell it."""
        return self._api_key

    @api_key.setter
    def api_key(self, key: str | None) -> None:
        self._api_key = SecretStr(key) if isinstance(key, str) else key

    @property
    def budget(self) -> float | None:
        """Dollars that the chat and its forks may cost, from its beginning on; None: any number."""
        return self.session.client.budgets.limits[0] or None

    @budget.setter
    def budget(self, limit: float | None) -> None:
        limits = dollars(limit), 0.0
        self.session.client.budgets.set_limits(lambda: limits)

    @property
    def system(self) -> str:
        """The system prompt. Setting it changes what every later request begins with."""
        return self.session.history.current.system

    @system.setter
    def system(self, text: str) -> None:
        self.session.versions.set_system(system_text(text))

    @property
    def hist(self) -> list[dict[str, Any]]:
        """All that has been said, as new dicts of JSON values that `hist=` takes back, to the byte.

        It is a copy: to change the conversation, set it.

        >>> chat = Chat("local", hist=["hi", "Hello"])
        >>> chat.hist = chat.hist[:1]
        >>> chat.hist
        [{'role': 'user', 'content': 'hi'}]
        """
        return from_wire.to_dicts(self.session.history.current)

    @hist.setter
    def hist(self, messages: Iterable[Any]) -> None:
        now = self.session.history.current
        told = from_wire.conversation(to_messages(messages))
        placed = list(told.turns)
        for place, (was, one) in enumerate(zip(now.turns, told.turns, strict=False)):
            if was.messages != one.messages:
                break
            placed[place] = was  # with its cell, its usage and its pin
        changed = replace(now, system=told.system or now.system, all_turns=tuple(placed))
        self.session.history = self.session.history.change(changed)

    @property
    def usage(self) -> Ledger:
        """The requests of this chat added up: tokens read, written and fresh, and US dollars.

        Those of forks are their own; those of `map` and `structured` count here.
        """
        return self.session.totals

    @property
    def last(self) -> Response | None:
        """The model's last answer: litellm's ModelResponse, with the usage of that one request."""
        done = self.session.answer()
        return shown(done) if done is not None and done.response is not None else None

    def why(self, turn: int = 0) -> str:
        """Return what a turn (from 1; 0: the last) was expected to read from the cache, what it read, and why less."""
        from ipycachechat.rendering import reports

        turns = len(self.session.history.current.turns)
        if not isinstance(turn, int) or not 0 <= turn <= turns:
            raise BadInput(f"There is no turn {turn!r}", f"There are {turns}.")
        if not turn and self.session.failed is not None:
            return DisplayText(reports.failure(self.session.failed))
        return DisplayText(reports.why(self.session.answer(turn)))

    def undo(self) -> bool:
        """Back to before the last change of the conversation; False where there is nothing to undo."""
        return self.session.versions.undo()

    def reset(self) -> None:
        """No turns, the same system prompt; can be undone."""
        self.session.versions.reset()

    def __repr__(self) -> str:
        turns = len(self.session.history.current.turns)
        name = self._settings()["model"] or "by the keys in the environment"
        return f"{type(self).__name__}({name}, {turns} turn{'s' * (turns != 1)})"

    def _settings(self) -> dict[str, Any]:
        names = "model tools ns cache ttl temp max_tokens think api_base api_key max_steps retries".split()
        return {name: getattr(self, name) for name in names}

    def _model_in_use(self) -> str:
        """Where none is named."""
        return defaults.default_model(os.environ)

    def _ask(self, prompt: Any, **per_call: Any) -> TurnRequest:
        """The prompt with what holds for this call. Raises BadInput."""
        own = self._settings()
        given = {name: per_call.pop(name) for name in own if name in per_call}
        own |= given
        system = per_call.pop("system", None)
        options = {**self.options, **per_call}
        # It is always asked for; without it some providers tell no usage at all.
        options.pop("stream_options", None)
        validate_options(own, options)
        if own["temp"] is not None:
            options["temperature"] = float(own["temp"])
        if own["think"] is not None:
            options[defaults.EFFORT_OPTION] = own["think"]
        turns = self.session.history.current.turns
        waits = bool(turns) and not turns[-1].replies
        made = Prompt(content=self._waiting()) if prompt is None else self._prompt(prompt)
        return TurnRequest(
            made.content,
            str(own["model"] or "").strip() or self._model_in_use(),
            system=None if system is None else system_text(system),
            max_tokens=int(own["max_tokens"] or 0),
            ttl=defaults.TTLS[own["ttl"]],
            cache=bool(own["cache"]),
            options=options,
            tools=self._toolbox(own["tools"], own["ns"]),
            max_steps=int(own["max_steps"]),
            limits=replace(DEFAULT_LIMITS, retries=int(own["retries"])),
            cell_runs=turns[-1].cell_runs if waits and prompt is None else made.cell_runs,
            redacted=made.redacted,
            notes=(*made.notes, *made.cell_context_note),
            answers_pending_prompt=waits and prompt is None,
            api_base=own["api_base"] or "",
            api_key=SecretStr(own["api_key"] or ""),
        )

    def _prompt(self, prompt: Any) -> Prompt:
        """Return the prompt. Raises BadInput."""
        return Prompt(content=to_content(prompt))

    def _toolbox(self, given: Any, ns: Any) -> Tools:
        """The tools made of what was given, which takes a while, so once."""
        if self._made is None or self._made[0] is not given or self._made[1] is not ns:
            self._made = given, ns, tools_of(given, ns)
        return self._made[2]

    def _next(self, prompt: Any, per_call: Mapping[str, Any]) -> TurnRequest:
        """The prompt to be sent now. Raises BadInput, if another one is open, too."""
        stream = self._open() if self._open is not None else None
        if stream is not None and inspect.getgeneratorstate(stream) != inspect.GEN_CLOSED:
            raise BadInput(
                "A stream of this chat is still open",
                "Read it to its end, or close() it; or ask a fork of the chat.",
            )
        ask = self._ask(prompt, **per_call)
        if prompt is not None and (turns := self.session.history.current.turns) and not turns[-1].replies:
            raise BadInput(
                "The conversation ends with a question that nobody has answered",
                "Ask with no prompt to have it answered, or take it out: chat.hist = chat.hist[:-1]",
            )
        return ask

    def _asks(self, prompts: Iterable[Any], per_call: Mapping[str, Any]) -> list[TurnRequest | BadInput]:
        """Each prompt with what holds for it, or what is wrong with it."""
        table = hasattr(type(prompts), "columns")
        if table or not isinstance(prompts, Iterable) or isinstance(prompts, str | bytes | Mapping):
            raise BadInput(
                f"The prompts are a {type(prompts).__name__}", "Give a list, or a column of a dataframe."
            )
        found: list[TurnRequest | BadInput] = []
        for prompt in prompts:
            try:
                if is_missing(prompt):
                    raise BadInput(
                        "There is no prompt here: the value is missing", "Fill it in, or leave it out."
                    )
                found.append(self._next(prompt, per_call))
            except BadInput as error:
                found.append(error)
        return found

    def _planned(self, prompt: Any, per_call: Mapping[str, Any]) -> TurnRequest:
        """The prompt, or what stands for the next one: a question that waits for its answer, or any."""
        turns = self.session.history.current.turns
        waits = bool(turns) and not turns[-1].replies
        return self._ask(PLACEHOLDER if prompt is None and not waits else prompt, **per_call)

    def _waiting(self) -> Content:
        """The prompt that stands unanswered at the end of the conversation. Raises BadInput."""
        turns = self.session.history.current.turns
        if not turns or turns[-1].replies:
            raise BadInput("There is no prompt", "Give one, or a hist that ends with a question.")
        return turns[-1].prompt
