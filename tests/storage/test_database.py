"""Conversations are loaded as they were saved; a file that cannot be used stops nothing."""

from __future__ import annotations

import os
import random
import re
import resource
import sqlite3
import stat
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.histories import histories, places, steps, turns

from ipycachechat.billing.budget import BudgetCharge
from ipycachechat.billing.pricing import FREE
from ipycachechat.billing.records import RequestRecord
from ipycachechat.caching.planner import PauseStats
from ipycachechat.caching.prefix import RequestOptions
from ipycachechat.caching.provider_rules import rules_for
from ipycachechat.caching.request import prompt_messages
from ipycachechat.caching.state import CacheEntry, CacheState, ExpectedUsage
from ipycachechat.caching.tracker import CacheTracker
from ipycachechat.conversation.history import History
from ipycachechat.conversation.messages import Message
from ipycachechat.conversation.placement import END, Placement, place_turn
from ipycachechat.conversation.turns import Conversation, Turn
from ipycachechat.conversation.usage import NOTHING_REPORTED, Cost, Usage
from ipycachechat.engine import persistence
from ipycachechat.engine.session import ChatSession
from ipycachechat.errors import BadInput
from ipycachechat.providers.endpoint import CallerIdentity, ModelEndpoint
from ipycachechat.storage.connection import Store
from ipycachechat.storage.conversations import MIN_SHARED_FILE
from ipycachechat.storage.database import MIGRATIONS
from ipycachechat.storage.discovery import find_stored
from ipycachechat.storage.recorder import Recorder

HERE, NOW = "/notebooks/here.ipynb", 1_800_000_000.0
SCOPE = ("anthropic", "claude-sonnet-5", "https://api.anthropic.com", "fingerprint")
NOBODY = 65534
# Building turns is slow on a machine that does something else beside.
unhurried = settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large], deadline=None)


def turn(n: int, answer: str = "") -> Turn:
    return Turn(
        f"question {n}",
        (Message("assistant", answer or f"answer {n}"),),
        model="openai/gpt",
        asked_at=NOW + n,
    )


def history_of(*turns_to_add: Turn) -> History:
    """A history with a version for each turn."""
    history = History()
    for added in turns_to_add:
        history = history.change(place_turn(history.current, added, END))
    return history


def start_recorder(path: Path, notebook: str = HERE) -> Recorder:
    """One at work."""
    recorder = Recorder(notebook)
    recorder.start(lambda: path, lambda: {"model": "openai/gpt"})
    return recorder


def start_chat(path: Path, notebook: str = HERE) -> tuple[Recorder, ChatSession]:
    """One at work, and the conversation that it hears of."""
    recorder, session = start_recorder(path, notebook), ChatSession()
    persistence.connect(session, recorder)
    return recorder, session


def stored_history(path: Path, notebook: str = HERE) -> History:
    """What is found of a notebook in the file."""
    with closing(Store(path)) as store:
        summary = store.conversations.newest(notebook)
        assert summary is not None
        return store.conversations.load(summary.id).history


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "chats.db"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with closing(Store(tmp_path_factory.mktemp("kept") / "chats.db")) as store:
        yield store


# What was, is again.


@unhurried
@given(original=histories(), when=st.sets(st.integers(0, 12)), data=st.data())
def test_a_conversation_is_loaded_as_saved_and_a_fork_is_independent(
    store: Store, original: list[History], when: set[int], data: st.DataObject
) -> None:
    mine, written = store.conversations.create(HERE, "me", NOW), 0
    for n, history in enumerate(original):
        if n in when or history is original[-1]:  # some changes are written one by one, some together
            store.conversations.save_history(mine, history, written, {"ttl": n}, NOW + n)
            written = len(history.versions)
    last = original[-1]
    copy = store.conversations.fork(mine, "/notebooks/other.ipynb", NOW)[0]
    for number in (mine, copy):
        stored = store.conversations.load(number)
        assert stored.history == last
        assert (stored.name, stored.settings, stored.saved_versions) == (
            "me",
            {"ttl": len(original) - 1},
            len(last.versions),
        )
    more = data.draw(steps(store.conversations.load(copy).history))
    store.conversations.save_history(copy, more, len(last.versions), {}, NOW)
    assert store.conversations.load(copy).history == more
    assert store.conversations.load(mine).history == last
    assert _walked(store.conversations.load(copy).history) == _walked(more)


def _walked(history: History) -> list[Conversation]:
    """All that undo and redo come by, on every branch."""
    seen = []
    for branch in history.branches:
        here = history.switch(branch.name)
        for go in (History.redo, History.undo, History.redo):
            while (following := go(here)) is not here:
                seen.append(following.current)
                here = following
    return seen


@unhurried
@given(original=histories(), unfinished=turns, place=places)
def test_a_draft_is_loaded_in_its_place_until_the_next_change(
    store: Store, original: list[History], unfinished: Turn, place: Placement
) -> None:
    last, mine = original[-1], store.conversations.create(HERE, "", NOW)
    store.conversations.save_history(mine, last, 0, {}, NOW)
    for draft in (turn(1), unfinished):  # as it grows, what was is replaced
        store.conversations.save_draft(mine, draft, place, NOW)
    stored = store.conversations.load(mine)
    after = last.change(place_turn(last.current, unfinished, place))
    assert stored.history == after
    assert stored.saved_versions == len(last.versions)
    store.conversations.save_history(mine, after, stored.saved_versions, {}, NOW)
    again = store.conversations.load(mine)
    assert (again.history, again.saved_versions) == (after, len(after.versions))


digests, counts = st.binary(min_size=16, max_size=16), st.integers(0, 10**7)
times = st.floats(0, 2e9)
entries = st.builds(CacheEntry, st.sampled_from([300, 3600]), times, times, st.integers(-1, 99))
memories = st.builds(
    lambda entries, known, ratio, exact, pace: CacheTracker(
        rules_for(*SCOPE[:2]), state=CacheState(entries, known, ratio, exact), pauses=pace
    ),
    st.dictionaries(digests, entries),
    st.dictionaries(digests, counts),
    st.floats(0.1, 9),
    st.booleans(),
    st.builds(PauseStats, counts, counts, st.none() | times, st.floats(0, 1)),
)


@unhurried
@given(tracker=memories)
def test_a_cache_tracker_is_loaded_as_saved(store: Store, tracker: CacheTracker) -> None:
    mine = store.conversations.create(HERE, "", NOW)
    store.conversations.save_history(mine, history_of(turn(1)), 0, {}, NOW)
    store.conversations.save_tracker(mine, SCOPE, CacheTracker(tracker.rules))
    store.conversations.save_tracker(mine, SCOPE, tracker)
    for number in (mine, store.conversations.fork(mine, HERE, NOW)[0]):
        assert store.conversations.load(number).trackers == ((SCOPE, tracker),)


def test_a_loaded_tracker_expects_to_read_the_saved_prefix(store: Store) -> None:
    conversation = Conversation("be brief", tuple(turn(n, "word " * 2000) for n in range(5)))
    tracker = CacheTracker(rules_for(*SCOPE[:2]), minimum=1024)
    first = tracker.prepare(prompt_messages(conversation, turn(6)), RequestOptions(), NOW)
    expected = first.expected
    tracker, _ = tracker.record_usage(
        first,
        Usage(
            input=expected.input,
            read=expected.read,
            written=expected.written,
            written_1h=expected.written_1h,
            output=9,
        ),
    )
    mine = store.conversations.create(HERE, "", NOW)
    store.conversations.save_tracker(mine, SCOPE, tracker)
    ((_, again),) = store.conversations.load(mine).trackers
    longer = prompt_messages(replace(conversation, all_turns=(*conversation.all_turns, turn(6))), turn(7))
    plans = [
        each.resumed(longer, RequestOptions()).prepare(longer, RequestOptions(), NOW + 60)
        for each in (tracker, replace(again, minimum=1024))
    ]
    assert plans[0].expected == plans[1].expected
    assert plans[1].expected.read > 1024


def test_a_large_attachment_is_stored_once_for_all_turns(path: Path) -> None:
    from ipycachechat.conversation.messages import Attachment

    file = Attachment("image/png", "A" * 100 * MIN_SHARED_FILE)
    history = history_of(*(Turn((f"look {n}", file), (Message("assistant", "ok"),)) for n in range(20)))
    recorder = start_recorder(path)
    recorder.save(history)
    recorder.save_draft(Turn(("look again", file), ()), END)
    assert not recorder.problem
    assert stored_history(path).undo() == history.change(stored_history(path).current).undo()
    assert sum(file.stat().st_size for file in path.parent.iterdir()) < 5 * 100 * MIN_SHARED_FILE


# The file.


def test_only_the_user_can_read_the_file(path: Path) -> None:
    old = os.umask(0)
    try:
        recorder = start_recorder(path)
        recorder.save(history_of(turn(1)))
    finally:
        os.umask(old)
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    assert modes == dict.fromkeys(["chats.db", "chats.db-wal", "chats.db-shm"], 0o600)


def old_file(path: Path) -> None:
    """A file as the first form had it, with a turn in it."""
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as db:
        db.executescript(MIGRATIONS[0])
        db.execute("PRAGMA user_version=1")
        db.execute("INSERT INTO meta VALUES('secret', ?)", (b"s" * 32,))
        db.execute("INSERT INTO conversations VALUES(7, ?, 'me', 1, 2, 'main', 1, '{}', NULL, NULL)", (HERE,))
        turn_json = '{"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}],'
        db.execute(
            "INSERT INTO turns VALUES(?, ?)", (b"d" * 16, turn_json + '"model": "m", "state": "complete"}')
        )
        db.execute("INSERT INTO versions VALUES(7, 0, -1, '\"\"', '[]', 0, 0, x'')")
        db.execute("INSERT INTO versions VALUES(7, 1, 0, '\"be brief\"', '[]', 0, 0, ?)", (b"d" * 16,))
        db.execute("INSERT INTO branches VALUES(7, 0, 'main', 1, 1, '', 0)")
        db.commit()


def test_a_file_with_an_older_schema_is_migrated_with_all_its_data(path: Path) -> None:
    old_file(path)
    summary = find_stored(path, HERE)
    assert summary is not None and (summary.id, summary.turns) == (7, 1)
    recorder, session = start_chat(path)
    persistence.resume(session, recorder)
    now = session.history.current
    assert now == Conversation("be brief", (Turn("q", (Message("assistant", "a"),), model="m"),))
    assert session.client.identity == CallerIdentity("me", b"s" * 32)
    session.versions.change(lambda _: session.history.change(place_turn(now, turn(1), END)))
    recorder.save_bill(*sample_bill())
    assert not recorder.problem
    assert (
        len(stored_history(path).current.turns) == 2 and len(stored_history(path).undo().current.turns) == 1
    )
    assert [spent.requests for spent in recorder.spending()] == [1]
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),)


def test_every_older_schema_is_migrated_to_the_same_tables(tmp_path: Path) -> None:
    tables = []
    for form in range(len(MIGRATIONS) + 1):
        path = tmp_path / f"{form}.db"
        with closing(sqlite3.connect(path)) as db:
            db.executescript(";".join(MIGRATIONS[:form]) + f"; PRAGMA user_version={form}")
        Store(path).close()
        with closing(sqlite3.connect(path)) as db:
            tables.append(set(db.execute("SELECT name, sql FROM sqlite_schema")))
    assert len(tables[0]) == 12 and all(table == tables[0] for table in tables)


def test_a_draft_in_an_older_schema_is_found_before_and_resumed_after_the_migration(path: Path) -> None:
    old_file(path)
    draft = '{"messages": [{"role": "user", "content": "more"}, {"role": "assistant", "content": "so f"}],'
    with closing(sqlite3.connect(path)) as db:
        row = (7, draft + '"model": "m", "state": "interrupted"}', '{"rerun": "replace", "order": []}')
        db.execute("INSERT INTO growing VALUES(?, ?, ?)", row)
        db.commit()
    before, original = find_stored(path, HERE), path.read_bytes()
    assert before is not None and before.has_draft
    assert path.read_bytes() == original  # %load_ext migrates nothing
    recorder, session = start_chat(path)
    persistence.resume(session, recorder)
    assert [turn.answer_text for turn in session.history.current.turns] == ["a", "so f"]
    assert not recorder.problem


def test_a_kernel_of_an_older_version_fails_with_an_error_once_a_newer_one_has_migrated_its_file(
    path: Path,
) -> None:
    path.parent.mkdir()
    with closing(sqlite3.connect(path, isolation_level=None)) as older:
        older.execute("PRAGMA journal_mode=WAL")
        older.executescript(";".join(MIGRATIONS[:4]) + "; PRAGMA user_version=4")
        older.execute("INSERT INTO meta VALUES('secret', ?)", (b"s" * 32,))
        older.execute("INSERT INTO growing VALUES(99, '{}', '{}')")
        with closing(Store(path)) as newer:  # while the older kernel is running
            newer.conversations.save_history(
                newer.conversations.create(HERE, "", NOW), history_of(turn(1)), 0, {}, NOW
            )
            for table in ("growing", "held"):  # the error that it reports; nothing is lost in silence
                with pytest.raises(sqlite3.OperationalError, match=f"no such table: {table}"):
                    older.execute(f"INSERT INTO {table} VALUES(2, '{{}}', '{{}}')")
            older.execute("INSERT INTO requests(at, notebook, model) VALUES(1, 'n', 'm')")  # its bills count
            assert [row.requests for row in newer.usage.by_day()] == [1]
            assert newer.database.fetch("SELECT conversation FROM drafts") == [(99,)]
    assert stored_history(path) == history_of(turn(1))


def test_discovery_creates_no_file(path: Path) -> None:
    assert find_stored(path, HERE) is None
    assert not path.parent.exists()
    path.parent.mkdir()
    assert find_stored(path, HERE) is None
    assert not [*path.parent.iterdir()]
    recorder = start_recorder(path)
    recorder.save_draft(turn(1), END)
    files, original = {*path.parent.iterdir()}, path.read_bytes()
    summary = find_stored(path, HERE)
    assert summary is not None and summary.has_draft and not summary.turns
    assert find_stored(path, "/notebooks/other.ipynb") is None
    assert {*path.parent.iterdir()} == files and path.read_bytes() == original


def test_an_empty_conversation_is_not_saved(path: Path) -> None:
    recorder = start_recorder(path)
    recorder.save(History.starting_with(Conversation("be brief")))
    with closing(Store(path)) as store:
        assert store.conversations.notebooks() == [] and store.conversations.newest(HERE) is None


def test_two_stores_on_one_path_see_what_the_other_writes(path: Path) -> None:
    with closing(Store(path)) as first, closing(Store(path)) as second:
        assert first.database.secret == second.database.secret
        mine = first.conversations.create(HERE, "", NOW)
        first.conversations.save_history(mine, history_of(turn(1)), 0, {}, NOW)
        assert second.conversations.load(mine).history == history_of(turn(1))
        theirs = second.conversations.fork(mine, "/notebooks/other.ipynb", NOW + 1)[0]
        second.conversations.save_draft(theirs, turn(2), END, NOW + 2)
        assert first.conversations.load(theirs).history == history_of(turn(1), turn(2))
        assert first.conversations.notebooks() == ["/notebooks/other.ipynb", HERE]
        assert mine != theirs and first.conversations.create(HERE, "", NOW) not in (mine, theirs)


def test_many_threads_with_stores_of_their_own_lose_nothing(path: Path) -> None:
    problems: list[str] = []

    def write(number: int) -> None:
        recorder, history = start_recorder(path, f"/notebooks/{number}.ipynb"), History()
        for n in range(60):
            recorder.save_draft(turn(n, "so far"), END)
            history = history.change(place_turn(history.current, turn(n), END))
            recorder.save(history)
            recorder.save_bill(*sample_bill())
        problems.append(recorder.problem)

    threads = [threading.Thread(target=write, args=[number]) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == [""] * 6
    for number in range(6):
        assert stored_history(path, f"/notebooks/{number}.ipynb") == history_of(*map(turn, range(60)))
    with closing(Store(path)) as store:
        assert sum(spent.requests for spent in store.usage.by_day()) == 360


# Taking up.


def test_a_resumed_conversation_continues_in_a_copy(path: Path) -> None:
    first, old = start_chat(path)
    old.versions.change(lambda _: history_of(turn(1)))
    first.save_draft(turn(2), END)
    second, new = start_chat(path)
    stored = persistence.resume(new, second)
    assert (stored.settings, stored.warm_until) == ({"model": "openai/gpt"}, 0.0)
    assert new.history == history_of(turn(1), turn(2))
    assert new.client.identity == old.client.identity
    old.versions.change(lambda _: history_of(turn(1), turn(3)))  # its kernel is still there
    assert new.versions.undo()
    assert not first.problem and not second.problem
    assert stored_history(path) == history_of(turn(1), turn(2)).undo()


def test_turns_before_a_resume_stay_as_a_branch(path: Path) -> None:
    _, old = start_chat(path, "/notebooks/other.ipynb")
    old.versions.change(lambda _: history_of(turn(1)).fork("aside"))
    recorder, session = start_chat(path)
    session.versions.change(lambda _: history_of(turn(2)))
    persistence.resume(session, recorder, "other")
    assert (
        session.history.current == history_of(turn(1)).current and session.history.current_branch == "aside"
    )
    assert session.history.switch("main-2").current == history_of(turn(2)).current
    assert stored_history(path) == session.history
    assert not recorder.problem


def test_an_earlier_conversation_is_found_after_this_kernel_has_saved_its_own(path: Path) -> None:
    _, old = start_chat(path)
    old.versions.change(lambda _: history_of(turn(1)))
    recorder, new = start_chat(path)
    new.versions.change(lambda _: history_of(turn(3)))
    persistence.resume(new, recorder)
    assert new.history.current == history_of(turn(1)).current
    assert new.history.switch("main-2").current == history_of(turn(3)).current
    with pytest.raises(BadInput, match="No other conversation is saved"):  # that was all there is
        persistence.resume(new, recorder)


def test_a_resumed_draft_replaces_the_turn_that_it_reran(path: Path) -> None:
    recorder, original = start_recorder(path), history_of(turn(1), turn(2))
    recorder.save(original)
    recorder.save_draft(turn(9), Placement(replaces=original.current.turns[0]))
    assert stored_history(path).current.turns == (turn(9), turn(2))


def test_cached_prefixes_are_known_after_a_resume(path: Path) -> None:
    recorder, session = start_chat(path)
    session.versions.change(lambda _: history_of(turn(1)))
    state = CacheState({b"e" * 16: CacheEntry(300, NOW, NOW + 300, 4)})
    record, endpoint, _ = sample_bill()
    recorder.save_bill(record, endpoint, CacheTracker(rules_for(*SCOPE[:2]), state=state))
    local, of_it = CacheEntry(9, NOW, NOW + 9000), ("llama.cpp", "local")
    recorder.save_bill(
        record,
        replace(endpoint, cache_scope=of_it),
        CacheTracker(rules_for(*of_it), state=CacheState({b"l" * 16: local})),
    )
    other, again = start_chat(path)
    assert persistence.resume(again, other).warm_until == NOW + 300
    assert again.client.trackers.get(endpoint).state.entries == state.entries
    assert not again.client.trackers.get(
        replace(endpoint, cache_scope=of_it)
    ).state.entries  # that server has ended


def test_another_notebooks_conversation_is_resumed_by_name(path: Path) -> None:
    for n, name in enumerate(["/a/old.ipynb", "/b/data.ipynb", "/c/data.ipynb"]):
        start_recorder(path, name).save(history_of(turn(n)))
    for name, n in (("old", 0), ("data.ipynb", 2), ("/b/", 1)):
        recorder, session = start_chat(path, f"/notebooks/{n}")
        persistence.resume(session, recorder, name)
        assert session.history == history_of(turn(n))
        session.versions.set_system("else")
        assert stored_history(path, f"/notebooks/{n}") == session.history
        assert not recorder.problem
    assert stored_history(path, "/b/data.ipynb") == history_of(turn(1))


def test_a_conversation_that_is_written_during_a_resume_is_complete(path: Path) -> None:
    first, over = start_recorder(path), threading.Event()
    first.save(history_of(turn(0)))

    def write() -> None:
        history = history_of(turn(0))
        for n in range(1, 1000):
            history = history.change(place_turn(history.current, turn(n), END))
            first.save(history.fork(f"branch-{n}") if n == 100 else history)
            if over.wait(0.002):
                return

    thread = threading.Thread(target=write)
    thread.start()
    for n in range(20):
        other, session = start_chat(path, f"/notebooks/{n}")
        persistence.resume(session, other, HERE)
        history = session.history
        assert history.current.turns == tuple(map(turn, range(len(history.versions) - 1)))
        session.versions.set_system("be brief")
        assert not other.problem
        assert stored_history(path, f"/notebooks/{n}") == session.history
    over.set()
    thread.join()
    assert not first.problem


def test_after_a_resume_that_finds_nothing_turns_are_saved(path: Path) -> None:
    recorder, session = start_chat(path)
    for name, message in (
        ("", "No conversation is saved for this notebook"),
        ("data", "No conversation is saved for 'data'"),
    ):
        with pytest.raises(BadInput, match=message):
            persistence.resume(session, recorder, name)
    session.versions.change(lambda _: history_of(turn(1)))
    assert not recorder.problem
    assert stored_history(path) == history_of(turn(1))
    with pytest.raises(BadInput):  # but what it has said itself
        persistence.resume(session, recorder)
    session.versions.change(lambda _: history_of(turn(1), turn(2)))
    assert stored_history(path) == history_of(turn(1), turn(2))


def test_a_damaged_conversation_is_not_resumed(path: Path) -> None:
    start_recorder(path).save(history_of(turn(1)))
    with closing(sqlite3.connect(path)) as db:
        db.execute("DELETE FROM turns")
        db.commit()
    recorder, session = start_chat(path)
    with pytest.raises(BadInput, match="damaged"):
        persistence.resume(session, recorder)
    session.versions.change(lambda _: history_of(turn(2)))
    assert not recorder.problem and stored_history(path) == history_of(turn(2))


def test_without_a_store_there_is_nothing_to_resume(tmp_path: Path) -> None:
    idle, session = Recorder(HERE), ChatSession()
    persistence.connect(session, idle)
    with pytest.raises(BadInput, match="Conversations are not saved"):
        persistence.resume(session, idle)
    save_everything(idle)
    assert not idle.problem and not [*tmp_path.iterdir()]


def test_a_file_that_others_could_read_becomes_private(path: Path) -> None:
    path.parent.mkdir()
    path.touch(0o644)
    start_recorder(path).save(history_of(turn(1)))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_file_that_another_kernel_has_open_becomes_private_too(path: Path) -> None:
    recorder = start_recorder(path)
    recorder.save(history_of(turn(1)))
    files = [*path.parent.iterdir()]
    assert len(files) == 3
    for file in files:
        file.chmod(0o644)
    with closing(Store(path)):
        assert [stat.S_IMODE(file.stat().st_mode) for file in files] == [0o600] * 3


def test_a_forked_process_writes_its_own_conversation(path: Path) -> None:
    recorder, history = start_recorder(path), history_of(turn(1))
    recorder.save(history)
    if (child := os.fork()) == 0:
        recorder.save(history.change(place_turn(history.current, turn(100), END)))
        os._exit(0 if not recorder.problem else 1)
    assert os.waitpid(child, 0)[1] == 0
    recorder.save(history.change(place_turn(history.current, turn(2), END)))
    assert not recorder.problem
    assert stored_history(path).current.turns == (turn(1), turn(2))


def test_threads_that_change_one_conversation_lose_nothing(path: Path) -> None:
    recorder, session = start_chat(path)

    def write(number: int) -> None:
        for n in range(40):
            place = turn(100 * number + n)
            session.versions.change(
                lambda history, new=place: history.change(place_turn(history.current, new, END))
            )  # type: ignore[misc]

    threads = [threading.Thread(target=write, args=[number]) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(session.history.current.turns) == 160
    assert not recorder.problem and stored_history(path) == session.history


def test_a_change_without_effect_keeps_the_draft(path: Path) -> None:
    recorder, session = start_chat(path)
    session.versions.change(lambda _: history_of(turn(1)))
    recorder.save_draft(turn(2), END)
    session.versions.attach({"nothing"})
    assert stored_history(path).current.turns == (turn(1), turn(2))
    recorder.delete_draft()
    assert stored_history(path).current.turns == (turn(1),)


def test_cached_prefixes_are_resumed_also_after_this_kernel_has_sent_requests(path: Path) -> None:
    recorder, session = start_chat(path)
    session.versions.change(lambda _: history_of(turn(1)))
    record, endpoint, _ = sample_bill()
    recorder.save_bill(
        record,
        endpoint,
        CacheTracker(endpoint.rules, state=CacheState({b"e" * 16: CacheEntry(300, NOW, NOW + 300, 4)})),
    )
    other, again = start_chat(path)
    mine = {b"m" * 16: CacheEntry(300, NOW, NOW + 9, 2)}
    again.client.trackers.put(endpoint, CacheTracker(endpoint.rules, state=CacheState(mine)))
    persistence.resume(again, other)
    assert {*again.client.trackers.get(endpoint).state.entries} == {b"e" * 16, b"m" * 16}


def test_invalid_unicode_in_names_and_prompts_stops_nothing(path: Path) -> None:
    recorder = start_recorder(path, os.fsdecode(b"/notebooks/\xff.ipynb"))
    save_everything(recorder)
    assert len(recorder.problem.splitlines()) < 2
    other = start_recorder(path)
    other.save(History().change(Conversation("\ud800", (turn(1),))))
    assert len(other.problem.splitlines()) < 2


# Files that cannot be used.


def sample_bill() -> tuple[RequestRecord, ModelEndpoint, CacheTracker]:
    """Of a request."""
    rules = rules_for(*SCOPE[:2])
    endpoint = ModelEndpoint(
        model="openai/gpt",
        litellm_model="openai/gpt",
        rules=rules,
        price=FREE,
        max_output_tokens=None,
        min_cacheable_tokens=1024,
        cache_scope=SCOPE,
    )
    record = RequestRecord(
        model="openai/gpt",
        sent_at=NOW,
        expected=ExpectedUsage(9, 0, 0, 0, exact=True),
        usage=NOTHING_REPORTED,
        cost=Cost(0.5, 0.1),
    )
    return record, endpoint, CacheTracker(rules)


def newer(path: Path) -> None:
    with closing(Store(path)) as store:  # who is closed last writes all into the file
        store.conversations.save_history(
            store.conversations.create(HERE, "me", NOW), history_of(turn(1)), 0, {}, NOW
        )
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version=99")


def noise(path: Path) -> None:
    path.write_bytes(random.randbytes(50_000))


def cut(share: float) -> Callable[[Path], None]:
    """A file of which only the beginning is left."""

    def make(path: Path) -> None:
        with closing(Store(path)) as store:
            history = history_of(*(turn(n, "word " * 1000) for n in range(50)))
            store.conversations.save_history(store.conversations.create(HERE, "", NOW), history, 0, {}, NOW)
        os.truncate(path, int(path.stat().st_size * share))

    return make


def text(path: Path) -> None:
    path.write_text("my notes\n" * 100)


def save_everything(recorder: Recorder) -> None:
    """All that a recorder may hear."""
    persistence.connect(ChatSession(), recorder)
    recorder.save(history_of(turn(1)))
    recorder.save_draft(turn(2), END)
    recorder.save(history_of(turn(1), turn(2)))
    recorder.save_bill(*sample_bill())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (newer, "was written by a newer ipycachechat (format 99; this one knows"),
        (noise, "file is not a database"),
        (text, "file is not a database"),
        (cut(0.0002), "database"),
        (cut(0.3), "malformed"),
        (cut(0.9), "malformed"),
        (Path.mkdir, "Is a directory"),
    ],
)
def test_an_unusable_file_is_reported_once_and_left_unchanged(
    path: Path, make: Callable[[Path], None], message: str
) -> None:
    path.parent.mkdir(mode=0o700)
    make(path)
    original = path.read_bytes() if path.is_file() else b""
    recorder = start_recorder(path)
    save_everything(recorder)
    problem = recorder.problem
    assert problem.startswith("ipycachechat: the conversation continues, but is not saved (")
    assert message in problem and str(path) in problem and len(problem.splitlines()) == 1
    save_everything(recorder)
    assert not recorder.problem
    with pytest.raises(BadInput) as raised:
        persistence.resume(ChatSession(), recorder)
    assert message in raised.value.message
    with pytest.raises(BadInput):
        recorder.spending()
    assert (path.read_bytes() if path.is_file() else b"") == original


def test_missed_versions_are_saved_once_the_file_can_be_used(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path.parent.mkdir()
    noise(path)
    recorder = start_recorder(path)
    recorder.save(history_of(turn(1)))
    assert recorder.problem
    path.unlink()
    recorder.save(history_of(turn(1), turn(2)))  # too soon
    assert not path.exists()
    recorder._connection.retry_now(report=False)
    recorder.save(history_of(turn(1), turn(2), turn(3)))
    assert stored_history(path) == history_of(turn(1), turn(2), turn(3))
    assert not recorder.problem


def test_another_file_is_used_at_once(path: Path, tmp_path: Path) -> None:
    path.parent.mkdir()
    noise(path)
    recorder, elsewhere = start_recorder(path), tmp_path / "elsewhere.db"
    recorder.save(history_of(turn(1)))
    assert recorder.problem
    recorder.start(lambda: elsewhere, dict)  # as a user may choose after the message
    recorder.save(history_of(turn(1), turn(2)))
    assert not recorder.problem
    assert stored_history(elsewhere) == history_of(turn(1), turn(2))


def test_a_file_is_used_again_after_another_could_not_be_opened(path: Path, tmp_path: Path) -> None:
    recorder, broken = start_recorder(path), tmp_path / "broken.db"
    noise(broken)
    recorder.save(history_of(turn(1)))
    recorder.start(lambda: broken, dict)
    recorder.save(history_of(turn(1), turn(2)))
    assert "file is not a database" in recorder.problem
    recorder.start(lambda: path, dict)
    recorder.save(history_of(turn(1), turn(2), turn(3)))
    assert not recorder.problem
    assert stored_history(path) == history_of(turn(1), turn(2), turn(3))


@contextmanager
def as_another_user(folder: Path) -> Iterator[None]:
    """Not root, who may write anywhere."""
    if os.geteuid():
        yield
        return
    for file in (folder, *folder.rglob("*")):
        os.chown(file, NOBODY, NOBODY)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.parametrize("exists", [False, True])
def test_a_read_only_folder_stops_nothing(exists: bool) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = folder / "chats.db"
        if exists:
            with closing(Store(path)) as store:
                store.conversations.save_history(
                    store.conversations.create(HERE, "", NOW), history_of(turn(1)), 0, {}, NOW
                )
            path.chmod(0o400)
        original = path.read_bytes() if exists else b""
        with as_another_user(folder):
            folder.chmod(0o500)
            recorder = start_recorder(path)
            save_everything(recorder)
            problem = recorder.problem
            save_everything(recorder)
            again = recorder.problem
            folder.chmod(0o700)
        assert (
            re.search("Permission denied|readonly database", problem) and str(path) in problem and not again
        )
        assert [*folder.iterdir()] == ([path] if exists else [])
        assert not exists or path.read_bytes() == original


@contextmanager
def full() -> Iterator[None]:
    """No file can become longer than a megabyte, as on a disk that is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("length", [300_000, 6_000_000])  # within what SQLite holds in memory, and beyond
def test_a_full_disk_stops_nothing_and_loses_no_saved_data(path: Path, length: int) -> None:
    recorder, other = start_recorder(path), start_recorder(path, "/notebooks/other.ipynb")
    history = history_of(turn(0))
    recorder.save(history)
    other.save(history)
    last, problem = history, ""
    with full():
        for n in range(1, 10):
            history = history.change(
                place_turn(history.current, turn(n, random.randbytes(length // 2).hex()), END)
            )
            recorder.save(history)
            if problem := recorder.problem:
                break
            last = history
        save_everything(recorder)
    assert problem.startswith("ipycachechat: the conversation continues, but is not saved (")
    assert not recorder.problem
    assert "rollback" not in problem  # but what went wrong
    assert stored_history(path) == last
    other.save(history_of(turn(0), turn(1)))  # no one is locked out
    assert not other.problem
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_the_days_spending_includes_bills_and_reservations_of_all_kernels(path: Path) -> None:
    first, second = Store(path), Store(path)
    noon = time.mktime((2026, 3, 1, 12, 0, 0, 0, 0, -1))
    held, left = first.usage.reserve(0.6, 1.0, noon)
    assert held is not None and left == 1.0
    assert second.usage.reserve(0.5, 1.0, noon) == (None, pytest.approx(0.4))
    assert second.usage.reserve(0.5, 1.0, noon + 24 * 3600)[0] is not None  # another day
    first.usage.settle(held, 0.0, noon)
    first.usage.add("a", [replace(sample_bill()[0], sent_at=noon, cost=Cost(0.1, 0.0))])
    assert second.usage.spent(noon) == pytest.approx(0.1)
    second.usage.settle(None, 0.3, noon)  # of a request whose bill is not known
    first.close()
    second.close()
    assert Store(path).usage.spent(noon) == pytest.approx(0.4)
    assert Store(path).usage.spent(noon - 24 * 3600) == 0.0


def test_a_stopped_request_counts_once_in_the_day_with_its_cost_bound(path: Path) -> None:
    recorder = start_recorder(path)
    persistence.connect(ChatSession(), recorder)
    record, endpoint, tracker = sample_bill()
    lower = replace(
        record,
        usage=Usage(input=1000, read=0, written=0, output=1, at_least=True),
        cost=Cost(0.1, 0.0, at_least=True),
    )
    recorder.save_bill(lower, endpoint, tracker)
    recorder.settle(None, BudgetCharge(0.4, exact=False), NOW)
    assert recorder.spent(NOW) == pytest.approx(0.4)
    (spent,) = recorder.spending()
    assert spent.paid == pytest.approx(0.1) and spent.unknown_cost == spent.unknown_tokens == 1


def test_tokens_of_a_broken_answer_are_a_lower_bound_also_without_a_price(path: Path) -> None:
    recorder = start_recorder(path)
    record, endpoint, tracker = sample_bill()
    recorder.save_bill(
        replace(record, usage=Usage(input=9, read=0, written=0, output=1, at_least=True), cost=Cost()),
        endpoint,
        tracker,
    )
    assert [spent.unknown_tokens for spent in recorder.spending()] == [1]
