"""`%load_ext ipycachechat` and `%unload_ext ipycachechat`."""

from __future__ import annotations

from typing import Any

from traitlets import TraitError

from ipycachechat.errors import BadInput
from ipycachechat.notebook.magics import ChatMagics
from ipycachechat.notebook.session import EXTENSION_KEY, NotebookSession


def load_ipython_extension(shell: Any) -> None:
    """`%load_ext ipycachechat`: the magics, and one line that says which model is in use."""
    owners = {kind: table.get("chat") for kind, table in shell.magics_manager.magics.items()}
    session = NotebookSession(shell)
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
    shell.meta[EXTENSION_KEY] = (magics, owners)
    instead = f"; it stands in for the %%chat of {_origin(owners)}" if any(owners.values()) else ""
    print(f"ipycachechat: {magics.model_in_use()} (%chat help){instead}")  # noqa: T201
    if found := session.found():
        print(found)  # noqa: T201


def unload_ipython_extension(shell: Any) -> None:
    """`%unload_ext ipycachechat`: nothing stays but the conversation, should the extension come back."""
    if EXTENSION_KEY not in shell.meta:
        return
    magics, owners = shell.meta.pop(EXTENSION_KEY)
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
