"""PIL images and figures as PNG, no larger than providers accept."""

from __future__ import annotations

import base64
import io
import math
from typing import Any

from ipycachechat.conversation.messages import Attachment
from ipycachechat.conversation.to_wire import replace_surrogates

IMAGE_BASE64 = 5_000_000  # characters; providers refuse a larger image
IMAGE_SIDE = 8_000  # pixels; likewise
FIGURE_SIDE, FIGURE_DPI = 1_568, 144  # of more pixels models see no more (Anthropic's guide to vision)
PNG_MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")


def attachment(media: str, data: Any, name: str = "") -> Attachment:
    """Bytes as a file of a message."""
    return Attachment(media, base64.b64encode(data).decode(), replace_surrogates(name))


def image_to_png(image: Any) -> Attachment:
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
            return attachment("image/png", png)
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


def figure_to_png(value: Any) -> Attachment:
    """A matplotlib figure, or that of axes; as a notebook shows it, with what reaches over its edge."""
    figure = value.figure.figure  # of axes, their figure or a part of one; of a figure, itself
    dpi, box = min(FIGURE_DPI, FIGURE_SIDE / max(figure.get_size_inches())), "tight"
    while True:
        data = io.BytesIO()
        figure.savefig(data, format="png", dpi=dpi, bbox_inches=box or None)
        if _fits(png := data.getvalue()):
            return attachment("image/png", png)
        dpi, box = dpi / (1 if box else 1.5), ""  # first without what reaches too far
