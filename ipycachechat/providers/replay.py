"""ReplayedExchange: a recorded reply in place of a request; nothing is sent or billed."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING

from ipycachechat.conversation.events import StreamChunk
from ipycachechat.conversation.messages import Message
from ipycachechat.conversation.to_wire import to_wire
from ipycachechat.conversation.usage import Usage
from ipycachechat.providers.endpoint import ModelEndpoint

if TYPE_CHECKING:
    from ipycachechat.providers.response import Response


class ReplayedExchange:
    """A recorded reply, with the interface of `Exchange`."""

    started = True
    usage = Usage(input=0, read=0, written=0, output=0)

    def __init__(self, endpoint: ModelEndpoint, message: Message, finish_reason: str) -> None:
        self.endpoint, self.message, self.finish_reason = endpoint, message, finish_reason
        self.text = message.text

    async def run(self, emit: Callable[[StreamChunk], None]) -> None:
        """Emit the reply in one chunk."""
        from litellm.types.utils import Delta, ModelResponseStream, StreamingChoices

        thinking = "\n\n".join(part.text for part in self.message.thinking if part.text)
        delta = Delta(role="assistant", content=self.text or None, reasoning_content=thinking or None)
        chunk = ModelResponseStream(model=self.endpoint.model, choices=[StreamingChoices(delta=delta)])
        emit(StreamChunk(self.text, thinking, chunk))

    @cached_property
    def response(self) -> Response:
        """The reply as litellm's ModelResponse."""
        import litellm

        from ipycachechat.providers.response import Response

        finish_reason, message = self.finish_reason or "stop", to_wire(self.message)
        choice = {"index": 0, "finish_reason": finish_reason, "message": message}
        usage = litellm.Usage(prompt_tokens=0, completion_tokens=0, total_tokens=0)
        return Response.of(
            litellm.ModelResponse(model=self.endpoint.model, choices=[choice], usage=usage), self.usage
        )
