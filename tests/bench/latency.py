"""Time and bytes: `python tests/bench/latency.py [NAME …]`. Medians of one run on this machine.

load         `%load_ext` in a running kernel that has imported IPython and ipywidgets
first-token  from the provider's first chunk on the wire to the first frame on IOPub
first-chat   the first-ever and later chats of a kernel, with and without idle time before
run-all      seconds that a Run All that starts with `%load_ext` waits for litellm, by cell
iopub        bytes on IOPub for a 10 kB answer in 2,000 chunks
"""

from __future__ import annotations

import statistics
import sys
import time
from pathlib import Path

TESTS = Path(__file__).parents[1]
sys.path.insert(0, str(TESTS))

from support.kernels import CellResult, Kernel  # noqa: E402
from wire import Reply, WireServer  # noqa: E402

RUNS = 15
LOAD = """
start = time.perf_counter()
get_ipython().run_line_magic("load_ext", "ipycachechat")
print((time.perf_counter() - start) * 1000)
"""
MODELS = ("anthropic/claude-sonnet-5", "openai/gpt-5.5", "gemini/gemini-3.8-flash")


def report(name: str, samples: list[float], unit: str = "ms") -> None:
    low, high = min(samples), max(samples)
    print(
        f"{name:<58} median {statistics.median(samples):9,.1f} {unit} ({low:,.1f} to {high:,.1f}, n={len(samples)})"
    )


def load() -> None:
    samples = []
    for _ in range(RUNS):
        with Kernel() as kernel:
            kernel.run("import ipywidgets, time")
            samples.append(float(kernel.run(LOAD).printed.split()[-1]))
    report("%load_ext, more than importing IPython and ipywidgets", samples)


def first_token() -> None:
    with WireServer() as wire, Kernel(wire.env()) as kernel:
        kernel.run("%load_ext ipycachechat")
        for model in MODELS:
            kernel.run(f"%%chat -m {model}\nwarm up")
            samples = []
            for _ in range(RUNS * 2):
                wire.script(Reply(("firsttoken ", "and ", "more"), first_delay=0.05, chunk_delay=0.02))
                samples.append(_to_first_frame(kernel, wire, f"%%chat -m {model}\nhello"))
            report(f"first chunk on the wire to first frame, {model}", samples)


def first_chat() -> None:
    """Time to the first frame; the first-ever chat includes litellm's import, unless that was in idle time."""
    for idle in (0.0, 6.0):
        first: list[float] = []
        later: list[float] = []
        for _ in range(5):
            with WireServer() as wire, Kernel(wire.env()) as kernel:
                kernel.run("%load_ext ipycachechat")
                time.sleep(idle)
                wire.script(*[Reply(("firsttoken ", "more"))] * 4)
                first.append(_from_start(kernel, "%%chat\nhello"))
                later += [_from_start(kernel, "%%chat\nhello") for _ in range(3)]
        report(f"first-ever chat, {idle:.0f} s after %load_ext: cell to first token", first)
        report(f"later chats, {idle:.0f} s after %load_ext: cell to first token", later)


def run_all() -> None:
    cells = ["%load_ext ipycachechat", "x = 1", "y = 2", "%%chat\nhello", "%%chat\nagain", "z = 3"]
    rows: list[list[float]] = []
    for _ in range(5):
        with WireServer() as wire, Kernel(wire.env()) as kernel:
            requests = [kernel.start(cell) for cell in cells]
            ends = [time.monotonic()]
            for request in requests:
                kernel.finish(request)
                ends.append(time.monotonic())
            rows.append([(end - start) * 1000 for start, end in zip(ends, ends[1:], strict=False)])
    for cell, samples in zip(cells, zip(*rows, strict=True), strict=True):
        report(f"Run All, cell {cell.splitlines()[0]!r}", list(samples))


def iopub() -> None:
    chunks = tuple("word " if n % 40 else "\n\n" for n in range(2000))
    with WireServer() as wire, Kernel(wire.env()) as kernel:
        kernel.run("%load_ext ipycachechat")
        for rate in (150, 400, 2000):
            wire.script(Reply(chunks, rate=rate))
            report(
                f"10 kB in 2,000 chunks at {rate} a second", [kernel.run("%%chat\nhello").size / 1e6], "MB"
            )


def _to_first_frame(kernel: Kernel, wire: WireServer, cell: str) -> float:
    ran = kernel.run(cell)
    return (_first_frame(ran) - wire.requests[-1].written[0]) * 1000


def _from_start(kernel: Kernel, cell: str) -> float:
    start = time.monotonic()
    return (_first_frame(kernel.run(cell)) - start) * 1000


def _first_frame(ran: CellResult) -> float:
    return next(
        float(m["arrived"]) for m in ran.messages if "firsttoken" in str(m["content"].get("data", ""))
    )


BENCHES = {
    "load": load,
    "first-token": first_token,
    "first-chat": first_chat,
    "run-all": run_all,
    "iopub": iopub,
}

if __name__ == "__main__":
    for name in sys.argv[1:] or BENCHES:
        print(f"# {name}", flush=True)
        BENCHES[name]()
