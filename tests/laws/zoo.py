"""A zoo of small models with random weights: what people use, from torch, torchvision, timm and transformers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import timm
import torch
import torchvision.models as tv
import transformers as hf
from torch import Tensor, nn

Example = tuple[Callable[[], nn.Module], Any]

TRANSFORMER: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
}
VIT: dict[str, Any] = {"img_size": 32, "patch_size": 8, "depth": 2, "embed_dim": 48, "num_heads": 3}


def image(size: int = 32) -> tuple[Tensor]:
    return (torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0)),)


def tokens() -> dict[str, Tensor]:
    return {"input_ids": torch.randint(5, 60, (2, 7), generator=torch.Generator().manual_seed(0))}


class Attends(nn.Module):
    """One layer of attention in a residual stream."""

    def __init__(self, attention: nn.Module, *, norm: nn.Module | None = None) -> None:
        super().__init__()
        self.embed, self.attention, self.norm = nn.Linear(8, 16), attention, norm or nn.Identity()
        self.head = nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x)
        y = self.norm(x)
        return self.head((x + self.attention(y, y, y, need_weights=False)[0]).mean(1))


class Encodes(nn.Module):
    """torch's own encoder, or encoder and decoder."""

    def __init__(self, trunk: nn.Module, *, twice: bool = False) -> None:
        super().__init__()
        self.embed, self.trunk, self.head, self.twice = nn.Linear(8, 16), trunk, nn.Linear(16, 4), twice

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x)
        return self.head((self.trunk(x, x) if self.twice else self.trunk(x)).mean(1))


class Remembers(nn.Module):
    """Two recurrent layers."""

    def __init__(self, first: nn.Module, second: nn.Module) -> None:
        super().__init__()
        self.embed, self.first, self.second, self.head = nn.Linear(8, 6), first, second, nn.Linear(5, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.second(self.first(torch.relu(self.embed(x)))[0])[0][:, -1])


def encoder(**options: Any) -> nn.Module:
    layer = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True, **options)
    return nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)


SEQUENCE = (torch.randn(2, 5, 8, generator=torch.Generator().manual_seed(0)),)

TORCH: dict[str, Example] = {
    "MultiheadAttention": (lambda: Attends(nn.MultiheadAttention(16, 4, batch_first=True)), SEQUENCE),
    "MultiheadAttention, norm": (
        lambda: Attends(nn.MultiheadAttention(16, 4, batch_first=True), norm=nn.RMSNorm(16)),
        SEQUENCE,
    ),
    "TransformerEncoder": (lambda: Encodes(encoder()), SEQUENCE),
    "TransformerEncoder, norm first": (lambda: Encodes(encoder(norm_first=True, activation="gelu")), SEQUENCE),
    "Transformer": (lambda: Encodes(nn.Transformer(16, 4, 1, 1, 32, batch_first=True), twice=True), SEQUENCE),
    "GRU": (
        lambda: Remembers(nn.GRU(6, 3, batch_first=True, bidirectional=True), nn.GRU(6, 5, batch_first=True)),
        SEQUENCE,
    ),
    "LSTM": (lambda: Remembers(nn.LSTM(6, 4, batch_first=True), nn.LSTM(4, 5, batch_first=True)), SEQUENCE),
    "GRU, several layers": (
        lambda: Remembers(nn.GRU(6, 3, 2, batch_first=True), nn.GRU(3, 5, 3, batch_first=True)),
        SEQUENCE,
    ),
    "LSTM, several layers, both ways": (
        lambda: Remembers(
            nn.LSTM(6, 4, 2, batch_first=True, bidirectional=True), nn.LSTM(8, 5, 2, bias=False, batch_first=True)
        ),
        SEQUENCE,
    ),
    "RNN": (lambda: Remembers(nn.RNN(6, 4, batch_first=True), nn.RNN(4, 5, batch_first=True)), SEQUENCE),
}

SWIN: dict[str, Any] = {
    "patch_size": [4, 4],
    "embed_dim": 24,
    "depths": [1, 1],
    "num_heads": [2, 4],
    "window_size": [2, 2],
    "num_classes": 4,
}
SWIN_V2: dict[str, Any] = {
    **SWIN,
    "block": tv.swin_transformer.SwinTransformerBlockV2,
    "downsample_layer": tv.swin_transformer.PatchMergingV2,
}
CONVNEXT = [tv.convnext.CNBlockConfig(16, 32, 1), tv.convnext.CNBlockConfig(32, None, 1)]
CNNS = (
    "resnet18 vgg11_bn mobilenet_v2 mobilenet_v3_small shufflenet_v2_x0_5 efficientnet_b0 squeezenet1_1 mnasnet0_5"
    " regnet_y_400mf resnext50_32x4d"
)

TORCHVISION: dict[str, Example] = {
    "vit": (lambda: tv.VisionTransformer(32, 8, 2, 4, 48, 96, num_classes=4), image()),
    "swin": (lambda: tv.SwinTransformer(**SWIN), image()),
    "swin v2": (lambda: tv.SwinTransformer(**SWIN_V2), image()),
    "maxvit": (lambda: tv.MaxVit((32, 32), 16, 4, [16, 32], [1, 1], 8, 0.0, num_classes=4), image()),
    "convnext": (lambda: tv.ConvNeXt(CONVNEXT, num_classes=4), image()),
    "densenet": (lambda: tv.DenseNet(8, (2, 2), 16, num_classes=4), image()),
    **{name: ((lambda name=name: getattr(tv, name)(num_classes=4)), image()) for name in CNNS.split()},
}


def _timm(name: str, size: int = 32, **options: Any) -> Example:
    return lambda: timm.create_model(name, num_classes=4, **options), image(size)


WINDOWS: dict[str, Any] = {"img_size": 32, "depths": (1, 1), "num_heads": (2, 4), "embed_dim": 24, "window_size": 4}
MLPS: dict[str, Any] = {"num_classes": 4, "img_size": 32, "patch_size": 8, "num_blocks": 2, "embed_dim": 48}
MIXER = timm.models.mlp_mixer
RESMLP: dict[str, Any] = {**MLPS, "mlp_ratio": 4, "block_layer": MIXER.ResBlock, "norm_layer": MIXER.Affine}
SMALL: dict[str, Any] = {"depths": (1, 1, 1, 1), "dims": (8, 16, 24, 32)}

TIMM: dict[str, Example] = {
    "vit": _timm("vit_tiny_patch16_224", **VIT),
    "vit, norm of queries and keys": _timm("vit_tiny_patch16_224", **VIT, qk_norm=True),
    "vit, layer scale": _timm("vit_tiny_patch16_224", **VIT, init_values=0.1),
    "vit, registers": _timm("vit_tiny_patch16_224", **VIT, reg_tokens=2),
    "vit, relative positions": _timm("vit_relpos_small_patch16_224", **VIT),
    "deit": _timm("deit_tiny_distilled_patch16_224", **VIT),
    "beit": _timm("beit_base_patch16_224", **VIT),
    "beit v2": _timm("beitv2_base_patch16_224", **VIT),
    "eva-02": _timm("eva02_tiny_patch14_224", 28, img_size=28, depth=2),
    "swin": _timm("swin_tiny_patch4_window7_224", **WINDOWS),
    "swin v2": _timm("swinv2_tiny_window8_256", **WINDOWS),
    "mixer": (lambda: MIXER.MlpMixer(**MLPS), image()),
    "resmlp": (lambda: MIXER.MlpMixer(**RESMLP), image()),
    "gmlp": (lambda: MIXER.MlpMixer(**MLPS, mlp_layer=timm.layers.GatedMlp), image()),
    "xcit": _timm("xcit_nano_12_p16_224", img_size=32, depth=2),
    "levit": _timm("levit_128s", 64, img_size=64),
    "mobilevit": _timm("mobilevit_xxs", 64),
    "edgenext": _timm("edgenext_xx_small", 64),
    "coat": _timm("coat_tiny", 64, img_size=64),
    "pit": _timm("pit_ti_224", 64, img_size=64),
    "poolformer": _timm("poolformer_s12"),
    "poolformer v2": _timm("poolformerv2_s12"),
    "convnext": _timm("convnext_atto", **SMALL),
    "convnext v2": _timm("convnextv2_atto", **SMALL),
    "repvgg": _timm("repvgg_a0"),
    "regnet": _timm("regnety_002"),
    "ghostnet": _timm("ghostnet_050"),
    "mobilenet v4": _timm("mobilenetv4_conv_small_035"),
    "efficientnet-lite": _timm("efficientnet_lite0"),
    "vgg": _timm("vgg11_bn"),
    "hgnet v2": _timm("hgnetv2_b0"),
    "se-resnet": _timm("seresnet18"),
}


def _images(model: Any, config: Any, **options: Any) -> Example:
    return lambda: model(config(num_labels=4, **options)), {"pixel_values": image()[0]}


def _text(model: Any, config: Any, **options: Any) -> Example:
    return lambda: model(config(vocab_size=64, num_labels=4, pad_token_id=0, **options)), tokens()


def _causal(model: Any, config: Any, **options: Any) -> Example:
    plain = {"use_cache": False, "tie_word_embeddings": False, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    return lambda: model(config(vocab_size=64, **{**plain, **options})), tokens()


SHORT: dict[str, Any] = {**TRANSFORMER, "max_position_embeddings": 16}
GROUPED: dict[str, Any] = {**SHORT, "num_key_value_heads": 2}
PATCHES: dict[str, Any] = {**TRANSFORMER, "image_size": 32, "patch_size": 8}
GPT_2: dict[str, Any] = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 16}
OPT: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "ffn_dim": 48,
    "max_position_embeddings": 16,
    "word_embed_proj_dim": 32,
}
DISTILBERT: dict[str, Any] = {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 48, "max_position_embeddings": 16}
T5: dict[str, Any] = {"d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 4, "use_cache": False}

TRANSFORMERS: dict[str, Example] = {
    "ViT": _images(hf.ViTForImageClassification, hf.ViTConfig, **PATCHES),
    "DeiT": _images(hf.DeiTForImageClassification, hf.DeiTConfig, **PATCHES),
    "ResNet": _images(
        hf.ResNetForImageClassification, hf.ResNetConfig, embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1]
    ),
    "BERT": _text(hf.BertForSequenceClassification, hf.BertConfig, **SHORT),
    "RoBERTa": _text(hf.RobertaForSequenceClassification, hf.RobertaConfig, **SHORT),
    "ELECTRA": _text(hf.ElectraForSequenceClassification, hf.ElectraConfig, embedding_size=32, **SHORT),
    "DistilBERT": _text(hf.DistilBertForSequenceClassification, hf.DistilBertConfig, **DISTILBERT),
    "GPT-2": _causal(hf.GPT2LMHeadModel, hf.GPT2Config, **GPT_2),
    "GPT-NeoX": _causal(hf.GPTNeoXForCausalLM, hf.GPTNeoXConfig, **SHORT),
    "OPT": _causal(hf.OPTForCausalLM, hf.OPTConfig, **OPT),
    "Llama": _causal(hf.LlamaForCausalLM, hf.LlamaConfig, **GROUPED),
    "Mistral": _causal(hf.MistralForCausalLM, hf.MistralConfig, **GROUPED),
    "Qwen2": _causal(hf.Qwen2ForCausalLM, hf.Qwen2Config, **GROUPED),
    "Qwen3": _causal(hf.Qwen3ForCausalLM, hf.Qwen3Config, head_dim=8, **GROUPED),
    "Gemma": _causal(hf.GemmaForCausalLM, hf.GemmaConfig, head_dim=8, **GROUPED),
    "Phi": _causal(hf.PhiForCausalLM, hf.PhiConfig, **GROUPED),
}

FAMILIES = {"torch": TORCH, "torchvision": TORCHVISION, "timm": TIMM, "transformers": TRANSFORMERS}

REFUSED: dict[str, tuple[Example, str]] = {
    "talking heads (CaiT)": (_timm("cait_xxs24_224", **VIT), "softmax of nodes"),
    "mixture of experts (Mixtral)": (
        _causal(hf.MixtralForCausalLM, hf.MixtralConfig, num_local_experts=2, **GROUPED),
        "topk",
    ),
    "computed weights (NFNet)": (_timm("nfnet_f0"), "weight is computed"),
    "tied embeddings (GPT-2)": (
        _causal(hf.GPT2LMHeadModel, hf.GPT2Config, tie_word_embeddings=True, **GPT_2),
        "tied weights",
    ),
    "a cache of keys and values (Llama)": (
        _causal(hf.LlamaForCausalLM, hf.LlamaConfig, use_cache=True, **GROUPED),
        "use_cache=False",
    ),
    "hidden states as output (T5's encoder)": (
        (lambda: hf.T5EncoderModel(hf.T5Config(vocab_size=64, **T5)), tokens()),
        "are an output of the model",
    ),
}
