"""Import litellm late, on the main thread and in portions, leaving the process as it was.

In a thread, a cell that imports part of litellm meanwhile would make both imports fail, and a process forked
meanwhile would hang.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import random
import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Set
from importlib.machinery import ExtensionFileLoader
from types import FrameType

# What litellm imports, heaviest first, so that a cell that is run meanwhile waits for one portion only.
PORTIONS = ("httpx", "aiohttp", "openai", "tiktoken", "tokenizers", "litellm")

# What the first request would import on another thread, with pydantic's warnings of it shown in the cell; the first
# one points tiktoken to a folder of litellm's.
FIRST_REQUEST = (
    "litellm.litellm_core_utils.default_encoding",
    "litellm.llms.mistral.chat.transformation",
    "litellm.llms.github_copilot.per_user_auth",
    "litellm.llms.vertex_ai.context_caching.vertex_ai_context_caching",
)

# The price map that came with litellm, not one downloaded; and no silent reading of `.env`.
DURING_IMPORT = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_MODE": "PRODUCTION"}


def is_imported() -> bool:
    """Return True if litellm is here and whole."""
    module = sys.modules.get("litellm")
    return module is not None and hasattr(module, "acompletion")


def import_in_portions() -> Iterator[str]:
    """Import litellm, one portion at each step. Raises KeyboardInterrupt, after which it can be begun again."""
    for name in PORTIONS:
        if name not in sys.modules:
            with _as_it_was():
                importlib.import_module(name)
        if name == "litellm":
            sys.modules[name].suppress_debug_info = True  # type: ignore[attr-defined]  # it prints to stdout
        yield name
    import litellm

    with _as_it_was():  # pydantic makes the schemas of these at first use, and warns of litellm's types
        litellm.ModelResponse()
        litellm.ModelResponseStream()
        for name in FIRST_REQUEST:
            with contextlib.suppress(ImportError):  # not every version has all of them
                importlib.import_module(name)
    yield "schemas"


@contextlib.contextmanager
def _as_it_was() -> Iterator[None]:
    """Put environment variables, warning filters, levels of logging and the random numbers' state back."""
    before, drawn = dict(os.environ), random.getstate()
    levels = [(one, one.level) for one in _loggers() if one.level]
    os.environ.update(DURING_IMPORT)
    try:
        with warnings.catch_warnings(), _whole_or_not_at_all():
            warnings.simplefilter("ignore")  # of others, about others
            yield
    finally:
        for name in os.environ.keys() - before.keys():
            del os.environ[name]
        os.environ.update(before)
        random.setstate(drawn)
        # What nobody has set may be quieter: litellm's requests would be told in cells.
        for logger, level in levels:
            logger.setLevel(level)


@contextlib.contextmanager
def _whole_or_not_at_all() -> Iterator[None]:
    """The stop button ends what is imported in here at once, and leaves no half of it, which would be useless for ever.

    It is told at the end where a module swallows it, which then goes on without what it was about to import.
    """
    known, handlers = {*sys.modules}, _handlers()
    before = signal.getsignal(signal.SIGINT)
    pressed = False

    def press(number: int, frame: FrameType | None) -> None:
        nonlocal pressed
        pressed = True
        if callable(before):
            before(number, frame)

    heard = callable(before) and threading.current_thread() is threading.main_thread()
    if heard:
        signal.signal(signal.SIGINT, press)
    try:
        yield
        if pressed:
            raise KeyboardInterrupt
    except BaseException:
        for name in _halves(known):
            del sys.modules[name]
        for logger, now in _handlers().items():  # a module that is imported again adds its own again
            for handler in {*now} - {*handlers.get(logger, ())}:
                logger.removeHandler(handler)
        raise
    finally:
        if heard:
            signal.signal(signal.SIGINT, before)


def _halves(known: Set[str]) -> list[str]:
    """Modules that are new, and whose package broke off. What is compiled stays: it can be loaded only once."""
    new = [name for name in sys.modules if name not in known]
    return [
        name for name in new if not _is_compiled(name) and any(one not in sys.modules for one in _above(name))
    ]


def _above(name: str) -> Iterator[str]:
    """The packages that a module is in."""
    while "." in name:
        name = name.rpartition(".")[0]
        yield name


def _is_compiled(name: str) -> bool:
    spec = getattr(sys.modules[name], "__spec__", None)
    return isinstance(getattr(spec, "loader", None), ExtensionFileLoader)


def _loggers() -> list[logging.Logger]:
    """All that there are."""
    known = [logging.root, *logging.root.manager.loggerDict.values()]
    return [one for one in known if isinstance(one, logging.Logger)]


def _handlers() -> dict[logging.Logger, list[logging.Handler]]:
    """Of all loggers."""
    return {one: [*one.handlers] for one in _loggers()}


def load_gpt_tokenizer() -> None:
    """Load the tokenizer of GPT models out of litellm's own files.

    Litellm counts the empty beginning of each of their streams with it, and downloads it each time if it is not there.
    """
    import litellm
    import tiktoken

    name, home = "TIKTOKEN_CACHE_DIR", os.path.dirname(litellm.__file__)
    before = os.environ.get(name)
    os.environ.setdefault(name, os.path.join(home, "litellm_core_utils", "tokenizers"))
    try:
        with contextlib.suppress(Exception):  # litellm has a way without it, if a slow one
            tiktoken.get_encoding("o200k_base")  # which tiktoken then keeps
    finally:
        if before is None:
            os.environ.pop(name, None)


async def warm_up() -> None:
    """Make the first request's lazy imports now: ask a closed port of this machine, then nobody.

    The first answer after the import starts 0.4 s later than the second; this takes that time when nobody waits.
    """
    import litellm

    if litellm.callbacks or litellm.success_callback or litellm.failure_callback:
        return  # somebody would be told of requests that nobody made
    load_gpt_tokenizer()
    one = {"messages": [{"role": "user", "content": "x"}], "stream": True, "max_tokens": 1, "num_retries": 0}
    with contextlib.suppress(Exception):
        await litellm.acompletion(
            model="openai/x", api_base="http://127.0.0.1:9/v1", api_key="none", max_retries=0, **one
        )
    with contextlib.suppress(Exception):
        await litellm.acompletion(
            model="anthropic/claude-sonnet-5", api_base="http://127.0.0.1:9", api_key="none", **one
        )
    with contextlib.suppress(Exception):  # litellm's own echo, which sends nothing
        async for _ in await litellm.acompletion(model="openai/x", mock_response="x", **one):
            pass
