"""Keep the conversation, and take it up again."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from ipycachechat.errors import BadInput
from ipycachechat.notebook.commands._common import fail, file, print_lines, turns, unquoted
from ipycachechat.storage import serialization

if TYPE_CHECKING:
    from ipycachechat.conversation.turns import Conversation
    from ipycachechat.notebook.magics import ChatMagics


def save(magics: ChatMagics, name: str) -> None:
    """Write the conversation to a file, by its suffix."""
    from ipycachechat.rendering import export
    from ipycachechat.storage.atomic_write import write_atomically

    path, now = file("save", name), magics.session.chat.history.current
    forms = {".json": _json, ".md": export.to_markdown, ".html": export.to_html}
    if path.suffix.lower() not in forms:
        fail(f"%chat save {name}: a conversation is saved as {', '.join(forms)}")
    write_atomically(path, forms[path.suffix.lower()](now))
    print_lines(f"saved: {path}, {turns(len(now.turns))}")


def _json(conversation: Conversation) -> str:
    return json.dumps(serialization.dump_conversation(conversation), ensure_ascii=False, indent=1)


def load(magics: ChatMagics, name: str) -> None:
    """Go on with a saved conversation; the one of before is a version away."""
    path, dialogue = file("load", name), magics.session.chat
    try:
        told = json.loads(path.read_text("utf-8", "surrogatepass"))
    except OSError as error:
        raise BadInput(f"%chat load: {error}", "Nothing was changed.") from None
    except (ValueError, RecursionError) as error:
        raise serialization.corrupt_file_error(error) from None
    found = serialization.load_conversation(told)
    dialogue.change(lambda history: history.change(found))
    print_lines(f"loaded: {turns(len(found.turns))} (%chat undo goes back)")


def resume(magics: ChatMagics, name: str) -> None:
    """Take up what is kept of this notebook from an earlier kernel."""
    from ipycachechat.rendering.format import clock

    session = magics.session
    recorder = session.recorder
    if not name and recorder.resumed_notebook:
        return print_lines("taken up already (%chat resume NAME: another notebook's)")
    before = session.chat.history
    settings, warm = session.resume(unquoted(name))
    missing = magics.restore(settings)
    now = session.chat.history.current
    until = f"; warm until {clock(warm)}" if warm > session.now else "; nothing is warm any more"
    whose = f" of {recorder.resumed_notebook}" if name else ""
    print_lines(
        f"resumed{whose}: {turns(len(now.turns))}, model {magics.model_in_use()}{until if warm else ''}"
    )
    if before.current.all_turns:
        branch = session.chat.history.branches[-len(before.branches)].name
        print_lines(f"what was asked here before is the branch {branch} (%chat switch)")
    if missing:
        print_lines(
            f"the model could call {', '.join(missing)}: define them, then %chat tools {' '.join(missing)}"
        )


def replies(magics: ChatMagics, line: str) -> None:
    """Record every reply in a file, and serve it when the same is asked again."""
    from ipycachechat.storage.cassette import Cassette

    engine = magics.session.chat.client
    words = line.split()
    strict = "--strict" in words
    name = unquoted(" ".join(word for word in words if word != "--strict"))
    if name == "off":
        engine.cassette = None
        return print_lines("replies are neither recorded nor replayed")
    if name:
        engine.cassette = Cassette(file("replies", name), magics.model_in_use(), strict=strict)
    elif strict:
        fail("%chat replies --strict: which file?", "%chat replies FILE --strict")
    found = engine.cassette
    if found is None:
        return print_lines("replies are neither recorded nor replayed (%chat replies FILE)")
    how = "nobody else is asked" if found.strict else "others are recorded"
    print_lines(f"replies: {found.path}, {len(found)} of them; {how} (%chat replies off)")
