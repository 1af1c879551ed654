"""Record replies to a file and replay them, so that repeating a request costs nothing (as VCR does for HTTP).

The file is JSON with an entry for each reply, in order of arrival, under a hash of its request. An entry contains the
text of the prompt, so that a diff can be read. API keys and addresses are not saved.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import blake2b
from pathlib import Path
from typing import Any

from ipycachechat.caching import request
from ipycachechat.caching.prefix import PrefixChain
from ipycachechat.conversation.messages import Message
from ipycachechat.errors import BadInput
from ipycachechat.storage import atomic_write, serialization

KIND, SCHEMA = "ipycachechat replies", 1
Json = dict[str, Any]


class Cassette:
    """The recorded replies of one file."""

    def __init__(self, path: Path, model: str = "", *, strict: bool = False) -> None:
        """`model`: the model in use. `strict`: requests without a recorded reply fail instead of being sent.

        Raises BadInput if the file cannot be read, or is missing though `strict`.
        """
        self.path, self.strict, self.model = path, strict, model
        """`model`: the model in use when the file was created."""
        self._problem, self._reported = "", False
        self._in_flight: dict[str, asyncio.Event] = {}
        """Requests that are being answered, by key."""
        if not path.absolute().parent.is_dir():
            raise BadInput(
                f"There is no folder {path.absolute().parent}", "Create it, or choose another file."
            )
        if strict and not path.exists():
            raise BadInput(
                f"There is no file {path}", "Record it first: %chat replies FILE, without --strict."
            )
        self._replies = self._read()

    def __len__(self) -> int:
        return len(self._replies)

    @property
    def problem(self) -> str:
        """Why a reply could not be saved; "" if it was, or once this has been read."""
        problem, self._problem = self._problem, ""
        return problem

    @asynccontextmanager
    async def single_flight(self, key: str) -> AsyncIterator[None]:
        """Answer a request in this block. The same request waits until its end, then finds the reply."""
        while key in self._in_flight:
            await self._in_flight[key].wait()
        self._in_flight[key] = asyncio.Event()
        try:
            yield
        finally:
            self._in_flight.pop(key).set()

    def find(self, key: str) -> tuple[Message, str] | None:
        """Return the recorded reply and its finish reason. Raises BadInput if there is none and the file is strict."""
        if key in self._replies:
            entry = self._replies[key]
            return serialization.load_message(entry["reply"]), str(entry["finish"])
        if self.strict:
            raise BadInput(
                "No recorded reply for this exact conversation, and --strict forbids asking the model",
                f"Record one in {self.path.name}: %chat replies FILE, without --strict, then run the cell again.",
            )
        return None

    def add(self, key: str, model: str, chain: PrefixChain, reply: Message, finish: str) -> None:
        """Record a reply. If the file cannot be written, the reason becomes the `problem`."""
        prompt = chain.messages[-1].message
        self._replies[key] = {
            "model": model,
            "after": len(chain.messages) - 1,
            "asked": {"role": prompt.role, "text": prompt.text},
            "reply": serialization.dump_message(reply),
            "finish": finish,
        }
        try:
            self._replies = self._read() | self._replies
            data = {"kind": KIND, "schema": SCHEMA, "model": self.model, "replies": self._replies}
            atomic_write.write_atomically(self.path, json.dumps(data, ensure_ascii=False, indent=1) + "\n")
            self._reported = False
        except BadInput as error:
            if not self._reported:
                self._problem = f"ipycachechat: the reply was not recorded ({error.message})"
            self._reported = True

    def _read(self) -> dict[str, Json]:
        try:
            data = json.loads(self.path.read_text("utf-8", "surrogatepass"))
            if data["kind"] != KIND:
                raise KeyError("kind")
            schema, replies = data["schema"], dict(data["replies"])
            self.model = str(data.get("model") or self.model)
            if schema <= SCHEMA:
                for entry in replies.values():
                    serialization.load_message(entry["reply"])
                    str(entry["model"] + entry["finish"])
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise BadInput(f"{self.path} cannot be read: {error.strerror}", "Choose another file.") from None
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise BadInput(
                f"{self.path} is not a file of recorded replies, or is damaged", "Choose another file."
            ) from None
        if schema > SCHEMA:
            raise BadInput(
                f"{self.path} was written by a newer ipycachechat (format {schema}; this one knows {SCHEMA})",
                "Update ipycachechat.",
            )
        return replies


def request_key(model: str, chain: PrefixChain, max_tokens: int) -> str:
    """Return a hash of everything that the reply depends on, so without checkpoints."""
    options = chain.options
    parts = [model, max_tokens, request.wire_messages(chain.messages), options.tools, options.options]
    text = json.dumps(parts, ensure_ascii=True, sort_keys=True)
    return blake2b(text.encode(), digest_size=12).hexdigest()
