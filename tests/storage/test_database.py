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

from ipycachechat.billing.cost_bound import BudgetCharge
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


def of(*said: Turn) -> History:
    """A history with a version for each turn."""
    history = History()
    for one in said:
        history = history.change(place_turn(history.current, one, END))
    return history


def recorder(path: Path, notebook: str = HERE) -> Recorder:
    """One at work."""
    made = Recorder(notebook)
    made.start(lambda: path, lambda: {"model": "openai/gpt"})
    return made


def chat(path: Path, notebook: str = HERE) -> tuple[Recorder, ChatSession]:
    """One at work, and the conversation that it hears of."""
    made, dialogue = recorder(path, notebook), ChatSession()
    persistence.connect(dialogue, made)
    return made, dialogue


def kept(path: Path, notebook: str = HERE) -> History:
    """What is found of a notebook in the file."""
    with closing(Store(path)) as store:
        found = store.conversations.newest(notebook)
        assert found is not None
        return store.conversations.load(found.id).history


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "chats.db"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with closing(Store(tmp_path_factory.mktemp("kept") / "chats.db")) as store:
        yield store


# What was, is again.


@unhurried
@given(was=histories(), when=st.sets(st.integers(0, 12)), data=st.data())
def test_a_conversation_is_loaded_as_saved_and_a_fork_is_independent(
    store: Store, was: list[History], when: set[int], data: st.DataObject
) -> None:
    mine, written = store.conversations.create(HERE, "me", NOW), 0
    for n, history in enumerate(was):
        if n in when or history is was[-1]:  # some changes are written one by one, some together
            store.conversations.save_history(mine, history, written, {"ttl": n}, NOW + n)
            written = len(history.versions)
    last = was[-1]
    copy = store.conversations.fork(mine, "/notebooks/other.ipynb", NOW)[0]
    for number in (mine, copy):
        found = store.conversations.load(number)
        assert found.history == last
        assert (found.name, found.settings, found.saved_versions) == (
            "me",
            {"ttl": len(was) - 1},
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
            while (to := go(here)) is not here:
                seen.append(to.current)
                here = to
    return seen


@unhurried
@given(was=histories(), unfinished=turns, place=places)
def test_a_draft_is_loaded_in_its_place_until_the_next_change(
    store: Store, was: list[History], unfinished: Turn, place: Placement
) -> None:
    last, mine = was[-1], store.conversations.create(HERE, "", NOW)
    store.conversations.save_history(mine, last, 0, {}, NOW)
    for one in (turn(1), unfinished):  # as it grows, what was is replaced
        store.conversations.save_draft(mine, one, place, NOW)
    found = store.conversations.load(mine)
    after = last.change(place_turn(last.current, unfinished, place))
    assert found.history == after
    assert found.saved_versions == len(last.versions)
    store.conversations.save_history(mine, after, found.saved_versions, {}, NOW)
    again = store.conversations.load(mine)
    assert (again.history, again.saved_versions) == (after, len(after.versions))


digests, counts = st.binary(min_size=16, max_size=16), st.integers(0, 10**7)
times = st.floats(0, 2e9)
entries = st.builds(CacheEntry, st.sampled_from([300, 3600]), times, times, st.integers(-1, 99))
memories = st.builds(
    lambda entries, known, ratio, exact, pace: CacheTracker(
        rules_for(*SCOPE[:2]), CacheState(entries, known, ratio, exact), pauses=pace
    ),
    st.dictionaries(digests, entries),
    st.dictionaries(digests, counts),
    st.floats(0.1, 9),
    st.booleans(),
    st.builds(PauseStats, counts, counts, st.none() | times, st.floats(0, 1)),
)


@unhurried
@given(memory=memories)
def test_a_cache_tracker_is_loaded_as_saved(store: Store, memory: CacheTracker) -> None:
    mine = store.conversations.create(HERE, "", NOW)
    store.conversations.save_history(mine, of(turn(1)), 0, {}, NOW)
    store.conversations.save_tracker(mine, SCOPE, CacheTracker(memory.rules))
    store.conversations.save_tracker(mine, SCOPE, memory)
    for number in (mine, store.conversations.fork(mine, HERE, NOW)[0]):
        assert store.conversations.load(number).trackers == ((SCOPE, memory),)


def test_a_loaded_tracker_expects_to_read_the_saved_prefix(store: Store) -> None:
    conversation = Conversation("be brief", tuple(turn(n, "word " * 2000) for n in range(5)))
    memory = CacheTracker(rules_for(*SCOPE[:2]))
    first = memory.prepare(prompt_messages(conversation, turn(6)), RequestOptions(), 1024, NOW)
    told = first.plan.expected
    memory, _ = memory.record_usage(first, Usage(told.input, told.read, told.written, told.written_1h, 9))
    mine = store.conversations.create(HERE, "", NOW)
    store.conversations.save_tracker(mine, SCOPE, memory)
    ((_, again),) = store.conversations.load(mine).trackers
    longer = prompt_messages(replace(conversation, all_turns=(*conversation.all_turns, turn(6))), turn(7))
    plans = [
        one.resumed(longer, RequestOptions()).prepare(longer, RequestOptions(), 1024, NOW + 60).plan
        for one in (memory, again)
    ]
    assert plans[0].expected == plans[1].expected
    assert plans[1].expected.read > 1024


def test_a_large_attachment_is_stored_once_for_all_turns(path: Path) -> None:
    from ipycachechat.conversation.messages import Attachment

    file = Attachment("image/png", "A" * 100 * MIN_SHARED_FILE)
    history = of(*(Turn((f"look {n}", file), (Message("assistant", "ok"),)) for n in range(20)))
    one = recorder(path)
    one.save(history)
    one.save_draft(Turn(("look again", file), ()), END)
    assert not one.problem
    assert kept(path).undo() == history.change(kept(path).current).undo()
    assert sum(file.stat().st_size for file in path.parent.iterdir()) < 5 * 100 * MIN_SHARED_FILE


# The file.


def test_only_the_user_can_read_the_file(path: Path) -> None:
    old = os.umask(0)
    try:
        one = recorder(path)
        one.save(of(turn(1)))
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
        told = '{"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}],'
        db.execute("INSERT INTO turns VALUES(?, ?)", (b"d" * 16, told + '"model": "m", "state": "complete"}'))
        db.execute("INSERT INTO versions VALUES(7, 0, -1, '\"\"', '[]', 0, 0, x'')")
        db.execute("INSERT INTO versions VALUES(7, 1, 0, '\"be brief\"', '[]', 0, 0, ?)", (b"d" * 16,))
        db.execute("INSERT INTO branches VALUES(7, 0, 'main', 1, 1, '', 0)")
        db.commit()


def test_a_file_with_an_older_schema_is_migrated_with_all_its_data(path: Path) -> None:
    old_file(path)
    found = find_stored(path, HERE)
    assert found is not None and (found.id, found.turns) == (7, 1)
    one, dialogue = chat(path)
    persistence.resume(dialogue, one)
    now = dialogue.history.current
    assert now == Conversation("be brief", (Turn("q", (Message("assistant", "a"),), model="m"),))
    assert dialogue.client.identity == CallerIdentity("me", b"s" * 32)
    dialogue.history = dialogue.history.change(place_turn(now, turn(1), END))
    one.save_bill(*bill())
    assert not one.problem
    assert len(kept(path).current.turns) == 2 and len(kept(path).undo().current.turns) == 1
    assert [spent.requests for spent in one.spending()] == [1]
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
    assert len(tables[0]) == 12 and all(one == tables[0] for one in tables)


def test_a_draft_in_an_older_schema_is_found_before_and_resumed_after_the_migration(path: Path) -> None:
    old_file(path)
    draft = '{"messages": [{"role": "user", "content": "more"}, {"role": "assistant", "content": "so f"}],'
    with closing(sqlite3.connect(path)) as db:
        row = (7, draft + '"model": "m", "state": "interrupted"}', '{"rerun": "replace", "order": []}')
        db.execute("INSERT INTO growing VALUES(?, ?, ?)", row)
        db.commit()
    before, was = find_stored(path, HERE), path.read_bytes()
    assert before is not None and before.has_draft
    assert path.read_bytes() == was  # %load_ext migrates nothing
    one, chat_session = chat(path)
    persistence.resume(chat_session, one)
    assert [turn.answer_text for turn in chat_session.history.current.turns] == ["a", "so f"]
    assert not one.problem


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
                newer.conversations.create(HERE, "", NOW), of(turn(1)), 0, {}, NOW
            )
            for table in ("growing", "held"):  # the error that it reports; nothing goes where nobody looks
                with pytest.raises(sqlite3.OperationalError, match=f"no such table: {table}"):
                    older.execute(f"INSERT INTO {table} VALUES(2, '{{}}', '{{}}')")
            older.execute("INSERT INTO requests(at, notebook, model) VALUES(1, 'n', 'm')")  # its bills count
            assert [row.requests for row in newer.usage.by_day()] == [1]
            assert newer.database.fetch("SELECT conversation FROM drafts") == [(99,)]
    assert kept(path) == of(turn(1))


def test_discovery_creates_no_file(path: Path) -> None:
    assert find_stored(path, HERE) is None
    assert not path.parent.exists()
    path.parent.mkdir()
    assert find_stored(path, HERE) is None
    assert not [*path.parent.iterdir()]
    one = recorder(path)
    one.save_draft(turn(1), END)
    there, was = {*path.parent.iterdir()}, path.read_bytes()
    found = find_stored(path, HERE)
    assert found is not None and found.has_draft and not found.turns
    assert find_stored(path, "/notebooks/other.ipynb") is None
    assert {*path.parent.iterdir()} == there and path.read_bytes() == was


def test_an_empty_conversation_is_not_saved(path: Path) -> None:
    one = recorder(path)
    one.save(History.starting_with(Conversation("be brief")))
    with closing(Store(path)) as store:
        assert store.conversations.notebooks() == [] and store.conversations.newest(HERE) is None


def test_two_stores_on_one_path_see_what_the_other_writes(path: Path) -> None:
    with closing(Store(path)) as one, closing(Store(path)) as two:
        assert one.database.secret == two.database.secret
        mine = one.conversations.create(HERE, "", NOW)
        one.conversations.save_history(mine, of(turn(1)), 0, {}, NOW)
        assert two.conversations.load(mine).history == of(turn(1))
        theirs = two.conversations.fork(mine, "/notebooks/other.ipynb", NOW + 1)[0]
        two.conversations.save_draft(theirs, turn(2), END, NOW + 2)
        assert one.conversations.load(theirs).history == of(turn(1), turn(2))
        assert one.conversations.notebooks() == ["/notebooks/other.ipynb", HERE]
        assert mine != theirs and one.conversations.create(HERE, "", NOW) not in (mine, theirs)


def test_many_threads_with_stores_of_their_own_lose_nothing(path: Path) -> None:
    problems: list[str] = []

    def write(number: int) -> None:
        one, history = recorder(path, f"/notebooks/{number}.ipynb"), History()
        for n in range(60):
            one.save_draft(turn(n, "so far"), END)
            history = history.change(place_turn(history.current, turn(n), END))
            one.save(history)
            one.save_bill(*bill())
        problems.append(one.problem)

    threads = [threading.Thread(target=write, args=[number]) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == [""] * 6
    for number in range(6):
        assert kept(path, f"/notebooks/{number}.ipynb") == of(*map(turn, range(60)))
    with closing(Store(path)) as store:
        assert sum(spent.requests for spent in store.usage.by_day()) == 360


# Taking up.


def test_a_resumed_conversation_continues_in_a_copy(path: Path) -> None:
    first, old = chat(path)
    old.history = of(turn(1))
    first.save_draft(turn(2), END)
    second, new = chat(path)
    stored = persistence.resume(new, second)
    assert (stored.settings, stored.warm_until) == ({"model": "openai/gpt"}, 0.0)
    assert new.history == of(turn(1), turn(2))
    assert new.client.identity == old.client.identity
    old.history = of(turn(1), turn(3))  # its kernel is still there
    assert new.versions.undo()
    assert not first.problem and not second.problem
    assert kept(path) == of(turn(1), turn(2)).undo()


def test_turns_before_a_resume_stay_as_a_branch(path: Path) -> None:
    _, old = chat(path, "/notebooks/other.ipynb")
    old.history = of(turn(1)).fork("aside")
    one, dialogue = chat(path)
    dialogue.history = of(turn(2))
    persistence.resume(dialogue, one, "other")
    assert dialogue.history.current == of(turn(1)).current and dialogue.history.current_branch == "aside"
    assert dialogue.history.switch("main-2").current == of(turn(2)).current
    assert kept(path) == dialogue.history
    assert not one.problem


def test_an_earlier_conversation_is_found_after_this_kernel_has_saved_its_own(path: Path) -> None:
    _, old = chat(path)
    old.history = of(turn(1))
    one, new = chat(path)
    new.history = of(turn(3))
    persistence.resume(new, one)
    assert new.history.current == of(turn(1)).current
    assert new.history.switch("main-2").current == of(turn(3)).current
    with pytest.raises(BadInput, match="No other conversation is saved"):  # that was all there is
        persistence.resume(new, one)


def test_a_resumed_draft_replaces_the_turn_that_it_reran(path: Path) -> None:
    one, was = recorder(path), of(turn(1), turn(2))
    one.save(was)
    one.save_draft(turn(9), Placement(replaces=was.current.turns[0]))
    assert kept(path).current.turns == (turn(9), turn(2))


def test_cached_prefixes_are_known_after_a_resume(path: Path) -> None:
    one, dialogue = chat(path)
    dialogue.history = of(turn(1))
    state = CacheState({b"e" * 16: CacheEntry(300, NOW, NOW + 300, 4)})
    booked, to, _ = bill()
    one.save_bill(booked, to, CacheTracker(rules_for(*SCOPE[:2]), state))
    local, of_it = CacheEntry(9, NOW, NOW + 9000), ("llama.cpp", "local")
    one.save_bill(
        booked,
        replace(to, cache_scope=of_it),
        CacheTracker(rules_for(*of_it), CacheState({b"l" * 16: local})),
    )
    two, again = chat(path)
    assert persistence.resume(again, two).warm_until == NOW + 300
    assert again.client.trackers.get(to).state.entries == state.entries
    assert not again.client.trackers.get(
        replace(to, cache_scope=of_it)
    ).state.entries  # that server has ended


def test_another_notebooks_conversation_is_resumed_by_name(path: Path) -> None:
    for n, name in enumerate(["/a/old.ipynb", "/b/data.ipynb", "/c/data.ipynb"]):
        recorder(path, name).save(of(turn(n)))
    for name, n in (("old", 0), ("data.ipynb", 2), ("/b/", 1)):
        one, dialogue = chat(path, f"/notebooks/{n}")
        persistence.resume(dialogue, one, name)
        assert dialogue.history == of(turn(n))
        dialogue.versions.set_system("else")
        assert kept(path, f"/notebooks/{n}") == dialogue.history
        assert not one.problem
    assert kept(path, "/b/data.ipynb") == of(turn(1))


def test_a_conversation_that_is_written_during_a_resume_is_complete(path: Path) -> None:
    first, over = recorder(path), threading.Event()
    first.save(of(turn(0)))

    def write() -> None:
        history = of(turn(0))
        for n in range(1, 1000):
            history = history.change(place_turn(history.current, turn(n), END))
            first.save(history.fork(f"branch-{n}") if n == 100 else history)
            if over.wait(0.002):
                return

    thread = threading.Thread(target=write)
    thread.start()
    for n in range(20):
        other, dialogue = chat(path, f"/notebooks/{n}")
        persistence.resume(dialogue, other, HERE)
        there = dialogue.history
        assert there.current.turns == tuple(map(turn, range(len(there.versions) - 1)))
        dialogue.versions.set_system("be brief")
        assert not other.problem
        assert kept(path, f"/notebooks/{n}") == dialogue.history
    over.set()
    thread.join()
    assert not first.problem


def test_after_a_resume_that_finds_nothing_turns_are_saved(path: Path) -> None:
    one, dialogue = chat(path)
    for name, told in (
        ("", "No conversation is saved for this notebook"),
        ("data", "No conversation is saved for 'data'"),
    ):
        with pytest.raises(BadInput, match=told):
            persistence.resume(dialogue, one, name)
    dialogue.history = of(turn(1))
    assert not one.problem
    assert kept(path) == of(turn(1))
    with pytest.raises(BadInput):  # but what it has said itself
        persistence.resume(dialogue, one)
    dialogue.history = of(turn(1), turn(2))
    assert kept(path) == of(turn(1), turn(2))


def test_a_damaged_conversation_is_not_resumed(path: Path) -> None:
    recorder(path).save(of(turn(1)))
    with closing(sqlite3.connect(path)) as db:
        db.execute("DELETE FROM turns")
        db.commit()
    one, dialogue = chat(path)
    with pytest.raises(BadInput, match="damaged"):
        persistence.resume(dialogue, one)
    dialogue.history = of(turn(2))
    assert not one.problem and kept(path) == of(turn(2))


def test_without_a_store_there_is_nothing_to_resume(tmp_path: Path) -> None:
    idle, dialogue = Recorder(HERE), ChatSession()
    persistence.connect(dialogue, idle)
    with pytest.raises(BadInput, match="Conversations are not saved"):
        persistence.resume(dialogue, idle)
    heard(idle)
    assert not idle.problem and not [*tmp_path.iterdir()]


def test_a_file_that_others_could_read_becomes_private(path: Path) -> None:
    path.parent.mkdir()
    path.touch(0o644)
    recorder(path).save(of(turn(1)))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_file_that_another_kernel_has_open_becomes_private_too(path: Path) -> None:
    one = recorder(path)
    one.save(of(turn(1)))
    files = [*path.parent.iterdir()]
    assert len(files) == 3
    for file in files:
        file.chmod(0o644)
    with closing(Store(path)):
        assert [stat.S_IMODE(file.stat().st_mode) for file in files] == [0o600] * 3


def test_a_forked_process_writes_its_own_conversation(path: Path) -> None:
    one, history = recorder(path), of(turn(1))
    one.save(history)
    if (child := os.fork()) == 0:
        one.save(history.change(place_turn(history.current, turn(100), END)))
        os._exit(0 if not one.problem else 1)
    assert os.waitpid(child, 0)[1] == 0
    one.save(history.change(place_turn(history.current, turn(2), END)))
    assert not one.problem
    assert kept(path).current.turns == (turn(1), turn(2))


def test_threads_that_change_one_conversation_lose_nothing(path: Path) -> None:
    one, dialogue = chat(path)

    def write(number: int) -> None:
        for n in range(40):
            place = turn(100 * number + n)
            dialogue.versions.change(
                lambda history, new=place: history.change(place_turn(history.current, new, END))
            )  # type: ignore[misc]

    threads = [threading.Thread(target=write, args=[number]) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(dialogue.history.current.turns) == 160
    assert not one.problem and kept(path) == dialogue.history


def test_a_change_without_effect_keeps_the_draft(path: Path) -> None:
    one, dialogue = chat(path)
    dialogue.history = of(turn(1))
    one.save_draft(turn(2), END)
    dialogue.versions.attach({"nothing"})
    assert kept(path).current.turns == (turn(1), turn(2))
    one.delete_draft()
    assert kept(path).current.turns == (turn(1),)


def test_cached_prefixes_are_resumed_also_after_this_kernel_has_sent_requests(path: Path) -> None:
    one, dialogue = chat(path)
    dialogue.history = of(turn(1))
    booked, to, _ = bill()
    one.save_bill(
        booked, to, CacheTracker(to.rules, CacheState({b"e" * 16: CacheEntry(300, NOW, NOW + 300, 4)}))
    )
    two, again = chat(path)
    mine = {b"m" * 16: CacheEntry(300, NOW, NOW + 9, 2)}
    again.client.trackers.put(to, CacheTracker(to.rules, CacheState(mine)))
    persistence.resume(again, two)
    assert {*again.client.trackers.get(to).state.entries} == {b"e" * 16, b"m" * 16}


def test_invalid_unicode_in_names_and_prompts_stops_nothing(path: Path) -> None:
    one = recorder(path, os.fsdecode(b"/notebooks/\xff.ipynb"))
    heard(one)
    assert len(one.problem.splitlines()) < 2
    two = recorder(path)
    two.save(History().change(Conversation("\ud800", (turn(1),))))
    assert len(two.problem.splitlines()) < 2


# Files that cannot be used.


def bill() -> tuple[RequestRecord, ModelEndpoint, CacheTracker]:
    """Of a request."""
    by = rules_for(*SCOPE[:2])
    to = ModelEndpoint(
        model="openai/gpt",
        litellm_model="openai/gpt",
        rules=by,
        price=FREE,
        max_output_tokens=None,
        min_cacheable_tokens=1024,
        cache_scope=SCOPE,
    )
    booked = RequestRecord(
        "openai/gpt", NOW, ExpectedUsage(9, 0, 0, 0, exact=True), NOTHING_REPORTED, Cost(0.5, 0.1)
    )
    return booked, to, CacheTracker(by)


def newer(path: Path) -> None:
    with closing(Store(path)) as store:  # who is closed last writes all into the file
        store.conversations.save_history(store.conversations.create(HERE, "me", NOW), of(turn(1)), 0, {}, NOW)
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version=99")


def noise(path: Path) -> None:
    path.write_bytes(random.randbytes(50_000))


def cut(share: float) -> Callable[[Path], None]:
    """A file of which only the beginning is left."""

    def make(path: Path) -> None:
        with closing(Store(path)) as store:
            history = of(*(turn(n, "word " * 1000) for n in range(50)))
            store.conversations.save_history(store.conversations.create(HERE, "", NOW), history, 0, {}, NOW)
        os.truncate(path, int(path.stat().st_size * share))

    return make


def text(path: Path) -> None:
    path.write_text("my notes\n" * 100)


def heard(one: Recorder) -> None:
    """All that a recorder may hear."""
    persistence.connect(ChatSession(), one)
    one.save(of(turn(1)))
    one.save_draft(turn(2), END)
    one.save(of(turn(1), turn(2)))
    one.save_bill(*bill())


@pytest.mark.parametrize(
    ("make", "told"),
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
    path: Path, make: Callable[[Path], None], told: str
) -> None:
    path.parent.mkdir(mode=0o700)
    make(path)
    was = path.read_bytes() if path.is_file() else b""
    one = recorder(path)
    heard(one)
    problem = one.problem
    assert problem.startswith("ipycachechat: the conversation continues, but is not saved (")
    assert told in problem and str(path) in problem and len(problem.splitlines()) == 1
    heard(one)
    assert not one.problem
    with pytest.raises(BadInput) as raised:
        persistence.resume(ChatSession(), one)
    assert told in raised.value.message
    with pytest.raises(BadInput):
        one.spending()
    assert (path.read_bytes() if path.is_file() else b"") == was


def test_missed_versions_are_saved_once_the_file_can_be_used(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path.parent.mkdir()
    noise(path)
    one = recorder(path)
    one.save(of(turn(1)))
    assert one.problem
    path.unlink()
    one.save(of(turn(1), turn(2)))  # too soon
    assert not path.exists()
    one._connection.retry_now(report=False)
    one.save(of(turn(1), turn(2), turn(3)))
    assert kept(path) == of(turn(1), turn(2), turn(3))
    assert not one.problem


def test_another_file_is_used_at_once(path: Path, tmp_path: Path) -> None:
    path.parent.mkdir()
    noise(path)
    one, elsewhere = recorder(path), tmp_path / "elsewhere.db"
    one.save(of(turn(1)))
    assert one.problem
    one.start(lambda: elsewhere, dict)  # as a person who is told of it may choose
    one.save(of(turn(1), turn(2)))
    assert not one.problem
    assert kept(elsewhere) == of(turn(1), turn(2))


def test_a_file_is_used_again_after_another_could_not_be_opened(path: Path, tmp_path: Path) -> None:
    one, broken = recorder(path), tmp_path / "broken.db"
    noise(broken)
    one.save(of(turn(1)))
    one.start(lambda: broken, dict)
    one.save(of(turn(1), turn(2)))
    assert "file is not a database" in one.problem
    one.start(lambda: path, dict)
    one.save(of(turn(1), turn(2), turn(3)))
    assert not one.problem
    assert kept(path) == of(turn(1), turn(2), turn(3))


@contextmanager
def nobody(folder: Path) -> Iterator[None]:
    """Not root, who may write anywhere."""
    if os.geteuid():
        yield
        return
    for one in (folder, *folder.rglob("*")):
        os.chown(one, NOBODY, NOBODY)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.parametrize("there", [False, True])
def test_a_read_only_folder_stops_nothing(there: bool) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = folder / "chats.db"
        if there:
            with closing(Store(path)) as store:
                store.conversations.save_history(
                    store.conversations.create(HERE, "", NOW), of(turn(1)), 0, {}, NOW
                )
            path.chmod(0o400)
        was = path.read_bytes() if there else b""
        with nobody(folder):
            folder.chmod(0o500)
            one = recorder(path)
            heard(one)
            problem = one.problem
            heard(one)
            again = one.problem
            folder.chmod(0o700)
        assert (
            re.search("Permission denied|readonly database", problem) and str(path) in problem and not again
        )
        assert [*folder.iterdir()] == ([path] if there else [])
        assert not there or path.read_bytes() == was


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
    one, other = recorder(path), recorder(path, "/notebooks/other.ipynb")
    history = of(turn(0))
    one.save(history)
    other.save(history)
    last, problem = history, ""
    with full():
        for n in range(1, 10):
            history = history.change(
                place_turn(history.current, turn(n, random.randbytes(length // 2).hex()), END)
            )
            one.save(history)
            if problem := one.problem:
                break
            last = history
        heard(one)
    assert problem.startswith("ipycachechat: the conversation continues, but is not saved (")
    assert not one.problem
    assert "rollback" not in problem  # but what went wrong
    assert kept(path) == last
    other.save(of(turn(0), turn(1)))  # nobody is locked out
    assert not other.problem
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_the_days_spending_includes_bills_and_reservations_of_all_kernels(path: Path) -> None:
    one, other = Store(path), Store(path)
    noon = time.mktime((2026, 3, 1, 12, 0, 0, 0, 0, -1))
    held, left = one.usage.reserve(0.6, 1.0, noon)
    assert held is not None and left == 1.0
    assert other.usage.reserve(0.5, 1.0, noon) == (None, pytest.approx(0.4))
    assert other.usage.reserve(0.5, 1.0, noon + 24 * 3600)[0] is not None  # another day
    one.usage.settle(held, 0.0, noon)
    one.usage.add("a", [replace(bill()[0], sent_at=noon, cost=Cost(0.1, 0.0))])
    assert other.usage.spent(noon) == pytest.approx(0.1)
    other.usage.settle(None, 0.3, noon)  # of a request whose bill is not known
    one.close()
    other.close()
    assert Store(path).usage.spent(noon) == pytest.approx(0.4)
    assert Store(path).usage.spent(noon - 24 * 3600) == 0.0


def test_a_stopped_request_counts_once_in_the_day_with_its_cost_bound(path: Path) -> None:
    one = recorder(path)
    persistence.connect(ChatSession(), one)
    booked, to, memory = bill()
    lower = replace(booked, usage=Usage(1000, 0, 0, 0, 1, at_least=True), cost=Cost(0.1, 0.0, at_least=True))
    one.save_bill(lower, to, memory)
    one.settle(None, BudgetCharge(0.4, exact=False), NOW)
    assert one.spent(NOW) == pytest.approx(0.4)
    (spent,) = one.spending()
    assert spent.paid == pytest.approx(0.1) and spent.unknown_cost == spent.unknown_tokens == 1


def test_tokens_of_a_broken_answer_are_a_lower_bound_also_without_a_price(path: Path) -> None:
    one = recorder(path)
    booked, to, memory = bill()
    one.save_bill(replace(booked, usage=Usage(9, 0, 0, 0, 1, at_least=True), cost=Cost()), to, memory)
    assert [spent.unknown_tokens for spent in one.spending()] == [1]
