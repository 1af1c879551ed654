"""`Chat` and `AsyncChat`: a conversation from Python, on the same engine as the chat cells."""

from __future__ import annotations

import os
import weakref
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

from ipycachechat import many, structured
from ipycachechat.core import defaults, transcript
from ipycachechat.core.conversation import Content, Message
from ipycachechat.core.errors import BadInput
from ipycachechat.core.events import Do, Done, Event, Piece
from ipycachechat.core.forecast import Forecast
from ipycachechat.core.usage import Ledger
from ipycachechat.dialogue import Dialogue
from ipycachechat.drive import drive, pieces
from ipycachechat.model import parts
from ipycachechat.model.litellm_import import portions
from ipycachechat.model.loop import BackgroundLoop
from ipycachechat.model.tools import tools as toolbox
from ipycachechat.rounds import Ask

if TYPE_CHECKING:
    from ipycachechat.model.response import Response

T = TypeVar("T")
Think = Literal["low", "medium", "high"]


class _Chat:
    """What `Chat` and `AsyncChat` have in common: the settings, and what can be looked at."""

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
        max_steps: int = defaults.MOST_STEPS,
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
        `options`: whatever else litellm takes, such as `top_p`, `stop`, `seed`.
        Raises BadInput, in two lines, for what cannot be.

        >>> chat = Chat("anthropic/claude-sonnet-5", hist=["What is 2+3?", "It's 5"])
        >>> [message["role"] for message in chat.hist]
        ['user', 'assistant']
        """
        self.model = model
        self.ns = ns
        self.tools = tools
        self.cache, self.ttl = cache, ttl
        self.temp, self.max_tokens, self.think = temp, max_tokens, think
        self.api_base, self.api_key = api_base, api_key
        self.max_steps = max_steps
        self.options = dict(options)
        if not isinstance(system, str):
            raise BadInput(f"system is a {type(system).__name__}", "Give the system prompt as a text.")
        self.dialogue = Dialogue(transcript.conversation(_messages(hist or ()), system))
        self._ask(".")  # whatever is wrong with the settings is told at once

    @property
    def tools(self) -> Any:
        """The tools, as they were given. A conversation with calls goes on sending those that it had before."""
        return self._given_tools

    @tools.setter
    def tools(self, given: Any) -> None:
        self._given_tools = given if given is None or callable(given) else list(given)
        self._tools = toolbox(self._given_tools, self.ns)

    @property
    def system(self) -> str:
        """The system prompt. Setting it changes what every later request begins with."""
        return self.dialogue.history.now.system

    @system.setter
    def system(self, text: str) -> None:
        self.dialogue.set_system(text)

    @property
    def hist(self) -> list[dict[str, Any]]:
        """All that has been said, as new dicts of JSON values that `hist=` takes back, to the byte.

        It is a copy: to change the conversation, set it.

        >>> chat = Chat("local", hist=["hi", "Hello"])
        >>> chat.hist = chat.hist[:1]
        >>> chat.hist
        [{'role': 'user', 'content': 'hi'}]
        """
        return transcript.written(self.dialogue.history.now)

    @hist.setter
    def hist(self, messages: Iterable[Any]) -> None:
        now = self.dialogue.history.now
        told = transcript.conversation(_messages(messages), now.system)
        self.dialogue.history = self.dialogue.history.change(replace(told, tools=now.tools))

    @property
    def usage(self) -> Ledger:
        """The requests of this chat added up: tokens read, written and fresh, and US dollars.

        Those of forks are their own; those of `map` and `structured` count here.
        """
        return self.dialogue.spent

    @property
    def last(self) -> Response | None:
        """What the model said last: litellm's ModelResponse, with the usage of that one request."""
        return self.dialogue.last

    def why(self) -> str:
        """What the last turn was expected to read from the cache, what it did, and why less, if it was less."""
        from ipycachechat.notebook import tables

        return tables.why(self.dialogue.answer())

    def undo(self) -> bool:
        """Back to before the last change of the conversation; False where there is nothing to undo."""
        return self.dialogue.undo()

    def _settings(self) -> dict[str, Any]:
        names = "model tools ns cache ttl temp max_tokens think api_base api_key max_steps".split()
        return {name: getattr(self, name) for name in names}

    def _ask(self, prompt: Any, **per_call: Any) -> Ask:
        """The prompt with what holds for this call. Raises BadInput."""
        per_call_names = set(per_call)
        own = self._settings() | {
            name: per_call.pop(name) for name in [*per_call] if name in self._settings()
        }
        system = per_call.pop("system", None)
        options = {**self.options, **per_call}
        # It is always asked for; without it some providers tell no usage at all.
        options.pop("stream_options", None)
        _check(own, options)
        given = "tools" in per_call_names or "ns" in per_call_names
        tools = toolbox(own["tools"], own["ns"]) if given else None
        if own["temp"] is not None:
            options["temperature"] = own["temp"]
        if own["think"] is not None:
            options["reasoning_effort"] = own["think"]
        waiting = self._waiting() if prompt is None else None
        return Ask(
            _prompt(prompt) if waiting is None else waiting,
            str(own["model"] or "").strip() or defaults.model(os.environ),
            system=system,
            max_tokens=own["max_tokens"] or 0,
            ttl=defaults.TTLS[own["ttl"]],
            cache=bool(own["cache"]),
            options=options,
            tools=self._tools if tools is None else tools,
            waits=waiting is not None,
            max_steps=own["max_steps"],
            api_base=own["api_base"] or "",
            api_key=own["api_key"] or "",
        )

    def _asks(self, prompts: Iterable[Any], per_call: Mapping[str, Any]) -> list[Ask | BadInput]:
        """Each prompt with what holds for it, or what is wrong with it."""
        found: list[Ask | BadInput] = []
        for prompt in prompts:
            try:
                found.append(self._ask(prompt, **per_call))
            except BadInput as error:
                found.append(error)
        return found

    def _waiting(self) -> Content:
        """The prompt that stands unanswered at the end of the conversation. Raises BadInput."""
        turns = self.dialogue.history.now.turns
        if not turns or turns[-1].replies:
            raise BadInput("There is no prompt", "Give one, or a hist that ends with a question.")
        return turns[-1].prompt

    def _answer(self, done: Done) -> Response:
        """What was said, ready to be shown. Raises what went wrong."""
        if done.error is not None:
            raise done.error from None
        last = self.dialogue.last
        assert last is not None  # a turn without an error has an answer
        return _shown(last)


class AsyncChat(_Chat):
    """A conversation with a model, for code that awaits. Each call adds a turn.

    Calls on one chat are answered one after the other; for several at once, `fork` it, or use `map`.
    """

    @overload
    async def __call__(
        self, prompt: Any = None, stream: Literal[False] = False, **per_call: Any
    ) -> Response: ...
    @overload
    async def __call__(self, prompt: Any, stream: Literal[True], **per_call: Any) -> AsyncIterator[Any]: ...
    async def __call__(self, prompt: Any = None, stream: bool = False, **per_call: Any) -> Any:
        """Ask, and return the answer as litellm's ModelResponse; with `stream` an async iterator of its chunks.

        `prompt`: a text, a list of parts (texts, bytes, Paths, images, figures, dataframes), or a message; None:
        the question with which `hist` ends. The iterator ends with the ModelResponse; leaving it stops the answer.
        `per_call`: any of the chat's settings, and whatever litellm takes, for this call alone.
        Of a turn with tool calls the last answer is returned; what all of it took is in `usage`.
        Raises ChatError: KeyMissing, RateLimited, ContextTooLong and so on; the conversation stays valid.

        >>> chat = AsyncChat("anthropic/claude-sonnet-5")
        >>> response = asyncio.run(chat("Say hello"))
        >>> response.text
        'Reply 1: you said Say hello'
        """
        ask = self._ask(prompt, **per_call)
        if stream:
            return self._streamed(ask)
        _import_litellm()
        return self._answer(await self.dialogue.send(ask, _here))

    async def _streamed(self, ask: Ask) -> AsyncIterator[Any]:
        _import_litellm()
        async for chunk in pieces(lambda tell: self.dialogue.send(ask, tell), _here):
            yield chunk if not isinstance(chunk, Done) else self._answer(chunk)

    async def plan(self, prompt: Any = "") -> Forecast:
        """What a prompt would read, write and cost, and why; nothing is sent. "": the next one, whatever it is."""
        _import_litellm()
        return await self.dialogue.plan(self._ask(prompt or "."), _here)

    async def structured(self, prompt: Any, schema: Callable[..., T], **per_call: Any) -> T:
        """The answer as a pydantic model, a dataclass, or what a function returns for the arguments given.

        The schema goes into the prompt, so that it costs no cache. What does not fit is sent back once, with what is
        wrong. Raises BadAnswer if it then still does not fit.

        >>> from dataclasses import dataclass
        >>> @dataclass
        ... class City:
        ...     name: str
        >>> asyncio.run(AsyncChat("openai/gpt-5.6-terra").structured("The capital of France?", City))
        City(name='Paris')
        """
        _import_litellm()
        return await structured.answer(self.dialogue, self._ask(prompt, **per_call), schema, _here)

    async def map(
        self, prompts: Iterable[Any], n: int = 8, progress: bool = True, **per_call: Any
    ) -> list[Response | Exception]:
        """Answers to many prompts that all follow this conversation, in their order; it stays as it is.

        The first is asked alone until its answer begins, since only then can the others read what it wrote to the
        cache; then `n` at a time. What goes wrong with one is its value, and stops none of the others.

        >>> chat = AsyncChat("anthropic/claude-sonnet-5", system="Answer in a word.")
        >>> [answer.text for answer in asyncio.run(chat.map(["a", "b"], progress=False))]
        ['Reply 1: you said a', 'Reply 1: you said b']
        """
        _import_litellm()
        asks = self._asks(prompts, per_call)
        with many.bar(len(asks), progress) as told:
            found = await many.answers(self.dialogue, asks, n, _both(told, _here))
        return [_shown(one) if not isinstance(one, Exception) else one for one in found]

    def fork(self) -> AsyncChat:
        """A chat that goes on from here by itself, with the same settings; what is warm is warm for both."""
        return _forked(self, AsyncChat)


class Chat(_Chat):
    """A conversation with a model. Each call adds a turn.

    The network's work is done on a thread of the chat's own; plain functions used as tools run on the caller's.
    """

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self._loop = BackgroundLoop()
        weakref.finalize(self, self._loop.stop)

    @overload
    def __call__(self, prompt: Any = None, stream: Literal[False] = False, **per_call: Any) -> Response: ...
    @overload
    def __call__(self, prompt: Any, stream: Literal[True], **per_call: Any) -> Iterator[Any]: ...
    def __call__(self, prompt: Any = None, stream: bool = False, **per_call: Any) -> Any:
        """Ask, and return the answer as litellm's ModelResponse; with `stream` an iterator of its chunks.

        Arguments, errors and the end of the iterator are those of `AsyncChat`. KeyboardInterrupt keeps what has
        arrived, as an interrupted turn.

        >>> chat = Chat("anthropic/claude-sonnet-5")
        >>> chat("Say hello").text
        'Reply 1: you said Say hello'
        >>> *chunks, response = chat("And again", stream=True)
        >>> response.usage.prompt_tokens_details.cached_tokens
        0
        """
        ask = self._ask(prompt, **per_call)
        if stream:
            return self._streamed(ask)
        return self._answer(self._wait(lambda tell: self.dialogue.send(ask, tell)))

    def _streamed(self, ask: Ask) -> Iterator[Any]:
        _import_litellm()
        for event in drive(self._loop, lambda tell: self.dialogue.send(ask, tell)):
            if isinstance(event, Piece) and event.chunk is not None:
                yield event.chunk
            elif isinstance(event, Done):
                yield self._answer(event)

    def plan(self, prompt: Any = "") -> Forecast:
        """What a prompt would read, write and cost, and why; nothing is sent. "": the next one, whatever it is.

        >>> chat = Chat("anthropic/claude-sonnet-5", system="Be brief. " * 800)
        >>> expected = chat.plan("What is new?").expected
        >>> expected.read, expected.read + expected.written + expected.fresh == expected.input
        (0, True)
        """
        return self._wait(lambda tell: self.dialogue.plan(self._ask(prompt or "."), tell))

    def structured(self, prompt: Any, schema: Callable[..., T], **per_call: Any) -> T:
        """As `AsyncChat.structured`."""
        ask = self._ask(prompt, **per_call)
        return self._wait(lambda tell: structured.answer(self.dialogue, ask, schema, tell))

    def map(
        self, prompts: Iterable[Any], n: int = 8, progress: bool = True, **per_call: Any
    ) -> list[Response | Exception]:
        """As `AsyncChat.map`."""
        asks = self._asks(prompts, per_call)
        with many.bar(len(asks), progress) as told:
            found = self._wait(lambda tell: many.answers(self.dialogue, asks, n, tell), told)
        return [_shown(one) if not isinstance(one, Exception) else one for one in found]

    def fork(self) -> Chat:
        """A chat that goes on from here by itself, with the same settings; what is warm is warm for both.

        >>> chat = Chat("anthropic/claude-sonnet-5", hist=["hi", "Hello"])
        >>> other = chat.fork()
        >>> other("What if?").text
        'Reply 2: you said What if?'
        >>> len(chat.hist), len(other.hist)
        (2, 4)
        """
        return _forked(self, Chat)

    def _wait(
        self,
        work: Callable[[Callable[[Event], None]], Coroutine[Any, Any, T]],
        told: Callable[[Event], Any] = lambda event: None,
    ) -> T:
        """What the work gives, while what it tells is heard, and tools run, on this thread."""
        _import_litellm()
        events = drive(self._loop, work)
        while True:
            try:
                told(next(events))
            except StopIteration as end:
                value: T = end.value
                return value


C = TypeVar("C", bound=_Chat)


def _forked(chat: C, kind: type[C]) -> C:
    made = kind(**chat._settings(), **chat.options)
    made.dialogue = chat.dialogue.fork()
    return made


def _here(event: Event) -> None:
    """Do what is to be done on this very thread; nobody listens to the rest."""
    if isinstance(event, Do):
        event.work()


def _import_litellm() -> None:
    for _ in portions():
        pass


def _shown(response: Response) -> Response:
    from ipycachechat.notebook import markdown

    return response.shown_by(markdown.bundle)


def _both(*listeners: Callable[[Event], None]) -> Callable[[Event], None]:
    def tell(event: Event) -> None:
        for listener in listeners:
            listener(event)

    return tell


def _check(own: Mapping[str, Any], options: Mapping[str, Any]) -> None:
    """Raises BadInput for settings that no model takes."""
    if own["ttl"] not in defaults.TTLS:
        raise BadInput(
            f"ttl={own['ttl']!r}: this is no lifetime", f"Lifetimes are: {', '.join(defaults.TTLS)}."
        )
    if own["think"] not in (None, *defaults.EFFORTS):
        raise BadInput(
            f"think={own['think']!r}: this is no effort", f"Efforts are: {', '.join(defaults.EFFORTS)}."
        )
    temp = own["temp"]
    if temp is not None and (isinstance(temp, bool) or not isinstance(temp, int | float)):
        raise BadInput(f"temp={temp!r}: this is no temperature", "Give a number, 0 to 2.")
    for name, least in (("max_tokens", 1), ("max_steps", 0)):
        value = own[name]
        whole = isinstance(value, int) and not isinstance(value, bool) and value >= least
        if not whole and not (value is None and name == "max_tokens"):
            raise BadInput(f"{name}={value!r}: this is no number of {least} or more", "Give a whole number.")
    for name in ("stream", "messages", "n", "num_retries", "mock_response"):
        if name in options:
            raise BadInput(f"{name}= is not for you to set here", "Leave it out; see help(Chat).")


def _prompt(value: Any) -> Content:
    """A prompt as a content: a message is its own. Raises BadInput."""
    if message := _as_message(value, "user"):
        if message.role != "user":
            raise BadInput(
                f"The prompt is a message of the {message.role}'s", "Give the user's; earlier ones are hist=."
            )
        return parts.content([*message.parts])
    if isinstance(value, list | tuple) and any(isinstance(one, Mapping) and "role" in one for one in value):
        raise BadInput(
            "The prompt is a list of messages", "Give the last as the prompt, and those before as hist=."
        )
    return parts.content(value)


def _messages(hist: Iterable[Any]) -> list[Message]:
    """Whatever stands for messages, with roles that alternate from the user's. Raises BadInput."""
    if isinstance(hist, str | bytes | Mapping):
        raise BadInput(
            f"hist is a {type(hist).__name__}", "Give a list: what was asked, what was answered, and so on."
        )
    found: list[Message] = []
    for one in hist:
        after = found[-1].role if found else "system"
        role: Literal["user", "assistant"] = "user" if after in ("assistant", "system") else "assistant"
        found.append(_as_message(one, role) or Message(role, parts.content(one)))
    return found


def _as_message(value: Any, role: Literal["user", "assistant"]) -> Message | None:
    """A message from its dict, or from one of litellm's objects; None if it is neither. Raises BadInput."""
    if choices := getattr(value, "choices", None):
        value, role = choices[0].message, "assistant"
    if not isinstance(value, Mapping) and hasattr(value, "role") and hasattr(value, "model_dump"):
        value = value.model_dump()
    if not isinstance(value, Mapping) or not ("role" in value or "content" in value):
        return None
    return transcript.message(value, role)


def register_model(models: Mapping[str, Mapping[str, Any]] | str) -> None:
    """Tell litellm of models it does not know, as its own `register_model` takes them: what they cost and can.

    Dollars are for one token; what is not given is unknown.

    >>> register_model({"openai/mine": {"litellm_provider": "openai", "mode": "chat", "input_cost_per_token": 1e-6,
    ...     "output_cost_per_token": 2e-6, "max_input_tokens": 32768, "supports_function_calling": True}})
    """
    from ipycachechat.model import names

    _import_litellm()
    names.register(models)
