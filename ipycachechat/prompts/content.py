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
from ipycachechat.prompts.data_summary import array_text, table
from ipycachechat.prompts.duck_typing import PromptValue, has_attributes, is_instance_of
from ipycachechat.prompts.images import attachment, figure_to_png, image_to_png
from ipycachechat.text.format import fence_for
from ipycachechat.text.redaction_log import RedactionLog

MAX_FILE_BYTES = 32 * 1024**2
MAX_ARRAY_ITEMS = 1_000  # of an array inside other data; a larger one is abbreviated, as numpy does
MAX_RESULT_CHARACTERS = 100_000
MAX_LIST_DEPTH = 3  # of nested lists in which an image is looked for: a list can contain itself

NO_OUTPUT = "(no output)"
FILE_HINT = (
    "Models take PNG, JPEG, GIF, WebP, PDF, WAV, MP3, Ogg, FLAC and MP4; give another image as a PIL image."
)
MAGIC_BYTES = {
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
SUFFIXES = {".pdf": "application/pdf", ".mp3": "audio/mp3"}  # of files that may begin with other bytes
BYTES = (bytes, bytearray, memoryview)
DATA = (int, float, list, tuple, Mapping, Set, NoneType)
# Media types of IPython's display protocol that a message can hold, and the methods that return them.
DISPLAY_METHODS = {
    "image/png": "_repr_png_",
    "image/jpeg": "_repr_jpeg_",
    "image/gif": "_repr_mimebundle_",
    "image/webp": "_repr_mimebundle_",
    "text/markdown": "_repr_markdown_",
    "text/latex": "_repr_latex_",
}


def flatten_values(value: Any) -> list[Any]:
    """Return the values that a prompt consists of, each to be sent on its own."""
    values = value if isinstance(value, list | tuple) else () if value is None else (value,)
    return [item for value in values for item in _flatten(value, paths=True)]


def join_parts(parts: Iterable[Part]) -> Content:
    """Return a prompt of these parts. Raises BadInput if it is empty."""
    content = _merge_texts(parts)
    if not content:
        raise BadInput("The prompt is empty", "Write something, or give an image or another file.")
    return content


def tool_result_content(value: Any, redact: RedactionLog) -> Content:
    """Return a tool's result as content; a value that cannot be sent is described instead, and nothing is raised."""
    try:
        content = _merge_texts([_result_part(item, redact) for item in _flatten(value)])
    except Exception as error:  # a list type of the tool's own, say
        content = _cannot_show(value, error)
    return content if content and value is not None else NO_OUTPUT


def _result_part(value: Any, redact: RedactionLog) -> Part:
    try:
        # A tool that returns a path has not asked for the file to be read.
        part = os.fsdecode(value) if isinstance(value, os.PathLike) else to_part(value, redact)
        part = redact.mask_repr(str(value)) if part is None else part
        return part if isinstance(part, Attachment) else redact.truncate_middle(part, MAX_RESULT_CHARACTERS)
    except ChatError as error:
        return redact(as_json(value, redact) if is_part_dict(value) else str(error))
    except Exception as error:
        return _cannot_show(value, error)


def _cannot_show(value: Any, error: Exception) -> str:
    return f"(a {type(value).__name__} that cannot be shown: {type(error).__name__})"


def to_part(value: Any, redact: RedactionLog) -> Part | None:
    """Return the part that the first suitable kind makes of the value; None if there is none. Raises BadInput.

    What is cut is redacted before. Whole texts are for the caller to redact.
    """
    try:
        parts = (kind.make_part(value, redact) for kind in KINDS if kind.matches(value))
        return next((part for part in parts if part is not None), None)
    except ChatError:
        raise
    except Exception as error:  # from the value's own library
        reason = " ".join(_error_text(error).split())
        raise BadInput(
            f"The {type(value).__name__} cannot be sent: {reason}", "Give its data, or its str()."
        ) from error


def _flatten(value: Any, depth: int = MAX_LIST_DEPTH, *, paths: bool = False) -> list[Any]:
    """Return the values to send one by one: the items of a list that holds more than data, else the value itself."""
    if isinstance(value, list | tuple) and _is_more_than_data(value, depth, paths):
        return [inner for item in value for inner in _flatten(item, depth - 1, paths=paths)]
    return [value]


def _is_more_than_data(value: Any, depth: int, paths: bool) -> bool:
    """Return True if it is or contains an image, a table or the like; with `paths`, also a path, which will be read."""
    if isinstance(value, str | int | float | None):
        return False
    if isinstance(value, list | tuple):
        return depth > 0 and any(_is_more_than_data(item, depth - 1, paths) for item in value)
    if paths and isinstance(value, os.PathLike):
        return True
    return any(kind.separate and kind.matches(value) for kind in KINDS)


def _merge_texts(parts: Iterable[Part]) -> Content:
    """Return parts as content, adjacent texts as one: providers count parts when they look for what is cached."""
    merged: list[Part] = []
    for part in parts:
        if isinstance(part, str) and not part.strip():
            continue
        if isinstance(part, str) and merged and isinstance(merged[-1], str):
            merged[-1] += "\n\n" + part
        else:
            merged.append(part)
    return from_wire.join_parts(merged)


def _media_type(data: Any) -> str:
    """Return the media type by the first bytes; "" if unknown."""
    types = (media for media, pattern in MAGIC_BYTES.items() if re.match(pattern, data, re.DOTALL))
    return next(types, "")


def _decode(data: bytes, name: str) -> str:
    """Return bytes without NUL as text. Raises BadInput."""
    try:
        if b"\0" not in data:
            return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        pass
    raise BadInput(f"{name}: neither text (in UTF-8) nor a kind of file that models take", FILE_HINT)


def _bytes_part(value: Any, _: RedactionLog) -> Part:
    data = bytes(value)
    media_type = _media_type(data)
    return attachment(media_type, data) if media_type else _decode(data, f"{len(data):,} bytes")


def _file_part(value: Any, _: RedactionLog) -> Part:
    """Return a file as an attachment, or its text in a code fence under its name."""
    path = Path(os.fsdecode(value)).expanduser()
    data, suffix = _read(path), path.suffix.lower()
    if data and (media_type := _media_type(data) or SUFFIXES.get(suffix, "")):
        return attachment(media_type, data, path.name)
    text = _decode(data, str(path))
    fence, end = fence_for(text), "" if text.endswith("\n") else "\n"
    return f"{path.name}:\n{fence}{suffix[1:]}\n{text}{end}{fence}"


def _read(path: Path) -> bytes:
    try:
        if path.exists() and not path.is_file():  # reading a pipe would never end
            what = "a directory" if path.is_dir() else "not a regular file"
            raise BadInput(f"{path} is {what}", "Give files, as a list.")
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError as error:
        raise BadInput(f"There is no file {path}", f"The current folder is {Path.cwd()}.") from error
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}", "Check its permissions.") from error
    if len(data) > MAX_FILE_BYTES:
        raise BadInput(f"{path} is larger than {MAX_FILE_BYTES // 1024**2} MB", "Give a part of it.")
    return data


def _displayed_part(value: Any, _: RedactionLog) -> Part | None:
    """Return what IPython's display protocol returns for a value, where an image as text is base64."""
    bundle = _call_display(value, "_repr_mimebundle_", include=None, exclude=None)
    for media_type, method in DISPLAY_METHODS.items():
        data = bundle.get(media_type) if isinstance(bundle, Mapping) else None
        data = data or (None if method == "_repr_mimebundle_" else _call_display(value, method))
        if isinstance(data, bytes):
            return attachment(media_type, data)
        if isinstance(data, str) and data:
            return data if media_type.startswith("text/") else Attachment(media_type, "".join(data.split()))
    return None


def _call_display(value: Any, method: str, **options: Any) -> Any:
    """Return a display method's result without its metadata; None if the class has no such method."""
    result = getattr(value, method)(**options) if has_attributes(value, method) else None
    return result[0] if isinstance(result, tuple) else result


def _error_text(error: BaseException) -> str:
    return ": ".join(filter(None, (type(error).__name__, str(error))))


def as_json(value: Any, redact: RedactionLog) -> str:
    """Return data as JSON, with masks in place of what fields of secrets hold.

    As its repr if there is no JSON for it, as for a list that contains itself.
    """
    try:
        masked = redact.mask_fields(value)
        return json.dumps(
            masked, ensure_ascii=False, default=lambda item: redact.mask_fields(_to_json_type(item))
        )
    except (TypeError, ValueError, RecursionError):
        return redact.mask_repr(repr(value))


def _to_json_type(value: Any) -> Any:
    """Return a value that JSON has no type for as one that it has; fields without repr stay hidden."""
    if has_attributes(value, "model_dump"):
        return value.model_dump(mode="json")
    if has_attributes(value, "__dataclass_fields__"):
        shown = (name for name, field in value.__dataclass_fields__.items() if field.repr)
        return {name: getattr(value, name) for name in shown}
    if isinstance(value, Mapping | Set):
        return dict(value) if isinstance(value, Mapping) else sorted(value, key=str)
    if has_attributes(value, "tolist") and getattr(value, "size", 0) <= MAX_ARRAY_ITEMS:
        return value.tolist()
    return str(value)


def part_from_dict(value: Any) -> Part:
    """Return a part that is written as OpenAI and litellm write it. Raises BadInput."""
    part = from_wire.part(value)
    if isinstance(part, Attachment) and part.data in ("", FILE_ID):
        raise BadInput(f"A part of the type {value['type']!r} is empty", "Give its data, or its address.")
    return part


def is_part_dict(value: Any) -> bool:
    """Return True for a dict of OpenAI's form; a text part with other fields is data, since they would be lost."""
    kind = value.get("type") if isinstance(value, Mapping) else None
    if kind == "text":
        return {"type", "text", "cache_control", "prompt_cache_breakpoint"}.issuperset(value)
    return isinstance(kind, str) and kind in ("image_url", "input_audio", "file") and kind in value


def is_table(value: Any) -> bool:
    """Return True for a dataframe or a series of pandas, polars or Arrow."""
    is_frame = any(has_attributes(value, name) for name in ("itertuples", "rows", "to_frame"))
    return (is_frame and has_attributes(value, "shape", "head")) or has_attributes(
        value, "slice", "to_pylist"
    )


def is_figure(value: Any) -> bool:
    """Return True for a figure, which takes a while to draw."""
    return is_matplotlib(value) or is_plotly(value)


def _is_data(value: Any) -> bool:
    fields = ("model_dump", "__dataclass_fields__")
    return isinstance(value, DATA) or any(has_attributes(value, name) for name in fields)


class ValueKind(NamedTuple):
    """A kind of value, and the function that makes a part of it.

    `separate`: the items of a list that contains one are sent one by one, as the list is more than data.
    """

    matches: Callable[[Any], bool]
    make_part: Callable[[Any, RedactionLog], Part | None]
    separate: bool = False


is_matplotlib = is_instance_of(
    "matplotlib.figure.FigureBase", "matplotlib.axes._base._AxesBase", "seaborn.axisgrid.Grid"
)
is_plotly = is_instance_of("plotly.basedatatypes.BaseFigure")
KINDS = (
    ValueKind(lambda value: isinstance(value, PromptValue), lambda value, redact: value.text(redact)),
    ValueKind(lambda value: isinstance(value, str), lambda value, _: str.__str__(value)),
    ValueKind(lambda value: isinstance(value, Attachment), lambda value, _: value, separate=True),
    ValueKind(lambda value: isinstance(value, BYTES), _bytes_part, separate=True),
    ValueKind(lambda value: isinstance(value, os.PathLike), _file_part),
    ValueKind(is_instance_of("PIL.Image.Image"), lambda value, _: image_to_png(value), separate=True),
    ValueKind(is_matplotlib, lambda value, _: figure_to_png(value), separate=True),
    ValueKind(is_plotly, lambda value, _: attachment("image/png", value.to_image("png")), separate=True),
    ValueKind(is_table, table, separate=True),
    ValueKind(is_part_dict, lambda value, _: part_from_dict(value), separate=True),
    ValueKind(
        lambda value: any(has_attributes(value, name) for name in DISPLAY_METHODS.values()),
        _displayed_part,
        separate=True,
    ),
    ValueKind(lambda value: isinstance(value, BaseException), lambda value, _: _error_text(value)),
    ValueKind(lambda value: has_attributes(value, "shape", "dtype"), array_text),
    ValueKind(_is_data, as_json),
)
