"""`%chat show`, and what one prompt may take: what goes to the model can be seen before it goes."""

from __future__ import annotations

import json

import pytest
from support.kernels import Kernel
from wire import WireServer, words


def test_what_is_shown_is_what_is_sent_block_by_block(wire: WireServer, kernel: Kernel) -> None:
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


def test_a_turns_request_is_what_went_before_it_and_its_prompt(wire: WireServer, kernel: Kernel) -> None:
    for text in ("first", "second", "third"):
        kernel.run(f"%%chat\n{text}", text)
    told = kernel.run("%chat show 2").text
    assert "3 blocks" in told and "first" in told and "second" in told and "third" not in told
    assert "turns 1 to 3" in kernel.run("%chat show 9").error


def test_the_json_is_what_goes_over(wire: WireServer, kernel: Kernel) -> None:
    kernel.run(f"%%chat\n{words(1500)}", "a")
    told = json.loads(kernel.run("%chat show --wire And now?").outputs[0]["text/plain"])
    kernel.run("%%chat\nAnd now?", "b")
    sent = wire.requests[-1].body["messages"]
    assert [message["role"] for message in told["messages"]] == [message["role"] for message in sent]
    for mine, theirs in zip(told["messages"], sent, strict=True):
        parts = mine["content"]
        parts = [{"type": "text", "text": parts}] if isinstance(parts, str) else parts
        assert parts == theirs["content"]
    assert told["model"] == "anthropic/claude-sonnet-5"


@pytest.mark.parametrize("line", ["%chat show", "%chat show --wire"])
def test_before_anything_was_said_there_is_nothing_to_show(kernel: Kernel, line: str) -> None:
    shown = kernel.run(line)
    assert not shown.error and ("0 blocks" in shown.text or '"messages": []' in shown.text)


def test_no_secret_is_shown(wire: WireServer, kernel: Kernel) -> None:
    key = "sk-" + "ant-api03-" + "a7" * 40
    kernel.run(f"v = '{key[:30]}' + '{key[30:]}'")
    for line in ("%chat show What of {{ v }}?", "%chat show --wire What of {{ v }}?"):
        shown = kernel.run(line)
        assert key not in json.dumps(shown.messages, default=str) and "[masked: Anthropic key]" in shown.text


def test_values_are_cut_to_what_a_prompt_may_take_the_largest_first(wire: WireServer, kernel: Kernel) -> None:
    kernel.run("large, less, small = 'l' * 40_000, 'm' * 20_000, 'kept whole'")
    kernel.run("%config ChatMagics.context_tokens = 5_000")
    ran = kernel.run("%%chat\n{{ large }}\n{{ less }}\n{{ small }}")
    sent = str(wire.requests[-1].messages[-1]["content"])
    assert len(sent) < 21_000 and "kept whole" in sent and sent.count("characters left out") == 2
    assert abs(sent.count("l") - sent.count("m")) < 200
    assert "cut to the 5,000 tokens of context_tokens: large (≈10,000 tokens to ≈2,5" in ran.badge
    kernel.run("%config ChatMagics.context_tokens = 0")
    ran = kernel.run("%%chat\n{{ large }}")
    assert "l" * 40_000 in str(wire.requests[-1].messages[-1]["content"]) and "cut to" not in ran.badge
