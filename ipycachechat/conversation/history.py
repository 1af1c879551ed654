"""All versions of a conversation: undo, redo and branches."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

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
    """A line of versions. What lies between `at` and `tip` was undone and can be done again."""

    name: str = MAIN
    redo_tip: int = 0
    at: int = 0
    parent: str = ""
    """The branch that it was forked from; "" for the first."""
    forked_at: int = 0
    """The version at which it was."""


@dataclass(frozen=True, slots=True)
class History:
    """All versions, by number, and the branches, one of which is gone on with. There is always one of each."""

    versions: tuple[Version, ...] = (Version(),)
    branches: tuple[Branch, ...] = (Branch(),)
    current_branch: str = MAIN
    deleted_cells: tuple[tuple[str, float], ...] = ()
    """Cells that were reported as deleted, and when: a fact of the notebook, which no undo and no branch changes."""
    _current: Conversation | None = field(init=False, compare=False, repr=False, default=None)

    @classmethod
    def of(cls, conversation: Conversation) -> History:
        """One that begins with this conversation."""
        return cls((Version(conversation),))

    @property
    def branch(self) -> Branch:
        """The branch that is gone on with."""
        return self.named(self.current_branch)

    def named(self, name: str) -> Branch:
        """The branch of that name. Raises BadInput."""
        found = next((branch for branch in self.branches if branch.name == name), None)
        if found is None:
            raise BadInput(
                f"There is no branch {name!r}",
                f"There are: {', '.join(branch.name for branch in self.branches)}.",
            )
        return found

    @property
    def current(self) -> Conversation:
        """The version that counts, with the turns of cells that are away detached."""
        if self._current is None:
            object.__setattr__(self, "_current", self.at(self.branch))
        assert self._current is not None
        return self._current

    def at(self, branch: Branch) -> Conversation:
        """The version at which a branch is, with the turns of cells that are away detached."""
        found, away = self.versions[branch.at].conversation, dict(self.deleted_cells)
        if not any(turn.cell and turn.cell.id in away for turn in found.all_turns):
            return found
        return replace(found, all_turns=tuple(_without(turn, away) for turn in found.all_turns))

    def change(self, to: Conversation) -> History:
        """With a new version, unless nothing changed."""
        if to == self.current:
            return self
        number, away = len(self.versions), dict(self.deleted_cells)
        placed = tuple(_with(turn, away) for turn in to.all_turns)
        versions = (*self.versions, Version(replace(to, all_turns=placed), self.branch.at))
        return replace(self, versions=versions)._moved(replace(self.branch, redo_tip=number, at=number))

    def mark_deleted(self, cells: Collection[str], now: float) -> History:
        """With these cells reported as deleted; no version is made."""
        known = dict(self.deleted_cells)
        new = tuple((cell, now) for cell in sorted(cells) if cell not in known)
        return replace(self, deleted_cells=(*self.deleted_cells, *new)) if new else self

    def mark_restored(self, cells: Collection[str]) -> History:
        """With these cells there after all, and their turns too, also those that a version has detached."""
        left = tuple(one for one in self.deleted_cells if one[0] not in cells)
        here = replace(self, deleted_cells=left) if left != self.deleted_cells else self
        return here.change(attach(here.current, cells))

    def undo(self) -> History:
        """At the version before; the same where there is none."""
        parent = self.versions[self.branch.at].parent
        return self if parent < 0 else self._moved(replace(self.branch, at=parent))

    def redo(self) -> History:
        """At the version that was undone last; the same where none was, or something else was changed since."""
        number = self.branch.redo_tip
        while number >= 0 and self.versions[number].parent != self.branch.at:
            number = self.versions[number].parent
        return self if number < 0 else self._moved(replace(self.branch, at=number))

    def fork(self, name: str) -> History:
        """With a branch that goes on from here, and is gone on with. Raises BadInput."""
        self._check(name)
        at = self.branch.at
        branch = Branch(name, at, at, self.current_branch, at)
        return replace(self, branches=(*self.branches, branch), current_branch=name)

    def switch(self, name: str) -> History:
        """With another branch gone on with. Raises BadInput."""
        return replace(self, current_branch=self.named(name).name)

    def merge(self, found: History) -> History:
        """All of another history, gone on with, and of this one what was said in it, as branches of other names."""
        if not any(version.conversation.all_turns for version in self.versions):
            return found
        moved = len(found.versions)
        taken = {branch.name for branch in found.branches}
        names = {}
        for branch in self.branches:
            names[branch.name] = next(name for name in _names(branch.name) if name not in taken)
            taken.add(names[branch.name])
        return replace(
            found,
            versions=found.versions
            + tuple(
                replace(version, parent=version.parent + moved if version.parent >= 0 else -1)
                for version in self.versions
            ),
            branches=found.branches
            + tuple(
                Branch(
                    names[b.name],
                    b.redo_tip + moved,
                    b.at + moved,
                    names.get(b.parent, ""),
                    b.forked_at + moved,
                )
                for b in self.branches
            ),
            deleted_cells=tuple((dict(self.deleted_cells) | dict(found.deleted_cells)).items()),
        )

    def reordered(self, order: Sequence[str], saved: float, now: float) -> History:
        """With the turns in the order of a notebook's cells, as it was saved at that time."""
        left = tuple(one for one in self.deleted_cells if one[0] not in order or one[1] >= saved)
        here = replace(self, deleted_cells=left)
        return here.change(reorder_to_notebook(here.current, order, saved, now))

    def _check(self, name: str) -> None:
        if not name.strip() or len(name.split()) > 1 or not name.isprintable():
            raise BadInput(f"{name!r} is no name for a branch", "Give it a name of one word.")
        if any(branch.name == name for branch in self.branches):
            raise BadInput(
                f"There is a branch {name!r} already",
                f"Go on with it (%chat switch {name}), or choose another name.",
            )

    def _moved(self, branch: Branch) -> History:
        return replace(self, branches=tuple(branch if b.name == branch.name else b for b in self.branches))


def _without(turn: Turn, away: Mapping[str, float]) -> Turn:
    """A turn, detached if its cell is away."""
    if turn.detached is not None or turn.cell is None or turn.cell.id not in away:
        return turn
    return replace(turn, detached=away[turn.cell.id])


def _with(turn: Turn, away: Mapping[str, float]) -> Turn:
    """A turn as its version has it: what is detached only since its cell is away, is not detached there."""
    only = turn.cell is not None and turn.detached is not None and away.get(turn.cell.id) == turn.detached
    return replace(turn, detached=None) if only else turn


def _names(name: str) -> Iterator[str]:
    """The name, else with a number."""
    yield name
    number = 2
    while True:
        yield f"{name}-{number}"
        number += 1
