"""`%load_ext ipycachechat` and `%unload_ext ipycachechat`."""

from __future__ import annotations

from typing import Any

from traitlets import TraitError

from ipycachechat.errors import BadInput
from ipycachechat.notebook import EXTENSION_KEY
from ipycachechat.notebook.magics import ChatMagics


def load_ipython_extension(shell: Any) -> None:
    """Register the magics and print which model is in use."""
    owners = {kind: table.get("chat") for kind, table in shell.magics_manager.magics.items()}
    try:
        magics = ChatMagics(shell)
    except TraitError as error:
        raise BadInput(
            f"A setting of ipycachechat is wrong: {' '.join(str(error).split())}",
            "Correct it (get_ipython().config.ChatMagics, or ipython_config.py) and load again.",
        ) from None
    shell.register_magics(magics)
    shell.set_hook("complete_command", magics.complete, str_key="%chat")
    shell.set_hook("complete_command", magics.complete, str_key="%%chat")
    shell.meta[EXTENSION_KEY] = (magics, owners)
    instead = f"; it replaces the %%chat of {_origin(owners)}" if any(owners.values()) else ""
    session = magics.session
    print(f"ipycachechat: {session.model_in_use()} (%chat help){instead}")  # noqa: T201
    if line := session.find_stored():
        print(line)  # noqa: T201


def unload_ipython_extension(shell: Any) -> None:
    """Remove everything but the conversation, in case the extension is loaded again."""
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
    """Return the package of the magic that had the name before."""
    owner = next(owner for owner in owners.values() if owner is not None)
    return str(getattr(owner, "__module__", "") or "another package").partition(".")[0]
