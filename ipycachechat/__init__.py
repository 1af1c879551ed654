"""Chat cells for Jupyter and IPython: the notebook is the conversation, and its prompt cache is in view."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ipycachechat import errors
    from ipycachechat.api.chat import AsyncChat, Chat, register_model
    from ipycachechat.errors import ChatError
    from ipycachechat.notebook.kernel_chat import get_chat

__version__ = "0.1.0"
__all__ = ["AsyncChat", "Chat", "ChatError", "errors", "get_chat", "register_model"]

# The module of each public name: imported at first use, so that `%load_ext` stays fast.
_MODULES = {
    "AsyncChat": "api.chat",
    "Chat": "api.chat",
    "ChatError": "errors",
    "errors": "errors",
    "get_chat": "notebook.kernel_chat",
    "load_ipython_extension": "notebook.extension",
    "register_model": "api.chat",
    "unload_ipython_extension": "notebook.extension",
}


def __getattr__(name: str) -> Any:
    """Import a public name at first use."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    module = import_module(f"{__name__}.{_MODULES[name]}")
    return module if name == "errors" else getattr(module, name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
