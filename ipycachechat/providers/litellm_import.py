"""Import litellm late, on the main thread and in portions, leaving the process as it was.

On another thread it would break cells that import a part of litellm meanwhile (both imports fail), and processes that
are forked meanwhile (they hang).
"""

from __future__ import annotations

import contextlib
import gc
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
from itertools import accumulate
from types import FrameType

from ipycachechat.providers.redirects import guarded_client

# litellm's own dependencies, heaviest first, so that a cell that runs meanwhile waits for one portion only.
PORTIONS = ("httpx", "aiohttp", "openai", "tiktoken", "tokenizers", "litellm")

# Imports of the first request, which would run on another thread and show pydantic's warnings in the cell. The first
# of them points tiktoken to a folder of litellm's.
FIRST_REQUEST = (
    "litellm.litellm_core_utils.default_encoding",
    "litellm.llms.mistral.chat.transformation",
    "litellm.llms.github_copilot.per_user_auth",
    "litellm.llms.vertex_ai.context_caching.vertex_ai_context_caching",
)

# Use the price map that came with litellm instead of downloading one, and do not read `.env`.
ENVIRONMENT = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_MODE": "PRODUCTION"}


def is_imported() -> bool:
    """Return True if litellm has been imported completely."""
    module = sys.modules.get("litellm")
    return module is not None and hasattr(module, "acompletion")


def import_in_portions() -> Iterator[str]:
    """Import litellm, one portion at each step. After a KeyboardInterrupt it can be started again."""
    for name in PORTIONS:
        if name not in sys.modules:
            with _process_restored():
                importlib.import_module(name)
        if name == "litellm":
            sys.modules[name].suppress_debug_info = True  # type: ignore[attr-defined]  # it prints to stdout
        yield name
    import litellm

    # pydantic builds the schemas of these at first use, and warns of litellm's types.
    with _process_restored():
        litellm.ModelResponse()
        litellm.ModelResponseStream()
        for name in FIRST_REQUEST:
            with contextlib.suppress(ImportError):  # not every version has all of them
                importlib.import_module(name)
    yield "schemas"


_ONE_AT_A_TIME = threading.RLock()
"""Two threads at once would each restore the process in the middle of the other's change."""


@contextlib.contextmanager
def _process_restored() -> Iterator[None]:
    """Restore environment variables, warning filters, log levels and the state of `random` after the block.

    No garbage is collected meanwhile: an import makes a million objects, all of which stay, and each of the many
    collections looks at all objects of the kernel (a fifth of the import's time in an empty kernel).
    """
    with _ONE_AT_A_TIME, _restored():
        yield


@contextlib.contextmanager
def _restored() -> Iterator[None]:
    environment, random_state, collecting = dict(os.environ), random.getstate(), gc.isenabled()
    levels = [(logger, logger.level) for logger in _loggers() if logger.level]
    os.environ.update(ENVIRONMENT)
    gc.disable()
    try:
        with warnings.catch_warnings(), _all_or_nothing():
            warnings.simplefilter("ignore")  # of libraries, about libraries
            yield
    finally:
        if collecting:
            gc.enable()
        for name in os.environ.keys() - environment.keys():
            del os.environ[name]
        os.environ.update(environment)
        random.setstate(random_state)
        # A level that was not set before may stay: litellm would otherwise log its requests in cells.
        for logger, level in levels:
            logger.setLevel(level)


@contextlib.contextmanager
def _all_or_nothing() -> Iterator[None]:
    """Remove partly imported packages if the block fails: they could never be used or imported again.

    An interrupt that a module swallows, to continue without what it was importing, is raised at the end.
    """
    modules, handlers = {*sys.modules}, _handlers()
    previous_handler = signal.getsignal(signal.SIGINT)
    interrupted = False

    def on_signal(number: int, frame: FrameType | None) -> None:
        nonlocal interrupted
        interrupted = True
        if callable(previous_handler):
            previous_handler(number, frame)

    watched = callable(previous_handler) and threading.current_thread() is threading.main_thread()
    if watched:
        signal.signal(signal.SIGINT, on_signal)
    try:
        yield
        if interrupted:
            raise KeyboardInterrupt
    except BaseException:
        for name in _partly_imported(modules):
            del sys.modules[name]
        for logger, current in _handlers().items():  # a module that is imported again adds its handlers again
            for handler in {*current} - {*handlers.get(logger, ())}:
                logger.removeHandler(handler)
        raise
    finally:
        if watched:
            signal.signal(signal.SIGINT, previous_handler)


def _partly_imported(before: Set[str]) -> list[str]:
    """Return new modules of which a parent package is missing. Compiled ones stay: they can be loaded only once."""
    new = [name for name in sys.modules if name not in before and not _is_compiled(name)]
    packages = {name: accumulate(name.split(".")[:-1], "{}.{}".format) for name in new}
    return [name for name in new if any(package not in sys.modules for package in packages[name])]


def _is_compiled(name: str) -> bool:
    spec = getattr(sys.modules[name], "__spec__", None)
    return isinstance(getattr(spec, "loader", None), ExtensionFileLoader)


def _loggers() -> list[logging.Logger]:
    loggers = [logging.root, *logging.root.manager.loggerDict.values()]
    return [logger for logger in loggers if isinstance(logger, logging.Logger)]


def _handlers() -> dict[logging.Logger, list[logging.Handler]]:
    return {logger: [*logger.handlers] for logger in _loggers()}


def load_gpt_tokenizer() -> None:
    """Load the tokenizer of GPT models from litellm's own files.

    litellm uses it at the start of each of their streams, and would download it each time if it were not loaded.
    """
    import litellm
    import tiktoken

    variable, folder = "TIKTOKEN_CACHE_DIR", os.path.dirname(litellm.__file__)
    value = os.environ.get(variable)
    os.environ.setdefault(variable, os.path.join(folder, "litellm_core_utils", "tokenizers"))
    try:
        with contextlib.suppress(Exception):  # without it, litellm is only slower
            tiktoken.get_encoding("o200k_base")  # which tiktoken then keeps
    finally:
        if value is None:
            os.environ.pop(variable, None)


async def warm_up() -> None:
    """Make litellm's lazy imports by requests to a closed local port, which saves the first answer 0.4 s."""
    import litellm

    if litellm.callbacks or litellm.success_callback or litellm.failure_callback:
        return  # the user's callbacks would be called for requests that the user has not made
    load_gpt_tokenizer()
    request = {
        "messages": [{"role": "user", "content": "x"}],
        "stream": True,
        "max_tokens": 1,
        "num_retries": 0,
    }
    closed = {"api_base": "http://127.0.0.1:9/v1", "api_key": "none", "max_retries": 0}
    with contextlib.suppress(Exception):
        await litellm.acompletion(model="openai/x", **closed, **request)
    with contextlib.suppress(Exception):
        client = guarded_client("anthropic")
        await litellm.acompletion(model="anthropic/claude-sonnet-5", **client, **closed, **request)
    with contextlib.suppress(Exception):  # litellm's own echo, which sends nothing
        async for _ in await litellm.acompletion(model="openai/x", mock_response="x", **request):
            pass
