"""`%chat usage`, `plan` and `why` as displays, in a real kernel over the wire."""

from __future__ import annotations

import pytest
from support.html_tables import Html
from support.kernels import CellResult, ForkedKernel, Json, Kernel
from wire import Reply, WireServer, words

VIEW = "application/vnd.jupyter.widget-view+json"
TOKENS = ("read", "written", "fresh", "input", "answered")


@pytest.fixture(autouse=True)
def _always_yes(wire: WireServer) -> None:
    wire.always = Reply("Yes.")
    wire.clock.run()


def chat(kernel: Kernel, *texts: str) -> CellResult:
    result = CellResult()
    for text in texts:
        result = kernel.run(f"%%chat\n{text}", cell=text[:8])
        assert not result.error, result.error
    return result


def shown(result: CellResult) -> Json:
    (bundle,) = result.outputs
    assert not result.printed
    return bundle


def updates(messages: list[Json]) -> list[Json]:
    """The updated bundles of inspectors below other cells."""
    bundles = [m["content"]["data"] for m in messages if m["header"]["msg_type"] == "update_display_data"]
    return [bundle for bundle in bundles if "ipycachechat-inspector" in bundle.get("text/html", "")]


def turns(bundle: Json) -> list[dict[str, str]]:
    """The rows of the turns, and their sum as the last row."""
    return Html(bundle["text/html"]).table("turn", "read", "cost so far")


def number(cell: str) -> int:
    return int(cell.replace(",", ""))


def billed(wire: WireServer) -> list[dict[str, int]]:
    bills = [request.bill for request in wire.requests]
    return [
        {"read": b.read, "written": b.written, "fresh": b.fresh, "input": b.prompt, "answered": b.output}
        for b in bills
        if b
    ]


def test_each_turn_has_the_providers_bill_and_the_sum_is_the_kernels(
    wire: WireServer, kernel: Kernel
) -> None:
    chat(kernel, words(3000), words(500, "more"), "and?")
    bundle = shown(kernel.run("%chat usage"))
    bills = billed(wire)
    *rows, total = turns(bundle)
    assert [{name: number(row[name]) for name in TOKENS} for row in rows] == bills
    assert all(
        number(r["read"]) + number(r["written"]) + number(r["fresh"]) == number(r["input"]) for r in rows
    )
    assert {name: number(total[name]) for name in TOKENS} == {
        name: sum(bill[name] for bill in bills) for name in TOKENS
    }
    assert bundle["text/plain"].splitlines() == kernel.run("%chat").printed.splitlines()[1:3]
    assert bundle["text/plain"].startswith(f"{total['input']} tokens in: {total['read']} cached, ")
    assert f"cost {total['cost']}, saved {total['saved']}" in bundle["text/plain"]
    assert rows[-1]["cost so far"] == total["cost"] and rows[-1]["saved so far"] == total["saved"]
    assert "The total also includes" not in bundle["text/html"]
    columns = [title for title in Html(bundle["text/html"]).titles if title.startswith("turn 3: ")]
    last = bills[-1]
    assert columns == [
        f"turn 3: {last['input']:,} in: {last['read']:,} cached, "
        f"{last['written']:,} newly cached, {last['fresh']:,} uncached"
    ]


def test_a_turn_unfolds_to_its_prefix_and_its_prediction(wire: WireServer, kernel: Kernel) -> None:
    chat(kernel, words(3000), "and?")
    html = Html(shown(kernel.run("%chat usage", stdin=False))["text/html"])
    prefixes = [table for table in html.tables if table[0][0] == "block"]
    counts = [table for table in html.tables if table[0] == ["", "read", "written", "fresh", "input"]]
    assert len(prefixes) == len(counts) == 2
    assert "turn 2: prompt" in [row[0] for row in prefixes[1]] and "and?" in [row[1] for row in prefixes[1]]
    bill = billed(wire)[1]
    assert number(counts[1][2][1]) == bill["read"] and number(counts[1][2][4]) == bill["input"]
    assert number(counts[1][1][1].lstrip("≈")) == bill["read"]
    warm = html.table("what", "cache")
    assert warm[0]["what"].startswith("turn 1: prompt") and "cached until" in warm[0]["cache"]


def test_the_inspector_is_static_and_redrawn_after_each_chat(wire: WireServer, kernel: Kernel) -> None:
    chat(kernel, words(3000), "and?")
    first = kernel.run("%chat usage")
    assert VIEW not in shown(first) and not first.contents("comm_open")
    for n, text in enumerate(("why?", "how?"), 3):
        drawn = updates(chat(kernel, text).messages)
        assert VIEW not in drawn[-1] and len(turns(drawn[-1])) == n + 1
        assert number(turns(drawn[-1])[-2]["read"]) == billed(wire)[-1]["read"] > 0
    assert not updates(kernel.run("1 + 1").messages)
    assert len(turns(updates(kernel.run("%chat undo").messages)[-1])) == 4
    assert "The total also includes" in updates(kernel.run("%chat undo").messages)[-1]["text/html"]
    second = kernel.run("%chat usage")  # from now on this one is redrawn
    again = updates(kernel.run("%chat redo").messages)[-1]
    names = [
        m["content"]["transient"]["display_id"]
        for m in second.messages
        if m["header"]["msg_type"] == "display_data"
    ]
    assert len(names) == 1 and len(turns(again)) == 4
    many = kernel.run("from ipycachechat import get_chat\nfor n in range(2): get_chat()(f'and {n}?')")
    assert {
        m["content"]["transient"]["display_id"]
        for m in many.messages
        if m["header"]["msg_type"] == "update_display_data"
    } == set(names)
    assert len(turns(updates(many.messages)[-1])) == 6


def test_the_inspector_is_never_redrawn_if_the_user_cannot_be_asked(wire: WireServer, kernel: Kernel) -> None:
    chat(kernel, words(3000))
    result = kernel.run("%chat usage", stdin=False)
    assert VIEW not in shown(result) and len(turns(shown(result))) == 2
    assert not result.contents("comm_open")
    assert not updates(kernel.run("%%chat\nand?", stdin=False).messages)


def test_turns_of_an_earlier_kernel_have_their_bills_and_say_so(wire: WireServer, kernel: Kernel) -> None:
    chat(kernel, words(3000), "and?")
    before = turns(shown(kernel.run("%chat usage")))
    kernel.restart()
    kernel.run("%load_ext ipycachechat")
    kernel.run("%chat resume")
    bundle = shown(kernel.run("%chat usage"))
    rows = turns(bundle)
    assert [{**row, "notes": ""} for row in rows] == before
    assert [row["notes"] for row in rows] == ["earlier kernel", "earlier kernel", ""]
    assert "its prefix and prediction are not stored" in bundle["text/html"]
    assert (
        bundle["text/plain"].startswith("0 tokens in")
        and "turns of an earlier kernel are not part of it" in bundle["text/html"]
    )


def test_unreported_numbers_are_unknown_and_not_zero(wire: WireServer, kernel: Kernel) -> None:
    wire.script(Reply("a", report_usage=False), Reply("a", report_cache=False))
    for cell in "ab":
        kernel.run("%%chat -m openai/gpt-5.5\nhello", cell)
    bundle = shown(kernel.run("%chat usage"))
    nothing, silent, total = turns(bundle)
    for row, reported in ((nothing, set()), (silent, {"input", "answered"})):
        unknown = {name for name in (*TOKENS, "cost", "saved", "cost so far") if name not in reported}
        assert {row[name] for name in unknown} <= {"unknown", "not billed"}
    bill = wire.requests[-1].bill
    assert bill and number(silent["input"]) == bill.prompt
    assert total["read"] == total["cost"] == "unknown"
    assert "cached tokens not reported (turn 1, 2)" in bundle["text/html"]


def test_plan_and_why_are_displays_with_a_text_form(wire: WireServer, kernel: Kernel) -> None:
    chat(kernel, words(2000), words(2000, "more"))
    plan = shown(kernel.run("%chat plan"))
    heads, *rows = [line.split() for line in plan["text/plain"].splitlines()[3:]]
    prefix = Html(plan["text/html"]).table("block", "checkpoint")
    assert len(prefix) == len(rows) and heads[0] == "block"
    assert all(row["tokens"] in " ".join(line) for row, line in zip(prefix, rows, strict=True))
    assert all(sentence in plan["text/html"] for sentence in plan["text/plain"].splitlines()[:2])
    wire.script(Reply("No."))
    kernel.run(f"%%chat\n{words(2000)} <b>changed</b>", cell=words(2000)[:8])
    chat(kernel, "and?")
    why = shown(kernel.run("%chat why"))
    counts = Html(why["text/html"]).table("", "read")
    bill = billed(wire)[-1]
    assert [row[""] for row in counts] == ["expected", "billed"]
    assert {name: number(counts[1][name]) for name in TOKENS[:4]} == {n: bill[n] for n in TOKENS[:4]}
    assert "&lt;b&gt;changed" in why["text/html"] and "<b>" not in why["text/html"]
    for line in why["text/plain"].splitlines()[4:]:
        assert line.strip().split("  ")[0].split("<")[0] in why["text/html"], line
    kernel.run("%chat fork idea")
    branches = shown(kernel.run("%chat switch"))
    assert branches["text/plain"].splitlines()[1].startswith("└─ idea: 3 turns")
    idea = Html(branches["text/html"]).table("branch")[1]
    assert idea == {"branch": "idea", "turns": "3", "forked from": "main", "after turn": "3", "": "← here"}


def test_a_console_prints_reports_as_text(wire: WireServer) -> None:
    with ForkedKernel(wire.env(), connection_file="kernel-4711.json") as kernel:
        kernel.run("%load_ext ipycachechat")
        chat(kernel, words(2000))
        for command, expected in (
            ("usage", "tokens in: 0 cached"),
            ("plan", "checkpoint"),
            ("why", "First request"),
        ):
            result = kernel.run(f"%chat {command}")
            assert expected in result.printed and not result.outputs, command
