"""The names of models, to be completed."""

from __future__ import annotations

from ipycachechat.core.defaults import LOCAL, MODELS
from ipycachechat.model.litellm_import import is_imported


def chat_models() -> list[str]:
    """PROVIDER/MODEL of all that litellm knows, if it has been imported; else the defaults alone."""
    known = {*MODELS.values(), LOCAL}
    if is_imported():
        import litellm

        for name, record in litellm.model_cost.items():
            provider = str(record.get("litellm_provider", ""))
            if record.get("mode") in ("chat", "responses"):
                known.add(name if "/" in name or not provider else f"{provider}/{name}")
    return sorted(known)
