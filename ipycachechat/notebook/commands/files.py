"""Save, load and resume the conversation; record and replay replies."""

from __future__ import annotations

import json

from ipycachechat.conversation.turns import Conversation
from ipycachechat.errors import BadInput
from ipycachechat.notebook.chat_cells import CellChat
from ipycachechat.notebook.commands._common import fail, file_path, print_lines, split_flag, unquoted
from ipycachechat.rendering import export
from ipycachechat.rendering.format import time_of_day
from ipycachechat.storage import serialization
from ipycachechat.storage.atomic_write import write_atomically
from ipycachechat.storage.cassette import Cassette
from ipycachechat.text.format import plural


def save(cell_chat: CellChat, name: str) -> None:
    """Write the conversation as .json, .md or .html."""
    path, conversation = file_path("save", name), cell_chat.chat.history.current
    formats = {".json": _to_json, ".md": export.to_markdown, ".html": export.to_html}
    if path.suffix.lower() not in formats:
        fail(f"%chat save {name}: the format is not known", "Add an extension: .json, .md or .html")
    write_atomically(path, formats[path.suffix.lower()](conversation))
    print_lines(f"Saved {plural(len(conversation.turns), 'turn')} to {path}")


def _to_json(conversation: Conversation) -> str:
    return json.dumps(serialization.dump_conversation(conversation), ensure_ascii=False, indent=1)


def load(cell_chat: CellChat, name: str) -> None:
    """Continue a conversation saved as .json."""
    path = file_path("load", name)
    try:
        data = json.loads(path.read_text("utf-8", "surrogatepass"))
    except OSError as error:
        raise BadInput(f"%chat load: {error}", "Nothing was changed.") from None
    except (ValueError, RecursionError) as error:
        raise serialization.corrupt_file_error(error) from None
    loaded = serialization.load_conversation(data)
    cell_chat.chat.versions.change(lambda history: history.change(loaded))
    print_lines(f"Loaded {plural(len(loaded.turns), 'turn')} (%chat undo goes back)")


def resume(cell_chat: CellChat, name: str) -> None:
    """Continue the conversation that an earlier kernel stored for this notebook (or for the named one)."""
    session, recorder = cell_chat.session, cell_chat.session.recorder
    if not name and recorder.resumed_notebook:
        return print_lines("Already resumed; %chat resume NAME continues another notebook's conversation")
    before = cell_chat.chat.history
    missing, warm_until = session.resume(unquoted(name))
    history = cell_chat.chat.history
    cached = (
        f", cached until {time_of_day(warm_until)}" if warm_until > cell_chat.now else ", no longer cached"
    )
    source = f" of {recorder.resumed_notebook}" if name else ""
    print_lines(
        f"Resumed {plural(len(history.current.turns), 'turn')}{source}, model {cell_chat.model_in_use()}"
        + (cached if warm_until else "")
    )
    if before.current.all_turns:
        print_lines(f"Your earlier questions are on branch {history.branches[-len(before.branches)].name}")
    if missing:
        several = len(missing) > 1
        print_lines(
            f"The tool{'s' * several} {', '.join(missing)} {'are' if several else 'is'} not defined, so the cached "
            f"part cannot be used. Define {'them' if several else 'it'}, then %chat tools {' '.join(missing)}."
        )


def replies(cell_chat: CellChat, argument: str) -> None:
    """Record replies in a file, and replay them when the same request is sent again; off: stop.

    --strict: never ask the model; a request that is not in the file fails.
    """
    client = cell_chat.chat.client
    words, strict = split_flag(argument, "--strict")
    name = unquoted(words)
    if name == "off":
        client.use_cassette(None)
        return print_lines("Replies are neither recorded nor replayed")
    if name:
        client.use_cassette(Cassette(file_path("replies", name), cell_chat.model_in_use(), strict=strict))
    elif strict:
        fail("%chat replies --strict: which file?", "%chat replies FILE --strict")
    cassette = client.cassette
    if cassette is None:
        return print_lines("Replies are neither recorded nor replayed (%chat replies FILE)")
    action = "Replaying replies only from" if cassette.strict else "Recording replies to"
    print_lines(f"{action} {cassette.path} ({len(cassette)} so far; %chat replies off stops)")
