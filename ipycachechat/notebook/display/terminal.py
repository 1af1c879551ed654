"""Draw a streaming answer in a terminal: with rich's markdown if it is installed, else as plain text."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Callable, Iterator
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
from ipycachechat.notebook.display.screen import MIN_INTERVAL, Outputs, Screen, waiting_text
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
    from markdown_it.token import Token
    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.live import Live
    from rich.markdown import Markdown


def screen() -> Screen:
    """Return the screen for this terminal: with styles if it shows them and rich is installed."""
    shows_styles = sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"
    if shows_styles and (getattr(sys.stdout, "encoding", None) or "").lower().replace("-", "") == "utf8":
        try:
            from rich.console import Console
        except ImportError:
            return PlainScreen()
        return RichScreen(Console())
    return PlainScreen()


class PlainScreen:
    """The answer as plain text, printed as it arrives, with a line for each tool call and for the badge."""

    def __init__(self) -> None:
        self.outputs: Outputs | None = None
        self._status = ""
        self._text = ""
        """The text since the last line that was printed in full."""
        self._printed = 0
        """Characters of it that are printed, once sanitized."""
        self._any_output = self._any_text = False
        """True if anything was printed; True if it was not only whitespace."""

    def show_status(self, waiting: Waiting, seconds: float) -> None:
        if isinstance(waiting, RetryScheduled):
            self._print_status(f"{waiting.reason}. Retrying in {waiting.seconds:.0f} s")
        elif isinstance(waiting, Progress):
            self._print_status(waiting.label)

    def _print_status(self, status: str) -> None:
        if status and status != self._status:
            self._status = status
            write_stdout(f"[{status}…]\n")

    def on_event(self, event: AnswerEvent) -> None:
        match event:
            case StreamChunk(text, thought):
                if thought:
                    self._print_status("thinking")
                self._add(text)
            case StreamBroken():
                self._add("\n\n[Connection lost, retrying]\n\n")
            case ToolCallFinished(call, result):
                gap = "\n\n" if self._any_text else ""
                self._add(f"{gap}{answer.call_line(CallSegment(call, result))}\n\n")

    def _add(self, text: str) -> None:
        self._text += text
        self._any_text |= bool(text.strip())
        # The stream may cut a control sequence in two: what may be the beginning of one is not printed yet.
        complete = re.sub(r"(\r|[\x1b\x90-\x9f][^\n]{0,80})\Z", "", self._text)
        self._print(sanitize.clean(complete))
        # No sequence extends beyond its line, so lines printed in full need not be sanitized again.
        line = complete.rfind("\n") + 1
        self._text = self._text[line:]
        self._printed = max(0, self._printed - len(sanitize.clean(complete[:line])))

    def tick(self) -> None:
        pass

    def before_other_output(self) -> None:
        pass

    def close(self) -> None:
        pass

    def finish(self, result: TurnResult) -> None:
        self._print(sanitize.clean(self._text))
        if self._any_output:
            write_stdout("\n")
        if result.turn is not None:
            write_stdout(f"[{badge.to_text(result)}]\n")

    def _print(self, clean: str) -> None:
        write_stdout(clean[self._printed :])
        self._any_output |= bool(clean)
        self._printed = max(self._printed, len(clean))


class RichScreen:
    """The answer as rich's markdown: finished blocks are printed once; the rest is redrawn below them as it grows."""

    def __init__(self, console: Console) -> None:
        self.outputs: Outputs | None = None
        self._console = console
        self._answer = StreamingAnswer()
        self._live: Live | None = None
        self._drawn_at = 0.0

    def show_status(self, waiting: Waiting, seconds: float) -> None:
        if not self._answer.segments:
            self._draw(_line(waiting_text(waiting, seconds)))

    def on_event(self, event: AnswerEvent) -> None:
        match event:
            case ToolCallStarted():
                self._print_rest()
            case StreamChunk():
                self._answer.add(event)
                self.tick()
            case StreamBroken():
                self._print_rest()
                self._console.print(_line("[Connection lost, retrying]"))
            case ToolCallFinished(call, result):
                self._console.print(_line(answer.call_line(CallSegment(call, result))))

    def tick(self) -> None:
        if not self._answer.rest or time.monotonic() - self._drawn_at < MIN_INTERVAL:
            return
        started = time.monotonic()
        if finished := self._answer.take_finished():
            self._console.print(_rendered(finished), "")
        self._draw(_rendered(self._answer.rest))
        ended = time.monotonic()
        self._drawn_at = ended + 3 * (ended - started)

    def before_other_output(self) -> None:
        self._print_rest()

    def finish(self, result: TurnResult) -> None:
        self._print_rest()
        if result.turn is not None:
            self._console.print(_line(f"[{badge.to_text(result)}]"))

    def close(self) -> None:
        self._stop_live()
        self._console.show_cursor(True)

    def _draw(self, rendered: RenderableType) -> None:
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
        self._live.update(_LastRows(rendered), refresh=True)

    def _stop_live(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _print_rest(self) -> None:
        """Print for good what has arrived so far."""
        self._stop_live()
        if self._answer.rest:
            self._console.print(_rendered(self._answer.rest))
        self._answer = StreamingAnswer()


class _LastRows:
    """The last rows of a renderable, as many as fit into the terminal: new text is there."""

    def __init__(self, rendered: RenderableType) -> None:
        self._rendered = rendered

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Any]:
        from rich.segment import Segment

        lines = console.render_lines(self._rendered, options.update(height=None), pad=False)
        for line in lines[-max(1, console.height - 1) :]:
            yield from line
            yield Segment.line()


def _rendered(segments: list[Segment]) -> RenderableType:
    """Return the segments for rich: text as markdown, a line for each tool call and for thinking."""
    from rich.console import Group

    parts: list[Any] = []
    for segment in segments:
        if isinstance(segment, TextSegment):
            parts.append(_markdown(sanitize.clean(segment.text)))
        elif isinstance(segment, CallSegment):
            parts.append(_line(answer.call_line(segment)))
        else:
            parts.append(_line("[thinking…]"))
    return Group(*parts)


def _markdown(source: str) -> RenderableType:
    """Return rich's markdown, but parsed by our rules: raw HTML is text, maths is code, and no letter is lost.

    Text that no parser should have to read is returned as it is.
    """
    from rich.text import Text

    if len(source) > MAX_LENGTH or is_tangled(source):
        return Text(source)
    try:
        tokens = _parser().parse(source)
    except RecursionError:
        return Text(source)
    if any(token.level >= MAX_DEPTH - 2 for token in tokens):
        return Text(source)
    for block in tokens:
        for token in (block, *(block.children or ())):
            if token.type.startswith("maths_"):
                token.type, token.tag = "code_inline" if token.type == "maths_inline" else "fence", "code"
    return _compact_markdown()(tokens)


@cache
def _compact_markdown() -> Callable[[list[Token]], Markdown]:
    """Return rich's Markdown, made from parsed tokens and without empty lines above and below code."""
    from rich.markdown import CodeBlock, Markdown
    from rich.syntax import Syntax

    class CompactCode(CodeBlock):
        def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Syntax]:
            code = str(self.text).rstrip()
            yield Syntax(code, self.lexer_name, theme=self.theme, word_wrap=True, padding=(0, 1))

    class CompactMarkdown(Markdown):
        elements: ClassVar = {**Markdown.elements, "fence": CompactCode, "code_block": CompactCode}

        def __init__(self, tokens: list[Token]) -> None:
            super().__init__("", hyperlinks=False, code_theme="ansi_dark")
            self.parsed = tokens

    return CompactMarkdown


@cache
def _parser() -> MarkdownIt:
    from markdown_it import MarkdownIt

    parser = MarkdownIt("commonmark", {"html": False, "maxNesting": MAX_DEPTH})
    parser.enable(["table", "strikethrough"])
    parser.disable("reference")  # it would remove footnotes
    maths_plugin(parser)
    dialect_plugin(parser)
    return parser


def _line(text: str) -> RenderableType:
    """Return a dim line in which no markup is interpreted."""
    from rich.text import Text

    return Text(sanitize.clean(text), style="dim")
