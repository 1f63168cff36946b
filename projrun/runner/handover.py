"""The end of a `sitecustomize.py` of ours: hand over to the project's own, which ours hides."""

from __future__ import annotations

HAND_OVER = """
import os
import sys

here = os.path.dirname(os.path.abspath(__file__))
sys.path[:] = [path for path in sys.path if os.path.abspath(path) != here]
this = sys.modules.pop("sitecustomize")
try:
    import sitecustomize
except ImportError:
    sys.modules["sitecustomize"] = this
"""
