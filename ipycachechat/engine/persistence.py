"""Connect a session with the recorder that saves it, and resume what an earlier kernel saved."""

from __future__ import annotations

from ipycachechat.conversation.history import History
from ipycachechat.engine.session import ChatSession
from ipycachechat.storage.conversations import StoredConversation
from ipycachechat.storage.recorder import Recorder


def connect(chat: ChatSession, recorder: Recorder) -> None:
    """Have every change and bill of a session saved, and its requests sent under the recorder's identity."""
    chat.versions.connect(recorder)
    chat.client.connect(identity=recorder.identity(), on_record=recorder.save_bill, day_budget=recorder)


def resume(chat: ChatSession, recorder: Recorder, notebook: str = "") -> StoredConversation:
    """Have a session continue the stored conversation of this notebook, or of another.

    What the session contains already stays as a branch. Raises BadInput; then nothing has changed.
    """
    loaded: list[StoredConversation] = []

    def merge(history: History) -> History:
        loaded.append(recorder.resume(notebook))
        return history.merge(loaded[0].history)

    chat.versions.change(merge)  # in one step, so that no other change is saved between loading and merging
    (stored,) = loaded
    chat.client.resume(recorder.identity(), stored.trackers)
    return stored
