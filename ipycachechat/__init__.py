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

# Where each name is, so that `%load_ext` imports none of it.
_PLACES = {
    "AsyncChat": "api.chat",
    "Chat": "api.chat",
    "ChatError": "errors",
    "errors": "errors",
    "get_chat": "notebook.kernel_chat",
    "register_model": "api.chat",
}

LOADED = "ipycachechat-loaded"  # the place in `shell.meta` of what is loaded, and of whom it stands in for


def __getattr__(name: str) -> Any:
    """The Python side, imported when it is asked for."""
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    module = import_module(f"{__name__}.{_PLACES[name]}")
    return module if name == "errors" else getattr(module, name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])


def load_ipython_extension(shell: Any) -> None:
    """`%load_ext ipycachechat`: the magics, and one line that says which model is in use."""
    from traitlets import TraitError

    from ipycachechat.errors import BadInput
    from ipycachechat.notebook.magics import ChatMagics
    from ipycachechat.notebook.session import Session

    owners = {kind: table.get("chat") for kind, table in shell.magics_manager.magics.items()}
    session = Session(shell)
    try:
        magics = ChatMagics(shell, session)
    except TraitError as error:
        session.close()
        raise BadInput(
            f"A setting of ipycachechat is wrong: {' '.join(str(error).split())}",
            "Correct it (get_ipython().config.ChatMagics, or ipython_config.py) and load again.",
        ) from None
    shell.register_magics(magics)
    shell.set_hook("complete_command", magics.complete, str_key="%chat")
    shell.set_hook("complete_command", magics.complete, str_key="%%chat")
    shell.meta[LOADED] = (magics, owners)
    instead = f"; it stands in for the %%chat of {_origin(owners)}" if any(owners.values()) else ""
    print(f"ipycachechat: {magics.model_in_use()} (%chat help){instead}")  # noqa: T201
    if found := session.found():
        print(found)  # noqa: T201


def unload_ipython_extension(shell: Any) -> None:
    """`%unload_ext ipycachechat`: nothing stays but the conversation, should the extension come back."""
    if LOADED not in shell.meta:
        return
    magics, owners = shell.meta.pop(LOADED)
    magics.session.close()
    for kind, owner in owners.items():
        table = shell.magics_manager.magics[kind]
        if owner is not None:
            table["chat"] = owner
        else:
            table.pop("chat", None)
    shell.magics_manager.registry.pop(type(magics).__name__, None)
    if magics in shell.configurables:
        shell.configurables.remove(magics)
    commands = shell.strdispatchers["complete_command"].strs
    for key in ("%chat", "%%chat"):
        commands.pop(key, None)


def _origin(owners: dict[str, Any]) -> str:
    """The package of the magic that had the name."""
    owner = next(owner for owner in owners.values() if owner is not None)
    return str(getattr(owner, "__module__", "") or "another package").partition(".")[0]
