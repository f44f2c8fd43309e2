"""ChexReason: the open laboratory for reasoning-trained chest X-ray models."""

__version__ = "0.2.0"
