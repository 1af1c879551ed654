"""OpenAI's Responses API on the loopback server, over HTTP and through the real litellm."""

from __future__ import annotations

import asyncio
import json
import os
from typing import Any

import httpx
import pytest

from wire import (
    Call,
    Clock,
    Drop,
    HttpError,
    Malformed,
    Reply,
    Stall,
    StreamError,
    ToolCall,
    Truncated,
    WireServer,
    count,
    words,
)
from wire.tokens import count_json

Json = dict[str, Any]
TERRA, OLD = "gpt-5.6-terra", "gpt-5.4"
MARK = {"mode": "explicit"}
ENCRYPTED = "reasoning.encrypted_content"
PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
FLAT: Json = {"type": "function", "name": "weather", "description": "Weather", "parameters": PARAMETERS}
CALL: Json = {"type": "function_call", "call_id": "call_a", "name": "weather", "arguments": '{"city":"Rome"}'}
OUTPUT: Json = {"type": "function_call_output", "call_id": "call_a", "output": "warm"}
TWO = (ToolCall("weather", {"city": "Rome"}), ToolCall("weather", {"city": "Oslo"}))


def post(
    server: WireServer, prompt_input: Any, key: str = "sk-k", model: str = TERRA, **fields: Any
) -> httpx.Response:
    """POST to the Responses API."""
    headers = {"authorization": f"Bearer {key}"} if key else {}
    body = {"model": model, "input": prompt_input, **fields}
    return httpx.post(f"{server.openai_url}/responses", json=body, headers=headers)


def response_body(response: httpx.Response) -> Json:
    """The response object of a successful request."""
    assert response.status_code == 200, response.text
    body: Json = response.json()
    return body


def cached(response: httpx.Response) -> tuple[int, int, int]:
    """Read, written (-1: not reported) and all tokens of the input."""
    usage = response_body(response)["usage"]
    details = usage["input_tokens_details"]
    return details["cached_tokens"], details.get("cache_write_tokens", -1), usage["input_tokens"]


def refused(response: httpx.Response, status: int = 400) -> Json:
    """The error of a refused request."""
    assert response.status_code == status, response.text
    error: Json = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return error


def text(value: str, mark: bool = False) -> Json:
    """An input part, with a breakpoint if `mark`."""
    return {"type": "input_text", "text": value, **({"prompt_cache_breakpoint": MARK} if mark else {})}


def user(*parts: Json | str) -> Json:
    """A user message."""
    content = [text(part) if isinstance(part, str) else part for part in parts]
    return {"type": "message", "role": "user", "content": content}


def assistant(value: str, **fields: Any) -> Json:
    """An assistant message."""
    part = {"type": "output_text", "text": value, **fields}
    return {"type": "message", "role": "assistant", "content": [part]}


def events(response: httpx.Response) -> list[Json]:
    """The events of a stream; the name of each is the type in its data."""
    assert response.status_code == 200, response.text
    parsed: list[Json] = []
    for block in response.text.strip().split("\n\n"):
        name, data = block.split("\n")
        parsed.append(json.loads(data.removeprefix("data: ")))
        assert name == f"event: {parsed[-1]['type']}"
    assert [event["sequence_number"] for event in parsed] == list(range(len(parsed)))
    return parsed


def test_an_answer_has_the_documented_shape(wire: WireServer) -> None:
    wire.script(Reply(("Hello", " there"), thinking=("a", " b", " c")))
    body = response_body(post(wire, "hi", instructions="Be good", reasoning={"effort": "low"}))
    assert (body["object"], body["status"], body["error"]) == ("response", "completed", None)
    assert (body["instructions"], body["store"], body["reasoning"]["effort"]) == ("Be good", True, "low")
    thought, message = body["output"]
    assert (thought["type"], thought["summary"]) == ("reasoning", [])
    assert "encrypted_content" not in thought
    assert message["content"][0]["text"] == "Hello there"
    assert (message["phase"], message["status"]) == ("final_answer", "completed")
    assert body["usage"] == {
        "input_tokens": 3,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": 5,
        "output_tokens_details": {"reasoning_tokens": 3},
        "total_tokens": 8,
    }
    request = wire.requests[0].wait()
    assert (request.provider, request.path, request.model) == ("openai", "/v1/responses", TERRA)
    assert request.call is not None
    assert (request.call.user_text, request.call.turns) == ("hi", 1)


def test_old_models_report_no_writes_and_no_phase(wire: WireServer) -> None:
    body = response_body(post(wire, "hi", model="gpt-4.1"))
    assert body["usage"]["input_tokens_details"] == {"cached_tokens": 0}
    assert "phase" not in body["output"][0]
    assert "prompt_cache_options" not in body


def test_a_stream_has_the_same_content_as_the_plain_answer(wire: WireServer) -> None:
    wire.always = Reply("Let me look.", thinking="Which city?", tool_calls=TWO)
    options: Json = {"tools": [FLAT], "reasoning": {"summary": "auto"}, "include": [ENCRYPTED]}
    plain = response_body(post(wire, "hi", **options))
    streamed = events(post(wire, "hi", stream=True, **options))
    kinds = [event["type"].removeprefix("response.") for event in streamed]
    assert kinds[:3] == ["created", "in_progress", "output_item.added"]
    assert kinds[-2:] == ["output_item.done", "completed"]
    reasoning = ["output_item.added", "reasoning_summary_part.added", *["reasoning_summary_text.delta"] * 2]
    reasoning += ["reasoning_summary_text.done", "reasoning_summary_part.done", "output_item.done"]
    message = ["output_item.added", "content_part.added", *["output_text.delta"] * 3]
    message += ["output_text.done", "content_part.done", "output_item.done"]
    assert kinds[2 : 2 + len(reasoning) + len(message)] == reasoning + message
    items = [event["item"] for event in streamed if event["type"] == "response.output_item.done"]
    end = streamed[-1]["response"]
    assert end["output"] == items
    assert [item["type"] for item in items] == ["reasoning", "message", "function_call", "function_call"]
    assert end["usage"]["output_tokens"] == plain["usage"]["output_tokens"]
    assert [item.get("arguments") for item in items] == [item.get("arguments") for item in plain["output"]]
    for index, item in enumerate(items):
        deltas = [e["delta"] for e in streamed if "delta" in e and e["output_index"] == index]
        text = item.get("arguments") or (item.get("summary") or item["content"])[0]["text"]
        assert "".join(deltas) == text
    assert streamed[0]["response"]["usage"] is None


@pytest.mark.parametrize("finish", [None, "length"])
def test_answers_and_events_match_the_types_of_the_openai_package(wire: WireServer, finish: Any) -> None:
    from openai.types.responses import Response, ResponseStreamEvent
    from pydantic import TypeAdapter

    calls = () if finish else TWO
    wire.always = Reply("Let me look.", thinking="Which city?", tool_calls=calls, finish=finish)
    options: Json = {"tools": [{**FLAT, "strict": True}], "reasoning": {"effort": "low", "summary": "auto"}}
    for event in events(post(wire, "hi", stream=True, include=[ENCRYPTED], **options)):
        parsed: Any = TypeAdapter(ResponseStreamEvent).validate_python(event)
        assert parsed.type == event["type"]
        assert not set(parsed.model_extra or ()) - {"obfuscation"}
    answer = Response.model_validate(response_body(post(wire, "hi", **options)))
    assert answer.output_text == "Let me look."
    assert set(answer.model_extra or ()) == {"store"}  # the service sends it, but its types do not have it


def test_streamed_deltas_are_padded_unless_padding_is_off(wire: WireServer) -> None:
    def padded(**options: Any) -> list[bool]:
        streamed = events(post(wire, "hi", stream=True, **options))
        return [len(e["delta"] + e.get("obfuscation", "")) % 16 == 0 for e in streamed if "delta" in e]

    assert all(padded())
    assert not any(padded(stream_options={"include_obfuscation": False}))


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("finish", "reason"), [("length", "max_output_tokens"), ("refusal", "content_filter")]
)
def test_a_cut_answer_is_incomplete(wire: WireServer, finish: Any, reason: str, stream: bool) -> None:
    wire.script(Reply("a b", finish=finish))
    response = post(wire, "hi", stream=stream)
    if stream:
        last = events(response)[-1]
        assert last["type"] == "response.incomplete"
    body = last["response"] if stream else response_body(response)
    assert (body["status"], body["incomplete_details"]) == ("incomplete", {"reason": reason})
    assert body["output"][0]["status"] == "incomplete"


def test_max_output_tokens_cut_the_answer(wire: WireServer) -> None:
    wire.script(Reply(tuple(["a "] * 20)))
    body = response_body(post(wire, "hi", max_output_tokens=16))
    assert body["incomplete_details"] == {"reason": "max_output_tokens"}
    assert body["usage"]["output_tokens"] <= 16


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"bogus": 1}, "bogus", "unknown_parameter"),
        ({"messages": []}, "messages", "unknown_parameter"),
        ({"reasoning_effort": "low"}, "reasoning_effort", "unknown_parameter"),
        ({"max_tokens": 100}, "max_tokens", "unknown_parameter"),
        (
            {"stream": True, "stream_options": {"include_usage": True}},
            "stream_options.include_usage",
            "unknown_parameter",
        ),
        ({"stream_options": {"include_obfuscation": True}}, "stream_options", None),
        ({"reasoning": {"effort": "huge"}}, "reasoning.effort", "invalid_value"),
        ({"reasoning": {"effort": "low"}, "model": "gpt-4.1"}, "reasoning.effort", "unsupported_parameter"),
        ({"reasoning": {"depth": 1}}, "reasoning.depth", "unknown_parameter"),
        ({"include": ["everything"]}, "include[0]", "invalid_value"),
        ({"max_output_tokens": 15}, "max_output_tokens", "integer_below_min_value"),
        ({"previous_response_id": "resp_1"}, "previous_response_id", None),
        ({"prompt_cache_options": {"mode": "off"}}, "prompt_cache_options.mode", "invalid_value"),
        ({"prompt_cache_options": {}, "model": OLD}, "prompt_cache_options", "unsupported_parameter"),
        ({"prompt_cache_retention": "in_memory"}, "prompt_cache_retention", "invalid_value"),
        ({"tools": [{"type": "function", "function": {}}]}, "tools[0].name", "missing_required_parameter"),
        ({"tools": [{**FLAT, "function": {}}]}, "tools[0].function", "unknown_parameter"),
        ({"tools": [{**FLAT, "name": "a b"}]}, "tools[0].name", "invalid_value"),
        ({"tools": [FLAT], "tool_choice": {"type": "function", "name": "x"}}, "tool_choice", None),
        ({"input": []}, "input", "missing_required_parameter"),
        ({"input": None}, "input", "missing_required_parameter"),
        ({"model": None}, "model", "missing_required_parameter"),
    ],
)
def test_bad_parameters_are_refused(wire: WireServer, fields: Json, param: str, code: str | None) -> None:
    error = refused(
        post(
            wire,
            **{"prompt_input": "hi", **fields} if "input" not in fields else {"prompt_input": "", **fields},
        )
    )
    assert (error["type"], error["param"], error["code"]) == ("invalid_request_error", param, code)
    assert wire.requests[0].call is None


@pytest.mark.parametrize(
    ("items", "param"),
    [
        ([{"role": "tool", "content": "x"}], "input[0]"),
        ([{"type": "item_reference", "id": "msg_1"}], "input[0]"),
        ([{"role": "user"}], "input[0].content"),
        ([{"role": "user", "content": "x", "name": "y"}], "input[0].name"),
        ([{"role": "user", "content": [{"type": "text", "text": "x"}]}], "input[0].content[0]"),
        ([{"role": "user", "content": [{"type": "output_text", "text": "x"}]}], "input[0].content[0]"),
        ([{"role": "assistant", "content": [text("x")]}], "input[0].content[0]"),
        ([user({**text("x"), "cache_control": {}})], "input[0].content[0].cache_control"),
        ([user({"type": "input_text"})], "input[0].content[0].text"),
        ([assistant("x", prompt_cache_breakpoint=MARK)], "input[0].content[0].prompt_cache_breakpoint"),
        (
            [user({**text("x"), "prompt_cache_breakpoint": {}})],
            "input[0].content[0].prompt_cache_breakpoint.mode",
        ),
        ([{**CALL, "arguments": {}}, OUTPUT], "input[0].arguments"),
        ([{**CALL, "id": "call_a"}, OUTPUT], "input[0].id"),
        ([{**CALL, "call_id": "c" * 65}, {**OUTPUT, "call_id": "c" * 65}], "input[0].call_id"),
        ([CALL], "input"),
        ([OUTPUT], "input"),
        ([OUTPUT, CALL], "input"),
        ([CALL, OUTPUT, OUTPUT], "input"),
        ([CALL, {"type": "function_call_output", "call_id": "call_a"}], "input[1].output"),
        ([{"type": "reasoning", "id": "rs_1"}, assistant("x")], "input[0].summary"),
        ([{"type": "reasoning", "summary": []}, assistant("x")], "input[0].id"),
    ],
)
def test_bad_items_are_refused(wire: WireServer, items: list[Json], param: str) -> None:
    assert refused(post(wire, items))["param"] == param


def test_errors_have_the_messages_of_the_service(wire: WireServer) -> None:
    missing = "No tool output found for function call call_a."
    assert refused(post(wire, [CALL]))["message"] == missing
    orphan = "No tool call found for function call output with call_id call_a."
    assert refused(post(wire, [OUTPUT]))["message"] == orphan
    role = "Invalid value: 'tool'. Supported values are: 'assistant', 'system', 'developer', and 'user'."
    assert refused(post(wire, [{"role": "tool", "content": ""}]))["message"] == role
    assert refused(post(wire, "hi", key="bad-key-012345"), 401)["code"] == "invalid_api_key"
    assert refused(post(wire, "hi", key=""), 401)["code"] is None
    assert refused(post(wire, "hi", model="no-such"), 404)["code"] == "model_not_found"
    wire.context_limit = 1
    assert refused(post(wire, "a b"))["code"] == "context_length_exceeded"
    wire.context_limit = None
    wire.script(Reply(fault=HttpError(429, "Slow down")))
    assert refused(post(wire, "hi"), 429)["code"] == "rate_limit_exceeded"


def test_valid_items_are_accepted(wire: WireServer) -> None:
    items = [
        {"role": "developer", "content": "x"},
        user("x", {"type": "input_image", "image_url": "data:image/png;base64,AA", "detail": "auto"}),
        assistant("x", annotations=[], logprobs=[]),
        {**CALL, "id": "fc_1", "status": "completed"},
        {**CALL, "call_id": "call_b"},
        {**OUTPUT, "call_id": "call_b", "output": [text("x"), {"type": "input_file", "file_id": "f"}]},
        OUTPUT,
    ]
    choice = {"type": "function", "name": "weather"}
    wire.always = lambda call: Reply(" / ".join(call.answers))
    body = response_body(post(wire, items, tools=[{**FLAT, "strict": None}], tool_choice=choice))
    assert body["output"][0]["content"][0]["text"] == "x  / warm"
    call_tokens = 2 * (count("weather") + count(CALL["arguments"]))
    assert body["usage"]["input_tokens"] == count_json({**FLAT, "strict": None}) + 5 + call_tokens + 2 * 1500


def test_the_prompt_is_tools_then_instructions_then_input(wire: WireServer) -> None:
    post(wire, [user("a"), assistant("b")], tools=[FLAT], instructions="c")
    call = wire.requests[0].call
    assert call is not None
    assert [block.kind for block in call.blocks] == ["tool", "text", "text", "text"]
    assert [block.text for block in call.blocks[1:]] == ["c", "a", "b"]
    assert [block.may_end for block in call.blocks] == [False, True, True, False]


def test_new_models_write_up_to_breakpoints(wire: WireServer) -> None:
    head, tail = text(words(2000), mark=True), text(words(500, "tail"))
    explicit_only: Json = {"prompt_cache_options": {"mode": "explicit"}}
    assert cached(post(wire, [user(head, tail)], **explicit_only)) == (0, 2000, 2500)
    assert cached(post(wire, [user(head, text("other"))], **explicit_only)) == (2000, 0, 2001)
    assert cached(post(wire, [user(head, tail)])) == (2000, 500, 2500)
    assert cached(post(wire, [user(head, tail)])) == (2500, 0, 2500)
    assert cached(post(wire, [user(head, tail)], key="sk-other")) == (0, 2500, 2500)
    assert cached(post(wire, [user(head, tail)], model="gpt-5.6-sol")) == (0, 2500, 2500)


def test_an_output_can_have_a_breakpoint_and_ends_a_prefix(wire: WireServer) -> None:
    items = [user(words(2000)), CALL, {**OUTPUT, "output": [text("warm", mark=True)]}]
    call = count("weather") + count(CALL["arguments"])
    assert cached(post(wire, items, prompt_cache_options={"mode": "explicit"})) == (
        0,
        2001 + call,
        2001 + call,
    )
    items += [assistant("It is warm."), user("Thanks")]
    assert cached(post(wire, items)) == (2001 + call, count("It is warm.") + 1, 2002 + call + 4)


def test_old_models_read_by_token_prefix(wire: WireServer) -> None:
    assert cached(post(wire, words(2000), model=OLD)) == (0, -1, 2000)
    assert cached(post(wire, words(2500), model=OLD)) == (1920, -1, 2500)
    marked = [user(text(words(2000), mark=True))]
    assert refused(post(wire, marked, model=OLD))["code"] == "unsupported_parameter"


def chat(server: WireServer, model: str, *texts: str) -> Json:
    """The usage of a chat completion with these texts of the system and the user."""
    messages = [{"role": role, "content": text} for role, text in zip(("system", "user"), texts, strict=True)]
    body = {"model": model, "messages": messages}
    url, headers = f"{server.openai_url}/chat/completions", {"authorization": "Bearer sk-k"}
    usage: Json = httpx.post(url, json=body, headers=headers).json()["usage"]
    return usage


@pytest.mark.parametrize(("model", "read"), [(TERRA, 2001), (OLD, 1920)])
def test_both_apis_share_their_caches_until_they_are_emptied(wire: WireServer, model: str, read: int) -> None:
    chat(wire, model, "Good", words(2000))
    assert cached(post(wire, words(2000), model=model, instructions="Good"))[0] == read
    wire.forget()
    assert cached(post(wire, words(2000), model=model, instructions="Good"))[0] == 0
    assert chat(wire, model, "Good", words(2000))["prompt_tokens_details"]["cached_tokens"] == read


def test_cache_entries_expire() -> None:
    clock = Clock()
    with WireServer(clock) as wire:
        post(wire, words(2000))
        clock.advance(1799)
        assert cached(post(wire, words(2000)))[0] == 2000
        clock.advance(1800)
        assert cached(post(wire, words(2000)))[0] == 0


def thinking(wire: WireServer, **fields: Any) -> Json:
    """A reasoning item from the server's answer."""
    wire.script(Reply("b", thinking="x y z"))
    item: Json = response_body(post(wire, "a", **fields))["output"][0]
    return item


def test_reasoning_can_be_sent_by_id_or_encrypted(wire: WireServer) -> None:
    stored = thinking(wire)
    assert cached(post(wire, [user("a"), stored, assistant("b"), user("c")]))[2] == 6
    sealed = thinking(wire, store=False, include=[ENCRYPTED])
    anonymous = {name: value for name, value in sealed.items() if name != "id"}
    for item in (sealed, anonymous):
        assert cached(post(wire, [user("a"), item, assistant("b"), user("c")], store=False))[2] == 6
    summary = thinking(wire, reasoning={"summary": "auto"})["summary"]
    assert summary == [{"type": "summary_text", "text": "x y z"}]


def test_unknown_reasoning_is_refused(wire: WireServer) -> None:
    def refused_item(item: Json, *following: Json, status: int = 400) -> Json:
        return refused(post(wire, [user("a"), item, *following], store=False), status)

    lost = thinking(wire, store=False)
    hint = "Items are not persisted when `store` is set to false."
    assert hint in refused_item(lost, assistant("b"), status=404)["message"]
    sealed = thinking(wire, store=False, include=[ENCRYPTED])
    for wrong in ({"id": "rs_other"}, {"encrypted_content": sealed["encrypted_content"][:-4] + "AAAA"}):
        assert refused_item({**sealed, **wrong}, assistant("b"))["code"] == "invalid_encrypted_content"
    assert "required following item" in refused_item(sealed, user("c"))["message"]
    assert "required following item" in refused_item(sealed)["message"]
    assert "Duplicate item" in refused_item(sealed, assistant("b"), sealed, assistant("b"))["message"]
    assert refused_item({**sealed, "content": [{}]}, assistant("b"))["param"] == "input[1].content"


def test_stored_reasoning_survives_clearing_the_log_and_the_caches(wire: WireServer) -> None:
    first = thinking(wire)
    wire.clear()
    wire.forget()
    second = thinking(wire, instructions="Good")
    assert first["id"] != second["id"]
    history = [user("a"), first, assistant("b"), user("a"), second, assistant("b"), user("c")]
    assert cached(post(wire, history))[2] == 11


def test_old_models_do_not_see_the_reasoning_of_earlier_turns(wire: WireServer) -> None:
    item = thinking(wire, model=OLD)
    finished_turn = [user("a"), item, assistant("b"), user("c")]
    assert cached(post(wire, finished_turn, model=OLD))[2] == 3
    assert cached(post(wire, finished_turn, model=OLD, reasoning={"context": "all_turns"}))[2] == 6
    call = count("weather") + count(CALL["arguments"])
    assert cached(post(wire, [user("a"), item, CALL, OUTPUT], model=OLD))[2] == 1 + 3 + call + 1
    assert cached(post(wire, finished_turn))[2] == 6
    assert cached(post(wire, finished_turn, reasoning={"context": "current_turn"}))[2] == 3


def test_an_error_in_a_stream_is_an_event(wire: WireServer) -> None:
    wire.script(Reply(("a ", "b "), fault=StreamError(after=1, message="Overloaded")))
    last = events(post(wire, "hi", stream=True))[-1]
    assert (last["type"], last["message"], last["code"]) == ("error", "Overloaded", "server_error")


# Through litellm.

MODEL = f"openai/{TERRA}"
TOOL = {"type": "function", "function": {name: FLAT[name] for name in ("name", "description", "parameters")}}
USER_MESSAGE: Json = {"role": "user", "content": "hi"}


@pytest.fixture(scope="module")
def litellm() -> Any:
    """The library without its download of prices and its messages on standard output."""
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    import litellm as library

    library.suppress_debug_info = True
    return library


@pytest.fixture(autouse=True)
def environment(wire: WireServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment sends all providers' requests to the loopback server."""
    for name, value in wire.env().items():
        monkeypatch.setenv(name, value)


def complete(litellm: Any, messages: list[Json], stream: bool = False, **options: Any) -> Any:
    """One answer, joined from its chunks if it is streamed."""
    options = {
        "model": MODEL,
        "tools": [TOOL],
        "reasoning_effort": "low",
        "_skip_mcp_handler": True,
        **options,
    }

    async def run() -> Any:
        if not stream:
            return await litellm.acompletion(messages=messages, **options)
        options.update(stream=True, stream_options={"include_usage": True})
        answer = await litellm.acompletion(messages=messages, **options)
        chunks = [chunk async for chunk in answer]
        assert not any(getattr(chunk, "usage", None) for chunk in chunks[:-1])
        assert chunks[-1].usage is not None
        return litellm.stream_chunk_builder(chunks, messages=messages)

    return asyncio.run(run())


def usage(response: Any) -> tuple[int, int, int]:
    """Read, written and all tokens of the prompt."""
    details = response.usage.prompt_tokens_details
    return details.cached_tokens, details.cache_creation_tokens, response.usage.prompt_tokens


def history(response: Any, *left_out: str) -> Json:
    """An answer as a message of the next request."""
    message: Json = response.choices[0].message.model_dump(exclude_none=True)
    return {name: value for name, value in message.items() if name not in left_out}


def results(message: Json) -> list[Json]:
    """A result for each call of a message."""
    calls = message["tool_calls"]
    return [{"role": "tool", "tool_call_id": call["id"], "content": f"{call['id']} warm"} for call in calls]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("options", [{}, {"store": False, "include": [ENCRYPTED]}])
def test_a_tool_loop_keeps_ids_arguments_and_cache(
    wire: WireServer, litellm: Any, stream: bool, options: Json
) -> None:
    wire.script(Reply("Let me look.", thinking="Which one?", tool_calls=TWO), lambda call: sum_up(call))
    messages: list[Json] = [{"role": "system", "content": words(1500, "rule")}, USER_MESSAGE]
    first = complete(litellm, messages, stream, **options)
    message = history(first)
    assert [json.loads(c["function"]["arguments"]) for c in message["tool_calls"]] == [
        {"city": "Rome"},
        {"city": "Oslo"},
    ]
    second = complete(litellm, [*messages, message, *results(message)], stream, **options)
    assert [(request.path, request.error) for request in wire.requests] == [("/v1/responses", None)] * 2
    items = wire.requests[1].body["input"]
    kinds = ["message"] * 2 + ["reasoning", "message"] + ["function_call"] * 2 + ["function_call_output"] * 2
    assert [item["type"] for item in items] == kinds
    ids = [call["id"] for call in message["tool_calls"]]
    assert ids == ["call_w00000100", "call_w00000101"]
    assert [item["call_id"] for item in items[4:]] == ids * 2
    assert [item["arguments"] for item in items[4:6]] == [call.json for call in TWO]
    assert items[3]["phase"] == "commentary"
    assert ("encrypted_content" in items[2]) == bool(options)
    assert second.choices[0].message.content == f"{ids[0]} warm / {ids[1]} warm"
    prompt_tokens = usage(first)[2]
    assert usage(first) == (0, prompt_tokens, prompt_tokens)
    assert usage(second)[0] == prompt_tokens
    assert usage(second)[1] == usage(second)[2] - prompt_tokens > 0
    for response, request in zip((first, second), wire.requests, strict=True):
        bill = request.wait().bill
        assert bill is not None
        assert usage(response) == (bill.read, bill.written, bill.prompt)
        assert response.usage.completion_tokens == bill.output
        assert response.usage.completion_tokens_details.reasoning_tokens == bill.thinking


def sum_up(call: Call) -> Reply:
    """A reply with the results of the tools."""
    return Reply(" / ".join(call.answers))


@pytest.mark.parametrize("stream", [False, True])
def test_history_without_its_reasoning_is_still_valid(wire: WireServer, litellm: Any, stream: bool) -> None:
    wire.script(Reply("Let me look.", thinking="Which one?", tool_calls=TWO))
    response = complete(litellm, [USER_MESSAGE], stream)
    for left_out, kinds in (
        (("provider_specific_fields",), ["message", "reasoning", "message"]),
        (("provider_specific_fields", "reasoning_items"), ["message", "message"]),
    ):
        message = history(response, *left_out)
        complete(litellm, [USER_MESSAGE, message, *results(message)], stream)
        items = wire.requests[-1].body["input"]
        assert [item["type"] for item in items[:-4]] == kinds
        assert "phase" not in items[-5]


def test_litellm_passes_the_cache_options_on(wire: WireServer, litellm: Any) -> None:
    part = {"type": "text", "text": "hi", "prompt_cache_breakpoint": MARK}
    call = {"id": "call_x1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
    messages: list[Json] = [
        {"role": "system", "content": [part]},
        {"role": "user", "content": [part]},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_x1", "content": [part]},
    ]
    options = {"mode": "explicit", "ttl": "30m"}
    complete(
        litellm, messages, prompt_cache_key="k", prompt_cache_options=options, prompt_cache_retention="24h"
    )
    body = wire.requests[0].body
    assert body["prompt_cache_key"] == "k"
    assert body["prompt_cache_options"] == options
    assert body["prompt_cache_retention"] == "24h"
    marked = text("hi", mark=True)
    assert [item.get("content", item.get("output")) for item in body["input"]] == [
        [marked],
        [marked],
        None,
        [marked],
    ]
    assert body["reasoning"] == {"effort": "low"}
    assert not {"store", "include", "instructions", "stream_options"} & set(body)


def test_litellm_drops_the_marks_that_old_models_refuse(wire: WireServer, litellm: Any) -> None:
    part = {"type": "text", "text": "hi", "prompt_cache_breakpoint": MARK}
    complete(litellm, [{"role": "user", "content": [part]}], model=f"openai/{OLD}", prompt_cache_key="k")
    assert wire.requests[0].body["input"][0]["content"] == [text("hi")]


@pytest.mark.parametrize(
    ("options", "path"),
    [
        ({}, "/v1/responses"),
        ({"model": f"openai/{OLD}"}, "/v1/responses"),
        ({"model": "openai/gpt-5.1"}, "/v1/chat/completions"),
        ({"tools": None}, "/v1/chat/completions"),
        ({"reasoning_effort": None}, "/v1/chat/completions"),
        ({"reasoning_effort": "none"}, "/v1/chat/completions"),
    ],
)
def test_litellm_calls_the_responses_api_only_for_tools_with_reasoning(
    wire: WireServer, litellm: Any, options: Json, path: str
) -> None:
    complete(litellm, [USER_MESSAGE], **options)
    assert wire.requests[0].path == path


def test_a_summary_becomes_reasoning_content(wire: WireServer, litellm: Any) -> None:
    wire.always = Reply("ok", thinking="Which city?")
    for stream in (False, True):
        message = history(
            complete(litellm, [USER_MESSAGE], stream, reasoning_effort={"effort": "low", "summary": "auto"})
        )
        assert message["reasoning_content"] == "Which city?"
        assert message["reasoning_items"][0]["summary"] == [{"type": "summary_text", "text": "Which city?"}]
        assert "reasoning_content" not in history(complete(litellm, [USER_MESSAGE], stream))


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("finish", "reason"), [("length", "length"), ("refusal", "content_filter")])
def test_a_cut_answer_has_its_finish_reason(
    wire: WireServer, litellm: Any, finish: Any, reason: str, stream: bool
) -> None:
    wire.script(Reply("a b", finish=finish))
    choice = complete(litellm, [USER_MESSAGE], stream).choices[0]
    assert (choice.message.content, choice.finish_reason) == ("a b", reason)


@pytest.mark.parametrize("stream", [False, True])
def test_errors_become_exceptions_of_their_class(wire: WireServer, litellm: Any, stream: bool) -> None:
    for status, name in ((429, "RateLimitError"), (400, "BadRequestError"), (500, "InternalServerError")):
        wire.script(Reply(fault=HttpError(status, "No luck")))
        with pytest.raises(getattr(litellm, name), match="No luck"):
            complete(litellm, [USER_MESSAGE], stream, max_retries=0)
    with pytest.raises(litellm.AuthenticationError):
        complete(litellm, [USER_MESSAGE], stream, api_key="bad-key-0123456789")
    wire.context_limit = 1
    with pytest.raises(litellm.ContextWindowExceededError):
        complete(litellm, [USER_MESSAGE], stream)


@pytest.mark.parametrize("fault", [Drop("chunk", after=2), StreamError(after=2), Truncated(2)])
def test_a_broken_stream_raises_after_its_chunks(
    wire: WireServer, litellm: Any, fault: Drop | StreamError | Truncated
) -> None:
    wire.always = Reply(("a ", "b ", "c ", "d"), fault=fault, chunk_delay=0.05)
    received: list[str] = []

    async def run() -> None:
        options: Json = {
            "tools": [TOOL],
            "reasoning_effort": "low",
            "stream": True,
            "_skip_mcp_handler": True,
        }
        async for chunk in await litellm.acompletion(model=MODEL, messages=[USER_MESSAGE], **options):
            received.append(chunk.choices[0].delta.content or "")

    with pytest.raises(litellm.exceptions.MidStreamFallbackError):
        asyncio.run(run())
    assert "".join(received) in ("a ", "a b ")


def test_a_line_that_is_not_json_is_skipped(wire: WireServer, litellm: Any) -> None:
    wire.script(Reply(("a ", "b ", "c"), fault=Malformed(2)))
    assert complete(litellm, [USER_MESSAGE], stream=True).choices[0].message.content == "a b c"


def test_cancelling_closes_the_connection(wire: WireServer, litellm: Any) -> None:
    wire.script(Reply(("a ", "b ", "c "), fault=Stall("chunk", after=2)))
    options: Json = {"tools": [TOOL], "reasoning_effort": "low", "stream": True, "_skip_mcp_handler": True}

    async def run() -> None:
        first_chunk = asyncio.Event()

        async def consume() -> None:
            async for _ in await litellm.acompletion(model=MODEL, messages=[USER_MESSAGE], **options):
                first_chunk.set()

        task = asyncio.create_task(consume())
        await asyncio.wait_for(first_chunk.wait(), 5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        record = await asyncio.to_thread(wire.requests[0].wait, 2.0)
        assert record.closed == "client"

    asyncio.run(run())
