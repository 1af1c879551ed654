"""Random histories: turns with everything that a turn can contain, and all changes to them."""

from __future__ import annotations

import json
from dataclasses import replace

from hypothesis import strategies as st

from ipycachechat.conversation.history import History
from ipycachechat.conversation.messages import Attachment, Content, Message, Thinking, ToolCall
from ipycachechat.conversation.placement import Placement, place_turn
from ipycachechat.conversation.turns import CellRef, Conversation, Turn, TurnStatus
from ipycachechat.conversation.usage import Cost, Usage

CELLS = ("a", "b", "c", "d")
texts = st.text(max_size=40) | st.sampled_from(["", "\ud800 alone", "\0", "=data", "Ω" * 3000])
seconds = st.floats(1, 2e9)
# Few values, so that turns share them; some just long enough to be stored separately, some not.
datas = st.sampled_from(
    ["AAAA", "=", "https://example.org/a.png", "B" * 999, "C" * 1000, "=" * 1500, "D" * 50_000]
)
files = st.builds(
    Attachment, st.sampled_from(["image/png", "application/pdf"]), datas, texts, st.sampled_from(["", "high"])
)
contents: st.SearchStrategy[Content] = texts | st.lists(texts | files, max_size=3).map(tuple)
thoughts = st.lists(
    st.builds(Thinking, st.sampled_from(["", "claude", "gemini", "openai"]), texts, texts, texts), max_size=2
).map(tuple)
arguments = st.dictionaries(st.text("abc", min_size=1), st.integers(), max_size=2).map(json.dumps)
calls = st.lists(st.builds(ToolCall, st.text("xyz", min_size=1), texts, arguments, texts), max_size=2).map(
    tuple
)
cells = st.builds(CellRef, st.sampled_from(CELLS), st.sampled_from(["run 1", "run 2"]))


@st.composite
def replies(draw: st.DrawFn) -> tuple[Message, ...]:
    messages: list[Message] = []
    for _ in range(draw(st.integers(0, 2))):
        answer = Message("assistant", draw(texts), draw(calls), thinking=draw(thoughts))
        messages += [
            answer,
            *(Message("tool", draw(contents), tool_call_id=call.id) for call in answer.tool_calls),
        ]
    return (*messages, Message("assistant", draw(texts), thinking=draw(thoughts)))


usages = st.builds(
    lambda read, written, output: Usage(
        input=read + written + 7,
        read=read,
        written=written,
        written_1h=written // 2,
        output=output,
        thinking=None,
        bills_writes=False,
    ),
    *[st.integers(0, 10**9)] * 3,
)
turns = st.builds(
    Turn,
    contents,
    replies() | st.just(()),
    model=texts,
    usage=st.just(Usage()) | usages | st.builds(Usage, output=st.integers(0, 9)),
    status=st.sampled_from(TurnStatus),
    cell=st.none() | cells,
    system=st.none() | texts,
    pinned=st.booleans(),
    cost=st.just(Cost()) | st.builds(Cost, st.floats(0, 9), st.none() | st.floats(-9, 9)),
    asked_at=st.just(0.0) | seconds,
    past_digest=st.binary(min_size=16, max_size=16) | st.just(b""),
    detached=st.none() | seconds,
    replayed=st.booleans(),
)
places = st.builds(Placement, st.none() | cells, st.sampled_from(["replace", "rewind", "append"]))


def _damaged(conversation: Conversation, n: int, damage: str) -> Conversation:
    """The conversation with a turn removed or changed, or with its turns in reverse order."""
    turns, n = [*conversation.all_turns], n % max(1, len(conversation.all_turns))
    if turns and damage == "removed":
        del turns[n]
    elif turns and damage == "edited":
        turns[n] = replace(turns[n], prompt="something else", pinned=not turns[n].pinned)
    elif damage == "turned round":
        turns.reverse()
    return replace(conversation, all_turns=tuple(turns))


@st.composite
def steps(draw: st.DrawFn, history: History) -> History:
    """The history after one more change."""
    current, some_cells = history.current, st.sets(st.sampled_from(CELLS), min_size=1)
    change = draw(
        st.sampled_from("put put put undo undo redo fork switch spoil detach attach reset system".split())
    )
    match change:
        case "put":
            return history.change(place_turn(current, draw(turns), draw(places)))
        case "undo":
            return history.undo()
        case "redo":
            return history.redo()
        case "fork":
            return history.fork(f"branch-{len(history.branches)}")
        case "switch":
            return history.switch(draw(st.sampled_from([branch.name for branch in history.branches])))
        case "spoil":
            damage = draw(st.sampled_from(["removed", "edited", "turned round"]))
            return history.change(_damaged(current, draw(st.integers(0, 9)), damage))
        case "detach":
            return history.mark_deleted(draw(some_cells), draw(seconds))
        case "attach":
            return history.mark_restored(draw(some_cells))
        case "reset":
            return history.change(replace(current, all_turns=()))
        case _:
            system = draw(st.text(max_size=20))
            return history.change(
                replace(current, system=system, tools=tuple(draw(st.lists(texts, max_size=2))))
            )


@st.composite
def histories(draw: st.DrawFn, start: History = History()) -> list[History]:
    """The versions of a history, one after each change."""
    versions = [start]
    for _ in range(draw(st.integers(1, 12))):
        versions.append(draw(steps(versions[-1])))
    return versions
