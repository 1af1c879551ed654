"""`cell(3)`, `out(3)` and `err` for expressions: the source, the output and the last error of earlier cells."""

from __future__ import annotations

import inspect
import traceback
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any

from ipycachechat.errors import ChatError, TimeLimitExceeded
from ipycachechat.notebook import cell_outputs
from ipycachechat.prompts.duck_typing import PromptValue
from ipycachechat.prompts.sandbox import SandboxFunction
from ipycachechat.text.format import code_fence

if TYPE_CHECKING:
    from ipycachechat.text.redaction_log import RedactionLog

MAX_LOCALS, MAX_REPR = 20, 120
"""Variables of the failing frame that are included, and characters of each."""
MAX_PRINTED = 20_000
"""Characters of what a cell printed."""
_TOP_PACKAGES = ("IPython", "ipykernel", "ipycachechat")
"""Packages whose frames come first in every traceback."""


@dataclass(frozen=True, slots=True)
class CellSource(PromptValue):
    """The source of a cell."""

    source: str

    def text(self, redact: RedactionLog) -> str:
        """Return the source in a code fence."""
        return code_fence(self.source, "python")


@dataclass(frozen=True, slots=True)
class CellError(PromptValue):
    """An error, the cell that raised it, and the values of the variables where it did."""

    error: BaseException
    source: str
    number: int

    def text(self, redact: RedactionLog) -> str:
        """Return the traceback, the cell, and the variables."""
        sections = [
            f"Cell [{self.number}] failed:",
            code_fence(format_traceback(self.error), ""),
            "The cell:",
            code_fence(self.source, "python"),
        ]
        scope, variables = _variables(self.error, redact)
        if variables:
            sections += [f"In `{scope}`:", "\n".join(f"- `{name}` = `{text}`" for name, text in variables)]
        return "\n\n".join(sections)


class CellLookups:
    """The names `cell`, `out` and `err`, for the cells that ran since the extension was loaded."""

    def __init__(self, shell: Any) -> None:
        self._shell = shell
        self.last_error: CellError | None = None
        """The last error of a cell, except those of chats and interrupts."""

    def on_cell_end(self, result: Any) -> None:
        """Keep the error of a cell that has ended, if it failed."""
        error = result.error_in_exec or result.error_before_exec
        if error is not None and not isinstance(error, ChatError | KeyboardInterrupt):
            number = result.execution_count or self._shell.execution_count
            self.last_error = CellError(error, str(getattr(result.info, "raw_cell", "")), number)

    def names(self, redact: RedactionLog) -> dict[str, Any]:
        """Return values by name, for expressions; the kernel's own names take precedence."""
        names: dict[str, Any] = {
            "cell": SandboxFunction("cell", self._cell),
            "out": SandboxFunction("out", partial(self._out, redact=redact)),
        }
        return names | ({"err": self.last_error} if self.last_error else {})

    def _cell(self, number: int) -> CellSource:
        sources = self._shell.history_manager.input_hist_raw
        if not 0 < number < len(sources):
            raise LookupError(f"no cell [{number}] has run in this kernel")
        return CellSource(sources[number].rstrip())

    def _out(self, number: int, redact: RedactionLog) -> Any:
        """Return the value of a cell, or what it printed if it has none."""
        values = self._shell.user_ns.get("Out", {})
        if number in values:
            return values[number]
        outputs = cell_outputs.outputs(self._shell, number)
        printed = [
            redact.truncate_middle(cell_outputs.text(output.bundle), MAX_PRINTED) for output in outputs
        ]
        if not any(printed):
            raise LookupError(f"cell [{number}] has no value, and has printed nothing")
        return "\n".join(filter(None, printed))


def format_traceback(error: BaseException) -> str:
    """Return the traceback as text, starting at the user's own code."""
    summary = traceback.TracebackException.from_exception(error, capture_locals=False)
    seen: set[int] = set()
    cause: traceback.TracebackException | None = summary
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        frames = list(cause.stack)
        while len(frames) > 1 and _is_top_package(frames[0].filename):
            frames.pop(0)
        cause.stack = traceback.StackSummary.from_list(frames)
        cause = cause.__cause__ or cause.__context__
    return cell_outputs.hide_file_names("".join(summary.format()).rstrip())


def _is_top_package(filename: str) -> bool:
    path = filename.replace("\\", "/")
    return "site-packages" in filename and any(f"/{name}/" in path for name in _TOP_PACKAGES)


def _variables(error: BaseException, redact: RedactionLog) -> tuple[str, list[tuple[str, str]]]:
    """Return the name of the innermost frame of the user's own code (else of all), and its variables as text."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    if not frames:
        return "", []
    own_frames = [frame for frame in frames if not _is_library(frame.f_code.co_filename)]
    frame = (own_frames or frames)[-1]
    in_cell = frame.f_code.co_name == "<module>"
    variables = frame.f_locals
    if in_cell:  # all of the notebook's names: keep those that the cell uses
        variables = {name: variables[name] for name in frame.f_code.co_names if name in variables}
    shown = [(name, value) for name, value in variables.items() if _is_shown(name, value)]
    texts: list[tuple[str, str]] = []
    for name, value in shown[:MAX_LOCALS]:
        try:
            texts.append((name, _short_repr(name, value, redact)))
        except TimeLimitExceeded:  # the error itself is still worth sending
            too_long = "it took too long to look at; the others were left out"
            texts.append((name, f"({type(value).__name__}: {too_long})"))
            break
    return "the cell" if in_cell else f"{frame.f_code.co_name}()", texts


def _is_library(filename: str) -> bool:
    return "site-packages" in filename or Path(filename).is_relative_to(Path(inspect.__file__).parent)


def _is_shown(name: str, value: Any) -> bool:
    return not name.startswith("_") and not issubclass(type(value), ModuleType | FunctionType | type)


def _short_repr(name: str, value: Any, redact: RedactionLog) -> str:
    from ipycachechat.text.redaction_log import RedactingRepr  # compiling the patterns takes a moment
    from ipycachechat.text.truncate import strip_addresses

    short = RedactingRepr(redact)
    short.maxother = short.maxstring = MAX_REPR
    try:
        if redact.hides(name):
            return str(redact.mask(name, value))
        shape = getattr(type(value), "shape", None) is not None and getattr(value, "shape", None)
        if isinstance(shape, tuple):
            return f"{type(value).__name__} of shape {shape}"
        return redact.truncate_end(" ".join(strip_addresses(short.repr(value)).split()), MAX_REPR)
    except (Exception, SystemExit) as error:  # one odd value must hide neither the error nor the others
        return f"({type(value).__name__}: {type(error).__name__})"
