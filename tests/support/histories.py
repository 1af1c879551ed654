"""Histories as they may come about: turns with all that a turn can hold, and whatever may be done to them."""

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
# Few, so that many turns have the same one; long enough to be kept apart, or just not.
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
    said: list[Message] = []
    for _ in range(draw(st.integers(0, 2))):
        asked = Message("assistant", draw(texts), draw(calls), thinking=draw(thoughts))
        said += [asked, *(Message("tool", draw(contents), tool_call_id=call.id) for call in asked.tool_calls)]
    return (*said, Message("assistant", draw(texts), thinking=draw(thoughts)))


usages = st.builds(
    lambda read, written, output: Usage(read + written + 7, read, written, written // 2, output, None, False),
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


def _spoilt(now: Conversation, n: int, how: str) -> Conversation:
    """The conversation with one of its turns gone, changed, or in another place."""
    placed, n = [*now.all_turns], n % max(1, len(now.all_turns))
    if placed and how == "removed":
        del placed[n]
    elif placed and how == "edited":
        placed[n] = replace(placed[n], prompt="something else", pinned=not placed[n].pinned)
    elif how == "turned round":
        placed.reverse()
    return replace(now, all_turns=tuple(placed))


@st.composite
def steps(draw: st.DrawFn, history: History) -> History:
    """The history after one thing more was done."""
    now, some = history.current, st.sets(st.sampled_from(CELLS), min_size=1)
    what = draw(
        st.sampled_from("put put put undo undo redo fork switch spoil detach attach reset system".split())
    )
    match what:
        case "put":
            return history.change(place_turn(now, draw(turns), draw(places)))
        case "undo":
            return history.undo()
        case "redo":
            return history.redo()
        case "fork":
            return history.fork(f"branch-{len(history.branches)}")
        case "switch":
            return history.switch(draw(st.sampled_from([branch.name for branch in history.branches])))
        case "spoil":
            how = draw(st.sampled_from(["removed", "edited", "turned round"]))
            return history.change(_spoilt(now, draw(st.integers(0, 9)), how))
        case "detach":
            return history.mark_deleted(draw(some), draw(seconds))
        case "attach":
            return history.mark_restored(draw(some))
        case "reset":
            return history.change(replace(now, all_turns=()))
        case _:
            system = draw(st.text(max_size=20))
            return history.change(replace(now, system=system, tools=tuple(draw(st.lists(texts, max_size=2)))))


@st.composite
def histories(draw: st.DrawFn, begin: History = History()) -> list[History]:
    """A history as it was again and again, while something was done to it."""
    found = [begin]
    for _ in range(draw(st.integers(1, 12))):
        found.append(draw(steps(found[-1])))
    return found
