"""`%load_ext` does not import litellm and prints one line; `%unload_ext` leaves nothing behind."""

from __future__ import annotations

import subprocess
import sys
import time

import psutil
import pytest
from support.kernels import PROJECT, Kernel
from wire import WireServer

STATE = """
import gc, threading, psutil
shell = get_ipython()
def state():
    events = {name: len(them) for name, them in shell.events.callbacks.items()}
    magics = {kind: sorted(table) for kind, table in shell.magics_manager.magics.items()}
    hooks = sorted(map(str, shell.strdispatchers["complete_command"].strs))
    threads = sorted(t.name for t in threading.enumerate() if "litellm" not in t.name)
    children = [child.name() for child in psutil.Process().children()]
    gc.collect()
    # What is registered with atexit, or waits in a loop, would keep these.
    ours = ("NotebookSession", "ChatMagics", "LiveBadges", "Inspector", "IdleWork", "BackgroundLoop")
    alive = [type(o).__name__ for o in gc.get_objects() if type(o).__name__ in ours]
    registry = sorted(shell.magics_manager.registry)
    registry += [str(one) for one in shell.input_transformers_cleanup]
    configurables = sorted(type(c).__name__ for c in shell.configurables)
    return [events, magics, hooks, threads, children, registry, configurables, alive]
"""
# litellm and llama.cpp's child process leave things behind themselves, so litellm is imported before the comparison.
# It is imported as usual, but without downloading its price map: if that fails, litellm prints from a thread, into the
# output of any cell that is running then.
LITELLM = "import os; os.environ['LITELLM_LOCAL_MODEL_COST_MAP'] = 'True'; import litellm"


def test_import_and_load_in_a_fresh_process_import_no_litellm() -> None:
    code = """
import sys
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
import ipycachechat
shell.run_line_magic("load_ext", "ipycachechat")
heavy = [m for m in sys.modules if m.partition(".")[0] in ("litellm", "openai", "jinja2", "markdown_it", "fastcore")]
assert "ChatMagics" in shell.magics_manager.registry
print("heavy:", heavy)
"""
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=PROJECT)
    assert process.stdout.splitlines()[-1] == "heavy: []", process.stderr


def test_loading_prints_one_line(wire: WireServer) -> None:
    with Kernel(wire.env()) as kernel:
        result = kernel.run("%load_ext ipycachechat")
        assert result.printed == (
            "ipycachechat 0.1: model anthropic/claude-sonnet-5. Start a cell with %%chat; %chat help lists the rest.\n"
        )
        assert not result.outputs
        assert "already loaded" in kernel.run("%load_ext ipycachechat").printed


@pytest.mark.parametrize(
    ("keys", "model"),
    [
        (["ANTHROPIC", "OPENAI", "GEMINI"], "anthropic/claude-sonnet-5"),
        (["OPENAI", "GEMINI"], "openai/gpt-5.6-terra"),
        (["GEMINI"], "gemini/gemini-3.8-flash"),
        ([], "local"),
    ],
)
def test_the_first_key_that_is_set_chooses_the_model(keys: list[str], model: str) -> None:
    with Kernel({f"{name}_API_KEY": "x-test" for name in keys}) as kernel:
        assert f": model {model}. " in kernel.run("%load_ext ipycachechat").printed


def test_unloading_leaves_nothing(wire: WireServer) -> None:
    with Kernel(wire.env()) as kernel:
        kernel.run(STATE)
        kernel.run("%load_ext storemagic")  # IPython registers its own extension magics at first use
        kernel.run(LITELLM)
        before = kernel.value("state()")
        for _ in range(3):
            kernel.run("%load_ext ipycachechat")
            assert kernel.run("%%chat\nhello").answer
            assert kernel.run("%chat usage").outputs
            kernel.run("%unload_ext ipycachechat")
            after = kernel.value("state()")
            assert after == before
        assert "not found" in kernel.run("%%chat\nhello").printed


@pytest.mark.local
def test_unloading_ends_the_local_model(wire: WireServer) -> None:
    with Kernel() as kernel:
        kernel.run("%load_ext ipycachechat")
        assert kernel.run("%%chat -m local --max-tokens 5\nhello").answer
        assert len(psutil.Process(kernel.pid).children()) == 1
        kernel.run("%unload_ext ipycachechat")
        assert psutil.Process(kernel.pid).children() == []


@pytest.mark.local
def test_the_local_model_ends_with_a_kernel_that_is_killed(wire: WireServer) -> None:
    with Kernel() as kernel:
        kernel.run("%load_ext ipycachechat")
        assert kernel.run("%%chat -m local --max-tokens 5\nhello").answer
        (child,) = psutil.Process(kernel.pid).children()
        psutil.Process(kernel.pid).kill()
        assert psutil.wait_procs([child], timeout=20)[0] or child.status() == psutil.STATUS_ZOMBIE


def test_reloading_keeps_the_conversation(wire: WireServer) -> None:
    with Kernel(wire.env()) as kernel:
        kernel.run("%load_ext ipycachechat")
        kernel.run("%%chat\nhello")
        kernel.run("%reload_ext ipycachechat")
        assert "1 turn" in kernel.run("%chat").printed
        kernel.run("%%chat\nand?")
        assert len(wire.requests[-1].body["messages"]) == 3


def test_reloading_keeps_all_that_was_set(wire: WireServer) -> None:
    with Kernel(wire.env()) as kernel:
        kernel.run("def look() -> str:\n    'Look.'\n    return 'seen'")
        kernel.run("%load_ext ipycachechat")
        kernel.run("%chat budget 1.00")
        kernel.run("%chat model gemini/gemini-2.5-flash")
        kernel.run("%chat tools look --ask")
        kernel.run("%chat watch code")
        kernel.run("%config ChatMagics.context_tokens = 77")
        kernel.run("%config ChatMagics.redact = False")
        kernel.run("%config ChatMagics.confirm_over = 0.5")
        kernel.run("%chat ttl 1h")
        kernel.run("%config ChatMagics.system = 'Be brief.'")
        settings = kernel.run("%config ChatMagics").printed
        for load in (
            "%reload_ext ipycachechat",
            "%reload_ext ipycachechat",
            "%unload_ext ipycachechat\n%load_ext ipycachechat",
        ):
            assert "gemini" in kernel.run(load).printed
            assert kernel.run("%config ChatMagics").printed == settings
            assert "$1.00" in kernel.run("%chat budget").printed
            tools = kernel.run("%chat tools").printed
            assert "Tools: look (you approve each call)" in tools
        kernel.run("%chat tools off")
        kernel.run("%%chat\nhello")
        assert "gemini" in wire.requests[-1].path and "Be brief." in str(wire.requests[-1].body)
        assert "not an amount" not in kernel.run("%chat budget 0.0000001").printed
        kernel.run("%reload_ext ipycachechat")
        assert "Not sent" in kernel.run("%%chat\nand?").error


def test_reloading_goes_on_keeping_the_cache_warm(wire: WireServer) -> None:
    with Kernel(wire.env()) as kernel:
        kernel.run("%load_ext ipycachechat")
        kernel.run("%%chat\n" + "word " * 3000)
        assert "Keeping it cached for 3h" in kernel.run("%chat warm 3h").printed
        kernel.run("%reload_ext ipycachechat\nimport time")
        session = "get_ipython().magics_manager.registry['ChatMagics'].session"
        assert kernel.value(f"10_700 < {session}._warm[1] - time.time() <= 10_800")
        assert kernel.value(f"not {session}._keepalive.done()")
        kernel.run("%chat warm off")
        kernel.run("%reload_ext ipycachechat")
        assert kernel.value(f"{session}._warm is None")


def test_another_owner_of_the_magic_is_reported_and_gets_it_back(wire: WireServer) -> None:
    with Kernel(wire.env()) as kernel:
        kernel.run(
            "from IPython.core.magic import register_cell_magic\n"
            "@register_cell_magic\ndef chat(line, cell): print('the other')\n"
            "chat.__module__ = 'chapyter.magic'"
        )
        assert kernel.run("%load_ext ipycachechat").printed.count("\n") == 1
        assert "the other" not in kernel.run("%%chat\nhello").printed
        kernel.run("%unload_ext ipycachechat")
        assert kernel.run("%%chat\nhello").printed == "the other\n"


def test_litellm_is_imported_in_idle_time_and_leaves_the_process_unchanged(wire: WireServer) -> None:
    with Kernel(wire.env()) as kernel:
        kernel.run("import os, sys, warnings\nbefore = dict(os.environ), list(warnings.filters)")
        kernel.run("%load_ext ipycachechat")
        assert kernel.value("'litellm' in sys.modules") is False
        end = time.monotonic() + 60
        while not kernel.value("'litellm' in sys.modules") and time.monotonic() < end:
            time.sleep(3)
        assert kernel.value("dict(os.environ) == before[0]")
        assert kernel.value("list(warnings.filters) == before[1]")
        assert kernel.value("__import__('gc').isenabled()")
        assert kernel.value("sys.modules['litellm'].suppress_debug_info")
        assert wire.requests == []  # warming up sends no request


def test_a_wrong_setting_is_reported_in_two_lines_and_leaves_nothing(wire: WireServer) -> None:
    with Kernel(wire.env(), config="--ChatMagics.max_tokens=-5") as kernel:
        kernel.run("events = {k: len(v) for k, v in get_ipython().events.callbacks.items()}")
        error = kernel.run("%load_ext ipycachechat").error
        assert "max_tokens" in error
        assert len(error.splitlines()) == 2
        assert kernel.value("events == {k: len(v) for k, v in get_ipython().events.callbacks.items()}")
        kernel.run("get_ipython().config.ChatMagics.max_tokens = 5")
        assert "claude" in kernel.run("%load_ext ipycachechat").printed


def test_settings_come_from_the_configuration(wire: WireServer) -> None:
    with Kernel(wire.env(), config="--ChatMagics.model=openai/gpt-5.5 --ChatMagics.system=brief") as kernel:
        assert "openai/gpt-5.5" in kernel.run("%load_ext ipycachechat").printed
        kernel.run("%%chat\nhello")
        assert wire.requests[-1].body["messages"][0] == {"role": "system", "content": "brief"}


@pytest.mark.parametrize(
    "model",
    [
        "anthropic/claude-sonnet-5",
        "openai/gpt-5.6-terra",
        "gemini/gemini-3.8-flash",
        "openrouter/anthropic/claude-sonnet-4.5",
    ],
)
def test_the_first_chat_right_after_loading_prints_nothing_of_other_libraries(
    wire: WireServer, model: str
) -> None:
    with Kernel(wire.env()) as kernel:
        kernel.run("%load_ext ipycachechat")
        first = kernel.run(f"%%chat -m {model}\nhello")
        assert first.answer
        assert first.printed == ""
