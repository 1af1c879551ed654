"""`%chat show` shows what will be sent; values in prompts are cut to `context_tokens`."""

from __future__ import annotations

import json

import pytest
from support.kernels import Kernel
from wire import WireServer, words


def test_show_has_the_blocks_of_the_request_that_is_sent(wire: WireServer, kernel: Kernel) -> None:
    kernel.run("def look(q: str) -> str:\n    'Look it up.'\n    return q\n\n%chat tools look")
    kernel.run("%chat system Be brief.")
    kernel.run(f"%%chat\n{words(1500)}", "document")
    asked = len(wire.requests)
    shown = kernel.run("x = [1, 2]\n%chat show What of {{ x }}?")
    assert not shown.error and len(wire.requests) == asked
    text = shown.text
    assert "5 blocks" in text and '"name":"look"' in text and "Be brief." in text
    assert (
        "--- turn 1: prompt · cell document · ≈" in text or "--- turn 1: prompt · cell document · 1" in text
    )
    assert words(1500) in text and "What of [1, 2]?" in text and "checkpoint for" in text
    assert shown.outputs[0]["text/html"].count("<details>") == 5
    kernel.run("%%chat\nWhat of {{ x }}?")
    for block in wire.requests[-1].messages:
        for part in block["content"]:
            assert part["text"] in text


def test_show_of_a_turn_has_the_earlier_turns_and_its_prompt(wire: WireServer, kernel: Kernel) -> None:
    for text in ("first", "second", "third"):
        kernel.run(f"%%chat\n{text}", text)
    output = kernel.run("%chat show 2").text
    assert "3 blocks" in output and "first" in output and "second" in output and "third" not in output
    assert "turns 1 to 3" in kernel.run("%chat show 9").error


def test_the_json_is_the_request_that_is_sent(wire: WireServer, kernel: Kernel) -> None:
    kernel.run(f"%%chat\n{words(1500)}", "a")
    shown = json.loads(kernel.run("%chat show --wire And now?").outputs[0]["text/plain"])
    kernel.run("%%chat\nAnd now?", "b")
    sent = wire.requests[-1].body["messages"]
    assert [message["role"] for message in shown["messages"]] == [message["role"] for message in sent]
    for shown_message, sent_message in zip(shown["messages"], sent, strict=True):
        parts = shown_message["content"]
        parts = [{"type": "text", "text": parts}] if isinstance(parts, str) else parts
        assert parts == sent_message["content"]
    assert shown["model"] == "anthropic/claude-sonnet-5"


@pytest.mark.parametrize("line", ["%chat show", "%chat show --wire"])
def test_there_is_nothing_to_show_before_the_first_turn(kernel: Kernel, line: str) -> None:
    shown = kernel.run(line)
    assert not shown.error and ("0 blocks" in shown.text or '"messages": []' in shown.text)


def test_no_secret_is_shown(wire: WireServer, kernel: Kernel) -> None:
    key = "sk-" + "ant-api03-" + "a7" * 40
    kernel.run(f"v = '{key[:30]}' + '{key[30:]}'")
    for line in ("%chat show What of {{ v }}?", "%chat show --wire What of {{ v }}?"):
        shown = kernel.run(line)
        assert key not in json.dumps(shown.messages, default=str) and "[masked: Anthropic key]" in shown.text


def test_values_are_cut_to_the_limit_of_a_prompt_the_largest_first(wire: WireServer, kernel: Kernel) -> None:
    kernel.run("large, less, small = 'l' * 40_000, 'm' * 20_000, 'kept whole'")
    kernel.run("%config ChatMagics.context_tokens = 5_000")
    result = kernel.run("%%chat\n{{ large }}\n{{ less }}\n{{ small }}")
    sent = str(wire.requests[-1].messages[-1]["content"])
    assert len(sent) < 21_000 and "kept whole" in sent and sent.count("characters left out") == 2
    assert abs(sent.count("l") - sent.count("m")) < 200
    assert "cut to the 5,000 tokens of context_tokens: large (≈10,000 tokens to ≈2,5" in result.badge
    kernel.run("%config ChatMagics.context_tokens = 0")
    result = kernel.run("%%chat\n{{ large }}")
    assert "l" * 40_000 in str(wire.requests[-1].messages[-1]["content"]) and "cut to" not in result.badge
