"""Draw a streaming answer in a terminal: with rich's markdown if it is installed, else as plain text."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar

from ipycachechat.conversation.events import (
    Progress,
    RetryScheduled,
    StreamBroken,
    StreamChunk,
    ToolCallFinished,
    ToolCallStarted,
)
from ipycachechat.engine.events import TurnResult, Waiting
from ipycachechat.notebook.display.screen import SOONEST, Outputs, Screen, waiting_text
from ipycachechat.rendering import answer, badge
from ipycachechat.rendering.answer import CallSegment, Segment, TextSegment
from ipycachechat.rendering.format import write_stdout
from ipycachechat.rendering.markdown import MAX_DEPTH
from ipycachechat.rendering.markdown_escape import MAX_LENGTH, is_tangled
from ipycachechat.rendering.markdown_rules import dialect_plugin
from ipycachechat.rendering.maths import maths_plugin
from ipycachechat.rendering.streaming_answer import AnswerEvent, StreamingAnswer
from ipycachechat.text import sanitize

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.live import Live
    from rich.markdown import Markdown


def screen() -> Screen:
    """The one for this terminal."""
    shows_styles = sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"
    if shows_styles and (getattr(sys.stdout, "encoding", None) or "").lower().replace("-", "") == "utf8":
        try:
            from rich.console import Console
        except ImportError:
            return PlainScreen()
        return RichScreen(Console())
    return PlainScreen()


class PlainScreen:
    """The answer as plain text, as it comes, a line for each call, and the badge as a line."""

    def __init__(self) -> None:
        self.outputs: Outputs | None = None
        self._told = ""
        self._text = ""
        """From the last line on that is not printed whole."""
        self._printed = 0
        """Characters of it."""
        self._any = self._visible = False
        """True if anything was printed, and anything but blanks came."""

    def show_status(self, on: Waiting, seconds: float) -> None:
        told = on.label if isinstance(on, Progress) else ""
        if isinstance(on, RetryScheduled):
            told = f"{on.reason}. Retrying in {on.seconds:.0f} s"
        if told and told != self._told:
            self._told = told
            write_stdout(f"[{told}…]\n")

    def on_event(self, event: AnswerEvent) -> None:
        match event:
            case StreamChunk(text, thought):
                if thought and self._told != "thinking":
                    self._told = "thinking"
                    write_stdout("[thinking…]\n")
                self._add(text)
            case StreamBroken():
                self._add("\n\n[Connection lost, retrying]\n\n")
            case ToolCallFinished(call, result):
                gap = "\n\n" if self._visible else ""
                self._add(f"{gap}{answer.call_line(CallSegment(call, result))}\n\n")

    def _add(self, text: str) -> None:
        self._text += text
        self._visible |= bool(text.strip())
        # A control sequence may be cut in two by the stream: what may be the beginning of one waits.
        whole = re.sub(r"(\r|[\x1b\x90-\x9f][^\n]{0,80})\Z", "", self._text)
        self._print(sanitize.clean(whole))
        # No sequence goes beyond its line, so what is before it need not be read again.
        line = whole.rfind("\n") + 1
        self._text = self._text[line:]
        self._printed = max(0, self._printed - len(sanitize.clean(whole[:line])))

    def tick(self) -> None:
        pass

    def before_other_output(self) -> None:
        pass

    def close(self) -> None:
        pass

    def done(self, done: TurnResult) -> None:
        self._print(sanitize.clean(self._text))
        if self._any:
            write_stdout("\n")
        if done.turn is not None:
            write_stdout(f"[{badge.to_text(done)}]\n")

    def _print(self, clean: str) -> None:
        write_stdout(clean[self._printed :])
        self._any |= bool(clean)
        self._printed = max(self._printed, len(clean))


class RichScreen:
    """Finished blocks are printed once; below them the rest is redrawn as it grows."""

    def __init__(self, console: Console) -> None:
        self.outputs: Outputs | None = None
        self._console = console
        self._answer = StreamingAnswer()
        self._live: Live | None = None
        self._drawn_at = 0.0

    def show_status(self, on: Waiting, seconds: float) -> None:
        if not self._answer.segments:
            self._draw(_line(waiting_text(on, seconds)))

    def on_event(self, event: AnswerEvent) -> None:
        match event:
            case ToolCallStarted():
                self._print()
            case StreamChunk():
                self._answer.add(event)
                self.tick()
            case StreamBroken():
                self._print()
                self._console.print(_line("[Connection lost, retrying]"))
            case ToolCallFinished(call, result):
                self._console.print(_line(answer.call_line(CallSegment(call, result))))

    def tick(self) -> None:
        if not self._answer.rest or time.monotonic() - self._drawn_at < SOONEST:
            return
        begun = time.monotonic()
        if finished := self._answer.take_finished():
            self._console.print(_rendered(finished), "")
        self._draw(_rendered(self._answer.rest))
        ended = time.monotonic()
        self._drawn_at = ended + 3 * (ended - begun)

    def before_other_output(self) -> None:
        self._print()

    def done(self, done: TurnResult) -> None:
        self._print()
        if done.turn is not None:
            self._console.print(_line(f"[{badge.to_text(done)}]"))

    def close(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None
        self._console.show_cursor(True)

    def _draw(self, shown: RenderableType) -> None:
        from rich.live import Live

        if self._live is None:
            self._live = Live(
                console=self._console,
                auto_refresh=False,
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._live.start()
        self._live.update(_End(shown), refresh=True)

    def _print(self) -> None:
        """Print what has arrived so far, for good."""
        if self._live is not None:
            self._live.stop()
            self._live = None
        if self._answer.rest:
            self._console.print(_rendered(self._answer.rest))
        self._answer = StreamingAnswer()


class _End:
    """The last rows of something, as many as the terminal has: what is new is there."""

    def __init__(self, shown: RenderableType) -> None:
        self._shown = shown

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Any]:
        from rich.segment import Segment

        lines = console.render_lines(self._shown, options.update(height=None), pad=False)
        for line in lines[-max(1, console.height - 1) :]:
            yield from line
            yield Segment.line()


def _rendered(shown: list[Segment]) -> RenderableType:
    """As rich's markdown, or as text what nobody would write."""
    from rich.console import Group

    told: list[Any] = []
    for one in shown:
        if isinstance(one, TextSegment):
            told.append(_markdown(sanitize.clean(one.text)))
        elif isinstance(one, CallSegment):
            told.append(_line(answer.call_line(one)))
        else:
            told.append(_line("[thinking…]"))
    return Group(*told)


def _markdown(source: str) -> RenderableType:
    """Rich's, of tokens of our own: raw HTML is text, maths is code, and nothing is left out."""
    from rich.text import Text as Plain

    if len(source) > MAX_LENGTH or is_tangled(source):
        return Plain(source)
    try:
        tokens = _parser().parse(source)
    except RecursionError:
        return Plain(source)
    if any(token.level >= MAX_DEPTH - 2 for token in tokens):
        return Plain(source)
    for token in tokens:
        for one in (token, *(token.children or ())):
            if one.type.startswith("maths_"):
                one.type, one.tag = "code_inline" if one.type == "maths_inline" else "fence", "code"
    made = _dense()("", hyperlinks=False, code_theme="ansi_dark")
    made.parsed = tokens
    return made


@cache
def _dense() -> type[Markdown]:
    """Rich's markdown, with no empty lines above and below code."""
    from rich.markdown import CodeBlock, Markdown
    from rich.syntax import Syntax

    class Code(CodeBlock):
        def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Syntax]:
            code = str(self.text).rstrip()
            yield Syntax(code, self.lexer_name, theme=self.theme, word_wrap=True, padding=(0, 1))

    class Dense(Markdown):
        elements: ClassVar = {**Markdown.elements, "fence": Code, "code_block": Code}

    return Dense


@cache
def _parser() -> MarkdownIt:
    from markdown_it import MarkdownIt

    parser = MarkdownIt("commonmark", {"html": False, "maxNesting": MAX_DEPTH})
    parser.enable(["table", "strikethrough"])
    parser.disable("reference")  # which would take a footnote away
    maths_plugin(parser)
    dialect_plugin(parser)
    return parser


def _line(text: str) -> RenderableType:
    """Text in which nothing is markup."""
    from rich.text import Text

    return Text(sanitize.clean(text), style="dim")
