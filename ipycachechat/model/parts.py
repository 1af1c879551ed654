"""Whatever a person or a tool hands over, as what a message can hold."""

from __future__ import annotations

import base64
import io
import json
import math
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from pathlib import Path
from types import NoneType
from typing import Any, NamedTuple

from ipycachechat.core import transcript
from ipycachechat.core.conversation import Content, File, Part
from ipycachechat.core.errors import BadInput, ChatError
from ipycachechat.core.request import FILE_ID, sendable

FILE_BYTES = 32 * 1024**2  # the largest file that is read
IMAGE_BASE64 = 5_000_000  # characters; providers refuse a larger image
IMAGE_SIDE = 8_000  # pixels; likewise
FIGURE_SIDE, FIGURE_DPI = 1_568, 144  # of more pixels models see no more (Anthropic's guide to vision)
TABLE_ROWS, TABLE_COLUMNS, TABLE_CHARACTERS, CELL_CHARACTERS = 50, 50, 6_000, 80
ARRAY_ITEMS = 1_000  # of an array inside other data; a larger one is abbreviated, as numpy does
RESULT_CHARACTERS = 100_000
DEPTH = 3  # of lists in lists in which an image is looked for: a list can hold itself

NOTHING = "(no output)"
CAN = (
    "Give text, a Path or the bytes of an image, a PDF, audio or text, a PIL image, a matplotlib figure, "
    "a dataframe, an array, or what JSON can hold; or its str()."
)
FILES = (
    "Models take PNG, JPEG, GIF, WebP, PDF, WAV, MP3, Ogg, FLAC and MP4; give another image as a PIL image."
)
MAGIC = {
    "image/png": rb"\x89PNG\r\n\x1a\n",
    "image/jpeg": rb"\xff\xd8\xff",
    "image/gif": rb"GIF8[79]a",
    "image/webp": rb"RIFF....WEBP",
    "application/pdf": rb"%PDF-\d",
    "audio/wav": rb"RIFF....WAVE",
    "audio/mp3": rb"ID3[\x02-\x04]|\xff[\xe2\xe3\xf2\xf3\xfa\xfb]",
    "audio/ogg": rb"OggS\x00",
    "audio/flac": rb"fLaC[\x00\x80]",
    "video/mp4": rb"....ftyp(?:iso|mp4|avc|dash|M4V)(?=.*hdlr.{8}vide)",
    "audio/mp4": rb"....ftyp(?:iso|mp4|dash|M4A|M4B)",
}
SUFFIXES = {".pdf": "application/pdf", ".mp3": "audio/mp3"}  # of files that may begin with something else
BYTES = (bytes, bytearray, memoryview)
DATA = (int, float, list, tuple, Mapping, Set, NoneType)
PNG_MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")
# What IPython's protocol of display has that a message can hold, and the methods that give it alone.
DISPLAYED = {
    "image/png": "_repr_png_",
    "image/jpeg": "_repr_jpeg_",
    "image/gif": "_repr_mimebundle_",
    "image/webp": "_repr_mimebundle_",
    "text/markdown": "_repr_markdown_",
    "text/latex": "_repr_latex_",
}


def content(value: Any) -> Content:
    """A prompt, of one value or a list of them. Raises BadInput for an empty one, and for what cannot be sent."""
    values = value if isinstance(value, list | tuple) else () if value is None else (value,)
    made = _joined([part(each) for one in values for each in _apart(one, paths=True)])
    if not made:
        raise BadInput("The prompt is empty", "Write something, or give an image or another file.")
    return made


def part(value: Any) -> Part:
    """One value as a text or a file. Raises BadInput for what cannot be sent."""
    made = _made(value)
    if made is None:
        raise BadInput(f"A value of the type {type(value).__name__} cannot be sent", CAN)
    return made


def result(value: Any) -> Content:
    """What a tool returned; what cannot be sent is told about in its place, and nothing is raised."""
    try:
        made = _joined([_cut(_told(one), RESULT_CHARACTERS) for one in _apart(value)])
    except Exception as error:  # a list of the tool's own kind, say
        made = _note(value, error)
    return made if made and value is not None else NOTHING


def _told(value: Any) -> Part:
    """A value as a part, or else in words."""
    try:
        made = _made(value)
        return str(value) if made is None else made
    except ChatError as error:
        return _json(value) if _is_written(value) else str(error)
    except Exception as error:
        return _note(value, error)


def _note(value: Any, error: Exception) -> str:
    return f"(a {type(value).__name__} that cannot be shown: {type(error).__name__})"


def _made(value: Any) -> Part | None:
    """By the first kind that fits and makes something of it; None where there is none. Raises BadInput."""
    try:
        made = (kind.make(value) for kind in KINDS if kind.fits(value))
        return next((one for one in made if one is not None), None)
    except ChatError:
        raise
    except Exception as error:  # from the value's own library
        why = " ".join(_error(error).split())
        raise BadInput(
            f"The {type(value).__name__} cannot be sent: {why}", "Give its data, or its str()."
        ) from error


def _apart(value: Any, depth: int = DEPTH, *, paths: bool = False) -> list[Any]:
    """What is sent one by one: the values of a list that holds more than data, or else the value itself."""
    if isinstance(value, list | tuple) and _is_more(value, depth, paths):
        return [each for one in value for each in _apart(one, depth - 1, paths=paths)]
    return [value]


def _is_more(value: Any, depth: int, paths: bool) -> bool:
    """Whether it is no text or data, nor a list of them; `paths`: whether a path counts, since it will be read."""
    if isinstance(value, str | int | float | None):
        return False
    if isinstance(value, list | tuple):
        return depth > 0 and any(_is_more(one, depth - 1, paths) for one in value)
    return any(kind.alone and kind.fits(value) for kind in KINDS) or (
        paths and isinstance(value, os.PathLike)
    )


def _joined(parts: Iterable[Part]) -> Content:
    """Parts as a content. Texts in a row are one: providers count parts when they look back for what is cached."""
    found: list[Part] = []
    for one in parts:
        if isinstance(one, str) and not one.strip():
            continue
        if isinstance(one, str) and found and isinstance(found[-1], str):
            found[-1] += "\n\n" + one
        else:
            found.append(one)
    return transcript.joined(found)


def _cut(one: Part, limit: int) -> Part:
    """A text without its middle, where it is too long."""
    if isinstance(one, File) or len(one) <= limit:
        return one
    half = limit // 2
    return f"{one[:half]}\n[… {len(one) - 2 * half:,} characters left out …]\n{one[-half:]}"


def _file(media: str, data: Any, name: str = "") -> File:
    return File(media, base64.b64encode(data).decode(), sendable(name))


def _media(data: Any) -> str:
    """The media type by the first bytes; "" if they say nothing."""
    return next((media for media, magic in MAGIC.items() if re.match(magic, data, re.DOTALL)), "")


def _text(data: bytes, name: str) -> str:
    """Bytes as text; those with a zero in them are none. Raises BadInput."""
    try:
        if b"\0" not in data:
            return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        pass
    raise BadInput(f"{name}: neither text (in UTF-8) nor a kind of file that models take", FILES)


def _bytes(value: Any) -> Part:
    data = bytes(value)
    media = _media(data)
    return _file(media, data) if media else _text(data, f"{len(data):,} bytes")


def _path(value: Any) -> Part:
    """What is in a file: a text under the file's name, in a fence that nothing in it ends."""
    path = Path(os.fsdecode(value)).expanduser()
    data, suffix = _read(path), path.suffix.lower()
    if data and (media := _media(data) or SUFFIXES.get(suffix, "")):
        return _file(media, data, path.name)
    text = _text(data, str(path))
    fence = "`" * max([3, *(len(run) + 1 for run in re.findall("`+", text))])
    end = "" if text.endswith("\n") else "\n"
    return f"{path.name}:\n{fence}{suffix[1:]}\n{text}{end}{fence}"


def _read(path: Path) -> bytes:
    try:
        if path.exists() and not path.is_file():  # a pipe would never end
            raise BadInput(
                f"{path} is {'a directory' if path.is_dir() else 'no file'}", "Give files, as a list."
            )
        with path.open("rb") as file:
            data = file.read(FILE_BYTES + 1)
    except FileNotFoundError as error:
        raise BadInput(f"There is no file {path}", f"The folder here is {Path.cwd()}.") from error
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}", "Check who may read it.") from error
    if len(data) > FILE_BYTES:
        raise BadInput(f"{path} is larger than {FILE_BYTES // 1024**2} MB", "Give a part of it.")
    return data


def _picture(image: Any) -> File:
    """A PIL image as PNG, no larger than providers take."""
    image = image if image.mode in PNG_MODES else _converted(image)
    scale = IMAGE_SIDE / max(image.size)
    while True:
        if scale < 1:  # the copy has the colours between those of a palette, too
            image = image.convert({"1": "L", "P": "RGBA"}.get(image.mode, image.mode))
            image.thumbnail([max(1, int(side * scale)) for side in image.size])
        data = io.BytesIO()
        image.save(data, format="PNG")
        if _fits(png := data.getvalue()):
            return _file("image/png", png)
        scale = 0.9 * math.sqrt(IMAGE_BASE64 * 3 / 4 / len(png))


def _converted(image: Any) -> Any:
    """In a mode that PNG has; numbers that have no range of their own are spread over the greys."""
    if image.mode not in ("I", "F"):
        return image.convert({"PA": "RGBA", "RGBa": "RGBA", "La": "LA"}.get(image.mode, "RGB"))
    low, high = image.getextrema()
    scale = 255 / ((high - low) or 1)
    return image.convert("F").point(lambda value: value * scale + -low * scale).convert("L")


def _fits(png: bytes) -> bool:
    sides = (int.from_bytes(png[at : at + 4]) for at in (16, 20))
    return len(png) * 4 / 3 <= IMAGE_BASE64 and max(sides) <= IMAGE_SIDE


def _figure(value: Any) -> File:
    """A matplotlib figure, or that of axes; as a notebook shows it, with what reaches over its edge."""
    figure = value.figure.figure  # of axes, their figure or a part of one; of a figure, itself
    dpi, box = min(FIGURE_DPI, FIGURE_SIDE / max(figure.get_size_inches())), "tight"
    while True:
        data = io.BytesIO()
        figure.savefig(data, format="png", dpi=dpi, bbox_inches=box or None)
        if _fits(png := data.getvalue()):
            return _file("image/png", png)
        dpi, box = dpi / (1 if box else 1.5), ""  # first without what reaches too far


def _displayed(value: Any) -> Part | None:
    """By IPython's protocol of display, where the text of an image is base64."""
    bundle = _call(value, "_repr_mimebundle_", include=None, exclude=None)
    for media, method in DISPLAYED.items():
        shown = bundle.get(media) if isinstance(bundle, Mapping) else None
        shown = shown or (None if method == "_repr_mimebundle_" else _call(value, method))
        if isinstance(shown, bytes):
            return _file(media, shown)
        if isinstance(shown, str) and shown:
            return shown if media.startswith("text/") else File(media, "".join(shown.split()))
    return None


def _call(value: Any, method: str, **options: Any) -> Any:
    """What a method gives, without the metadata; None if the class has none."""
    found = getattr(value, method)(**options) if _has(value, method) else None
    return found[0] if isinstance(found, tuple) else found


def _table(value: Any) -> str:
    """A dataframe or a series: its shape, types, and first rows. Nothing else of it is touched."""
    head = value.head(TABLE_ROWS) if _has(value, "head") else value.slice(0, TABLE_ROWS)
    names, types, rows = _columns(head.to_frame() if _has(head, "to_frame") else head)
    heads = [f"{name} ({kind})" if str(kind) else name for name, kind in zip(names, types, strict=False)]
    lines = [_row(heads), _row("---" for _ in heads)]
    shape = tuple(value.shape) if _has(value, "shape") else (len(value),)
    left = [shape[0], *(max(0, number - TABLE_COLUMNS) for number in shape[1:])]
    for line in map(_row, rows):
        if sum(map(len, lines)) + len(line) > TABLE_CHARACTERS:
            break
        lines, left[0] = [*lines, line], left[0] - 1
    note = f"\n\n({_counted(left, 1)} left out)" if any(left) else ""
    return f"{type(value).__name__}, {_counted(shape)}:\n\n" + "\n".join(lines) + note


def _columns(head: Any) -> tuple[Sequence[Any], Sequence[Any], Iterable[Any]]:
    """Names, types and rows of a dataframe of pandas', polars' or Arrow's."""
    if _has(head, "itertuples"):
        head = head.iloc[:, :TABLE_COLUMNS]
        return [head.index.name or "", *head.columns], ["", *head.dtypes], head.itertuples(name=None)
    if _has(head, "rows"):
        head = head[:, :TABLE_COLUMNS]
        return head.columns, head.dtypes, head.rows()
    if not _has(head, "select"):
        return [""], [head.type], ([value] for value in head.to_pylist())
    head = head.select(range(min(TABLE_COLUMNS, head.num_columns)))
    return (
        head.schema.names,
        head.schema.types,
        zip(*(each.to_pylist() for each in head.columns), strict=True),
    )


def _counted(shape: Iterable[int], least: int = 0) -> str:
    named = zip(shape, ("row", "column"), strict=False)
    return " and ".join(f"{n:,} {name}{'s' * (n != 1)}" for n, name in named if n >= least)


def _row(cells: Iterable[Any]) -> str:
    return f"| {' | '.join(map(_cell, cells))} |"


def _cell(value: Any) -> str:
    text = str(value)
    short = text if len(text) <= CELL_CHARACTERS else text[:CELL_CHARACTERS] + "…"
    return short.translate({ord("|"): r"\|", ord("\n"): r"\n", ord("\r"): r"\r"})


def _array(value: Any) -> Part:
    """An array as numpy abbreviates it; a number without a shape as it is."""
    text = _cut(str(value), TABLE_CHARACTERS)
    shape = tuple(value.shape)
    return f"{type(value).__name__} of shape {shape}, {value.dtype}:\n{text}" if shape else text


def _error(error: BaseException) -> str:
    return ": ".join(filter(None, (type(error).__name__, str(error))))


def _json(value: Any) -> str:
    """As JSON, or else as Python writes it: what holds itself, say."""
    try:
        return json.dumps(value, ensure_ascii=False, default=_plain)
    except (TypeError, ValueError, RecursionError):
        return repr(value)


def _plain(value: Any) -> Any:
    """What JSON has no form for, in one that it has; a field that its class does not show stays hidden."""
    if _has(value, "model_dump"):
        return value.model_dump(mode="json")
    if _has(value, "__dataclass_fields__"):
        return {
            name: getattr(value, name) for name, field in value.__dataclass_fields__.items() if field.repr
        }
    if isinstance(value, Mapping | Set):
        return dict(value) if isinstance(value, Mapping) else sorted(value, key=str)
    if _has(value, "tolist") and getattr(value, "size", 0) <= ARRAY_ITEMS:
        return value.tolist()
    return str(value)


def _written(value: Any) -> Part:
    """A part as OpenAI and litellm write it. Raises BadInput."""
    made = transcript.part(value)
    if isinstance(made, File) and made.data in ("", FILE_ID):
        raise BadInput(f"A part of the type {value['type']!r} is empty", "Give its data, or its address.")
    return made


def _is_written(value: Any) -> bool:
    """A text beside fields of its own is data, of which they would be lost."""
    kind = value.get("type") if isinstance(value, Mapping) else None
    if kind == "text":
        return {"type", "text", "cache_control", "prompt_cache_breakpoint"}.issuperset(value)
    return isinstance(kind, str) and kind in ("image_url", "input_audio", "file") and kind in value


def _is_table(value: Any) -> bool:
    framed = any(_has(value, name) for name in ("itertuples", "rows", "to_frame"))
    return (framed and _has(value, "shape", "head")) or _has(value, "slice", "to_pylist")


def _is_data(value: Any) -> bool:
    return isinstance(value, DATA) or _has(value, "model_dump") or _has(value, "__dataclass_fields__")


def _has(value: Any, *names: str) -> bool:
    """Whether its class has them all: some objects make up every attribute that they are asked for."""
    return all(hasattr(type(value), name) for name in names)


def _is(*names: str) -> Callable[[Any], bool]:
    """By the names of classes, whose libraries are not imported here."""
    return lambda value: any(f"{kind.__module__}.{kind.__name__}" in names for kind in type(value).__mro__)


class Kind(NamedTuple):
    """A kind of values, and how a part is made of one; `alone`: a list with one is no data, but sent one by one."""

    fits: Callable[[Any], bool]
    make: Callable[[Any], Part | None]
    alone: bool = False


AXES = _is("matplotlib.figure.FigureBase", "matplotlib.axes._base._AxesBase", "seaborn.axisgrid.Grid")
KINDS = (
    Kind(lambda value: isinstance(value, str), str.__str__),
    Kind(lambda value: isinstance(value, File), lambda value: value, alone=True),
    Kind(lambda value: isinstance(value, BYTES), _bytes, alone=True),
    Kind(lambda value: isinstance(value, os.PathLike), _path),
    Kind(_is("PIL.Image.Image"), _picture, alone=True),
    Kind(AXES, _figure, alone=True),
    Kind(_is("plotly.basedatatypes.BaseFigure"), lambda f: _file("image/png", f.to_image("png")), alone=True),
    Kind(_is_table, _table, alone=True),
    Kind(_is_written, _written, alone=True),
    Kind(lambda value: any(_has(value, name) for name in DISPLAYED.values()), _displayed, alone=True),
    Kind(lambda value: isinstance(value, BaseException), _error),
    Kind(lambda value: _has(value, "shape", "dtype"), _array),
    Kind(_is_data, _json),
)
