"""Files that the person named: written whole or not at all, for nobody else to read."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path

from ipycachechat.errors import BadInput


def write_atomically(path: Path, text: str) -> None:
    """Write a text in place of what is there. Raises BadInput; then that is still there."""
    path = Path(os.path.realpath(path))  # what a link points to is written, and the link stays
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            os.chmod(beside, 0o600)  # whatever the umask takes away
            file.write(text.encode("utf-8", "surrogatepass" if path.suffix == ".json" else "replace"))
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except OSError as error:
        with suppress(OSError):
            beside.unlink()
        raise BadInput(
            f"{path} cannot be written: {error.strerror or error}", "Nothing was changed."
        ) from None
