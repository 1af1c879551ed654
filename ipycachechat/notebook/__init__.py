"""The notebook's side: magics, commands and displays. Here: where the shell keeps what belongs to it."""

EXTENSION_KEY = "ipycachechat-loaded"
"""Key in `shell.meta` of the loaded magics and of the magics that they replaced."""
SESSION_KEY = "ipycachechat"
"""Key in `shell.meta` of the conversation while the extension is reloaded."""
