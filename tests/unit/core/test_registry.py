"""Kinds by name: duplicates, unknown names, plug-ins that work and that do not."""

from __future__ import annotations

import pytest

from moesim.core import registry
from moesim.core.registry import Registry
from moesim.errors import InputError


class One:
    pass


class Two:
    pass


class Entry:
    """An installed plug-in, as importlib.metadata gives it."""

    def __init__(self, name: str, loads: type | None) -> None:
        self.name, self.loads = name, loads
        self.value, self.dist = f"{name}:Class", None

    def load(self) -> type:
        if self.loads is None:
            raise ImportError("no module named torch")
        return self.loads


@pytest.fixture
def seam(monkeypatch: pytest.MonkeyPatch) -> Registry[object]:
    installed = {"moesim.eviction": [Entry("broken", None), Entry("theirs", Two)]}
    monkeypatch.setattr(registry, "entry_points", lambda group: installed.get(group, []))
    made: Registry[object] = Registry("eviction")
    made.register("one")(One)
    return made


def test_a_second_class_of_one_name_names_both(seam: Registry[object]) -> None:
    seam.register("one")(One)  # the same class again, as after a reload, is fine
    with pytest.raises(ValueError, match=r"'one' is defined twice: .*One and .*Two"):
        seam.register("one")(Two)
    assert seam.get("one") is One


def test_a_broken_plugin_warns_by_name_and_the_rest_works(seam: Registry[object]) -> None:
    with pytest.warns(UserWarning, match="'broken' of moesim.eviction does not load: no module named torch"):
        assert seam.kinds() == ["one", "theirs"]
    assert seam.get("theirs") is Two


def test_an_unknown_kind_lists_the_known_and_the_nearest(seam: Registry[object]) -> None:
    with pytest.warns(UserWarning), pytest.raises(InputError) as caught:
        seam.get("theits")
    (fault,) = caught.value.faults
    assert (fault.field, fault.allowed, fault.nearest) == ("eviction", "one | theirs", "theirs")
