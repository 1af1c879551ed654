"""The names of models, to be completed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ipycachechat.defaults import LOCAL, MODELS
from ipycachechat.errors import BadInput
from ipycachechat.providers.litellm_import import is_imported


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


def register(models: Mapping[str, Mapping[str, Any]] | str) -> None:
    """Tell litellm of models. Raises BadInput for what it does not take."""
    import litellm

    try:
        litellm.register_model(models)
    except Exception as error:
        raise BadInput(
            f"litellm does not take these models: {' '.join(str(error).split())}",
            'Write them as {"PROVIDER/MODEL": {"litellm_provider": …, "input_cost_per_token": …, …}}.',
        ) from None
