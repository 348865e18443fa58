"""The presets against published totals, and how they are found."""

from __future__ import annotations

from pathlib import Path

import pytest

from moesim.errors import InputError
from moesim.model.presets import load_preset, names, path, read_fields

# Billions of parameters, typed from the publishers: mistral.ai/news/mixtral-of-experts; the Qwen3-30B-A3B model card;
# the gpt-oss model card's table 1 (20.91 total, 3.61 active: unembedding counted as active, embedding not).
TOTALS = {"mixtral-8x7b": 46.7, "qwen3-30b-a3b": 30.5, "gpt-oss-20b": 20.91}
ACTIVE = {"mixtral-8x7b": (12.9, True, 0.01), "qwen3-30b-a3b": (3.3, True, 0.02), "gpt-oss-20b": (3.61, False, 0.01)}


@pytest.mark.parametrize("name", TOTALS)
def test_total_parameters(name: str) -> None:
    assert load_preset(name).params() / 1e9 == pytest.approx(TOTALS[name], rel=0.01)


@pytest.mark.parametrize("name", ACTIVE)
def test_active_parameters(name: str) -> None:
    published, embedding, tolerance = ACTIVE[name]  # 3.3 for Qwen3 is itself rounded to 1.5 %
    assert load_preset(name).active_params(embedding=embedding) / 1e9 == pytest.approx(published, rel=tolerance)


def test_gpt_oss_parts() -> None:
    """The rows of the model card's table: MLP 19.12, attention 0.64, embedding and unembedding 1.16 billion."""
    spec = load_preset("gpt-oss-20b")
    attention = sum(t.params for t in spec.attention_tensors()) * 24
    mlp = 24 * (32 * spec.expert_params(0) + sum(t.params for t in spec.router_tensors(0)))
    assert round(mlp / 1e9, 2) == 19.12
    assert round(attention / 1e9, 2) == 0.64
    assert round(2 * spec.vocab_size * spec.d_model / 1e9, 2) == 1.16


def test_all_ship_and_have_sources() -> None:
    assert set(TOTALS) <= set(names())
    for name in names():
        spec = load_preset(name)
        assert spec.name == name
        assert {"config", "totals"} <= set(spec.sources)
        assert all(source.url.startswith("https://") for source in spec.sources.values())


@pytest.mark.parametrize("loose", ["Mixtral-8x7B", "mixtral 8x7b", "MIXTRAL_8X7B", "mixtral"])
def test_loose_names(loose: str) -> None:
    assert path(loose).stem == "mixtral-8x7b"


def test_unknown_name() -> None:
    with pytest.raises(InputError) as caught:
        path("mixtral-7x8b")
    (fault,) = caught.value.faults
    assert fault.field == "model.preset"
    assert fault.nearest == "mixtral-8x7b"
    assert "qwen3-30b-a3b" in fault.allowed
    with pytest.raises(InputError):
        path("")


def test_own_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(path("mixtral").read_text().replace("top_k: 2", "top_k: 9"))
    assert read_fields(str(file))["top_k"] == 9
    with pytest.raises(InputError, match=r"mine\.yaml: model\.top_k: got 9, allowed 1 to 8"):
        load_preset(str(file))
    file.write_text("a: [")
    with pytest.raises(InputError, match="not YAML"):
        load_preset(str(file))
    file.write_text("[]")
    with pytest.raises(InputError, match="not a map"):
        load_preset(str(file))
    with pytest.raises(InputError, match="no such file"):
        load_preset(str(tmp_path / "none.yaml"))
