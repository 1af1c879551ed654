"""Other extensions and libraries in the kernel: they stay as they were and work together with this one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.kernels import CellResult, Kernel
from wire import HttpError, Reply, WireServer

STATE = """
import asyncio, builtins, decimal, gc, json, locale, logging, os, random, signal, socket, sys, threading, time, warnings
httpx_log = logging.getLogger("httpx"); httpx_log.setLevel(logging.INFO)
random.seed(1)
import numpy; numpy.random.seed(1)
def logger(one):
    return [one.level, repr(one.handlers), repr(one.filters), one.propagate, one.disabled, len(one.handlers)]
there = {n: o for n, o in logging.root.manager.loggerDict.items() if isinstance(o, logging.Logger)}
def state():
    shell, loop = get_ipython(), asyncio.get_event_loop()
    mask = os.umask(0); os.umask(mask)
    html = shell.display_formatter.formatters["text/html"]
    of = {
        "environ": dict(os.environ), "cwd": os.getcwd(), "umask": mask,
        "locale": [locale.setlocale(kind) for kind in range(6)], "time zone": time.tzname,
        "filters": warnings.filters, "showwarning": warnings.showwarning,
        "logging": [logger(logging.root), logging.root.manager.disable, logging.getLoggerClass(),
                    logging.getLogRecordFactory(), logging.lastResort, logging.raiseExceptions],
        **{f"logger {name}": logger(one) for name, one in there.items()},
        "signals": {one: signal.getsignal(one) for one in signal.valid_signals()},
        "timers": [signal.getitimer(kind) for kind in range(3)],
        "hooks": [sys.excepthook, sys.displayhook, sys.unraisablehook, threading.excepthook, sys.breakpointhook],
        "streams": [sys.stdin, sys.stdout, sys.stderr], "path": sys.path, "argv": sys.argv,
        "finders": sys.meta_path, "path hooks": sys.path_hooks,
        "limits": [sys.getrecursionlimit(), sys.getswitchinterval(), sys.get_int_max_str_digits()],
        "tracing": [sys.gettrace(), sys.getprofile(), sys.get_asyncgen_hooks()],
        "collector": [gc.isenabled(), gc.get_threshold(), gc.get_debug(), gc.callbacks],
        "loop": [asyncio.get_event_loop_policy(), loop, loop.get_exception_handler(), loop.get_task_factory(),
                 loop.get_debug(), loop.slow_callback_duration, asyncio.run],
        "sockets": [socket.getdefaulttimeout(), socket.socket, socket.getaddrinfo, socket.create_connection],
        "builtins": vars(builtins).keys() | {open, print, input, __import__}, "decimal": decimal.getcontext(),
        "random": [hash(random.getstate()), numpy.random.get_state()[1].tobytes(), numpy.random.get_state()[2]],
        "json": [json.dumps, json.loads, json.JSONEncoder.default],
        "threads": sorted(one.name for one in threading.enumerate()),
        "names": sorted(name for name in shell.user_ns if not name.startswith("_")),
        "formatters": [html.type_printers, html.deferred_printers],
        "transformers": [shell.ast_transformers, shell.input_transformers_cleanup, shell.input_transformers_post],
        "events": shell.events.callbacks, "display hooks": shell.display_pub._hooks,
        "shell": [shell.custom_exceptions, shell.showtraceback, shell.autoawait, shell.loop_runner,
                  type(shell.display_pub), type(shell.displayhook), shell.hooks.keys(), shell.InteractiveTB.mode],
        "configurables": shell.configurables, "meta": sorted(shell.meta),
        "kernel": sorted(shell.kernel.shell_handlers), "comms": sorted(shell.kernel.comm_manager.targets),
    }
    return {name: repr(value) for name, value in of.items()}
"""
HOOKED = {"transformers", "events", "display hooks", "configurables", "meta"}  # while it is loaded
# Named in the README: the comm targets of ipywidgets; a finder and log filters of the import of litellm.
FOR_GOOD = {"comms", "finders", "logger asyncio", "logger httpx", "meta"}
WORKING = {"threads"}

JUPYTER_AI = """
from IPython.core.magic import Magics, line_cell_magic, magics_class
@magics_class
class AiMagics(Magics):
    def __init__(self, shell):
        super().__init__(shell)
        shell.set_custom_exc((BaseException,), self.handle)
    def handle(self, shell, etype, evalue, tb, tb_offset=None):
        self.shell.user_ns.setdefault("Err", {})[self.shell.execution_count] = repr(evalue)
        self.shell.showtraceback((etype, evalue, tb), tb_offset=tb_offset)
    @line_cell_magic
    def ai(self, line, cell=None):
        print("ai:", cell or line)
def load_ipython_extension(shell):
    shell.register_magics(AiMagics)
"""

SETTINGS = """
import os; os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
import litellm
from litellm.integrations.custom_logger import CustomLogger
class Seen(CustomLogger):
    models = []
    async def async_log_success_event(self, kwargs, response_obj, start_time, end_time):
        Seen.models.append(kwargs["model"])
def settings():
    names = ("drop_params modify_params num_retries request_timeout set_verbose api_base api_key telemetry"
             " callbacks cache ssl_verify model_fallbacks default_fallbacks use_client headers").split()
    return {name: repr(getattr(litellm, name, None)) for name in names}
"""
MINE = """
litellm.drop_params = litellm.modify_params = True
litellm.num_retries, litellm.request_timeout = 3, 77
litellm.cache, litellm.callbacks = litellm.Cache(), [Seen()]
litellm.headers, litellm.api_base = {"x-mine": "1"}, URL
"""


@pytest.fixture(scope="module")
def wire() -> Iterator[WireServer]:
    with WireServer() as server:
        yield server


@pytest.fixture
def kernel(wire: WireServer) -> Iterator[Kernel]:
    with Kernel(wire.env()) as kernel:
        yield kernel


def changed(before: dict[str, str], after: dict[str, str]) -> set[str]:
    return {name for name in before | after if before.get(name) != after.get(name)}


def run_all(kernel: Kernel, *cells: str) -> CellResult:
    """Run cells, check that none fails, and return the result of the last one."""
    for cell in cells:
        result = kernel.run(cell)
        assert not result.error, result.error
    return result


def test_only_what_the_readme_names_changes_the_process(wire: WireServer, kernel: Kernel) -> None:
    run_all(
        kernel, STATE, "state()", "%load_ext storemagic"
    )  # IPython registers its own extension magics then
    before: dict[str, Any] = kernel.value("state()")
    run_all(kernel, "%load_ext ipycachechat")
    assert changed(before, kernel.value("state()")) <= HOOKED
    assert run_all(kernel, "%%chat\nhello").answer
    assert changed(before, kernel.value("state()")) <= HOOKED | FOR_GOOD | WORKING
    assert run_all(kernel, "%%chat -m openai/gpt-5.5\nhello").answer
    run_all(kernel, "%chat usage", "%chat plan and now?", "%chat history", "%chat save s.json")
    wire.script(Reply(fault=HttpError(400, "no")), Reply(fault=HttpError(529)))
    assert kernel.run("%%chat\nhello").error
    assert run_all(kernel, "%%chat\nhello").answer  # after a pause
    assert changed(before, kernel.value("state()")) <= HOOKED | FOR_GOOD | WORKING
    run_all(kernel, "%unload_ext ipycachechat")
    after = kernel.value("state()")
    assert changed(before, after) <= FOR_GOOD
    for name in ("asyncio", "httpx"):
        (level, *handlers, _, _, count), was = (
            kernel.value(f"logger(there[{name!r}])"),
            before[f"logger {name}"],
        )
        assert was.startswith(f"[{level}, {handlers[0]!r}") and "Redaction" in handlers[1] and not count


def test_the_users_own_litellm_settings_stay_unchanged(wire: WireServer, kernel: Kernel) -> None:
    run_all(kernel, SETTINGS, f"URL = {wire.url!r}" + MINE, "%load_ext ipycachechat")
    his = "litellm.acompletion(model='openai/gpt-5.5', messages=[dict(role='user', content='{}')])"
    for mine in ("", "litellm.drop_params, litellm.num_retries, litellm.request_timeout = False, 5, 99"):
        run_all(kernel, mine)  # before and after our first request
        was = kernel.value("settings()")
        asked = len(wire.requests)
        for model in ("anthropic/claude-sonnet-5", "openai/gpt-5.5", "openai/gpt-5.5"):
            assert run_all(kernel, f"%%chat -m {model}\nthe same").answer
            run_all(kernel, "%chat undo")
        assert len(wire.requests) == asked + 3  # as the badges say: nothing came from the user's own cache
        wire.script(Reply(fault=HttpError(400, "no")))
        assert kernel.run("%%chat\nonce").error
        assert kernel.value("settings()") == was
        printed = run_all(
            kernel, f"print((await {his.format(f'q{asked}')}).choices[0].message.content)"
        ).printed
        assert f"you said q{asked}" in printed
    assert wire.requests[-1].headers["x-mine"] == "1"
    # The user's callbacks also see our requests; litellm calls them later.
    run_all(kernel, "import asyncio\nwhile 'claude-sonnet-5' not in Seen.models: await asyncio.sleep(0.01)")
    run_all(kernel, "%unload_ext ipycachechat")
    assert (
        "you said bye"
        in run_all(kernel, f"print((await {his.format('bye')}).choices[0].message.content)").printed
    )
    assert kernel.value("settings()") == was
    assert set(kernel.value("Seen.models")) >= {
        "claude-sonnet-5",
        "gpt-5.5",
    }  # the user's callbacks also see our requests


def test_a_notebook_with_its_own_loop_and_tasks_keeps_working(wire: WireServer, kernel: Kernel) -> None:
    run_all(
        kernel,
        "%load_ext autoreload\n%autoreload 2",
        "import asyncio, threading\nticks = []\nasync def tick():\n    while True:\n"
        "        ticks.append(1); await asyncio.sleep(0.01)\ntask = asyncio.ensure_future(tick())\n"
        "async def one(): return 1\ndef elsewhere():\n    got = []\n"
        "    thread = threading.Thread(target=lambda: got.append(asyncio.run(one()))); thread.start()\n"
        "    thread.join(); return got",
        "assert elsewhere() == [1]",
        "%load_ext ipycachechat",
    )
    for nested in (False, True):
        if nested:
            run_all(kernel, "import nest_asyncio; nest_asyncio.apply()", "assert asyncio.run(one()) == 1")
        assert run_all(kernel, "%%chat\nhello").answer
        run_all(
            kernel,
            "from ipycachechat import AsyncChat, Chat\nassert Chat('openai/gpt-5.5')('hi').text",
            "background = asyncio.ensure_future(AsyncChat('openai/gpt-5.5')('in the background'))",
            "%%chat\nmeanwhile",
            "assert 'in the background' in (await background).text",
            "many = await asyncio.gather(*(AsyncChat('openai/gpt-5.5')(str(n)) for n in range(4)))",
            "assert elsewhere() == [1] and not task.done()",
            "before = len(ticks); await asyncio.sleep(0.1); assert len(ticks) > before",
        )
    run_all(kernel, "%reload_ext ipycachechat")
    assert run_all(kernel, "%%chat\nstill there").answer
    run_all(kernel, "%unload_ext ipycachechat", "assert not task.done(); task.cancel()")


def test_the_magics_of_jupyter_ai_work_beside_ours(wire: WireServer, kernel: Kernel) -> None:
    """Jupyter AI's extension registers magics and a handler for every exception."""
    Path(kernel.folder.name, "jupyter_ai_stand_in.py").write_text(JUPYTER_AI)
    run_all(kernel, "%load_ext jupyter_ai_stand_in", "%load_ext ipycachechat")
    assert run_all(kernel, "%%chat\nhello").answer
    assert run_all(kernel, "%%ai provider:model\nhello").printed == "ai: hello\n\n"
    error = kernel.run("%%chat -m nobody/x\nhello").error
    assert len(error.splitlines()) == 2 and "Traceback" not in error
    assert "No provider" in kernel.value("list(Err.values())[-1]")
    assert "ZeroDivisionError" in kernel.run("1/0").error
    run_all(kernel, "%unload_ext ipycachechat")
    assert run_all(kernel, "%ai version").printed == "ai: version\n"
    assert kernel.value("get_ipython().custom_exceptions[0].__name__") == "BaseException"
