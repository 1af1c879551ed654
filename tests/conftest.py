"""What every test may ask for."""

from __future__ import annotations

from wire.fixtures import wire

__all__ = ["wire"]
