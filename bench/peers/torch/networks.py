"""The benchmark's networks as PyTorch programs: the function that a `.model` file says, by the same weights.

Each takes the weights by key, the inputs by name and the settings of the model, and gives the output.
"""

import torch
import torch.nn.functional as F


def poolformer(w, inputs, settings):
    x = F.conv2d(inputs["image"], w["stem.conv.weight"], w["stem.conv.bias"], stride=4, padding=2)
    for i, depth in enumerate([2, 2, 6, 2]):
        if i > 0:
            at = f"stages.{i}.downsample.conv."
            x = F.conv2d(x, w[at + "weight"], w[at + "bias"], stride=2, padding=1)
        for j in range(depth):
            at = f"stages.{i}.blocks.{j}."
            y = F.group_norm(x, 1, w[at + "norm1.weight"], w[at + "norm1.bias"])
            y = F.avg_pool2d(y, 3, stride=1, padding=1, count_include_pad=False) - y
            x = x + y * w[at + "layer_scale1.scale"].view(-1, 1, 1)
            y = F.group_norm(x, 1, w[at + "norm2.weight"], w[at + "norm2.bias"])
            y = F.gelu(F.conv2d(y, w[at + "mlp.fc1.weight"], w[at + "mlp.fc1.bias"]))
            y = F.conv2d(y, w[at + "mlp.fc2.weight"], w[at + "mlp.fc2.bias"])
            x = x + y * w[at + "layer_scale2.scale"].view(-1, 1, 1)
    x = x.mean((2, 3))
    x = F.layer_norm(x, x.shape[-1:], w["head.norm.weight"], w["head.norm.bias"], 1e-6)
    return F.linear(x, w["head.fc.weight"], w["head.fc.bias"])


def swiglu(x, gate, up, down):
    return F.linear(F.silu(F.linear(x, gate)) * F.linear(x, up), down)


def experts(w, inputs, settings):
    """As the published code of DeepSeekMoE has it: one expert after the other, each on its tokens."""
    x = inputs["x"]
    k = int(settings.get("k", 6))
    scores = F.softmax(F.linear(x, w["mlp.gate.weight"]).float(), dim=-1)
    weights, chosen = torch.topk(scores, k, dim=-1)
    weights = weights.to(x.dtype)
    names = [f"{part}_proj.weight" for part in ("gate", "up", "down")]
    y = swiglu(x, *(w["mlp.shared_experts." + name] for name in names))
    stacks = [w["mlp.experts.*." + name] for name in names]
    for e in range(stacks[0].shape[0]):
        tokens, place = torch.where(chosen == e)
        if tokens.numel() > 0:
            part = swiglu(x[tokens], *(stack[e] for stack in stacks))
            y.index_add_(0, tokens, part * weights[tokens, place, None])
    return y


def heads(w, inputs, settings):
    q, k, v = (inputs[name].transpose(1, 2) for name in ("q", "k", "v"))
    return F.scaled_dot_product_attention(q, k, v).transpose(1, 2)


def product(w, inputs, settings):
    return inputs["a"] @ inputs["b"]


def dense(w, inputs, settings):
    return F.linear(inputs["x"], w["fc.weight"], w["fc.bias"])


def stem(w, inputs, settings):
    return F.conv2d(inputs["x"], w["conv.weight"], w["conv.bias"], stride=4, padding=2)


def downsample(w, inputs, settings):
    return F.conv2d(inputs["x"], w["conv.weight"], w["conv.bias"], stride=2, padding=1)


def mixer(w, inputs, settings):
    x = inputs["x"]
    return F.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False) - x


def norm_of_sample(w, inputs, settings):
    return F.group_norm(inputs["x"], 1, w["norm.weight"], w["norm.bias"])


def norm_of_token(w, inputs, settings):
    x = inputs["x"]
    return F.layer_norm(x, x.shape[-1:], w["norm.weight"], w["norm.bias"])


def rows(w, inputs, settings):
    return F.softmax(inputs["x"], dim=-1)


networks = {
    f.__name__: f
    for f in (
        poolformer,
        experts,
        heads,
        product,
        dense,
        stem,
        downsample,
        mixer,
        norm_of_sample,
        norm_of_token,
        rows,
    )
}
