"""Fixtures that many tests share."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of measured data beside the checkout; users do not have it, so tests that need it skip by name."""
    folder = Path(__file__).resolve().parents[2] / "shared"
    if not folder.is_dir():
        pytest.skip("needs the measured data folder ../shared, which lies beside a developer's checkout only")
    return folder
