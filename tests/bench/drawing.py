"""Drawing of a streaming answer in JupyterLab in Chromium: `python tests/bench/drawing.py [--short]`.

For an answer of 9,000 characters at 150 chunks a second, one of 100 kB, and 100 kB in a single block: seconds from the
end of the stream until the text is complete on screen, bytes over the websocket, long tasks of the page's main thread
(over 50 ms each), the longest time without new text on screen while text arrives, and the largest jump back.
"""

from __future__ import annotations

import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TESTS = Path(__file__).parents[1]
sys.path[:0] = [str(TESTS)]

from support.jupyter_page import Lab, write_notebook  # noqa: E402
from wire import Reply, WireServer  # noqa: E402

PIECE = """## Part {n}: what the numbers say

The estimate is $\\hat\\beta = (X^\\top X)^{{-1}} X^\\top y$, which holds while $n > p$. It is **not** robust: a single
outlier moves it, as `df.describe()` shows. See [the notes](https://example.org/notes/{n}) for more on that.

```python
def fit(X, y, ridge={n}):
    # solves the normal equations; `X` is n by p
    gram = X.T @ X + ridge * np.eye(X.shape[1])
    return np.linalg.solve(gram, X.T @ y)  # not inv: it is slower and less exact
```

| term | estimate | error |
|:-----|---------:|------:|
| intercept | 1.{n}2 | 0.11 |
| slope | -0.3{n} | 0.04 |

$$\\sum_{{i<n}} (y_i - x_i^\\top\\beta)^2 + \\lambda \\lVert\\beta\\rVert^2$$

- The first residuals are small, and the last ones are not.
- Try again with `ridge={n}` and compare; {n} is more than enough here.

"""
CODE = "".join(path.read_text() for path in sorted((TESTS.parent / "ipycachechat").rglob("*.py")))
BLOCKS = {
    "one block of code": f"```python\n{CODE[:99_000]}\n```",
    "one table": "| term | estimate | remark |\n|---|--:|---|\n"
    + "| a term of it | 1.25 | robust |\n" * 3_200,
    "one quotation": "> a line of a quotation that goes on\n" * 2_700,
}
RATE = 150  # chunks a second
SAMPLE = """
() => {
  window.seen = []; window.longTasks = [];
  new PerformanceObserver(list => list.getEntries().forEach(e => longTasks.push(e.duration)))
    .observe({ type: 'longtask' });
  const cell = [...document.querySelectorAll('.jp-Notebook .jp-Cell')][1];
  const look = () => {
    const area = cell.querySelector('.jp-Cell-outputArea');
    const boxes = area ? [...area.querySelectorAll('.ipycachechat-answer')] : [];
    const letters = box => box.textContent.length - (box.querySelector('style')?.textContent.length ?? 0);
    const text = boxes.reduce((sum, box) => sum + letters(box), 0);
    const done = area?.querySelector('.ipycachechat-badge') && boxes.length === 1;
    const ends = boxes.at(-1)?.textContent.includes('That is all.');
    seen.push([Date.now(), text, area ? area.offsetHeight : 0, ends ? 1 : 0, done ? 1 : 0]);
  };
  window.sampling = setInterval(look, 50);
}
"""


@dataclass(frozen=True)
class Drawn:
    """Measurements of one answer."""

    characters: int
    arriving: float
    """Seconds."""
    complete_after: float
    """Seconds from the end of the stream until its whole text is on screen."""
    whole_after: float
    """Seconds from the end of the stream until it is one output with its badge."""
    megabytes: float
    long_tasks: float
    """Seconds in total."""
    longest_gap: float
    """Longest time in seconds without new text on screen while text arrives."""
    jump: int
    """Largest decrease of the output's height in pixels."""
    outputs: int

    def __str__(self) -> str:
        return (
            f"{self.characters:,} characters in {self.arriving:.1f} s: text complete {self.complete_after:.2f} s after "
            f"the end, one output and badge {self.whole_after:.2f} s, {self.megabytes:.2f} MB, long tasks "
            f"{self.long_tasks:.2f} s, longest gap {self.longest_gap:.2f} s, lower by {self.jump} px at most, "
            f"{self.outputs} outputs"
        )


def text(characters: int) -> str:
    """Return an answer of about so many characters with code, tables and maths."""
    sections, n = "", 0
    while len(sections) < characters:
        n += 1
        sections += PIECE.format(n=n)
    return sections[:characters].rsplit("\n\n", 1)[0] + "\n\nThat is all."


def chunked(answer: str, size: int) -> tuple[str, ...]:
    return tuple(answer[n : n + size] for n in range(0, len(answer), size))


def draw(answer: str, size: int = 4, rate: int = RATE) -> Drawn:
    """Stream the answer into a cell and measure the page meanwhile."""
    with WireServer() as wire, tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        write_notebook(
            path / "a.ipynb",
            ["%load_ext ipycachechat", "%%chat --max-tokens 60000\nhello", "%%chat\nwarm up"],
        )
        sizes: list[int] = []
        with Lab(path, env=wire.env()) as lab:
            lab.page.on("websocket", lambda ws: ws.on("framereceived", lambda data: sizes.append(len(data))))
            lab.open("a.ipynb")
            lab.run_cell(0)
            wire.script(Reply("warm"), Reply(chunked(answer, size), rate=rate))
            lab.run_cell(2)
            time.sleep(1)
            lab.page.evaluate(SAMPLE)
            earlier_frames = len(sizes)
            lab.run_cell(1, wait=False)
            lab.wait_idle(600)
            time.sleep(2)
            samples: list[Any] = lab.page.evaluate(
                "() => { clearInterval(window.sampling); return window.seen }"
            )
            tasks: list[float] = lab.page.evaluate("() => window.longTasks")
            outputs = lab.outputs(1).locator(".jp-OutputArea-child").count()
            written = wire.requests[-1].written
            shift = time.time() - time.monotonic()
            started, ended = written[0] + shift, written[-1] + shift
        return _measured(answer, samples, started, ended, sum(sizes[earlier_frames:]), tasks, outputs)


def _measured(
    answer: str, samples: list[Any], started: float, ended: float, size: int, tasks: list[float], outputs: int
) -> Drawn:
    text_complete = next(milliseconds for milliseconds, _, _, has_end, _ in samples if has_end) / 1000
    final = next(milliseconds for milliseconds, *_, is_final in samples if is_final) / 1000
    changes = [started]
    for (_, height_before, *_), (milliseconds, length, *_) in zip(samples, samples[1:], strict=False):
        if length > height_before and started < milliseconds / 1000 < ended:
            changes.append(milliseconds / 1000)
    gaps = [b - a for a, b in zip(changes, [*changes[1:], ended], strict=True)]
    heights = [height for milliseconds, _, height, *_ in samples if milliseconds / 1000 > started]
    jump = max((a - b for a, b in zip(heights, heights[1:], strict=False)), default=0)
    return Drawn(
        *(len(answer), ended - started, text_complete - ended, final - ended, size / 1e6),
        sum(tasks) / 1000,
        max(gaps),
        jump,
        outputs,
    )


if __name__ == "__main__":
    print("9,000 characters:", draw(text(9_000)), flush=True)
    if "--short" not in sys.argv:
        print("100 kB:", draw(text(100_000)), flush=True)
        print("100 kB, fast:", draw(text(100_000), size=20), flush=True)
        for name, block in BLOCKS.items():
            print(f"100 kB, {name}:", draw(f"{block[:100_000]}\n\nThat is all."), flush=True)
