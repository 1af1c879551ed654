"""Many prompts, one prefix: written once, read by all others, and no slower than it has to be."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

import pandas
import pytest
from support.python_calls import GEMINI, GPT, SONNET, calls, look
from wire import HttpError, Reply, WireServer, words
from wire.replies import default_reply

from ipycachechat import AsyncChat, Chat, ChatError
from ipycachechat.errors import BadInput

PREFIX = words(20_000)


@pytest.mark.parametrize(("model", "many"), [(SONNET, 64), (GPT, 16)])
@pytest.mark.parametrize("system", [True, False])
def test_many_prompts_write_their_prefix_once_and_all_others_read_it(
    server: WireServer, model: str, many: int, system: bool
) -> None:
    chat = Chat(model, PREFIX if system else "", hist=["hi", "Hello"] if system else [PREFIX, "I see"])
    found = chat.map([f"question {n}" for n in range(many)], progress=False)
    assert [one.text for one in found] == [f"Reply 2: you said question {n}" for n in range(many)]  # type: ignore[union-attr]
    bills = [request.bill for request in server.requests]
    written = [bill.written for bill in bills if bill and bill.written]
    assert len(written) == 1 and written[0] >= 20_000
    assert sum(bill.read >= 20_000 for bill in bills if bill) == many - 1
    assert chat.usage.requests == many and len(chat.hist) == 2
    assert chat.usage.tokens.read == sum(bill.read for bill in bills if bill)
    assert [booked.expected.read for booked in chat.session.client.records].count(0) == 1


@pytest.mark.parametrize("n", [1, 8, 100])
def test_so_many_are_asked_at_a_time_and_the_first_alone(server: WireServer, n: int) -> None:
    server.always = lambda call: Reply(("one ", "two"), first_delay=0.02, chunk_delay=0.05)
    Chat(SONNET, PREFIX).map(["q"] * 24, n=n, progress=False)
    spans = [(request.started, request.ended or 0.0) for request in server.requests]
    most = max(sum(start <= at < end for start, end in spans) for at, _ in spans)
    assert most <= n and (most > 1 or n == 1)
    first = server.requests[0].first_byte
    assert first is not None and all(request.started >= first for request in server.requests[1:])


def test_a_failure_is_a_value_and_the_next_one_leads(server: WireServer) -> None:
    server.always = lambda call: replace(default_reply(call), first_delay=0.1)
    server.script(Reply(fault=HttpError(529)))
    found = Chat(SONNET, PREFIX, retries=0).map(["a", "", "b", "c"], progress=False, n=4)
    assert sum(bool(request.bill and request.bill.written) for request in server.requests) == 1
    first, empty, *rest = found
    assert isinstance(first, ChatError) and isinstance(empty, BadInput)
    assert [one.text for one in rest] == ["Reply 1: you said b", "Reply 1: you said c"]  # type: ignore[union-attr]


def test_nothing_to_ask_gives_nothing_and_no_number_is_refused(server: WireServer) -> None:
    assert Chat(SONNET).map([], progress=False) == []
    for n in (0, -1, 1.5, True, "8"):
        with pytest.raises(BadInput):
            Chat(SONNET).map(["a"], n=n, progress=False)  # type: ignore[arg-type]


@pytest.mark.parametrize("model", [SONNET, GEMINI, GPT])
def test_each_prompt_may_call_tools(server: WireServer, model: str) -> None:
    server.always = lambda call: Reply("done") if call.answers else calls(("look", {"q": call.user_text}))
    found = Chat(model, PREFIX, tools=[look]).map(["a", "b", "c"], progress=False)
    assert [one.text for one in found] == ["done"] * 3  # type: ignore[union-attr]
    assert len(server.requests) == 6


def test_the_column_of_a_dataframe_will_do(server: WireServer) -> None:
    frame = pandas.DataFrame({"q": ["a", None, "b"]})
    chat = Chat(SONNET)
    first, missing, last = chat.map(frame.q, progress=False)
    assert (first.text, last.text) == ("Reply 1: you said a", "Reply 1: you said b")  # type: ignore[union-attr]
    assert isinstance(missing, BadInput) and len(server.requests) == 2
    for wrong in (frame, "abc", {"a": 1}, 5):
        with pytest.raises(BadInput):
            chat.map(wrong, progress=False)  # type: ignore[arg-type]


@pytest.mark.parametrize("first", [Reply("done", thinking="well"), calls(("look", {"q": "a"}))])
def test_a_thought_or_a_call_is_a_beginning_too(server: WireServer, first: Reply) -> None:
    """What comes long after it is not waited for."""
    server.script(replace(first, text=("w ",) * 2 if first.thinking else "", chunk_delay=0.4))
    Chat(SONNET, PREFIX, tools=[look], think="low").map(["a", "b"], progress=False)
    lead, other = server.requests[:2]
    assert lead.ended is not None and other.started < lead.ended or first.tool_calls


def test_what_it_cost_is_what_all_of_them_cost(server: WireServer) -> None:
    chat = Chat(SONNET, PREFIX)
    chat.map(["a", "b", "c"], progress=False)
    assert chat.usage.paid == pytest.approx(chat.session.client.ledger.paid) and chat.usage.paid > 0
    assert chat.usage.saved == pytest.approx(chat.session.client.ledger.saved)
    unknown = Chat("openai/mine-own", PREFIX)
    unknown.map(["a", "b"], progress=False)
    assert unknown.usage.unknown_cost == 2


def test_it_can_be_awaited_and_shows_how_far_it_is(
    server: WireServer, capsys: pytest.CaptureFixture[str]
) -> None:
    found = asyncio.run(AsyncChat(SONNET, PREFIX).map(["a", "b"]))
    assert [one.text for one in found] == ["Reply 1: you said a", "Reply 1: you said b"]  # type: ignore[union-attr]
    printed = capsys.readouterr()  # in a process that has loaded ipykernel it goes to stdout
    assert "2/2" in printed.err + printed.out


def test_stopped_it_stops_them_all(server: WireServer) -> None:
    async def stop() -> None:
        server.script(*[Reply(tuple(f"w{n} " for n in range(500)), chunk_delay=0.02)] * 4)
        task = asyncio.create_task(AsyncChat(SONNET, PREFIX).map(["q"] * 20, n=4, progress=False))
        await asyncio.sleep(0.5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(stop())
    sent = len(server.requests)
    assert sent <= 5 and all(request.wait(5).closed == "client" for request in server.requests)
    time.sleep(0.2)
    assert len(server.requests) == sent
    server.clear()
