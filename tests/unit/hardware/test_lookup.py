"""Finding profiles: order of the folders, loose names, errors that list what is known."""

from __future__ import annotations

from pathlib import Path

import pytest

from moesim.errors import InputError
from moesim.hardware import lookup


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory and no folder of the user's own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "none"))
    monkeypatch.delenv("MOESIM_PROFILE_PATH", raising=False)
    return tmp_path


@pytest.mark.parametrize("name", ["rtx-4090-desktop", "rtx4090", "RTX 4090", "RTX_4090-Desktop", "rtx"])
def test_loose_names(name: str) -> None:
    assert lookup.find(name).name == "rtx-4090-desktop.yaml"


def test_order(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shipped = lookup.find("h200-node")
    assert shipped.parent.name == "hw_profiles"
    named = elsewhere / "named"
    own = elsewhere / "hw_profiles"
    for folder in (named, own):
        folder.mkdir()
        (folder / "h200-node.yaml").write_text("title: mine\n")
    (named / "other.yaml").write_text("title: other\n")
    monkeypatch.setenv("MOESIM_PROFILE_PATH", f"{elsewhere / 'absent'}:{named}")
    assert lookup.find("h200-node") == own / "h200-node.yaml"
    assert lookup.find("other") == named / "other.yaml"
    (own / "h200-node.yaml").unlink()
    assert lookup.find("h200-node") == named / "h200-node.yaml"
    assert lookup.find(str(shipped)) == shipped
    assert lookup.find("h200-node", first=shipped.parent) == shipped


def test_parts() -> None:
    assert lookup.find("rtx-4090", "accelerator").parts[-3:] == ("parts", "accelerator", "rtx-4090.yaml")
    assert "rtx-4090" not in lookup.names("machine")


def test_scenarios_may_lie_in_subfolders(elsewhere: Path) -> None:
    folder = elsewhere / "scenarios" / "ablation"
    folder.mkdir(parents=True)
    (folder / "no-prefetch-test.yaml").write_text("moesim: 1\n")
    for name in ("ablation/no-prefetch-test", "no-prefetch-test", "No Prefetch Test"):
        assert lookup.find(name, "scenario") == folder / "no-prefetch-test.yaml"


def test_unknown_name_lists_names_and_the_nearest() -> None:
    with pytest.raises(InputError) as caught:
        lookup.find("rtx-4080-desktop")
    (fault,) = caught.value.faults
    assert fault.got == "rtx-4080-desktop" and fault.nearest == "rtx-4090-desktop"
    assert "h200-node" in fault.allowed and "oneplus-15r" in fault.allowed


def test_ambiguous_name(elsewhere: Path) -> None:
    folder = elsewhere / "hw_profiles"
    folder.mkdir()
    for name in ("zzz-one.yaml", "zzz-two.yaml"):
        (folder / name).write_text("")
    with pytest.raises(InputError, match="fits several machines") as caught:
        lookup.find("zzz")
    assert "zzz-one | zzz-two" in str(caught.value)


@pytest.mark.parametrize("name", ["absent.yaml", "./absent.yml", "/absent/h200-node"])
def test_missing_path(name: str) -> None:
    with pytest.raises(InputError, match="no such file"):
        lookup.find(name)


def test_a_folder_is_no_profile(elsewhere: Path) -> None:
    (elsewhere / "mine").mkdir()
    (elsewhere / "yours.yaml").mkdir()
    (elsewhere / "other.yaml").write_text("")
    with pytest.raises(InputError, match="unknown scenario, and a folder is none"):
        lookup.find("mine", "scenario")
    with pytest.raises(InputError, match="is a folder, not a file"):
        lookup.find("yours.yaml", "scenario")
    with pytest.raises(InputError, match=r"no such file.*nearest other\.yaml"):
        lookup.find("othr.yaml", "scenario")


def test_short_loose_names_do_not_match() -> None:
    with pytest.raises(InputError):
        lookup.find("h2")


def test_unknown_kind() -> None:
    with pytest.raises(ValueError, match="kind is one of"):
        lookup.find("x", "gpu")
