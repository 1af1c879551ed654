"""Any Python value as message content, by kind."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable, Mapping, Set
from pathlib import Path
from types import NoneType
from typing import Any, NamedTuple

from ipycachechat.conversation import from_wire
from ipycachechat.conversation.messages import Attachment, Content, Part
from ipycachechat.conversation.to_wire import FILE_ID
from ipycachechat.errors import BadInput, ChatError
from ipycachechat.prompts.duck_typing import has_attributes, is_instance_of
from ipycachechat.prompts.images import attachment, figure_to_png, image_to_png
from ipycachechat.prompts.tables import TABLE_CHARACTERS, table
from ipycachechat.text.truncate import truncate_middle

FILE_BYTES = 32 * 1024**2  # the largest file that is read
ARRAY_ITEMS = 1_000  # of an array inside other data; a larger one is abbreviated, as numpy does
RESULT_CHARACTERS = 100_000
DEPTH = 3  # of lists in lists in which an image is looked for: a list can hold itself

NOTHING = "(no output)"
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
# What IPython's protocol of display has that a message can hold, and the methods that give it alone.
DISPLAYED = {
    "image/png": "_repr_png_",
    "image/jpeg": "_repr_jpeg_",
    "image/gif": "_repr_mimebundle_",
    "image/webp": "_repr_mimebundle_",
    "text/markdown": "_repr_markdown_",
    "text/latex": "_repr_latex_",
}


def flatten_values(value: Any) -> list[Any]:
    """Return the values that a prompt is made of."""
    several = value if isinstance(value, list | tuple) else () if value is None else (value,)
    return [each for one in several for each in _flatten(one, paths=True)]


def join_parts(parts: Iterable[Part]) -> Content:
    """A prompt of these parts. Raises BadInput for an empty one."""
    made = _merge_texts(parts)
    if not made:
        raise BadInput("The prompt is empty", "Write something, or give an image or another file.")
    return made


def tool_result_content(value: Any) -> Content:
    """Return a tool's result as content; a value that cannot be sent is described instead, and nothing is raised."""
    try:
        made = _merge_texts([_told(one) for one in _flatten(value)])
    except Exception as error:  # a list of the tool's own kind, say
        made = _note(value, error)
    return made if made and value is not None else NOTHING


def _told(value: Any) -> Part:
    """A value as a part, or else in words."""
    try:
        # A tool that names a file has not said that it is to be read.
        made = os.fsdecode(value) if isinstance(value, os.PathLike) else to_part(value)
        told = str(value) if made is None else made
        return told if isinstance(told, Attachment) else truncate_middle(told, RESULT_CHARACTERS)
    except ChatError as error:
        return as_json(value) if is_part_dict(value) else str(error)
    except Exception as error:
        return _note(value, error)


def _note(value: Any, error: Exception) -> str:
    return f"(a {type(value).__name__} that cannot be shown: {type(error).__name__})"


def to_part(value: Any) -> Part | None:
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


def _flatten(value: Any, depth: int = DEPTH, *, paths: bool = False) -> list[Any]:
    """Return the values to send one by one: the items of a list that holds more than data, else the value itself."""
    if isinstance(value, list | tuple) and _is_more(value, depth, paths):
        return [each for one in value for each in _flatten(one, depth - 1, paths=paths)]
    return [value]


def _is_more(value: Any, depth: int, paths: bool) -> bool:
    """Return True if it is neither text or data nor a list of them; `paths`: count a path, since it will be read."""
    if isinstance(value, str | int | float | None):
        return False
    if isinstance(value, list | tuple):
        return depth > 0 and any(_is_more(one, depth - 1, paths) for one in value)
    return any(kind.alone and kind.fits(value) for kind in KINDS) or (
        paths and isinstance(value, os.PathLike)
    )


def _merge_texts(parts: Iterable[Part]) -> Content:
    """Parts as a content. Texts in a row are one: providers count parts when they look back for what is cached."""
    found: list[Part] = []
    for one in parts:
        if isinstance(one, str) and not one.strip():
            continue
        if isinstance(one, str) and found and isinstance(found[-1], str):
            found[-1] += "\n\n" + one
        else:
            found.append(one)
    return from_wire.join_parts(found)


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
    return attachment(media, data) if media else _text(data, f"{len(data):,} bytes")


def _path(value: Any) -> Part:
    """Return the text of a file under its name, in a code fence that nothing in it ends."""
    path = Path(os.fsdecode(value)).expanduser()
    data, suffix = _read(path), path.suffix.lower()
    if data and (media := _media(data) or SUFFIXES.get(suffix, "")):
        return attachment(media, data, path.name)
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


def _displayed(value: Any) -> Part | None:
    """By IPython's protocol of display, where the text of an image is base64."""
    bundle = _call(value, "_repr_mimebundle_", include=None, exclude=None)
    for media, method in DISPLAYED.items():
        shown = bundle.get(media) if isinstance(bundle, Mapping) else None
        shown = shown or (None if method == "_repr_mimebundle_" else _call(value, method))
        if isinstance(shown, bytes):
            return attachment(media, shown)
        if isinstance(shown, str) and shown:
            return shown if media.startswith("text/") else Attachment(media, "".join(shown.split()))
    return None


def _call(value: Any, method: str, **options: Any) -> Any:
    """Return a method's result without the metadata; None if the class has no such method."""
    found = getattr(value, method)(**options) if has_attributes(value, method) else None
    return found[0] if isinstance(found, tuple) else found


def _array(value: Any) -> Part:
    """An array as numpy abbreviates it; a number without a shape as it is."""
    text = truncate_middle(str(value), TABLE_CHARACTERS)
    shape = tuple(value.shape)
    return f"{type(value).__name__} of shape {shape}, {value.dtype}:\n{text}" if shape else text


def _error(error: BaseException) -> str:
    return ": ".join(filter(None, (type(error).__name__, str(error))))


def as_json(value: Any) -> str:
    """As JSON, or else as Python writes it: what holds itself, say."""
    try:
        return json.dumps(value, ensure_ascii=False, default=_plain)
    except (TypeError, ValueError, RecursionError):
        return repr(value)


def _plain(value: Any) -> Any:
    """Return a value that JSON has no form for as one that it has; fields hidden from the repr stay hidden."""
    if has_attributes(value, "model_dump"):
        return value.model_dump(mode="json")
    if has_attributes(value, "__dataclass_fields__"):
        return {
            name: getattr(value, name) for name, field in value.__dataclass_fields__.items() if field.repr
        }
    if isinstance(value, Mapping | Set):
        return dict(value) if isinstance(value, Mapping) else sorted(value, key=str)
    if has_attributes(value, "tolist") and getattr(value, "size", 0) <= ARRAY_ITEMS:
        return value.tolist()
    return str(value)


def part_from_dict(value: Any) -> Part:
    """A part as OpenAI and litellm write it. Raises BadInput."""
    made = from_wire.part(value)
    if isinstance(made, Attachment) and made.data in ("", FILE_ID):
        raise BadInput(f"A part of the type {value['type']!r} is empty", "Give its data, or its address.")
    return made


def is_part_dict(value: Any) -> bool:
    """A text beside fields of its own is data, of which they would be lost."""
    kind = value.get("type") if isinstance(value, Mapping) else None
    if kind == "text":
        return {"type", "text", "cache_control", "prompt_cache_breakpoint"}.issuperset(value)
    return isinstance(kind, str) and kind in ("image_url", "input_audio", "file") and kind in value


def is_table(value: Any) -> bool:
    framed = any(has_attributes(value, name) for name in ("itertuples", "rows", "to_frame"))
    return (framed and has_attributes(value, "shape", "head")) or has_attributes(value, "slice", "to_pylist")


def is_figure(value: Any) -> bool:
    """Return True if it is a figure, which takes a while to draw."""
    return AXES(value) or PLOTLY(value)


def _is_data(value: Any) -> bool:
    return (
        isinstance(value, DATA)
        or has_attributes(value, "model_dump")
        or has_attributes(value, "__dataclass_fields__")
    )


class ValueKind(NamedTuple):
    """A kind of values, and how a part is made of one; `alone`: a list with one is no data, but sent one by one."""

    fits: Callable[[Any], bool]
    make: Callable[[Any], Part | None]
    alone: bool = False


AXES = is_instance_of(
    "matplotlib.figure.FigureBase", "matplotlib.axes._base._AxesBase", "seaborn.axisgrid.Grid"
)
PLOTLY = is_instance_of("plotly.basedatatypes.BaseFigure")
KINDS = (
    ValueKind(lambda value: isinstance(value, str), str.__str__),
    ValueKind(lambda value: isinstance(value, Attachment), lambda value: value, alone=True),
    ValueKind(lambda value: isinstance(value, BYTES), _bytes, alone=True),
    ValueKind(lambda value: isinstance(value, os.PathLike), _path),
    ValueKind(is_instance_of("PIL.Image.Image"), image_to_png, alone=True),
    ValueKind(AXES, figure_to_png, alone=True),
    ValueKind(PLOTLY, lambda f: attachment("image/png", f.to_image("png")), alone=True),
    ValueKind(is_table, table, alone=True),
    ValueKind(is_part_dict, part_from_dict, alone=True),
    ValueKind(
        lambda value: any(has_attributes(value, name) for name in DISPLAYED.values()), _displayed, alone=True
    ),
    ValueKind(lambda value: isinstance(value, BaseException), _error),
    ValueKind(lambda value: has_attributes(value, "shape", "dtype"), _array),
    ValueKind(_is_data, as_json),
)
