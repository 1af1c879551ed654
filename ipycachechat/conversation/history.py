"""All versions of a conversation: undo, redo and branches."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count

from ipycachechat.conversation.placement import attach, reorder_to_notebook
from ipycachechat.conversation.turns import Conversation, Turn
from ipycachechat.errors import BadInput

MAIN = "main"


@dataclass(frozen=True, slots=True)
class Version:
    """A conversation, and the number of the version that it was made from; -1: none."""

    conversation: Conversation = Conversation()
    parent: int = -1


@dataclass(frozen=True, slots=True)
class Branch:
    """A line of versions. Those between `version` and `redo_tip` were undone and can be redone."""

    name: str = MAIN
    redo_tip: int = 0
    version: int = 0
    """Number of the version that the branch is at."""
    parent: str = ""
    """The branch that it was forked from; "" for the first."""
    forked_at: int = 0
    """Number of the version at which it was forked."""


@dataclass(frozen=True, slots=True)
class History:
    """All versions, by number, and the branches, one of which is current. There is always one of each.

    It is immutable: every method returns a new history.
    """

    versions: tuple[Version, ...] = (Version(),)
    branches: tuple[Branch, ...] = (Branch(),)
    current_branch: str = MAIN
    deleted_cells: tuple[tuple[str, float], ...] = ()
    """Cells reported as deleted, and when: a fact of the notebook, which undo and branches do not change."""
    _current: Conversation | None = field(init=False, compare=False, repr=False, default=None)

    @classmethod
    def starting_with(cls, conversation: Conversation) -> History:
        """Return a history whose first version is this conversation."""
        return cls((Version(conversation),))

    @property
    def branch(self) -> Branch:
        """The current branch."""
        return self.get_branch(self.current_branch)

    def get_branch(self, name: str) -> Branch:
        """Return the branch of that name. Raises BadInput."""
        for branch in self.branches:
            if branch.name == name:
                return branch
        names = ", ".join(branch.name for branch in self.branches)
        raise BadInput(f"There is no branch {name!r}", f"There are: {names}.")

    @property
    def current(self) -> Conversation:
        """The conversation of the current branch, with the turns of deleted cells detached."""
        if self._current is None:
            object.__setattr__(self, "_current", self.conversation_at(self.branch))
        assert self._current is not None
        return self._current

    def conversation_at(self, branch: Branch) -> Conversation:
        """Return the version that a branch is at, with the turns of deleted cells detached."""
        conversation, deleted = self.versions[branch.version].conversation, dict(self.deleted_cells)
        if not any(turn.cell and turn.cell.id in deleted for turn in conversation.all_turns):
            return conversation
        turns = tuple(_detached_if_deleted(turn, deleted) for turn in conversation.all_turns)
        return replace(conversation, all_turns=turns)

    def change(self, conversation: Conversation) -> History:
        """Return the history with the conversation as a new version; itself if nothing changed."""
        if conversation == self.current:
            return self
        number, deleted = len(self.versions), dict(self.deleted_cells)
        turns = tuple(_attached_if_deleted(turn, deleted) for turn in conversation.all_turns)
        versions = (*self.versions, Version(replace(conversation, all_turns=turns), self.branch.version))
        branch = replace(self.branch, redo_tip=number, version=number)
        return replace(self, versions=versions)._with_branch(branch)

    def mark_deleted(self, cells: Collection[str], now: float) -> History:
        """Record these cells as deleted; no version is made."""
        deleted = dict(self.deleted_cells)
        new = tuple((cell, now) for cell in sorted(cells) if cell not in deleted)
        return replace(self, deleted_cells=(*self.deleted_cells, *new)) if new else self

    def mark_restored(self, cells: Collection[str]) -> History:
        """Record these cells as present again and attach their turns, also those that a version has detached."""
        deleted = tuple(entry for entry in self.deleted_cells if entry[0] not in cells)
        history = replace(self, deleted_cells=deleted) if deleted != self.deleted_cells else self
        return history.change(attach(history.current, cells))

    def undo(self) -> History:
        """Go back to the version before; without one the history stays as it is."""
        parent = self.versions[self.branch.version].parent
        return self if parent < 0 else self._with_branch(replace(self.branch, version=parent))

    def redo(self) -> History:
        """Return to the version that was undone last; without one, or after another change, it stays as it is."""
        number = self.branch.redo_tip
        while number >= 0 and self.versions[number].parent != self.branch.version:
            number = self.versions[number].parent
        return self if number < 0 else self._with_branch(replace(self.branch, version=number))

    def fork(self, name: str) -> History:
        """Start a branch at the current version and make it the current one. Raises BadInput."""
        if not name.strip() or len(name.split()) > 1 or not name.isprintable():
            raise BadInput(f"{name!r} cannot be the name of a branch", "Give it a name of one word.")
        if any(branch.name == name for branch in self.branches):
            raise BadInput(
                f"There is already a branch {name!r}",
                f"Continue it with %chat switch {name}, or choose another name.",
            )
        version = self.branch.version
        branch = Branch(name, version, version, self.current_branch, version)
        return replace(self, branches=(*self.branches, branch), current_branch=name)

    def switch(self, name: str) -> History:
        """Make another branch the current one. Raises BadInput."""
        return replace(self, current_branch=self.get_branch(name).name)

    def merge(self, stored: History) -> History:
        """Continue a stored history; the branches of this one are added to it, renamed if their names are taken."""
        if not any(version.conversation.all_turns for version in self.versions):
            return stored
        shift = len(stored.versions)
        taken = {branch.name for branch in stored.branches}
        names = {}
        for branch in self.branches:
            names[branch.name] = next(name for name in _numbered_names(branch.name) if name not in taken)
            taken.add(names[branch.name])
        versions = [
            replace(version, parent=version.parent + shift if version.parent >= 0 else -1)
            for version in self.versions
        ]
        branches = [
            Branch(
                names[b.name],
                b.redo_tip + shift,
                b.version + shift,
                names.get(b.parent, ""),
                b.forked_at + shift,
            )
            for b in self.branches
        ]
        return replace(
            stored,
            versions=(*stored.versions, *versions),
            branches=(*stored.branches, *branches),
            deleted_cells=tuple((dict(self.deleted_cells) | dict(stored.deleted_cells)).items()),
        )

    def reordered(self, order: Sequence[str], saved_at: float, now: float) -> History:
        """Put the turns in the order of the cells of a notebook that was saved at `saved_at`."""
        deleted = tuple(
            (cell, when) for cell, when in self.deleted_cells if cell not in order or when >= saved_at
        )
        history = replace(self, deleted_cells=deleted)
        return history.change(reorder_to_notebook(history.current, order, saved_at, now))

    def _with_branch(self, branch: Branch) -> History:
        """Replace the branch of the same name."""
        return replace(self, branches=tuple(branch if b.name == branch.name else b for b in self.branches))


def _detached_if_deleted(turn: Turn, deleted: Mapping[str, float]) -> Turn:
    if turn.detached is not None or turn.cell is None or turn.cell.id not in deleted:
        return turn
    return replace(turn, detached=deleted[turn.cell.id])


def _attached_if_deleted(turn: Turn, deleted: Mapping[str, float]) -> Turn:
    """Undo `_detached_if_deleted`: a version stores only what it detached itself."""
    if turn.cell is not None and turn.detached is not None and deleted.get(turn.cell.id) == turn.detached:
        return replace(turn, detached=None)
    return turn


def _numbered_names(name: str) -> Iterator[str]:
    """Yield `name`, `name-2`, `name-3` and so on."""
    yield name
    yield from (f"{name}-{number}" for number in count(2))
