"""Figures to JSON inside HTML: numpy arrays as plotly's typed arrays, nothing that could end a script element."""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["to_json"]

_NAMES = {
    "float64": "f8", "float32": "f4", "int32": "i4", "int16": "i2", "int8": "i1", "uint32": "u4", "uint16": "u2",
    "uint8": "u1",
}  # fmt: skip


def _array(values: NDArray[Any]) -> dict[str, Any]:
    if values.dtype.kind in "iub":
        low, high = (int(values.min()), int(values.max())) if values.size else (0, 0)
        fits = (
            t
            for t in (np.uint8, np.int8, np.uint16, np.int16, np.int32)
            if np.iinfo(t).min <= low <= high <= np.iinfo(t).max
        )
        values = values.astype(next(fits, np.float64))
    name = _NAMES[values.dtype.name]
    data = np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("<"))
    made: dict[str, Any] = {"dtype": name, "bdata": base64.b64encode(data.tobytes()).decode()}
    return made | ({"shape": ", ".join(map(str, values.shape))} if values.ndim > 1 else {})


def _default(value: object) -> Any:
    if isinstance(value, np.ndarray):
        return _array(value)
    if isinstance(value, np.integer):
        return int(value)
    if isinstance(value, np.floating):
        return float(value)
    raise TypeError(f"a figure holds a {type(value).__name__}")


def to_json(value: Any) -> str:
    """JSON that is safe between script tags. Raises ValueError on NaN outside arrays, TypeError on foreign types."""
    text = json.dumps(value, default=_default, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
