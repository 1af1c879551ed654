"""Files go to the models that take them, in the provider's form; others are refused before anything is sent."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from support.python_calls import GEMINI, GPT, SONNET
from wire import WireServer

from ipycachechat import Chat
from ipycachechat.errors import BadInput

PNG = b"\x89PNG\r\n\x1a\n and so on"
PDF = b"%PDF-1.7\n and so on"
WAV = b"RIFF\x24\x00\x00\x00WAVEfmt and so on"


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


@pytest.mark.parametrize(
    ("model", "data", "form"),
    [
        (SONNET, PNG, '"type": "image"'),
        (SONNET, PDF, '"type": "document"'),
        (GEMINI, PNG, '"image/png"'),
        (GEMINI, PDF, '"application/pdf"'),
        (GEMINI, WAV, '"audio/wav"'),
        (GPT, PNG, "data:image/png;base64,"),
        (GPT, PDF, "data:application/pdf;base64,"),
    ],
)
def test_bytes_go_as_what_they_are(server: WireServer, model: str, data: bytes, form: str) -> None:
    chat = Chat(model)
    chat(["Look:", data, "What is it?"])
    sent = json.dumps(server.requests[0].body)
    assert encoded(data) in sent and form in sent
    assert sent.index("Look:") < sent.index(encoded(data)) < sent.index("What is it?")
    chat("and?")
    assert encoded(data) in json.dumps(server.requests[1].body)


@pytest.mark.parametrize(
    ("model", "data", "reason"),
    [
        (SONNET, WAV, "takes no audio"),
        (GPT, WAV, "takes no audio"),
        ("openai/gpt-3.5-turbo", PNG, "takes no image"),
        ("openai/gpt-3.5-turbo", PDF, "takes no PDF"),
    ],
)
def test_what_a_model_does_not_take_is_refused_before_anything_is_sent(
    server: WireServer, model: str, data: bytes, reason: str
) -> None:
    chat = Chat(model)
    with pytest.raises(BadInput, match=reason) as raised:
        chat(["Look", data])
    assert len(str(raised.value).splitlines()) == 2
    assert not server.requests and not chat.hist


def test_a_path_is_read_and_named(server: WireServer, tmp_path: Path) -> None:
    (tmp_path / "paper.pdf").write_bytes(PDF)
    (tmp_path / "notes.md").write_text("# Notes\n```\nx\n```")
    Chat(GPT)(["Read", tmp_path / "paper.pdf", tmp_path / "notes.md"])
    sent = json.dumps(server.requests[0].body)
    assert "paper.pdf" in sent and "# Notes" in sent and "notes.md" in sent
    with pytest.raises(BadInput, match=r"gone\.pdf"):
        Chat(GPT)(tmp_path / "gone.pdf")


def test_images_figures_and_tables_of_other_libraries(server: WireServer) -> None:
    from matplotlib.figure import Figure
    from PIL import Image

    figure = Figure()
    figure.subplots().plot([1, 2])
    Chat(SONNET)(["See", figure, Image.new("RGB", (4, 4))])
    kinds = [part["type"] for part in server.requests[0].messages[0]["content"]]
    assert kinds == ["text", "image", "image"]


def test_a_model_without_vision_gets_a_note_instead_of_an_image(server: WireServer) -> None:
    chat = Chat(SONNET)
    chat(["Look", PNG])
    chat("and?", model="openai/gpt-3.5-turbo")
    sent = json.dumps(server.requests[1].body)
    assert encoded(PNG) not in sent and "not shown, this model takes no image" in sent
    chat("and now?")
    assert encoded(PNG) in json.dumps(server.requests[2].body)


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": {"url": "https://example.org/a.png", "detail": "low"}},
        {"type": "image_url", "image_url": "https://example.org/a.png"},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{encoded(PNG)}"}},
        {
            "type": "file",
            "file": {"file_data": f"data:application/pdf;base64,{encoded(PDF)}", "filename": "x.pdf"},
        },
        {"type": "file", "file": {"file_id": "file-abc"}},
    ],
)
def test_parts_in_litellms_form_go_as_they_are(server: WireServer, part: dict[str, Any]) -> None:
    before = json.dumps(part)
    chat = Chat(GPT)
    chat([{"type": "text", "text": "Look"}, part])
    sent = server.requests[0].messages[0]["content"][1]
    kind = part["type"]
    wanted = part[kind] if isinstance(part[kind], dict) else {"url": part[kind]}
    assert {name: sent[kind].get(name) for name in wanted} == wanted
    assert json.dumps(part) == before
    again = Chat(GPT, hist=json.loads(json.dumps(chat.hist)))
    assert again.hist == chat.hist


def test_checkpoints_of_others_are_left_out(server: WireServer) -> None:
    marked = [{"type": "text", "text": "hi", "cache_control": {"type": "ephemeral"}}] * 6
    Chat(SONNET, hist=[{"role": "user", "content": marked}, "yes"])("and?")
    assert str(server.requests[0].body).count("cache_control") <= 4
