"""Every kind of value becomes text or a file, and is not changed."""

from __future__ import annotations

import base64
import copy
import dataclasses
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from IPython.display import Image as Shown
from IPython.display import Markdown
from matplotlib.figure import Figure
from PIL import Image
from pydantic import BaseModel, SecretStr

from ipycachechat.conversation.messages import Attachment
from ipycachechat.errors import BadInput
from ipycachechat.prompts import content as parts
from ipycachechat.prompts import data_summary, images
from ipycachechat.prompts.content import to_part, tool_result_content
from ipycachechat.prompts.inputs import to_content as content
from ipycachechat.text.redaction_log import RedactionLog


def part(value: Any) -> Any:
    result = to_part(value, RedactionLog())
    assert result is not None
    return result


def tool_result(value: Any) -> Any:
    return tool_result_content(value, RedactionLog())


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def opened(file: Any) -> Image.Image:
    assert isinstance(file, Attachment) and file.media_type == "image/png"
    return Image.open(io.BytesIO(base64.b64decode(file.data)))


def png(mode: str = "RGB", size: tuple[int, int] = (3, 2)) -> bytes:
    data = io.BytesIO()
    Image.new(mode, size).save(data, format="PNG")
    return data.getvalue()


def figure() -> Figure:
    drawn = Figure(figsize=(3, 2))
    drawn.add_subplot().plot([1, 3, 2])
    return drawn


PNG = png()
FILES = {
    "image/png": PNG,
    "image/jpeg": b"\xff\xd8\xff\xe0\x00\x10JFIF",
    "image/gif": b"GIF89a\x01\x00",
    "image/webp": b"RIFF\x10\x00\x00\x00WEBPVP8 ",
    "application/pdf": b"%PDF-1.7\n",
    "audio/wav": b"RIFF\x10\x00\x00\x00WAVEfmt ",
    "audio/mp3": b"ID3\x04\x00\x00",
    "audio/ogg": b"OggS\x00\x02",
    "audio/flac": b"fLaC\x00\x00",
    "audio/mp4": b"\x00\x00\x00\x20ftypM4A \x00",
    "video/mp4": b"\x00\x00\x00\x20ftypisom" + b"\x00" * 40 + b"hdlr" + b"\x00" * 8 + b"vide",
}


class Raising:
    def __repr__(self) -> str:
        raise RuntimeError("no repr")


class Displayed:
    """By IPython's protocol."""

    def __init__(self, **shown: Any) -> None:
        self.shown = shown

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> Any:
        return self.shown.get("bundle")

    def _repr_png_(self) -> Any:
        return self.shown.get("png")

    def _repr_markdown_(self) -> Any:
        return self.shown.get("markdown")


class Opaque:
    def __repr__(self) -> str:
        return "<opaque>"


class Frame:
    """Looks like pandas' dataframe; whatever would go through its data is not there, and fails."""

    def __init__(self, rows: int, columns: int = 2, cell: str = "x") -> None:
        self.size, self.cell = (rows, columns), cell
        self.asked: list[int] = []

    @property
    def shape(self) -> tuple[int, int]:
        return self.size

    @property
    def columns(self) -> list[str]:
        return [f"c{number}" for number in range(self.size[1])]

    @property
    def dtypes(self) -> list[str]:
        return ["str"] * self.size[1]

    @property
    def index(self) -> Any:
        return type("Index", (), {"name": None})

    @property
    def iloc(self) -> Any:
        return self

    def __getitem__(self, key: tuple[slice, slice]) -> Frame:
        return Frame(self.size[0], min(self.size[1], key[1].stop), self.cell)

    def head(self, count: int) -> Frame:
        self.asked.append(count)
        return Frame(min(count, self.size[0]), self.size[1], self.cell)

    def itertuples(self, name: Any = "") -> Any:
        assert self.size[0] <= data_summary.TABLE_ROWS, "the whole of it is gone through"
        return ((row, *[self.cell] * self.size[1]) for row in range(self.size[0]))

    def __len__(self) -> int:
        raise AssertionError("its data is asked for")

    __iter__ = __array__ = copy = __copy__ = __deepcopy__ = __len__


@dataclasses.dataclass
class Point:
    x: int
    key: str = dataclasses.field(default="secret", repr=False)


class Model(BaseModel):
    x: int
    key: SecretStr = SecretStr("hidden")


# Text


@pytest.mark.parametrize(
    "text",
    [
        r"$\frac{a}{b}$ and \\ and {x} {{ y }}",
        '{"a": [1, 2], "b": "\\n"}',
        "  spaces around\r\n\tand tabs \n",
        "ünïcödé 🎈 \ud83d",
        "```python\nprint('`')\n```",
        "data:image/png;base64,AAAA",
    ],
)
def test_text_is_kept_exactly(text: str) -> None:
    assert content(text) == part(text) == tool_result(text) == text
    assert content([text]) == text
    assert content([text, text]) == f"{text}\n\n{text}"


def test_a_subclass_of_text_becomes_plain_text() -> None:
    assert type(part(np.str_("a"))) is str


def test_adjacent_texts_are_one_part_and_files_keep_their_order() -> None:
    image = Attachment("image/png", "AAAA")
    assert content(["a", "b", image, "c", "", "d", image]) == ("a\n\nb", image, "c\n\nd", image)


@pytest.mark.parametrize("empty", ["", " \n\t", [], (), [""], ["", "  "], None, b"", b" \n"])
def test_an_empty_prompt_is_refused(empty: Any) -> None:
    with pytest.raises(BadInput) as error:
        content(empty)
    assert len(str(error.value).splitlines()) == 2


@pytest.mark.parametrize("value", [b"\x00\x01", b"\xff\xfe\xfd"])
def test_values_that_cannot_be_sent_are_refused(value: Any) -> None:
    with pytest.raises(BadInput) as error:
        content(["look", value])
    assert len(str(error.value).splitlines()) == 2


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Opaque(), "<opaque>"),
        (Raising(), "Raising: it cannot be shown: RuntimeError"),
        (encoded, "def encoded(data: bytes) -> str:"),
        (Opaque, "class Opaque:"),
        (len, "def len(obj, /)"),
        (json, "module json:"),
        ((n for n in "ab"), "<generator object"),
        (ValueError("no"), "ValueError: no"),
        (np.arange(2_000), "ndarray of shape (2000,), int64"),
    ],
)
def test_other_values_in_a_prompt_are_described_as_in_expressions(value: Any, expected: str) -> None:
    text = content(["look", value])
    assert isinstance(text, str) and text.startswith("look\n\n") and expected in text


def test_the_callers_list_is_not_changed() -> None:
    given: list[Any] = ["a", "b", PNG, {"type": "text", "text": "c"}, [1, {"d": [2]}], bytearray(b"e")]
    before = copy.deepcopy(given)
    content(given)
    tool_result(given)
    assert given == before


def test_the_parts_of_a_content_make_the_same_content() -> None:
    result = content(["look", PNG])
    assert content(result) == result


class Odd(type):
    @property
    def __name__(self) -> str:  # type: ignore[override]
        raise RuntimeError("no name")


class Nameless(metaclass=Odd):
    pass


class Closed:
    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError(f"no {name}")


def test_a_value_whose_attributes_raise_is_described_or_refused() -> None:
    assert "cannot be shown: RuntimeError" in str(content(Nameless()))
    for prompt in (Closed(), ["a", Closed()], [[Closed()]]):
        with pytest.raises(BadInput) as error:
            content(prompt)
        assert len(str(error.value).splitlines()) == 2


# Parts as OpenAI writes them


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ({"type": "text", "text": "a"}, "a"),
        ({"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}, "a"),
        (
            {"type": "image_url", "image_url": {"url": "https://x/y.png"}},
            Attachment("image/*", "https://x/y.png"),
        ),
        ({"type": "image_url", "image_url": "data:image/gif;base64,AA=="}, Attachment("image/gif", "AA==")),
        (
            {"type": "input_audio", "input_audio": {"data": "AA==", "format": "mp3"}},
            Attachment("audio/mp3", "AA=="),
        ),
        (
            {"type": "file", "file": {"file_data": "data:application/pdf;base64,AA==", "filename": "a.pdf"}},
            Attachment("application/pdf", "AA==", "a.pdf"),
        ),
    ],
)
def test_openai_style_parts_are_accepted(written: Any, expected: Any) -> None:
    assert part(written) == expected
    assert content(["see", written, PNG])[-1] == part(PNG)


@pytest.mark.parametrize(
    "written",
    [
        {"type": "image_url", "image_url": {}},
        {"type": "image_url", "image_url": {"link": "x"}},
        {"type": "input_audio", "input_audio": {}},
        {"type": "file", "file": {"name": "a.txt", "size": 3}},
        {"type": "text", "text": 5},
    ],
)
def test_an_invalid_part_is_refused_in_a_prompt_and_is_data_from_a_tool(written: Any) -> None:
    with pytest.raises(BadInput):
        content(written)
    assert json.loads(str(tool_result(written))) == written


def test_a_dict_with_a_text_and_other_fields_keeps_them_all() -> None:
    record = {"type": "text", "text": "a", "id": 3}
    assert json.loads(str(tool_result(record))) == record


# Bytes and files


@pytest.mark.parametrize(("media", "data"), FILES.items())
@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_bytes_are_recognised_by_their_first_bytes(
    media: str, data: bytes, kind: Callable[[bytes], Any]
) -> None:
    assert part(kind(data)) == Attachment(media, encoded(data))


@pytest.mark.parametrize("text", ["plain", "ID3 tags", "GIF is a word", "RIFF", "ftyp", "%PDF", "ä\n"])
def test_bytes_of_text_are_text(text: str) -> None:
    assert part(text.encode()) == part(bytearray(text.encode())) == text


def test_mp3_without_tags_is_distinguished_from_utf_16_text() -> None:
    assert part(b"\xff\xfb\x90\x64\x00") == Attachment("audio/mp3", encoded(b"\xff\xfb\x90\x64\x00"))
    with pytest.raises(BadInput):
        part("text".encode("utf-16"))


@pytest.mark.parametrize(("media", "data"), FILES.items())
def test_a_path_is_read_with_any_suffix(tmp_path: Path, media: str, data: bytes) -> None:
    path = tmp_path / "some file.bin"
    path.write_bytes(data)
    assert part(path) == Attachment(media, encoded(data), "some file.bin")


@pytest.mark.parametrize(("name", "media"), [("a.PDF", "application/pdf"), ("a.mp3", "audio/mp3")])
def test_the_suffix_counts_if_the_first_bytes_are_unknown(tmp_path: Path, name: str, media: str) -> None:
    (tmp_path / name).write_bytes(b"\x00\xff...")
    assert part(tmp_path / name) == Attachment(media, encoded(b"\x00\xff..."), name)


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("a.py", "x = 1\n", "a.py:\n```py\nx = 1\n```"),
        ("notes", r"$\alpha$ {x}", "notes:\n```\n$\\alpha$ {x}\n```"),
        ("a.md", "````\nb\n````", "a.md:\n`````md\n````\nb\n````\n`````"),
        ("a.csv", "", "a.csv:\n```csv\n\n```"),
        ("a.pdf", "", "a.pdf:\n```pdf\n\n```"),
        ("a.svg", "<svg/>\r\n", "a.svg:\n```svg\n<svg/>\r\n```"),
    ],
)
def test_a_text_file_is_in_a_code_fence_under_its_name(
    tmp_path: Path, name: str, text: str, expected: str
) -> None:
    (tmp_path / name).write_bytes(text.encode())
    assert part(tmp_path / name) == expected


def test_files_that_cannot_be_read_raise_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "MAX_FILE_BYTES", 3)
    (tmp_path / "large").write_text("1234")
    (tmp_path / "fits").write_text("123")
    (tmp_path / "binary").write_bytes(b"\x00\xff")
    os.mkfifo(tmp_path / "pipe")
    assert "123" in str(part(tmp_path / "fits"))
    for name in ("missing", "large", "binary", "pipe", ".", "null\0byte"):
        with pytest.raises(BadInput) as error:
            part(tmp_path / name)
        assert len(str(error.value).splitlines()) == 2, name
        assert tool_result(tmp_path / name) == str(
            tmp_path / name
        )  # a tool that names a file has not asked to read it


def test_a_file_without_read_permission_raises_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise PermissionError(13, "Permission denied")

    (tmp_path / "a").write_text("a")
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(BadInput, match="Permission denied"):
        part(tmp_path / "a")


def test_paths_in_a_prompt_are_read_and_paths_from_a_tool_stay_names(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(PNG)
    file = Attachment("image/png", encoded(PNG), "a.png")
    assert content(["compare", [path, path]]) == ("compare", file, file)
    assert tool_result([path, path]) == json.dumps([str(path)] * 2)


# Pictures


@pytest.mark.parametrize("mode", "1 L LA La P PA RGB RGBA RGBa CMYK YCbCr HSV I F I;16 I;16B RGBX".split())
def test_images_of_every_mode_become_png(mode: str) -> None:
    image = Image.new(mode, (5, 4))
    before = (image.mode, image.size, image.tobytes())
    assert opened(part(image)).size == (5, 4)
    assert (image.mode, image.size, image.tobytes()) == before


@pytest.mark.parametrize("values", [[0.0, 0.25, 1.0], [-300.0, -225.0, 0.0], [0.0, 25.0, 100.0]])
@pytest.mark.parametrize("dtype", ["float32", "int32"])
def test_image_values_without_a_range_are_scaled_to_grey_levels(values: list[float], dtype: str) -> None:
    array = np.array([values], dtype="float32") * (1 if dtype == "float32" else 100)
    seen = np.asarray(opened(part(Image.fromarray(array.astype(dtype)))))
    assert np.abs(seen - np.array([[0, 63.75, 255]])).max() <= 1


def test_an_image_is_scaled_to_the_size_that_providers_accept() -> None:
    image = Image.new("1", (16_000, 40))
    assert opened(part(image)).size == (8_000, 20)
    assert image.size == (16_000, 40)


def test_an_image_is_scaled_to_the_bytes_that_providers_accept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "MAX_BASE64", 30_000)
    noise = np.random.default_rng(0).integers(0, 256, (300, 200, 3), dtype="uint8")
    image = Image.fromarray(noise)
    file = part(image)
    assert isinstance(file, Attachment) and 15_000 < len(file.data) <= 30_000
    assert opened(file).height / opened(file).width == pytest.approx(1.5, abs=0.05)
    assert (np.asarray(image) == noise).all()


def test_the_same_image_gives_the_same_bytes() -> None:
    assert part(Image.new("RGB", (9, 9))) == part(Image.new("RGB", (9, 9)))
    assert part(figure()) == part(figure())


@pytest.mark.parametrize("of", [lambda f: f, lambda f: f.axes[0]], ids=["figure", "axes"])
def test_a_figure_is_drawn_and_not_changed(of: Callable[[Figure], Any]) -> None:
    drawn = figure()
    seen = (drawn.dpi, drawn.get_size_inches().tolist(), drawn.canvas, drawn.get_facecolor(), drawn.axes)
    places = [axes.get_position().bounds for axes in drawn.axes]
    assert opened(part(of(drawn))).width > 300
    assert (
        drawn.dpi,
        drawn.get_size_inches().tolist(),
        drawn.canvas,
        drawn.get_facecolor(),
        drawn.axes,
    ) == seen
    assert [axes.get_position().bounds for axes in drawn.axes] == places


def test_axes_of_a_subfigure_are_drawn_with_the_whole_figure() -> None:
    drawn = Figure()
    left: Any = drawn.subfigures(1, 2)[0]  # type: ignore[index]
    axes = left.subplots()
    assert part(axes) == part(left) == part(drawn)


def test_a_large_figure_is_drawn_smaller(monkeypatch: pytest.MonkeyPatch) -> None:
    assert max(opened(part(Figure(figsize=(40, 20)))).size) <= images.FIGURE_SIDE + 20
    drawn = figure()
    drawn.axes[0].text(200, 2, "far out")  # the tight box reaches there
    monkeypatch.setattr(images, "MAX_SIDE", 1000)
    assert max(opened(part(drawn)).size) <= 1000


def test_axes_without_a_figure_raise_an_error() -> None:
    drawn = figure()
    axes = drawn.axes[0]
    axes.remove()
    with pytest.raises(BadInput) as error:
        part(axes)
    assert len(str(error.value).splitlines()) == 2


def test_nothing_heavy_is_imported() -> None:
    code = (
        "import sys; from matplotlib.figure import Figure; from ipycachechat.prompts.content import to_part;"
        "from ipycachechat.text.redaction_log import RedactionLog as Log;"
        "assert 'numpy' in sys.modules and not {'IPython', 'ipywidgets', 'pandas', 'litellm'} & set(sys.modules);"
        "assert to_part(Figure(), Log()).media_type == 'image/png'; assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    code = (
        "import sys; from ipycachechat.prompts.content import to_part, tool_result_content;"
        "from ipycachechat.text.redaction_log import RedactionLog as Log;"
        " to_part({'a': [1]}, Log()); tool_result_content(object(), Log());"
        "assert not {'numpy', 'PIL', 'matplotlib', 'pandas', 'polars', 'litellm'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (Shown(data=PNG), Attachment("image/png", encoded(PNG))),
        (Shown(data=FILES["image/gif"], format="gif"), Attachment("image/gif", encoded(FILES["image/gif"]))),
        (Displayed(png=PNG), Attachment("image/png", encoded(PNG))),
        (Displayed(png=(PNG, {"width": 3})), Attachment("image/png", encoded(PNG))),
        (Displayed(bundle=({"image/png": encoded(PNG) + "\n"}, {})), Attachment("image/png", encoded(PNG))),
        (Displayed(markdown="**a**"), "**a**"),
        (Displayed(markdown="**a**", png=PNG), Attachment("image/png", encoded(PNG))),
        (Markdown("# $a$"), "# $a$"),
    ],
)
def test_what_ipython_displays_is_sent_to_the_model(shown: Any, expected: Any) -> None:
    assert part(shown) == expected
    assert tool_result(shown) == content(expected)


def fake(module: str, name: str, **attributes: Any) -> Any:
    return type(name, (), {"__module__": module} | attributes)()


def test_a_plotly_figure_is_drawn_if_possible() -> None:
    def to_image(self: Any, format: str) -> bytes:
        if not self.drawn:
            raise ValueError("Image export needs kaleido\n\n  pip install kaleido\n")
        return PNG

    drawn, not_drawn = (
        fake("plotly.basedatatypes", "BaseFigure", to_image=to_image, drawn=drawn) for drawn in (True, False)
    )
    assert part(drawn) == part(PNG)
    with pytest.raises(BadInput, match="kaleido") as error:
        part(not_drawn)
    assert len(str(error.value).splitlines()) == 2


# Tables and arrays


def test_only_the_first_rows_of_a_huge_dataframe_are_read() -> None:
    frame = Frame(10**12)
    text = str(part(frame))
    assert frame.asked == [data_summary.TABLE_ROWS]
    assert text.startswith("Frame, 1,000,000,000,000 rows and 2 columns:\n\n|  | c0 (str) | c1 (str) |\n|")
    assert text.endswith("| 49 | x | x |\n\n(999,999,999,950 rows left out)")


@pytest.mark.parametrize("frame", [Frame(100, 1000), Frame(100, 40, "y" * 5000), Frame(3, 60, "a|b\n" * 100)])
def test_a_table_stays_within_its_limit_and_notes_what_is_left_out(frame: Frame) -> None:
    text = str(part(frame))
    assert len(text) <= data_summary.TABLE_CHARACTERS + 300
    assert "left out)" in text
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert len({line.replace(r"\|", "").count("|") for line in table}) == 1


def columns() -> dict[str, list[Any]]:
    return {"n": list(range(60)), "text": ["a|b", None, *["c"] * 58]}


@pytest.mark.parametrize(
    ("library", "make"),
    [
        ("pandas", lambda pd: pd.DataFrame(columns())),
        ("polars", lambda pl: pl.DataFrame(columns())),
        ("pyarrow", lambda pa: pa.table(columns())),
    ],
)
def test_dataframes_are_described_by_shape_types_and_first_rows(
    library: str, make: Callable[[Any], Any]
) -> None:
    frame = make(pytest.importorskip(library))
    text = str(part(frame))
    assert "60 rows and 2 columns" in text and "n (" in text and r"a\|b" in text
    assert text.endswith("(10 rows left out)")
    assert tool_result(["all:", frame]) == f"all:\n\n{text}"


@pytest.mark.parametrize(
    ("library", "make"),
    [
        ("pandas", lambda pd: pd.Series(columns()["n"], name="n")),
        ("polars", lambda pl: pl.Series("n", columns()["n"])),
        ("pyarrow", lambda pa: pa.chunked_array([columns()["n"]])),
        ("pyarrow", lambda pa: pa.array(columns()["n"])),
    ],
)
def test_series_are_described_as_tables(library: str, make: Callable[[Any], Any]) -> None:
    text = str(part(make(pytest.importorskip(library))))
    assert "60 rows:" in text and "int64" in text.lower() and text.endswith("(10 rows left out)")


def test_an_empty_dataframe_has_its_columns() -> None:
    pandas = pytest.importorskip("pandas")
    assert "a (" in str(part(pandas.DataFrame({"a": []})))
    assert str(content(pandas.DataFrame())).startswith("DataFrame, 0 rows and 0 columns")


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (np.arange(3), "ndarray of shape (3,), int64:\n[0 1 2]"),
        (np.zeros((1, 2), "float32"), "ndarray of shape (1, 2), float32:\n[[0. 0.]]"),
        (np.float64(1.5), "1.5"),
        (np.array(7), "7"),
    ],
)
def test_arrays_are_described_by_shape_type_and_values(array: Any, expected: str) -> None:
    assert part(array) == expected


def test_a_large_array_is_abbreviated() -> None:
    with np.printoptions(threshold=10**9):
        assert len(str(part(np.arange(20_000)))) < data_summary.TABLE_CHARACTERS + 200


# Data


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"a": [1, None, "ü"]}, '{"a": [1, null, "ü"]}'),
        ([1, "a"], '[1, "a"]'),
        (5, "5"),
        (0, "0"),
        (True, "true"),
        (1.5, "1.5"),
        (Point(1), '{"x": 1}'),
        ([Point(1)], '[{"x": 1}]'),
        (Model(x=1), '{"x": 1, "key": "**********"}'),
        ({2, 1}, "[1, 2]"),
        ({"n": np.int64(3), "m": np.arange(2)}, '{"n": 3, "m": [0, 1]}'),
        ({(1, 2): 3}, "{(1, 2): 3}"),
        ({"p": Path("a/b")}, '{"p": "a/b"}'),
        (ValueError("no\nway"), "ValueError: no\nway"),
        (ValueError(), "ValueError"),
    ],
)
def test_data_is_json_or_else_its_repr(value: Any, expected: str) -> None:
    assert part(value) == expected
    assert tool_result(value) == expected


def test_a_list_that_contains_itself_does_not_recurse_forever() -> None:
    plain: list[Any] = ["a"]
    plain.append(plain)
    assert tool_result(plain) == "['a', [...]]"
    assert str(content(plain)).startswith("a\n\n['a', ['a', ")
    pictured: list[Any] = [PNG]
    pictured.append(pictured)
    for result in (tool_result(pictured), content(pictured)):
        assert result[0] == part(PNG) and isinstance(result[-1], str)


def test_lists_nested_deeper_than_pythons_recursion_limit_are_described() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    assert isinstance(tool_result(deep), str)
    with pytest.raises(BadInput):
        part(deep)


# What tools return


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, parts.NO_OUTPUT),
        ("", parts.NO_OUTPUT),
        (" \n", parts.NO_OUTPUT),
        (b"", parts.NO_OUTPUT),
        ([], "[]"),
        ({}, "{}"),
        (False, "false"),
        (Opaque(), "<opaque>"),
        (Displayed(), None),
        (["a", "b"], '["a", "b"]'),
        ([b"a", "b"], "a\n\nb"),
        ({"a": Opaque()}, '{"a": "<opaque>"}'),
        (Raising(), "(a Raising that cannot be shown: RuntimeError)"),
    ],
)
def test_a_result_is_never_empty_and_never_raises(value: Any, expected: str | None) -> None:
    assert tool_result(value) == (str(value) if expected is None else expected)


def test_a_value_that_raises_is_replaced_by_a_note() -> None:
    class Bad(list):  # type: ignore[type-arg]
        def __iter__(self) -> Any:
            raise RuntimeError

    assert "Raising" in str(tool_result([PNG, Raising()])[-1])
    assert "RuntimeError" in str(tool_result({"a": Raising()}))
    assert "RuntimeError" in str(tool_result(fake("PIL.Image", "Image"))) or tool_result(
        fake("PIL.Image", "Image")
    )
    assert tool_result(Bad([1]))


def test_images_figures_and_tables_in_a_list_are_separate_parts() -> None:
    result = tool_result(["two", Image.new("RGB", (2, 2)), figure(), {"a": 1}, Frame(1)])
    assert [type(item) for item in result] == [str, Attachment, Attachment, str]
    assert result[0] == "two" and str(result[-1]).startswith('{"a": 1}\n\nFrame, 1 row ')
    assert tool_result([[PNG], "b"]) == (part(PNG), "b")


@pytest.mark.parametrize("value", ["a" * 300 + "b" * 300, ["a" * 500]])
def test_a_long_result_loses_its_middle(monkeypatch: pytest.MonkeyPatch, value: Any) -> None:
    monkeypatch.setattr(parts, "MAX_RESULT_CHARACTERS", 100)
    whole = value if isinstance(value, str) else json.dumps(value)
    assert tool_result(value) == f"{whole[:60]}\n[… {len(whole) - 100} characters left out …]\n{whole[-40:]}"
    assert content("a" * 500) == "a" * 500
