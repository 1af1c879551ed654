"""Chat cells for Jupyter and IPython: the notebook is the conversation, and its prompt cache is in view."""

__version__ = "0.1.0"
