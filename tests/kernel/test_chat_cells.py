"""Chat cells in a real kernel: their requests, badges and bills."""

from __future__ import annotations

import re

import pytest
from support.kernels import CellResult, Kernel
from wire import Bill, Reply, WireServer

LONG = "A line of a long document that is worth caching.\n" * 400
CLAUDE, GPT, GEMINI = "anthropic/claude-sonnet-5", "openai/gpt-5.5", "gemini/gemini-3.8-flash"
NEWER_GPT = "openai/gpt-5.6-terra"
# US dollars per million tokens from the providers' pages: fresh, read, written (5 m, 1 h, 30 m), output.
RATES = {
    CLAUDE: (2.0, 0.2, (2.5, 4.0, 0.0), 10.0),
    GPT: (5.0, 0.5, (0.0, 0.0, 0.0), 30.0),
    NEWER_GPT: (2.0, 0.2, (0.0, 0.0, 2.5), 12.0),
    GEMINI: (0.75, 0.075, (0.0, 0.0, 0.0), 3.75),
}


def chat(kernel: Kernel, text: str, cell: str = "", options: str = "") -> CellResult:
    return kernel.run(f"%%chat {options}\n{text}", cell)


def dollars(model: str, bill: Bill) -> float:
    fresh, read, (five_minutes, hour, half_hour), answered = RATES[model]
    return (
        bill.fresh * fresh
        + bill.read * read
        + bill.written_5m * five_minutes
        + bill.written_1h * hour
        + bill.written_30m * half_hour
        + (bill.output + (bill.thinking if model == GEMINI else 0)) * answered
    ) / 1e6


def shown_cost(result: CellResult) -> float:
    return float(result.badge.split("$")[1].split()[0])


def test_the_second_claude_turn_reads_the_cache_of_the_first(kernel: Kernel, wire: WireServer) -> None:
    first, second = chat(kernel, LONG, "a"), chat(kernel, "And?", "b")
    first_request, second_request = wire.requests
    assert first_request.bill.written > 1024
    assert second_request.bill.read == first_request.bill.written
    assert first.numbers()["written"] == first_request.bill.written
    assert second.numbers()["read"] == second_request.bill.read
    assert second.answer.startswith("Reply 2")


@pytest.mark.parametrize("model", RATES)
def test_numbers_and_cost_equal_the_providers_bill(kernel: Kernel, wire: WireServer, model: str) -> None:
    for name, text in (("a", LONG), ("b", "And?"), ("c", "And then?")):
        result = chat(kernel, text, name, f"-m {model}")
        bill = wire.requests[-1].bill
        numbers = result.numbers()
        assert numbers["input"] == bill.prompt
        assert numbers["read"] == bill.read
        assert numbers["fresh"] == bill.fresh
        assert numbers.get("written", 0) == bill.written
        assert numbers["output"] == bill.output
        assert shown_cost(result) == pytest.approx(dollars(model, bill), abs=6e-5)
    assert wire.requests[-1].bill.read > 0


def test_claude_by_way_of_openrouter_is_marked_and_counted(kernel: Kernel, wire: WireServer) -> None:
    for text in (LONG, "And?"):
        result = chat(kernel, text, options="-m openrouter/anthropic/claude-sonnet-4.5")
        bill, numbers = wire.requests[-1].bill, result.numbers()
        assert numbers["input"] == bill.prompt
        assert (numbers["read"], numbers["written"], numbers["fresh"]) == (
            bill.read,
            bill.written,
            bill.fresh,
        )
    assert bill.read > 1024


def test_only_claude_gets_checkpoints(kernel: Kernel, wire: WireServer) -> None:
    kernel.run("%chat system You answer briefly.")
    chat(kernel, "one", "a", f"-m {CLAUDE}")
    chat(kernel, "two", "b", f"-m {CLAUDE}")
    for number, model in enumerate((GPT, GEMINI, "openrouter/google/gemini-3.8-flash")):
        chat(kernel, "three", f"c{number}", f"-m {model}")
    claude, without_claude = wire.requests[:2], wire.requests[2:]
    for request in claude:
        assert request.body["system"][-1]["cache_control"]["type"] == "ephemeral"
        assert request.body["messages"][-1]["content"][-1]["cache_control"]["type"] == "ephemeral"
        assert 2 <= str(request.body).count("cache_control") <= 4
    assert len(without_claude) == 3
    assert all("cache_control" not in str(request.body) for request in without_claude)
    assert all("cache" not in str(request.body) for request in without_claude[1:])
    assert without_claude[0].body["prompt_cache_key"].startswith("ipycachechat-")


def test_a_prompt_follows_all_earlier_turns(kernel: Kernel, wire: WireServer) -> None:
    for number in range(3):
        chat(kernel, f"question {number}", str(number), f"-m {GPT}")
    messages = [(m["role"], m["content"]) for m in wire.requests[-1].body["messages"]]
    assert [role for role, _ in messages] == ["user", "assistant"] * 2 + ["user"]
    assert messages[-1] == ("user", "question 2")
    assert messages[1][1].startswith("Reply 1")


def test_a_cell_that_is_run_again_replaces_its_turn(kernel: Kernel, wire: WireServer) -> None:
    for name in "abc":
        chat(kernel, f"question {name}", name, f"-m {GPT}")
    result = chat(kernel, "another b", "b", f"-m {GPT}")
    assert [m["content"] for m in wire.requests[-1].body["messages"] if m["role"] == "user"] == [
        "question a",
        "another b",
    ]
    assert "Replaced turn 2. Turn 3 is out of date (%chat replay reruns it)" in result.badge
    history = kernel.run("%chat history").text
    assert "question b" not in history
    assert history.index("question a") < history.index("another b") < history.index("question c")
    assert history.count("out of date") == 1
    kernel.run("%chat undo")
    assert "question b" in kernel.run("%chat history").text


def test_a_loop_in_a_cell_keeps_all_its_turns_and_replaces_them_when_run_again(
    kernel: Kernel, wire: WireServer
) -> None:
    loop = "for n in range(3): get_ipython().run_cell_magic('chat', '-m openai/gpt-5.5', f'number {n}')"
    for _ in range(2):
        kernel.run(loop, "loop")
    assert kernel.run("%chat").printed.startswith(f"{CLAUDE}, 3 turns")
    assert len(wire.requests[-1].body["messages"]) == 5


def test_without_cell_ids_turns_are_appended(kernel: Kernel) -> None:
    for _ in range(2):
        chat(kernel, "the same")
    assert "2 turns" in kernel.run("%chat").printed


def test_expressions_are_filled_in_and_single_braces_left_alone(kernel: Kernel, wire: WireServer) -> None:
    kernel.run("x = [1, 2]")
    chat(kernel, r"{{ x[1] + 40 }} {x} \frac{a}{b} {% if %} {# no #}")
    assert (
        wire.requests[-1].body["messages"][0]["content"][0]["text"] == r"42 {x} \frac{a}{b} {% if %} {# no #}"
    )
    result = chat(kernel, "{{ nothing }}")
    assert "'nothing' is not defined" in result.error
    assert len(result.error.splitlines()) == 2
    assert len(wire.requests) == 1


def test_out_binds_the_answer_and_underscore_stays(kernel: Kernel) -> None:
    kernel.run("41 + 1")
    result = chat(kernel, "hello", options="--out reply")
    assert kernel.value("reply") == result.answer
    assert kernel.value("_") == 42


def test_options_reach_the_wire(kernel: Kernel, wire: WireServer) -> None:
    chat(kernel, "hello", options='--system "be brief" --max-tokens 77')
    assert wire.requests[-1].body["max_tokens"] == 77
    assert wire.requests[-1].body["system"][0]["text"] == "be brief"
    chat(kernel, "again")
    assert "system" not in wire.requests[-1].body
    assert wire.requests[-1].body["max_tokens"] == 16_000
    kernel.run("%config ChatMagics.ttl = '5m'")
    chat(kernel, "again")
    assert wire.requests[-1].body["messages"][-1]["content"][-1]["cache_control"].get("ttl", "5m") == "5m"


def test_unreported_numbers_are_shown_as_unknown(kernel: Kernel, wire: WireServer) -> None:
    wire.script(Reply("Hello", report_cache=False), Reply("Hello", report_usage=False))
    silent, nothing = (chat(kernel, "hello", options=f"-m {GPT}") for _ in range(2))
    assert silent.numbers() == {
        "read": "unknown",
        "fresh": "unknown",
        "input": wire.requests[0].bill.prompt,
        "output": wire.requests[0].bill.output,
    }
    assert "cached unknown · cache writes not billed · uncached unknown" in silent.badge
    assert "cost unknown · savings unknown" in silent.badge
    assert (
        "cached unknown · newly cached unknown · uncached unknown · in unknown · out unknown" in nothing.badge
    )
    assert kernel.run("%chat").printed.splitlines()[2] == "cost unknown"


def test_an_unknown_price_is_shown_as_unknown(kernel: Kernel, wire: WireServer) -> None:
    result = chat(kernel, "hello", options="-m anthropic/claude-of-next-year")
    assert "cost unknown · savings unknown" in result.badge
    assert result.numbers()["input"] == wire.requests[-1].bill.prompt


def test_a_cut_off_answer_says_so(kernel: Kernel, wire: WireServer) -> None:
    wire.script(Reply("This goes on and", finish="length"))
    assert "Answer cut off at " in chat(kernel, "hello").badge
    assert "cut off" in kernel.run("%chat history").text


def test_there_is_no_widget_if_the_user_cannot_be_asked(kernel: Kernel) -> None:
    result = kernel.run("%%chat\nhello", stdin=False)
    assert all("application/vnd.jupyter.widget-view+json" not in data for data in result.outputs)
    assert result.badge


def test_the_badge_is_a_widget_until_the_next_cell(kernel: Kernel) -> None:
    result = chat(kernel, "hello")
    (data,) = [d for d in result.outputs if "application/vnd.jupyter.widget-view+json" in d]
    assert data["text/plain"] == result.badge
    (update,) = kernel.run("1").contents("update_display_data")
    assert update["data"] == {key: data[key] for key in ("text/html", "text/plain")}


def test_the_badge_becomes_static_by_itself(kernel: Kernel) -> None:
    chat(kernel, "hello")
    later = [m for m in kernel.iopub_messages(12) if m["header"]["msg_type"] == "update_display_data"]
    assert ["ipycachechat-badge" in m["content"]["data"]["text/html"] for m in later] == [True]


def test_status_has_four_lines_and_similar_names_are_offered(kernel: Kernel) -> None:
    chat(kernel, LONG)
    lines = kernel.run("%chat").printed.splitlines()
    assert len(lines) == 4
    assert lines[0] == f"{CLAUDE}, 1 turn"
    assert lines[3].startswith("cached until ")
    wrong = kernel.run("%chat histroy").error
    assert wrong.splitlines() == ["%chat histroy: there is no such command", "Did you mean: %chat history"]


def test_model_and_system_are_set_shown_and_unset(kernel: Kernel, wire: WireServer) -> None:
    assert kernel.run("%chat model openai/gpt-5.5").printed == "Model: openai/gpt-5.5\n"
    assert kernel.run('%chat model ""').printed == f"Model: {CLAUDE}\n"
    assert kernel.run('%chat system "be brief"').printed == "System prompt: be brief\n"
    chat(kernel, "hello")
    assert wire.requests[-1].body["system"][0]["text"] == "be brief"
    assert kernel.run('%chat system ""').printed == "No system prompt\n"
    chat(kernel, "hello")
    assert "system" not in wire.requests[-1].body


def test_reset_and_undo(kernel: Kernel) -> None:
    chat(kernel, "hello")
    kernel.run("%chat reset")
    assert "0 turns" in kernel.run("%chat").printed
    kernel.run("%chat undo")
    assert "1 turn" in kernel.run("%chat").printed


def test_subcommands_models_and_options_complete(kernel: Kernel) -> None:
    def complete(code: str) -> list[str]:
        reply = kernel.client.complete(code, len(code), reply=True, timeout=30)
        return list(reply["content"]["matches"])

    assert "history" in complete("%chat hi")
    assert "anthropic/claude-sonnet-5" in complete("%chat model anth")
    assert any("--system" in match for match in complete("%%chat --sy"))
    assert "gemini/gemini-3.8-flash" in complete("%%chat -m gemini/gemini-3.8")
    for name in ("%%chat?", "%chat?"):
        payload = kernel.run(name).reply["content"]["payload"]
        assert "Send the cell's text to a model" in payload[0]["data"]["text/plain"]
        assert "--max-tokens" in payload[0]["data"]["text/plain"]


def test_python_code_of_the_answer_goes_into_a_new_cell(kernel: Kernel, wire: WireServer) -> None:
    wire.script(Reply("First:\n\n```python\na = 1\n```\n\nthen\n\n```python\nb = 2\nprint(b)\n```"))
    assert "no Python code" in kernel.run("%chat insert").error
    kernel.run("%%chat\nhello")
    for line, code in (("%chat insert", "a = 1"), ("%chat insert 2", "b = 2\nprint(b)")):
        payload = kernel.run(line).reply["content"]["payload"]
        assert [(code_payload["source"], code_payload["text"]) for code_payload in payload] == [
            ("set_next_input", code)
        ]
    for line in ("%chat insert 3", "%chat insert 0", "%chat insert x"):
        assert "2 blocks" in kernel.run(line).error


def test_images_become_links(kernel: Kernel, wire: WireServer) -> None:
    wire.script(Reply("![a plot](http://127.0.0.1:9/plot.png)"))
    assert "<img" not in kernel.run("%%chat\nhello").outputs[0]["text/html"]


def test_the_badge_opens_to_the_bill_the_times_and_the_prefix(kernel: Kernel, wire: WireServer) -> None:
    wire.script(*[Reply(("Hello ", "there ", "you"), chunk_delay=0.1)] * 2)
    kernel.run("%%chat\n" + "a long document, line by line\n" * 400)
    result = kernel.run("%%chat\nAnd?")
    bill = wire.requests[-1].bill
    html = next(data["text/html"] for data in result.outputs if "ipycachechat-badge" in data["text/html"])
    rows = [re.findall(r"<t[hd][^>]*>([^<]*)</t[hd]>", row) for row in re.findall(r"<tr>.*?</tr>", html)]
    expected = {row[0]: row[1:] for row in rows}
    assert expected["read"] == [f"{bill.read:,}"] * 2 or expected["read"] == [
        f"≈{bill.read:,}",
        f"{bill.read:,}",
    ]
    assert expected["written"][1] == f"{bill.written:,}" and expected["fresh"][1] == f"{bill.fresh:,}"
    assert expected["input"][1] == f"{bill.prompt:,}"
    assert float(expected["first token"][0].split()[1]) > 0
    assert expected["then"][0].endswith("tokens per second")
    assert expected["request"] == ["req_000000000000000000000002"]
    blocks = rows[rows.index(["block", "cell", "tokens", "checkpoint", "cached until"]) + 1 :]
    prefix = [row for row in blocks if len(row) == 5]
    assert prefix[0][0] == "turn 1: prompt" and prefix[-1][0] == "turn 2: prompt"
    assert any(row[3] for row in prefix) and any(row[4] for row in prefix)
    tokens = sum(int(row[2].lstrip("≈").replace(",", "")) for row in prefix)
    assert abs(tokens - bill.prompt) <= 0.02 * bill.prompt
    assert len(html) + len(result.badge) < 4_000
