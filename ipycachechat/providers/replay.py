"""ReplayedExchange: a recorded reply in place of a request; nothing is sent or billed."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING

from ipycachechat.conversation import to_wire
from ipycachechat.conversation.events import StreamChunk
from ipycachechat.conversation.messages import Message
from ipycachechat.conversation.usage import Usage
from ipycachechat.providers.endpoint import ModelEndpoint

if TYPE_CHECKING:
    from ipycachechat.providers.response import Response

NOTHING_SENT = Usage(0, 0, 0, 0, 0)


class ReplayedExchange:
    """A recorded reply, with the interface of `Exchange`."""

    started = True
    usage = NOTHING_SENT

    def __init__(self, target: ModelEndpoint, message: Message, finish: str) -> None:
        self.endpoint, self.message, self.finish_reason = target, message, finish
        self.text = message.text

    async def run(self, arrived: Callable[[StreamChunk], None]) -> None:
        """Tell the reply, at once."""
        from litellm.types.utils import Delta, ModelResponseStream, StreamingChoices

        thought = "\n\n".join(one.text for one in self.message.thinking if one.text)
        delta = Delta(role="assistant", content=self.text or None, reasoning_content=thought or None)
        chunk = ModelResponseStream(model=self.endpoint.model, choices=[StreamingChoices(delta=delta)])
        arrived(StreamChunk(self.text, thought, chunk))

    @cached_property
    def response(self) -> Response:
        """As litellm would have it."""
        import litellm

        from ipycachechat.providers.response import Response

        choice = {
            "index": 0,
            "finish_reason": self.finish_reason or "stop",
            "message": to_wire.to_wire(self.message),
        }
        usage = litellm.Usage(prompt_tokens=0, completion_tokens=0, total_tokens=0)
        built = litellm.ModelResponse(model=self.endpoint.model, choices=[choice], usage=usage)
        return Response.of(built, self.usage)
