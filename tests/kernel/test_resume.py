"""Saved conversations from cells: files, recorded replies, resuming after an earlier kernel, and spending."""

from __future__ import annotations

import json
import re
import sqlite3
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from support.kernels import CellResult, ForkedKernel, Kernel
from wire import Bill, Reply, Stall, WireServer
from wire import ToolCall as Call

CLAUDE, GPT = "anthropic/claude-sonnet-5", "openai/gpt-5.5"
LONG = "Be brief. " * 2000


@pytest.fixture
def kernel(kernel: Kernel) -> Kernel:
    kernel.run(f"%chat model {GPT}")
    return kernel


def started(kernel: Kernel, model: str = GPT) -> str:
    printed = kernel.run("%load_ext ipycachechat").printed
    if model:
        kernel.run(f"%chat model {model}")
    return printed


def chat(kernel: Kernel, text: str, cell: str = "") -> CellResult:
    result = kernel.run(f"%%chat\n{text}", cell or text)
    assert not result.error, result.error
    return result


def file(kernel: Kernel, name: str) -> Path:
    return Path(kernel.folder.name) / name


def prompts(wire: WireServer) -> list[str]:
    """Return the prompts of the last request."""
    return [m["content"] for m in wire.requests[-1].messages if m["role"] == "user"]


# Saving and loading.


QUESTION, ANSWER = '{"role": "user", "content": "q"}', '{"role": "assistant", "content": "a"}'


def saved(*messages: str, asked_at: str = "1") -> str:
    """A saved conversation of one turn."""
    turn = f'{{"messages": [{", ".join(messages)}], "model": "m", "state": "complete", "at": {asked_at}}}'
    return (
        f'{{"kind": "ipycachechat conversation", "schema": 1, "system": "", "tools": [], "turns": [{turn}]}}'
    )


def test_a_saved_conversation_is_loaded_by_another_kernel_byte_for_byte(wire: WireServer) -> None:
    with ForkedKernel(wire.env()) as first_kernel:
        started(first_kernel)
        first_kernel.run('%chat system "Be <brief>."')
        for text in "ab":
            chat(first_kernel, text)
        assert first_kernel.run("%chat save talk.json").printed == "Saved 2 turns to talk.json\n"
        path = file(first_kernel, "talk.json")
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        chat(first_kernel, "c")
        messages = wire.requests[-1].body["messages"]
        with ForkedKernel(wire.env()) as two:
            started(two)
            assert "Loaded 2 turns" in two.run(f"%chat load {path}").printed
            chat(two, "c", "another cell")
            assert wire.requests[-1].body["messages"] == messages
            two.run("%chat undo")
            two.run("%chat undo")
            chat(two, "alone", "yet another")
            assert prompts(wire) == ["alone"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{", "damaged"),
        ("[1, 2]", "damaged"),
        ('{"kind": "else"}', "not a saved conversation"),
        ('"text"', "not a saved conversation"),
        ('{"kind": "ipycachechat conversation", "schema": 99}', "newer ipycachechat (format 99"),
        (
            '{"kind": "ipycachechat conversation", "schema": 1, "system": "", "tools": []}',
            "'turns' is missing",
        ),
        ("[" * 100_000, "damaged"),
        (saved('{"role": "user", "content": " "}', ANSWER), "the prompt of turn 1 of the file is empty"),
        (saved(QUESTION), "not one prompt and its answer"),
        (saved(QUESTION, QUESTION, ANSWER), "not one prompt and its answer"),
        (saved(QUESTION, ANSWER, asked_at="1e999"), "a number was expected"),
        (saved(QUESTION, ANSWER, asked_at="NaN"), "a number was expected"),
        (saved(QUESTION, ANSWER, asked_at="1" + "0" * 400), "damaged"),
        (saved(QUESTION, ANSWER).replace('"tools": []', '"tools": ["no json"]'), "damaged"),
        (saved(QUESTION, ANSWER).replace('"schema": 1', '"schema": "1"'), "its format has no number"),
        ('[{"role": "user", "content": "q"}]', "not one prompt and its answer"),
        (
            '{"kind": "ipycachechat conversation", "schema": 1, "system": "", "tools": [], "turns": '
            '[{"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "",'
            ' "calls": [{"id": "1", "name": "f", "arguments": "{}"}]}], "model": "m", "state": "complete"}]}',
            "no result",
        ),
    ],
)
def test_a_file_that_cannot_be_loaded_changes_nothing(
    module_kernel: Kernel, text: str, expected: str
) -> None:
    before = module_kernel.run("%chat").printed
    file(module_kernel, "bad.json").write_text(text)
    error = module_kernel.run("%chat load bad.json").error
    assert expected in error and len(error.splitlines()) == 2
    assert module_kernel.run("%chat").printed == before


@pytest.fixture(scope="module")
def module_kernel() -> Iterator[Kernel]:
    with WireServer() as wire, ForkedKernel(wire.env()) as kernel:
        started(kernel)
        chat(kernel, "a")
        yield kernel


def test_a_file_of_hist_messages_is_loaded(kernel: Kernel, wire: WireServer) -> None:
    file(kernel, "hist.json").write_text(
        json.dumps([{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}])
    )
    assert "Loaded 1 turn" in kernel.run("%chat load hist.json").printed
    chat(kernel, "next")
    assert prompts(wire) == ["q", "next"]


def test_documents_contain_question_and_answer_and_run_nothing(kernel: Kernel, wire: WireServer) -> None:
    wire.script(
        Reply("**bold** <script>alert(1)</script> ![x](http://example.org/x.png) [j](javascript:alert(1))")
    )
    chat(kernel, "</div><script>alert(2)</script> question")
    kernel.run("%chat save 'talk it over.md'")
    kernel.run("%chat save talk.html")
    markdown, page = file(kernel, "talk it over.md").read_text(), file(kernel, "talk.html").read_text()
    assert "question" in markdown and "**bold**" in markdown and GPT in markdown
    assert "<strong>bold</strong>" in page and "question" in page and "$" in page
    assert "<script" not in page and "<img" not in page and 'href="javascript' not in page


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("%chat save", "which file?"),
        ("%chat save talk.txt", "Add an extension: .json, .md or .html"),
        ("%chat save nowhere/talk.json", "cannot be written"),
        ("%chat load nowhere.json", "No such file"),
        ("%chat fork", "what is the branch called?"),
        ("%chat fork main", "There is already a branch 'main'"),
        ("%chat fork two words", "cannot be the name of a branch"),
        ("%chat switch nowhere", "There is no branch 'nowhere'"),
        ("%chat redo", "There is nothing to redo"),
        ("%chat sync", "does not know which notebook"),
        ("%chat usage --some", "The only option is --all"),
        ("%chat resume nowhere", "No conversation is saved for 'nowhere'"),
        ("%chat replies --strict", "which file?"),
        ("%chat replies nowhere.json --strict", "There is no file"),
        ("%%chat --append --here\nx", "contradict each other"),
        ("%%chat --here\nx", "does not know which notebook"),
        ("%chat undo 3", "takes no argument"),
    ],
)
def test_impossible_commands_are_reported_in_two_lines(
    module_kernel: Kernel, line: str, expected: str
) -> None:
    error = module_kernel.run(line, "cell").error
    assert expected in error and len(error.splitlines()) <= 2


# Replies.


def test_recorded_replies_make_run_all_free_even_without_a_key(wire: WireServer, tmp_path: Path) -> None:
    replies, tools = tmp_path / "replies.json", "def double(n: int) -> int:\n    'Twice n.'\n    return 2 * n"
    cells = [tools, "%chat tools double", "%%chat\nWhat is 2 × 21?", "%%chat\nAnd why?"]
    with ForkedKernel(wire.env()) as kernel:
        started(kernel, CLAUDE)
        assert "Recording replies to" in kernel.run(f"%chat replies {replies}").printed
        wire.script(
            Reply("Let me see. ", tool_calls=(Call("double", {"n": 21}),)), Reply("42"), Reply("Because.")
        )
        first = [kernel.run(code, f"cell {n}") for n, code in enumerate(cells)]
        key = wire.requests[-1].key
        sent_requests = len(wire.requests)
        second_run = [kernel.run(code, f"cell {n}") for n, code in enumerate(cells)]
        assert [result.answer for result in second_run] == [result.answer for result in first]
        assert all("replayed, nothing sent" in result.badge for result in second_run[2:])
        assert "4,0" not in kernel.run("%chat").printed.splitlines()[0]
    env = {name: value for name, value in wire.env().items() if "_KEY" not in name}
    with ForkedKernel(env) as kernel:  # as in CI: no key and no model is set
        started(kernel, "")
        kernel.run(f"%chat replies {replies} --strict")
        third_run = [kernel.run(code, f"cell {n}") for n, code in enumerate(cells)]
        assert [result.error for result in third_run] == [""] * 4
        assert [result.answer for result in third_run] == [result.answer for result in first]
        error = kernel.run("%%chat\nSomething else", "cell 9").error
        assert "No recorded reply for this exact conversation" in error and len(error.splitlines()) == 2
        assert kernel.run("%chat usage").text.startswith("0 tokens in")
    assert len(wire.requests) == sent_requests
    text = replies.read_text()
    assert key and key not in text and wire.url not in text
    assert "And why?" in text and "Because." in text and text.count("\n") > 30


def test_another_model_option_or_history_is_another_request(kernel: Kernel, wire: WireServer) -> None:
    kernel.run("%chat replies r.json")
    asked = [
        "%%chat\nq",
        "%%chat --max-tokens 50\nq",
        "%%chat --system else\nq",
        "%%chat -m openai/gpt-5.4\nq",
        f"%%chat -m {CLAUDE} --think low\nq",
    ]
    for _ in range(2):
        for code in asked:
            kernel.run("%chat reset")
            assert not kernel.run(code, "a").error
        assert len(wire.requests) == len(asked)
    kernel.run("%%chat\nq", "b")
    assert len(wire.requests) == len(asked) + 1


def test_replies_are_requested_again_without_a_file(kernel: Kernel, wire: WireServer) -> None:
    kernel.run("%chat replies r.json")
    chat(kernel, "q")
    kernel.run("%chat replies off")
    chat(kernel, "q")
    assert len(wire.requests) == 2


def test_an_answer_is_kept_even_if_it_cannot_be_recorded(kernel: Kernel, wire: WireServer) -> None:
    assert "There is no folder" in kernel.run("%chat replies nowhere/r.json").error
    kernel.run("%chat replies r.json")
    file(kernel, "r.json").write_text("<<<<<<< HEAD")
    wire.script(Reply("precious"))
    result = kernel.run("%%chat --out x\nq", "q")
    assert "the reply was not recorded" in result.printed and not result.error
    assert kernel.value("x") == "precious"
    chat(kernel, "next")
    assert prompts(wire) == ["q", "next"]


def test_a_replay_sets_the_model_of_the_session(wire: WireServer, tmp_path: Path) -> None:
    cells = [
        "%%chat\na",
        f"%%chat -m {GPT}\nb",
        "from ipycachechat import get_chat\nprint(get_chat()('c').text)",
    ]
    with ForkedKernel(wire.env() | {"OPENAI_API_KEY": None, "GEMINI_API_KEY": None}) as kernel:
        started(kernel, "")
        kernel.run(f"%chat replies {tmp_path / 'r.json'}")
        kernel.run("import os; os.environ['OPENAI_API_KEY'] = 'test-key'")
        first = [kernel.run(code, code) for code in cells]
    sent = len(wire.requests)
    with ForkedKernel({name: value for name, value in wire.env().items() if "_KEY" not in name}) as kernel:
        started(kernel, "")
        kernel.run(f"%chat replies {tmp_path / 'r.json'} --strict")
        again = [kernel.run(code, code) for code in cells]
    assert [(result.answer, result.printed, result.error) for result in again] == [
        (result.answer, result.printed, "") for result in first
    ]
    assert len(wire.requests) == sent == 3


def test_concurrent_identical_requests_are_sent_once(kernel: Kernel, wire: WireServer) -> None:
    kernel.run("%chat replies r.json\nfrom ipycachechat import get_chat")
    wire.script(*[Reply(f"die {n}") for n in range(3)])
    roll = "[answer.text for answer in get_chat().map(['roll'] * 3, progress=False)]"
    assert kernel.value(roll) == kernel.value(roll) == ["die 0"] * 3
    assert len(wire.requests) == 1


# Deleted cells.


def test_a_deletion_cannot_be_undone_and_holds_on_every_branch(kernel: Kernel, wire: WireServer) -> None:
    for text in "abc":
        chat(kernel, text)
    kernel.run("%chat fork idea")
    assert "1 turn remains" in kernel.run("%chat undo", "u", deleted=["b"]).printed
    assert "Redone; the conversation has 2 turns" in kernel.run("%chat redo").printed
    kernel.run("%chat switch main")
    chat(kernel, "d")
    assert prompts(wire) == ["a", "c", "d"]


def test_a_deletion_is_noticed_while_the_extension_is_reloaded(kernel: Kernel, wire: WireServer) -> None:
    for text in "abc":
        chat(kernel, text)
    kernel.run("%reload_ext ipycachechat")
    kernel.run(f"%%chat -m {GPT}\nd", "d", deleted=["a"])
    assert prompts(wire) == ["b", "c", "d"]


def test_an_internal_error_fails_the_cell(kernel: Kernel) -> None:
    kernel.run(
        "from ipycachechat.engine.client import ModelClient\nown = ModelClient.exchange\n"
        "def boom(*_):\n    raise ValueError('x')\n\nModelClient.exchange = boom"
    )
    assert "ValueError" in kernel.run("%%chat\nq", "q").error
    kernel.run("ModelClient.exchange = own")
    chat(kernel, "q")


def test_a_stopped_replay_leaves_the_turn_unchanged(kernel: Kernel, wire: WireServer) -> None:
    for text in "abc":
        chat(kernel, text)
    chat(kernel, "A", "a")
    wire.script(Reply("new b"), Reply(tuple(f"w{n} " for n in range(300)), chunk_delay=0.02))
    request = kernel.start("%chat replay", "r")
    kernel.finish(request, until="w20")
    kernel.interrupt()
    assert "Turn 3 is unchanged" in kernel.finish(request).error
    history = kernel.run("%chat history").text
    assert "interrupted" not in history and history.count("out of date") == 1
    assert "Reran 1 turn" in kernel.run("%chat replay").printed


# Resuming after an earlier kernel.


def test_turns_before_resuming_become_a_branch_and_resuming_twice_changes_nothing(wire: WireServer) -> None:
    with ForkedKernel(wire.env()) as kernel:
        started(kernel)
        chat(kernel, "a")
        kernel.restart()
        started(kernel)
        chat(kernel, "b")
        printed = kernel.run("%chat resume").printed
        assert "Resumed 1 turn" in printed and "on branch main-2" in printed
        chat(kernel, "c")
        assert prompts(wire) == ["a", "c"]
        again = kernel.run("%chat resume")
        assert not again.error and "Already resumed" in again.printed
        kernel.run("%chat switch main-2")
        chat(kernel, "d")
        assert prompts(wire) == ["b", "d"]


def test_a_notebooks_exact_name_comes_before_names_that_contain_it(wire: WireServer, tmp_path: Path) -> None:
    store = f"%config ChatMagics.store = '{tmp_path / 'chats.db'}'"
    for name in ("a.ipynb", "data.ipynb"):
        with ForkedKernel(wire.env() | {"JPY_SESSION_NAME": str(tmp_path / name)}) as kernel:
            started(kernel)
            kernel.run(store)
            chat(kernel, name)
    with ForkedKernel(wire.env()) as kernel:
        started(kernel)
        kernel.run(store)
        assert f"Resumed 1 turn of {tmp_path / 'a.ipynb'}" in kernel.run("%chat resume a.ipynb").printed
        chat(kernel, "next")
        assert prompts(wire) == ["a.ipynb", "next"]


def test_settings_that_no_longer_exist_are_left_out(wire: WireServer) -> None:
    with ForkedKernel(wire.env()) as kernel:
        started(kernel)
        kernel.run("def f() -> int:\n    'One.'\n    return 1\n%chat tools f")
        chat(kernel, "a")
        kernel.run(
            "import sqlite3, os, glob\n"
            "db = sqlite3.connect(glob.glob(os.environ['XDG_DATA_HOME'] + '/*/chats.db')[0])\n"
            "db.execute('UPDATE conversations SET settings = replace(settings, ?, ?)', ('auto', '9d')); db.commit()"
        )
        kernel.restart()
        started(kernel)
        kernel.run("f = 5")
        result = kernel.run("%chat resume")
        assert not result.error and "The tool f is not defined" in result.printed


@pytest.mark.parametrize("model", [CLAUDE, "openai/gpt-5.6-terra", "gemini/gemini-3.8-flash"])
def test_the_prefix_is_the_same_after_a_restart_and_is_read(wire: WireServer, model: str) -> None:
    with ForkedKernel(wire.env()) as kernel:
        started(kernel, model)
        kernel.run(f"%chat system {LONG}")
        for text in "ab":
            chat(kernel, text)
        before = wire.requests[-1]
        kernel.restart()
        lines = started(kernel, "").splitlines()
        assert re.fullmatch(
            r"An earlier conversation was found \(2 turns, \d\d:\d\d\)\. %chat resume continues it\.",
            lines[1],
        )
        resumed = kernel.run("%chat resume").printed
        assert f"Resumed 2 turns, model {model}" in resumed
        assert ("cached until" in resumed) == (
            model != "gemini/gemini-3.8-flash"
        )  # which guarantees no caching
        result = chat(kernel, "c")
        after = wire.requests[-1]
        assert unmarked(after.messages)[: len(before.messages)] == unmarked(before.messages)
        assert after.bill and before.bill and before.bill.prompt > 1024
        assert after.bill.read >= 0.9 * before.bill.prompt
        assert result.numbers()["read"] == after.bill.read
        assert "≈" not in result.badge and "First request" not in result.badge
        assert "removed" not in result.badge and "charged again" not in result.badge


def unmarked(messages: list[dict[str, object]]) -> list[str]:
    """Return messages as sent, without their checkpoints."""
    marker = r', ?"cache_control": ?\{[^}]*\}|, ?"prompt_cache_breakpoint": ?\{[^}]*\}'
    texts = [re.sub(marker, "", json.dumps(message)) for message in messages]
    return [re.sub(r'\[\{"type": "text", "text": ("(?:[^"\\]|\\.)*")\}\]', r"\1", text) for text in texts]


def test_a_partial_answer_of_a_killed_kernel_is_resumed_as_interrupted(wire: WireServer) -> None:
    with ForkedKernel(wire.env()) as kernel:
        started(kernel)
        chat(kernel, "a")
        words = tuple(f"word{n} " for n in range(400))
        wire.script(
            Reply(words, chunk_delay=0.01, fault=Stall("chunk", after=300))
        )  # the stream does not end
        request = kernel.start("%%chat\nb", "b")
        kernel.finish(request, until="word150")
        (store,) = Path(kernel.folder.name).rglob("chats.db")
        for _ in range(300):  # it is saved every second or so
            with closing(sqlite3.connect(f"file:{store}?mode=ro", uri=True)) as database:
                if "word50 " in str(database.execute("SELECT * FROM drafts").fetchall()):
                    break
            time.sleep(0.1)
        kernel.manager.restart_kernel(now=True)
        kernel.client.wait_for_ready(timeout=60)
        assert "1 turn and the beginning of an answer" in started(kernel)
        kernel.run("%chat resume")
        history = kernel.run("%chat history").text
        assert "interrupted" in history
        chat(kernel, "c")
        messages = wire.requests[-1].messages
        assert [m["role"] for m in messages] == ["user", "assistant"] * 2 + ["user"]
        assert "word50 " in messages[3]["content"]
        kernel.run("%%chat\nb", "b")  # its cell runs again and replaces the turn
        assert prompts(wire) == ["a", "b"]


def test_nothing_is_stored_if_keep_is_off(wire: WireServer) -> None:
    with ForkedKernel(wire.env()) as kernel:
        started(kernel)
        kernel.run("%config ChatMagics.keep = False")
        chat(kernel, "a")
        assert not [*Path(kernel.folder.name).rglob("*.db")]
        kernel.run("%config ChatMagics.keep = True")
        kernel.run("%config ChatMagics.store = 'here/mine.db'")
        chat(kernel, "b")
        assert stat.S_IMODE(file(kernel, "here/mine.db").stat().st_mode) == 0o600
        assert wire.requests[-1].key.encode() not in file(kernel, "here/mine.db").read_bytes()


def test_an_unusable_store_is_reported_once_and_stops_nothing(wire: WireServer) -> None:
    with ForkedKernel(wire.env()) as kernel:
        started(kernel)
        file(kernel, "broken.db").write_text("no database at all, but long enough to look like one " * 40)
        kernel.run("%config ChatMagics.store = 'broken.db'")
        first, second = chat(kernel, "a"), chat(kernel, "b")
        assert "the conversation continues, but is not saved" in first.printed
        assert first.answer and second.answer and not second.printed
        assert prompts(wire) == ["a", "b"]


# Spending.


def test_spending_is_the_providers_bill_of_all_kernels(wire: WireServer) -> None:
    with ForkedKernel(wire.env()) as kernel:
        started(kernel, CLAUDE)
        kernel.run(f"%chat system {LONG}")
        chat(kernel, "a")
        chat(kernel, "b")
        kernel.run(f"%%chat -m {GPT}\nc", "c")
        kernel.restart()
        started(kernel, CLAUDE)
        chat(kernel, "d")
        chat(kernel, "d")  # the replaced turn was billed as well
        kernel.run("%chat undo")
        table = kernel.run("spent = %chat usage --all\nspent").text
        assert CLAUDE in table and GPT in table and "Total: $" in table
        kernel.run("frame = spent.dataframe()")
        match = kernel.value("frame.to_dict('records')")
        dollars: dict[str, Callable[[Bill], float]] = {  # the providers' prices, dollars per million tokens
            CLAUDE: lambda b: (
                (2 * b.fresh + 0.2 * b.read + 2.5 * b.written_5m + 4 * b.written_1h + 10 * b.output) / 1e6
            ),
            GPT: lambda b: (5 * b.fresh + 0.5 * b.read + 30 * b.output) / 1e6,
        }
        for model in (CLAUDE, GPT):
            name = model.partition("/")[2]
            bills = [
                request.bill for request in wire.requests if request.bill and request.model.endswith(name)
            ]
            row = next(row for row in match if row["model"] == model)
            assert row["requests"] == len(bills)
            assert row["input"] == sum(bill.prompt for bill in bills)
            assert row["read"] == sum(bill.read for bill in bills)
            assert row["read"] + row["written"] + row["fresh"] == row["input"]
            assert row["paid"] == pytest.approx(sum(map(dollars[model], bills)), abs=1e-5)
