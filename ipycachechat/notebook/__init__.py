"""Magics, commands and displays of the notebook. Here: keys under which the shell keeps our objects."""

EXTENSION_KEY = "ipycachechat-loaded"
"""Key in `shell.meta` of the loaded magics, and of the `%chat` magics that they replaced."""
SESSION_KEY = "ipycachechat"
"""Key in `shell.meta` of what is kept while the extension is being reloaded."""
