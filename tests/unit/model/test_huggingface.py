"""Reading config.json: equal to the presets, whose figures were written independently; refusals name file and key."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from moesim.errors import InputError
from moesim.model.fields import from_dict
from moesim.model.huggingface import MODEL_TYPES, fields_from_config, read_config
from moesim.model.presets import load_preset

# The public config.json files, typed from the checkpoints' repositories (keys that shape nothing are left out).
MIXTRAL: dict[str, Any] = {
    "architectures": ["MixtralForCausalLM"], "hidden_act": "silu", "hidden_size": 4096, "intermediate_size": 14336,
    "max_position_embeddings": 32768, "model_type": "mixtral", "num_attention_heads": 32, "num_experts_per_tok": 2,
    "num_hidden_layers": 32, "num_key_value_heads": 8, "num_local_experts": 8, "output_router_logits": False,
    "rms_norm_eps": 1e-05, "rope_theta": 1000000.0, "router_aux_loss_coef": 0.02, "sliding_window": None,
    "tie_word_embeddings": False, "torch_dtype": "bfloat16", "transformers_version": "4.36.0.dev0", "vocab_size": 32000,
}  # fmt: skip

QWEN3: dict[str, Any] = {
    "architectures": ["Qwen3MoeForCausalLM"], "attention_bias": False, "decoder_sparse_step": 1, "head_dim": 128,
    "hidden_act": "silu", "hidden_size": 2048, "intermediate_size": 6144, "max_position_embeddings": 40960,
    "max_window_layers": 48, "mlp_only_layers": [], "model_type": "qwen3_moe", "moe_intermediate_size": 768,
    "norm_topk_prob": True, "num_attention_heads": 32, "num_experts": 128, "num_experts_per_tok": 8,
    "num_hidden_layers": 48, "num_key_value_heads": 4, "rope_theta": 1000000.0, "sliding_window": None,
    "tie_word_embeddings": False, "torch_dtype": "bfloat16", "use_sliding_window": False, "vocab_size": 151936,
}  # fmt: skip

GPT_OSS: dict[str, Any] = {
    "architectures": ["GptOssForCausalLM"], "attention_bias": True, "experts_per_token": 4, "head_dim": 64,
    "hidden_act": "silu", "hidden_size": 2880, "initial_context_length": 4096, "intermediate_size": 2880,
    "layer_types": ["sliding_attention", "full_attention"] * 12, "max_position_embeddings": 131072,
    "model_type": "gpt_oss", "num_attention_heads": 64, "num_experts_per_tok": 4, "num_hidden_layers": 24,
    "num_key_value_heads": 8, "num_local_experts": 32,
    "quantization_config": {
        "modules_to_not_convert": ["model.layers.*.self_attn", "model.layers.*.mlp.router",
                                   "model.embed_tokens", "lm_head"],
        "quant_method": "mxfp4",
    },
    "rope_theta": 150000, "sliding_window": 128, "swiglu_limit": 7.0, "tie_word_embeddings": False,
    "vocab_size": 201088,
}  # fmt: skip

CONFIGS = {"mixtral-8x7b": MIXTRAL, "qwen3-30b-a3b": QWEN3, "gpt-oss-20b": GPT_OSS}

ABOUT = {"name", "title", "sources"}


@pytest.mark.parametrize("name", CONFIGS)
def test_config_equals_preset(name: str) -> None:
    read = from_dict(fields_from_config(CONFIGS[name], name="read"))
    assert read.model_dump(exclude=ABOUT) == load_preset(name).model_dump(exclude=ABOUT)


def test_file_and_folder(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(MIXTRAL))
    assert read_config(tmp_path) == read_config(tmp_path / "config.json") == MIXTRAL


@pytest.mark.parametrize("kind", MODEL_TYPES)
def test_each_key_that_is_needed_is_named_when_missing(kind: str) -> None:
    config = next(c for c in CONFIGS.values() if c["model_type"] == kind)
    needed = 0
    for key in config:
        short = {k: v for k, v in config.items() if k != key}
        try:
            fields_from_config(short, name="x", file="models/config.json")
        except InputError as error:
            needed += 1
            (fault,) = error.faults
            assert fault.field == f"model.config.{key}", key
            assert "models/config.json" in str(error)
            assert "missing" in str(error)
    assert needed >= 10


def test_unknown_type_has_a_recipe() -> None:
    with pytest.raises(InputError) as caught:
        fields_from_config({**MIXTRAL, "model_type": "mixtrall"}, name="x", file="c.json")
    (fault,) = caught.value.faults
    assert (fault.field, fault.got, fault.nearest) == ("model.config.model_type", "mixtrall", "mixtral")
    assert "my-model.yaml" in fault.message
    assert "d_expert" in fault.message


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"model_type": "mixtral",\n "x": }', "config.json:2:7: model.config: not JSON"),
        ("[1]", "not a JSON object"),
        ("[" * 100_000, "not JSON"),
    ],
)
def test_malformed_files(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "config.json"
    file.write_text(text)
    with pytest.raises(InputError, match=r"config\.json") as caught:
        read_config(file)
    assert said in str(caught.value)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        read_config(tmp_path / "none.json")


@pytest.mark.parametrize("value", ["32", True, 32.0, None])
def test_wrong_types(value: Any) -> None:
    with pytest.raises(InputError, match=r"model\.config\.num_hidden_layers"):
        fields_from_config({**MIXTRAL, "num_hidden_layers": value}, name="x")


def test_dense_layers_of_qwen3() -> None:
    config = {**QWEN3, "mlp_only_layers": [1], "decoder_sparse_step": 2, "num_hidden_layers": 6}
    spec = from_dict(fields_from_config(config, name="x"))
    # Experts where (layer + 1) is even and the layer is not listed: 3 and 5.
    assert spec.moe_layers == (3, 5)
    assert spec.layers[0].d_ff == 6144
    assert spec.dense_bytes(0) == 3 * 2048 * 6144 * 2
    assert spec.dense_bytes(3) == 0


def test_sliding_layers_of_qwen3() -> None:
    config = {**QWEN3, "use_sliding_window": True, "sliding_window": 4096, "max_window_layers": 46}
    spec = from_dict(fields_from_config(config, name="x"))
    assert [layer.window for layer in spec.layers] == [None] * 46 + [4096] * 2


def test_window_of_mixtral() -> None:
    spec = from_dict(fields_from_config({**MIXTRAL, "sliding_window": 4096}, name="x"))
    assert {layer.window for layer in spec.layers} == {4096}


@pytest.mark.parametrize(
    ("quantization", "weights"),
    [
        ({"quant_method": "fp8", "weight_block_size": [128, 128]}, {"default": "fp8"}),
        ({"quant_method": "awq", "bits": 4, "group_size": 128}, {"default": "int4-g128"}),
        ({"quant_method": "gptq", "bits": 4, "group_size": 128}, {"default": "int4-g128"}),
    ],
)
def test_storage_formats(quantization: dict[str, Any], weights: dict[str, Any]) -> None:
    fields = fields_from_config({**QWEN3, "quantization_config": quantization}, name="x")
    assert fields["weights"] == weights


def test_unknown_storage_format_is_refused_unless_the_caller_gives_one() -> None:
    config = {**MIXTRAL, "quantization_config": {"quant_method": "bitsandbytes"}}
    with pytest.raises(InputError, match="quantization_config"):
        fields_from_config(config, name="x")
    fields = fields_from_config(config, name="x", weights=False)
    assert "weights" not in fields
    assert from_dict({**fields, "weights": {"default": {"bits_per_weight": 4.5}}}).kv_bytes_per_token(0) == 4096


def test_layer_types_must_fit() -> None:
    with pytest.raises(InputError, match=r"model\.config\.layer_types"):
        fields_from_config({**GPT_OSS, "num_hidden_layers": 23}, name="x")
    with pytest.raises(InputError, match="linear_attention"):
        fields_from_config({**GPT_OSS, "layer_types": ["linear_attention"] * 24}, name="x")
