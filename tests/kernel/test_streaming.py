"""What the front end is sent while an answer arrives."""

from __future__ import annotations

from kernels import Kernel
from wire import Reply, WireServer

TEN_KB = tuple("word " if n % 40 else "\n\n" for n in range(2000))
MOST = 700_000  # bytes on IOPub for an answer of 10 kB in 2,000 chunks


def html(data: dict[str, str]) -> str:
    return data.get("text/html", "")


def test_placeholder_then_first_token_then_the_whole(wire: WireServer) -> None:
    wire.script(Reply(("Hello ", "there, ", "**friend**"), first_delay=2.5, chunk_delay=0.3))
    with Kernel(wire.env()) as kernel:
        kernel.run("%load_ext ipycachechat")
        ran = kernel.run("%%chat\nhello")
        frames = [html(content["data"]) for content in ran.of("display_data", "update_display_data")]
        waiting = [frame for frame in frames if "ipycachechat-waiting" in frame]
        assert "tokens to anthropic/claude-sonnet-5, the first turn" in waiting[0]
        assert any("2 s" in frame for frame in waiting)
        partial = [frame for frame in frames if "Hello" in frame and "friend" not in frame]
        assert partial
        assert ran.answer == "Hello there, **friend**"
        assert "<strong>friend</strong>" in html(ran.outputs[0])


def test_ten_kilobytes_in_two_thousand_chunks_stay_small(wire: WireServer) -> None:
    assert 9_500 < len("".join(TEN_KB)) < 10_500
    with Kernel(wire.env()) as kernel:
        kernel.run("%load_ext ipycachechat")
        sizes = []
        for rate in (150, 400, 2000):
            wire.script(Reply(TEN_KB, rate=rate))
            ran = kernel.run("%%chat\nhello")
            assert ran.answer.strip() == "".join(TEN_KB).strip()
            sizes.append(ran.size)
        print("bytes on IOPub at 150, 400 and 2,000 chunks a second:", sizes)
        assert max(sizes) <= MOST


def test_a_stalled_stream_shows_all_that_has_come(wire: WireServer) -> None:
    words = tuple(f"word{n} " for n in range(300))
    wire.script(Reply((*words, "end"), chunk_delay=0.001, first_delay=0))
    with Kernel(wire.env()) as kernel:
        kernel.run("%load_ext ipycachechat")
        kernel.run("%%chat\nhello")
        from wire import Stall

        wire.script(Reply((*words, "end"), fault=Stall("chunk", after=300, seconds=30)))
        request = kernel.start("%%chat\nhello")
        assert kernel.finish(request, until="word299").messages
        kernel.interrupt()
        kernel.finish(request)


def test_hostile_answers_leave_no_tag_of_their_own(wire: WireServer) -> None:
    wire.script(Reply("<script>window.pwned=1</script> ![x](http://h/a.png)"))
    with Kernel(wire.env()) as kernel:
        kernel.run("%load_ext ipycachechat")
        ran = kernel.run("%%chat\nhello")
        answer = ran.outputs[0]
        assert "<script" not in html(answer) + answer["text/markdown"]
        assert "<img" not in html(answer)


def test_consoles_that_print_get_plain_text_once(wire: WireServer) -> None:
    wire.script(Reply(("Hello ", "there\x1b[31m red")))
    with Kernel(wire.env(), connection_file="kernel-4711.json") as kernel:
        kernel.run("%load_ext ipycachechat")
        ran = kernel.run("%%chat\nhello")
        assert not ran.outputs
        assert ran.printed.startswith("Hello there red\n[anthropic/claude-sonnet-5 · ")
