"""A Hugging Face ``config.json`` to the fields of a model, by an alias table per ``model_type``.

The reader takes what shapes time and memory (dimensions, experts, windows, storage formats) and leaves the rest
(rotary tables, token ids, training options). Aliases are those of transformers' ``configuration_<model_type>.py``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from moesim.errors import Fault, InputError, nearest

__all__ = ["MODEL_TYPES", "fields_from_config", "read_config"]

_CONFIG = "model.config"

# Fields that all families spell alike.
_COMMON = MappingProxyType(
    {
        "n_layers": "num_hidden_layers",
        "d_model": "hidden_size",
        "n_heads": "num_attention_heads",
        "n_kv_heads": "num_key_value_heads",
        "vocab_size": "vocab_size",
        "tie_embeddings": "tie_word_embeddings",
        "top_k": "num_experts_per_tok",
    }
)


@dataclass(frozen=True, kw_only=True)
class Family:
    """One `model_type`: our field -> its key, what is always so, and what has to be worked out."""

    aliases: Mapping[str, str]
    fixed: Mapping[str, Any]
    derive: Callable[[_Config], dict[str, Any]]


class _Config:
    """A config with a name: says which file and key is missing or of the wrong type."""

    def __init__(self, data: Mapping[str, Any], file: str) -> None:
        self.data, self.file = data, file

    def fault(self, message: str, *, key: str = "", got: Any = None, allowed: str = "", near: str = "") -> InputError:
        field = f"{_CONFIG}.{key}" if key else _CONFIG
        return InputError(Fault(message=message, field=field, got=got, allowed=allowed, nearest=near, file=self.file))

    def need(self, key: str, kind: type = int) -> Any:
        if key not in self.data:
            raise self.fault(f"missing key {key}", key=key)
        value = self.data[key]
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise self.fault("wrong type", key=key, got=value, allowed=kind.__name__)
        return value


def _mixtral(config: _Config) -> dict[str, Any]:
    # Mixtral has no head_dim of its own where it equals hidden_size / heads.
    given = config.data.get("head_dim")
    head_dim = given if given is not None else config.need("hidden_size") // config.need("num_attention_heads")
    window = config.data.get("sliding_window")
    return {"head_dim": head_dim, "windows": ["full" if window is None else window]}


def _qwen3_moe(config: _Config) -> dict[str, Any]:
    n_layers, step = config.need("num_hidden_layers"), config.need("decoder_sparse_step")
    only = config.need("mlp_only_layers", list)
    if step < 1:
        raise config.fault("no such step", key="decoder_sparse_step", got=step, allowed="1 or more")
    dense = [layer for layer in range(n_layers) if layer in only or (layer + 1) % step]
    windows: list[Any] = ["full"]
    if config.data.get("use_sliding_window"):
        first = config.need("max_window_layers")
        windows = ["full" if layer < first else config.need("sliding_window") for layer in range(n_layers)]
    made: dict[str, Any] = {"dense_layers": dense, "windows": windows}
    return made | ({"d_ff": config.need("intermediate_size")} if dense else {})


def _gpt_oss(config: _Config) -> dict[str, Any]:
    kinds = config.need("layer_types", list)
    n_layers, window = config.need("num_hidden_layers"), config.need("sliding_window")
    allowed = {"sliding_attention": window, "full_attention": "full"}
    unknown = [kind for kind in kinds if kind not in allowed]
    if unknown or len(kinds) != n_layers:
        got = unknown[0] if unknown else f"{len(kinds)} entries"
        raise config.fault(
            "wrong layers", key="layer_types", got=got, allowed=f"{n_layers} times {' or '.join(allowed)}"
        )
    return {"windows": [allowed[kind] for kind in kinds]}


_FAMILIES: Mapping[str, Family] = MappingProxyType(
    {
        "mixtral": Family(
            aliases={"n_experts": "num_local_experts", "d_expert": "intermediate_size"}, fixed={}, derive=_mixtral
        ),
        "qwen3_moe": Family(
            aliases={
                "n_experts": "num_experts",
                "d_expert": "moe_intermediate_size",
                "head_dim": "head_dim",
                "attention_bias": "attention_bias",
            },
            fixed={"qk_norm": True},
            derive=_qwen3_moe,
        ),
        "gpt_oss": Family(
            aliases={
                "n_experts": "num_local_experts",
                "d_expert": "intermediate_size",
                "head_dim": "head_dim",
                "attention_bias": "attention_bias",
            },
            fixed={"attention_sinks": True, "expert_bias": True, "router_bias": True},
            derive=_gpt_oss,
        ),
    }
)
MODEL_TYPES = tuple(_FAMILIES)

_RECIPE = (
    "write its fields into a file such as my-model.yaml and set model.preset to that path: name, n_layers, d_model, "
    "n_heads, n_kv_heads, head_dim, vocab_size, tie_embeddings, n_experts, top_k, d_expert, weights, kv_cache"
)


def read_config(path: str | Path) -> dict[str, Any]:
    """The text of a ``config.json`` (or of the folder that holds one) as a dict.

    Raises InputError naming the file if it cannot be read, is not JSON (with line and column) or is no object.
    """
    file = Path(path)
    file = file / "config.json" if file.is_dir() else file
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(Fault(message=f"cannot be read: {error.strerror}", field=_CONFIG, file=str(path))) from error
    except json.JSONDecodeError as error:
        fault = Fault(message=f"not JSON: {error.msg}", field=_CONFIG)
        raise InputError(fault.located(str(file), error.lineno, error.colno)) from error
    except (UnicodeDecodeError, RecursionError) as error:
        raise InputError(Fault(message="not JSON text", field=_CONFIG, file=str(file))) from error
    if not isinstance(data, dict):
        raise InputError(Fault(message="not a JSON object", field=_CONFIG, file=str(file)))
    return data


def fields_from_config(config: Mapping[str, Any], *, name: str, file: str = "", weights: bool = True) -> dict[str, Any]:
    """The fields of a config (see `moesim.model.fields.ModelFields`). `weights=False` leaves weights to the
    caller, for checkpoints in a format that is not known here. The KV cache has the 16-bit dtype of the checkpoint.

    Raises InputError naming file and key: unknown `model_type` (with a recipe), missing keys, unknown formats.
    """
    read = _Config(config, file)
    kind = read.need("model_type", str)
    family = _FAMILIES.get(kind)
    if family is None:
        raise read.fault(
            f"this model_type is not known; {_RECIPE}",
            key="model_type",
            got=kind,
            allowed=", ".join(MODEL_TYPES),
            near=nearest(kind, MODEL_TYPES),
        )
    wanted = {**_COMMON, **family.aliases}
    made: dict[str, Any] = {"name": name}
    for field, key in wanted.items():
        made[field] = read.need(key, bool if field in ("tie_embeddings", "attention_bias") else int)
    made |= {**family.fixed, **family.derive(read)}
    if weights:
        made["weights"] = _weights(read, kind)
    made["kv_cache"] = "fp16" if "float16" in (config.get("torch_dtype"), config.get("dtype")) else "bf16"
    return made


def _weights(read: _Config, kind: str) -> dict[str, Any]:
    """The storage format: `quantization_config` if there is one, else the dtype (transformers 5 writes `dtype`)."""
    key = "dtype" if "dtype" in read.data and "torch_dtype" not in read.data else "torch_dtype"
    known = {"bfloat16": "bf16", "float16": "fp16", "float32": {"bits_per_weight": 32}}
    quantized = read.data.get("quantization_config")
    # OpenAI's own checkpoint names no dtype: what its quantization leaves alone is bf16.
    dtype = "bfloat16" if kind == "gpt_oss" and key not in read.data else read.need(key, str)
    if dtype not in known:
        raise read.fault("this dtype is not known", key=key, got=dtype, allowed=", ".join(known))
    if quantized is None:
        return {"default": known[dtype]}
    method = read.need("quantization_config", dict).get("quant_method")
    if method == "mxfp4":
        return {"default": known[dtype], "experts": "mxfp4"}
    if method == "fp8" and quantized.get("weight_block_size") == [128, 128]:
        return {"default": "fp8"}
    if method in ("awq", "gptq") and quantized.get("bits") == 4 and quantized.get("group_size") == 128:
        return {"default": "int4-g128"}
    raise read.fault(
        "unknown storage format; give model.weights, such as {default: bf16, experts: {bits_per_weight: 4.5}}",
        key="quantization_config",
        got=str(method),
        allowed="mxfp4, fp8 in 128 x 128 blocks, awq or gptq with 4 bits in groups of 128",
    )
