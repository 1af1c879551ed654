"""Stored conversations: all their versions and branches, unfinished turns, and what the providers' caches hold.

A version is stored as its difference from its parent. A turn is stored once for all versions that contain it, under
the hash of its JSON; so are the data of attachments.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from typing import Any

from ipycachechat.caching.tracker import CacheTracker
from ipycachechat.conversation.history import Branch, History, Version
from ipycachechat.conversation.placement import Placement, place_turn
from ipycachechat.conversation.turns import CellRef, Conversation, Turn
from ipycachechat.storage import discovery, serialization
from ipycachechat.storage.database import Database
from ipycachechat.storage.discovery import StoredSummary

MIN_SHARED_FILE = 1000
"""Characters from which on the data of an attachment are stored in their own table, once for all turns."""
DIGEST = 16
"""Bytes of a hash."""
MAX_QUERY_VALUES = 500


@dataclass(frozen=True, slots=True)
class StoredConversation:
    """A conversation as it was loaded."""

    history: History
    name: str
    """The name under which its requests are sent (`CallerIdentity.name`)."""
    settings: dict[str, Any]
    trackers: tuple[tuple[tuple[str, ...], CacheTracker], ...]
    """Pairs of a cache scope and its tracker."""
    saved_versions: int
    """Number of versions in the file. The history has one more if there was an unfinished turn."""

    @property
    def warm_until(self) -> float:
        """Time at which the last cache entry expires, in seconds since the epoch; 0: nothing is cached."""
        entries = (entry for _, tracker in self.trackers for entry in tracker.state.entries.values())
        return max((entry.expires for entry in entries), default=0.0)


class ConversationTable:
    """Reads and writes the conversations of one open database. Times are in seconds since the epoch."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._fetch = database.fetch

    def create(self, notebook: str, name: str, now: float) -> int:
        """Create an empty conversation and return its number."""
        with self._database.transaction() as db:
            row = db.execute(
                "INSERT INTO conversations(notebook, name, began, changed, turns, settings)"
                " VALUES(?, ?, ?, ?, 0, '{}')",
                (notebook, name, now, now),
            )
            return int(row.lastrowid or 0)

    def fork(self, conversation: int, notebook: str, now: float) -> tuple[int, StoredConversation]:
        """Copy a conversation; return the number of the copy and what is in it. Raises BadInput if it is damaged.

        The conversation's own kernel may still be running, so both happen in one transaction.
        """
        with self._database.transaction() as db:
            stored = self.load(conversation)
            row = db.execute(
                "INSERT INTO conversations(notebook, name, began, changed, branch, turns, settings, source, away)"
                " SELECT ?, name, began, ?, branch, turns, settings, id, away FROM conversations WHERE id=?",
                (notebook, now, conversation),
            )
            for table in ("versions", "branches", "warm"):
                columns = [column[1] for column in db.execute(f"PRAGMA table_info({table})")][1:]
                db.execute(
                    f"INSERT INTO {table} SELECT ?, {', '.join(columns)} FROM {table} WHERE conversation=?",
                    (row.lastrowid, conversation),
                )
            return int(row.lastrowid or 0), stored

    def save_history(
        self, conversation: int, history: History, since: int, settings: dict[str, Any], now: float
    ) -> None:
        """Add the versions from number `since` on, and replace the branches and settings. Deletes the draft."""
        with self._database.transaction() as db:
            for number, version in enumerate(history.versions[since:], since):
                parent, new = version.parent, version.conversation
                old = history.versions[parent].conversation if parent >= 0 else Conversation()
                start, removed, inserted = _difference(old.all_turns, new.all_turns)
                digests = b"".join([_save_turn(db, turn) for turn in inserted])
                texts = (json.dumps(new.system), json.dumps(new.tools))
                row = (conversation, number, parent, *texts, start, removed, digests)
                db.execute("INSERT INTO versions VALUES(?, ?, ?, ?, ?, ?, ?, ?)", row)
            branches = [
                (conversation, index, b.name, b.redo_tip, b.version, b.parent, b.forked_at)
                for index, b in enumerate(history.branches)
            ]
            db.executemany("INSERT OR REPLACE INTO branches VALUES(?, ?, ?, ?, ?, ?, ?)", branches)
            db.execute("DELETE FROM drafts WHERE conversation=?", (conversation,))
            head = (now, history.current_branch, len(history.current.turns))
            texts = (json.dumps(settings), json.dumps(history.deleted_cells))
            db.execute(
                "UPDATE conversations SET changed=?, branch=?, turns=?, settings=?, away=? WHERE id=?",
                (*head, *texts, conversation),
            )

    def save_draft(self, conversation: int, turn: Turn, placement: Placement, now: float) -> None:
        """Replace the draft: the unfinished turn so far, and where it belongs."""
        place = json.dumps(_dump_placement(placement))
        with self._database.transaction() as db:
            row = (conversation, _dump_turn(db, turn), place)
            db.execute("INSERT OR REPLACE INTO drafts VALUES(?, ?, ?)", row)
            db.execute("UPDATE conversations SET changed=? WHERE id=?", (now, conversation))

    def delete_draft(self, conversation: int) -> None:
        """Delete the unfinished turn."""
        with self._database.transaction() as db:
            db.execute("DELETE FROM drafts WHERE conversation=?", (conversation,))

    def save_tracker(self, conversation: int, scope: Sequence[str], tracker: CacheTracker) -> None:
        """Replace what is known about one provider's cache."""
        with self._database.transaction() as db:
            row = (conversation, json.dumps(scope), json.dumps(tracker.dump()))
            db.execute("INSERT OR REPLACE INTO warm VALUES(?, ?, ?)", row)

    def newest(self, notebook: str, exclude: Collection[int] = ()) -> StoredSummary | None:
        """Return the newest conversation of a notebook that is not empty and not one of those to `exclude`."""
        return discovery.newest(self._fetch, notebook, exclude)

    def ancestors(self, conversation: int) -> Iterator[int]:
        """Yield the number of the conversation, then of the one that it was forked from, and so on."""
        number: int | None = conversation
        while number is not None:
            yield number
            rows = self._fetch("SELECT source FROM conversations WHERE id=?", (number,))
            number = rows[0][0] if rows else None

    def notebooks(self) -> list[str]:
        """Return all notebooks with a conversation, the one that changed last first."""
        rows = self._fetch("SELECT notebook FROM conversations GROUP BY notebook ORDER BY max(changed) DESC")
        return [str(notebook) for (notebook,) in rows]

    def load(self, conversation: int) -> StoredConversation:
        """Return a conversation. Raises BadInput if it is damaged."""
        try:
            return self._load(conversation)
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise serialization.corrupt_file_error(error) from None

    def _load(self, conversation: int) -> StoredConversation:
        key = (conversation,)
        ((name, branch, settings, away),) = self._fetch(
            "SELECT name, branch, settings, away FROM conversations WHERE id=?", key
        )
        branches = self._fetch(
            "SELECT name, tip, at, parent, since FROM branches WHERE conversation=? ORDER BY place", key
        )
        versions = self._load_versions(conversation)
        deleted_cells = tuple((str(cell), float(when)) for cell, when in json.loads(away or "[]"))
        history = History()
        if versions:
            history = History(versions, tuple(Branch(*row) for row in branches), branch, deleted_cells)
        for text, place in self._fetch("SELECT turn, place FROM drafts WHERE conversation=?", key):
            turn = serialization.load_turn(json.loads(text), self._file_data)
            placement = _load_placement(json.loads(place), history.current)
            history = history.change(place_turn(history.current, turn, placement))
        trackers = [
            (tuple(json.loads(scope)), CacheTracker.load(json.loads(scope), json.loads(state)))
            for scope, state in self._fetch("SELECT scope, state FROM warm WHERE conversation=?", key)
        ]
        return StoredConversation(history, name, json.loads(settings), tuple(trackers), len(versions))

    def _load_versions(self, conversation: int) -> tuple[Version, ...]:
        rows = self._fetch(
            "SELECT parent, system, tools, start, removed, inserted FROM versions WHERE conversation=? ORDER BY number",
            (conversation,),
        )
        turns = self._load_turns({digest for row in rows for digest in _split_digests(row[5])})
        versions: list[Version] = []
        for parent, system, tools, start, removed, inserted in rows:
            before = versions[parent].conversation.all_turns if parent >= 0 else ()
            new = [turns[digest] for digest in _split_digests(inserted)]
            all_turns = (*before[:start], *new, *before[start + removed :])
            conversation_then = Conversation(json.loads(system), all_turns, tuple(json.loads(tools)))
            versions.append(Version(conversation_then, parent))
        return tuple(versions)

    def _load_turns(self, digests: set[bytes]) -> dict[bytes, Turn]:
        pending = [*digests]
        turns: dict[bytes, Turn] = {}
        while pending:
            batch, pending = pending[:MAX_QUERY_VALUES], pending[MAX_QUERY_VALUES:]
            holders = ", ".join("?" * len(batch))
            rows = self._fetch(f"SELECT digest, said FROM turns WHERE digest IN ({holders})", tuple(batch))
            for digest, text in rows:
                turns[digest] = serialization.load_turn(json.loads(text), self._file_data)
        return turns

    def _file_data(self, reference: str) -> str:
        """Return the data of an attachment. `reference`: the result of `_save_file`."""
        if reference.startswith("="):
            return reference[1:]
        return str(self._fetch("SELECT data FROM files WHERE digest=?", (reference,))[0][0])


def _dump_turn(db: sqlite3.Connection, turn: Turn) -> str:
    return json.dumps(serialization.dump_turn(turn, partial(_save_file, db)))


def _save_turn(db: sqlite3.Connection, turn: Turn) -> bytes:
    """Save a turn unless it is there already; return its hash."""
    text = _dump_turn(db, turn)
    digest = blake2b(text.encode(), digest_size=DIGEST).digest()
    db.execute("INSERT OR IGNORE INTO turns VALUES(?, ?)", (digest, text))
    return digest


def _save_file(db: sqlite3.Connection, data: str) -> str:
    """Return a reference to the data of an attachment: "=" and the data, or its hash if it is stored in `files`."""
    if len(data) < MIN_SHARED_FILE:
        return f"={data}"
    digest = blake2b(data.encode(), digest_size=DIGEST).hexdigest()
    db.execute("INSERT OR IGNORE INTO files VALUES(?, ?)", (digest, data))
    return digest


def _split_digests(joined: bytes) -> list[bytes]:
    return [joined[n : n + DIGEST] for n in range(0, len(joined), DIGEST)]


def _difference(before: Sequence[Turn], after: Sequence[Turn]) -> tuple[int, int, Sequence[Turn]]:
    """Return the index at which two lists differ, the number of turns removed there, and the turns inserted there."""
    shorter, start, end = min(len(before), len(after)), 0, 0
    while start < shorter and before[start] is after[start]:
        start += 1
    while end < shorter - start and before[-1 - end] is after[-1 - end]:
        end += 1
    return start, len(before) - start - end, after[start : len(after) - end]


def _dump_placement(placement: Placement) -> dict[str, Any]:
    place: dict[str, Any] = {"rerun": placement.rerun, "order": placement.order}
    if placement.replaces is not None:
        place["again"] = [placement.replaces.asked_at, placement.replaces.digest.hex()]
    if placement.cell is not None:
        place["cell"] = [placement.cell.id, placement.cell.run, placement.cell.client_session]
    return place


def _load_placement(place: dict[str, Any], conversation: Conversation) -> Placement:
    """Return where a draft belongs: in place of a turn of `conversation` if it was an answer to the same prompt."""
    cell = CellRef(*place["cell"]) if "cell" in place else None
    replaced = (t for t in conversation.all_turns if [t.asked_at, t.digest.hex()] == place.get("again"))
    return Placement(cell, place["rerun"], tuple(place["order"]), next(replaced, None))
