"""Write a file completely or not at all, readable only for the user."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path

from ipycachechat.errors import BadInput


def write_atomically(path: Path, text: str) -> None:
    """Replace the content of a file. Raises BadInput if that fails; then the file is unchanged."""
    path = Path(os.path.realpath(path))  # a link stays a link
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            os.chmod(temporary, 0o600)  # whatever the umask takes away
            file.write(text.encode("utf-8", "surrogatepass" if path.suffix == ".json" else "replace"))
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink()
        raise BadInput(
            f"{path} cannot be written: {error.strerror or error}", "Nothing was changed."
        ) from None
