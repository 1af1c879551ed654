"""`cell(3)`, `out(3)` and `err` for expressions: the source, the output and the last error of earlier cells."""

from __future__ import annotations

import inspect
import reprlib
import traceback
from dataclasses import dataclass
from pathlib import Path
from types import FrameType, FunctionType, ModuleType
from typing import Any

from ipycachechat.errors import ChatError, TimeLimitExceeded
from ipycachechat.notebook import cell_outputs
from ipycachechat.prompts.sandbox import SandboxFunction
from ipycachechat.text.format import code_fence

LOCALS, LETTERS = 20, 120
"""Of the failing frame: how many, and letters of each."""
_OWN = ("IPython", "ipykernel", "ipycachechat")
"""Packages whose frames stand at the top of every error."""


@dataclass(frozen=True, slots=True)
class CellSource:
    """The source of a cell."""

    source: str

    def _repr_markdown_(self) -> str:
        return code_fence(self.source, "python")


@dataclass(frozen=True, slots=True)
class CellError:
    """An error, the cell that failed with it, and what the names stood for where it did."""

    error: BaseException
    source: str
    number: int

    def _repr_markdown_(self) -> str:
        told = [
            f"Cell [{self.number}] failed:",
            code_fence(format_traceback(self.error), ""),
            "The cell:",
            code_fence(self.source, "python"),
        ]
        name, known = _locals(self.error)
        if known:
            told += [f"In `{name}`:", "\n".join(f"- `{one}` = `{value}`" for one, value in known)]
        return "\n\n".join(told)


class CellLookups:
    """The cells that ran, for as long as the extension is loaded."""

    def __init__(self, shell: Any) -> None:
        self._shell = shell
        self.failure: CellError | None = None
        """The last one that was no error of a chat."""

    def on_cell_run(self, result: Any) -> None:
        """A cell has come to its end."""
        error = result.error_in_exec or result.error_before_exec
        if error is not None and not isinstance(error, ChatError | KeyboardInterrupt):
            number = result.execution_count or self._shell.execution_count
            self.failure = CellError(error, str(getattr(result.info, "raw_cell", "")), number)

    @property
    def names(self) -> dict[str, Any]:
        """For expressions, beside those of the kernel, which come first."""
        found: dict[str, Any] = {
            "cell": SandboxFunction("cell", self._cell),
            "out": SandboxFunction("out", self._out),
        }
        return found | ({"err": self.failure} if self.failure else {})

    def _cell(self, number: int) -> CellSource:
        sources = self._shell.history_manager.input_hist_raw
        if not 0 < number < len(sources):
            raise LookupError(f"no cell [{number}] has run in this kernel")
        return CellSource(sources[number].rstrip())

    def _out(self, number: int) -> Any:
        """The value; of a cell without one what it printed."""
        values = self._shell.user_ns.get("Out", {})
        if number in values:
            return values[number]
        printed = [cell_outputs.text(one.bundle) for one in cell_outputs.outputs(self._shell, number)]
        if not any(printed):
            raise LookupError(f"cell [{number}] has no value, and has printed nothing")
        return "\n".join(filter(None, printed))


def format_traceback(error: BaseException) -> str:
    """The traceback from the user's own code on."""
    told = traceback.TracebackException.from_exception(error, capture_locals=False)
    seen: set[int] = set()
    one: traceback.TracebackException | None = told
    while one is not None and id(one) not in seen:
        seen.add(id(one))
        frames = list(one.stack)
        while len(frames) > 1 and _is_ours(frames[0].filename):
            frames.pop(0)
        one.stack = traceback.StackSummary.from_list(frames)
        one = one.__cause__ or one.__context__
    return cell_outputs.renamed("".join(told.format()).rstrip())


def _is_ours(filename: str) -> bool:
    return any(f"/{name}/" in filename.replace("\\", "/") for name in _OWN) and "site-packages" in filename


def _locals(error: BaseException) -> tuple[str, list[tuple[str, str]]]:
    """The innermost frame of the user's own, or else of all, and what its names stood for."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    if not frames:
        return "", []
    own = [frame for frame in frames if not _is_library(frame.f_code.co_filename)]
    frame = (own or frames)[-1]
    values = frame.f_locals
    if frame.f_code.co_name == "<module>":  # where all of the notebook's names are
        values = {name: values[name] for name in frame.f_code.co_names if name in values}
    kept = [(name, value) for name, value in values.items() if _is_told(name, value)]
    told: list[tuple[str, str]] = []
    for name, value in kept[:LOCALS]:
        try:
            told.append((name, _short(value)))
        except TimeLimitExceeded:  # which is no reason to leave out the error
            told.append(
                (name, f"({type(value).__name__}: it took too long to look at; the others were left out)")
            )
            break
    return _named(frame), told


def _is_library(filename: str) -> bool:
    return "site-packages" in filename or Path(filename).is_relative_to(Path(inspect.__file__).parent)


def _named(frame: FrameType) -> str:
    return "the cell" if frame.f_code.co_name == "<module>" else f"{frame.f_code.co_name}()"


def _is_told(name: str, value: Any) -> bool:
    return not name.startswith("_") and not issubclass(type(value), ModuleType | FunctionType | type)


def _short(value: Any) -> str:
    from ipycachechat.text.truncate import (
        strip_addresses,
        truncate_end,  # whose patterns take a moment to make
    )

    short = reprlib.Repr()
    short.maxother = short.maxstring = LETTERS
    try:
        shape = getattr(type(value), "shape", None) is not None and getattr(value, "shape", None)
        if isinstance(shape, tuple):
            return f"{type(value).__name__} of shape {shape}"
        return truncate_end(" ".join(strip_addresses(short.repr(value)).split()), LETTERS)
    except (Exception, SystemExit) as error:  # one name is not to hide the error, nor the others
        return f"({type(value).__name__}: {type(error).__name__})"
