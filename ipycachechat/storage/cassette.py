"""Replies in a file, each under the request that it answered: the same request is served from there, and costs nothing.

The file is JSON, an entry for each reply, in the order in which they came; it says what was asked, so that a change of
it can be read. Nothing of a key or an address goes into it.
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
    """The replies of one file. `strict`: nobody is asked for those that it does not hold."""

    def __init__(self, path: Path, model: str = "", *, strict: bool = False) -> None:
        """`model`: the one in use. Raises BadInput for a file that cannot be read; a strict one has to be there."""
        self.path, self.strict, self.model = path, strict, model
        """`model`: the one that was in use when the file was begun."""
        self._problem, self._told = "", False
        self._asked: dict[str, asyncio.Event] = {}
        """Requests that are being answered."""
        if not path.absolute().parent.is_dir():
            raise BadInput(f"There is no folder {path.absolute().parent}", "Make it, or choose another file.")
        if strict and not path.exists():
            raise BadInput(
                f"There is no file {path}", "Record it first: %chat replies FILE, without --strict."
            )
        self._replies = self._read()

    def __len__(self) -> int:
        return len(self._replies)

    @property
    def problem(self) -> str:
        """Why replies are not written, once until they are again; "" otherwise."""
        told, self._problem = self._problem, ""
        return told

    @asynccontextmanager
    async def single_flight(self, key: str) -> AsyncIterator[None]:
        """While a request is answered; the same one, asked meanwhile, waits, and finds its reply."""
        while key in self._asked:
            await self._asked[key].wait()
        self._asked[key] = asyncio.Event()
        try:
            yield
        finally:
            self._asked.pop(key).set()

    def find(self, key: str) -> tuple[Message, str] | None:
        """A reply, and why it ended. Raises BadInput if it is not there and nobody is to be asked."""
        if key in self._replies:
            told = self._replies[key]
            return serialization.load_message(told["reply"]), str(told["finish"])
        if self.strict:
            raise BadInput(
                f"{self.path.name} holds no reply to this request, and nobody else is to be asked (--strict)",
                "Record it: %chat replies FILE, without --strict, then run the cell again.",
            )
        return None

    def add(self, key: str, model: str, chain: PrefixChain, reply: Message, finish: str) -> None:
        """Keep a reply; what is wrong with the file is told as the `problem`."""
        asked = chain.messages[-1].message
        told = {
            "model": model,
            "after": len(chain.messages) - 1,
            "asked": {"role": asked.role, "text": asked.text},
            "reply": serialization.dump_message(reply),
            "finish": finish,
        }
        self._replies[key] = told
        try:
            self._replies = self._read() | self._replies
            whole = {"kind": KIND, "schema": SCHEMA, "model": self.model, "replies": self._replies}
            atomic_write.write_atomically(self.path, json.dumps(whole, ensure_ascii=False, indent=1) + "\n")
            self._told = False
        except BadInput as error:
            if not self._told:
                self._problem = f"ipycachechat: the reply was not recorded ({error.message})"
            self._told = True

    def _read(self) -> dict[str, Json]:
        try:
            told = json.loads(self.path.read_text("utf-8", "surrogatepass"))
            if told["kind"] != KIND:
                raise KeyError("kind")
            schema, found = told["schema"], dict(told["replies"])
            self.model = str(told.get("model") or self.model)
            if schema <= SCHEMA:
                for one in found.values():
                    serialization.load_message(one["reply"])
                    str(one["model"] + one["finish"])
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise BadInput(f"{self.path} cannot be read: {error.strerror}", "Choose another file.") from None
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise BadInput(
                f"{self.path} is no file of replies, or is broken", "Choose another file."
            ) from None
        if schema > SCHEMA:
            raise BadInput(
                f"{self.path} was written by a newer ipycachechat (form {schema}; this one knows {SCHEMA})",
                "Update ipycachechat.",
            )
        return found


def request_key(model: str, chain: PrefixChain, max_tokens: int) -> str:
    """A request's name: of all that the reply may depend on, which checkpoints are not."""
    settings = chain.options
    whole = [model, max_tokens, request.wire_messages(chain.messages), settings.tools, settings.options]
    told = json.dumps(whole, ensure_ascii=True, sort_keys=True)
    return blake2b(told.encode(), digest_size=12).hexdigest()
