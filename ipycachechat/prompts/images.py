"""PIL images and figures as PNG, no larger than providers accept."""

from __future__ import annotations

import base64
import io
import math
from typing import Any

from ipycachechat.conversation.messages import Attachment
from ipycachechat.conversation.to_wire import replace_surrogates

MAX_BASE64 = 5_000_000  # characters; providers refuse a larger image
MAX_SIDE = 8_000  # pixels; likewise
FIGURE_SIDE, FIGURE_DPI = 1_568, 144  # models scale larger images down (Anthropic's guide to vision)
PNG_MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")


def attachment(media_type: str, data: Any, name: str = "") -> Attachment:
    """Return bytes as an attachment."""
    return Attachment(media_type, base64.b64encode(data).decode(), replace_surrogates(name))


def image_to_png(image: Any) -> Attachment:
    """Return a PIL image as PNG, scaled down to what providers accept."""
    image = image if image.mode in PNG_MODES else _to_png_mode(image)
    scale = MAX_SIDE / max(image.size)
    while True:
        if scale < 1:  # scaling mixes colours, which a palette may not have
            image = image.convert({"1": "L", "P": "RGBA"}.get(image.mode, image.mode))
            image.thumbnail([max(1, int(side * scale)) for side in image.size])
        buffer = io.BytesIO()
        image.save(buffer, format="PNG")
        if _is_accepted(png := buffer.getvalue()):
            return attachment("image/png", png)
        scale = 0.9 * math.sqrt(MAX_BASE64 * 3 / 4 / len(png))


def _to_png_mode(image: Any) -> Any:
    """Return the image in a mode that PNG has; values without a fixed range are scaled to grey levels."""
    if image.mode not in ("I", "F"):
        return image.convert({"PA": "RGBA", "RGBa": "RGBA", "La": "LA"}.get(image.mode, "RGB"))
    low, high = image.getextrema()
    scale = 255 / ((high - low) or 1)
    return image.convert("F").point(lambda value: value * scale + -low * scale).convert("L")


def _is_accepted(png: bytes) -> bool:
    sides = (int.from_bytes(png[start : start + 4]) for start in (16, 20))
    return len(png) * 4 / 3 <= MAX_BASE64 and max(sides) <= MAX_SIDE


def figure_to_png(value: Any) -> Attachment:
    """Return a matplotlib figure, or that of axes, as a notebook shows it: with what exceeds its edges."""
    figure = value.figure.figure  # of axes, their figure or subfigure; of a figure, itself
    dpi, box = min(FIGURE_DPI, FIGURE_SIDE / max(figure.get_size_inches())), "tight"
    while True:
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=dpi, bbox_inches=box or None)
        if _is_accepted(png := buffer.getvalue()):
            return attachment("image/png", png)
        dpi, box = dpi / (1 if box else 1.5), ""  # first without what exceeds the edges
