"""Measurements of live devices: taking them (`capture`), reading and showing them."""

__all__: list[str] = []
