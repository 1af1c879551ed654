"""Save, load and resume the conversation; record and replay replies."""

from __future__ import annotations

import json

from ipycachechat.conversation.turns import Conversation
from ipycachechat.errors import BadInput
from ipycachechat.notebook.chat_cells import CellChat
from ipycachechat.notebook.commands._common import fail, file, print_lines, turns, unquoted
from ipycachechat.rendering import export
from ipycachechat.rendering.format import time_of_day
from ipycachechat.storage import serialization
from ipycachechat.storage.atomic_write import write_atomically
from ipycachechat.storage.cassette import Cassette


def save(cells: CellChat, name: str) -> None:
    """Write the conversation to a file, in the format of its suffix."""
    path, now = file("save", name), cells.chat.history.current
    formats = {".json": _json, ".md": export.to_markdown, ".html": export.to_html}
    if path.suffix.lower() not in formats:
        fail(f"%chat save {name}: the format is not known", "Add an extension: .json, .md or .html")
    write_atomically(path, formats[path.suffix.lower()](now))
    print_lines(f"saved: {path}, {turns(len(now.turns))}")


def _json(conversation: Conversation) -> str:
    return json.dumps(serialization.dump_conversation(conversation), ensure_ascii=False, indent=1)


def load(cells: CellChat, name: str) -> None:
    """Continue a saved conversation; the present one is a version away."""
    path = file("load", name)
    try:
        data = json.loads(path.read_text("utf-8", "surrogatepass"))
    except OSError as error:
        raise BadInput(f"%chat load: {error}", "Nothing was changed.") from None
    except (ValueError, RecursionError) as error:
        raise serialization.corrupt_file_error(error) from None
    loaded = serialization.load_conversation(data)
    cells.chat.versions.change(lambda history: history.change(loaded))
    print_lines(f"loaded: {turns(len(loaded.turns))} (%chat undo goes back)")


def resume(cells: CellChat, name: str) -> None:
    """Continue what an earlier kernel stored of this notebook, or of another."""
    session, recorder = cells.session, cells.session.recorder
    if not name and recorder.resumed_notebook:
        return print_lines("resumed already (%chat resume NAME: another notebook's conversation)")
    before = cells.chat.history
    missing, warm_until = session.resume(unquoted(name))
    history = cells.chat.history
    warm = (
        f"; warm until {time_of_day(warm_until)}"
        if warm_until > cells.now
        else "; nothing is cached any more"
    )
    which = f" of {recorder.resumed_notebook}" if name else ""
    print_lines(
        f"resumed{which}: {turns(len(history.current.turns))}, model {cells.model_in_use()}"
        + (warm if warm_until else "")
    )
    if before.current.all_turns:
        print_lines(f"Your earlier questions are on branch {history.branches[-len(before.branches)].name}")
    if missing:
        names, several = " ".join(missing), len(missing) > 1
        print_lines(
            f"The tool{'s' * several} {', '.join(missing)} {'are' if several else 'is'} not defined, so the cached "
            f"part cannot be used. Define {'them' if several else 'it'}, then %chat tools {names}."
        )


def replies(cells: CellChat, line: str) -> None:
    """Record every reply in a file, and replay it when the same is asked again."""
    client = cells.chat.client
    words = line.split()
    strict = "--strict" in words
    name = unquoted(" ".join(word for word in words if word != "--strict"))
    if name == "off":
        client.use_cassette(None)
        return print_lines("Replies are neither recorded nor replayed")
    if name:
        client.use_cassette(Cassette(file("replies", name), cells.model_in_use(), strict=strict))
    elif strict:
        fail("%chat replies --strict: which file?", "%chat replies FILE --strict")
    cassette = client.cassette
    if cassette is None:
        return print_lines("Replies are neither recorded nor replayed (%chat replies FILE)")
    how = "Replaying replies only from" if cassette.strict else "Recording replies to"
    print_lines(f"{how} {cassette.path} ({len(cassette)} so far; %chat replies off)")
