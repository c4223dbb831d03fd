"""Seeded weights and inputs: the numbers of src/runtime/seeded.ts, made on the device."""

import math

import torch

MASK = 0xFFFFFFFF
CHUNK = 1 << 26


def fnv1a32(text):
    h = 0x811C9DC5
    for byte in text.encode():
        h = ((h ^ byte) * 0x01000193) & MASK
    return h


def signed(name, count, device, gain=1.0, shift=0.0):
    """s * gain + shift for the numbers of that name, computed in f64 and rounded last."""
    out = torch.empty(count, dtype=torch.float32, device=device)
    start = fnv1a32(name)
    for at in range(0, count, CHUNK):
        i = torch.arange(at, min(at + CHUNK, count), dtype=torch.int64, device=device)
        # Products wrap at 64 bits, which leaves the low 32 right.
        x = (start + i * 0x9E3779B9) & MASK
        x = ((x ^ (x >> 16)) * 0x85EBCA6B) & MASK
        x = ((x ^ (x >> 13)) * 0xC2B2AE35) & MASK
        u = (x ^ (x >> 16)).double() / 2.0**32
        out[at : at + len(i)] = ((2 * u - 1) * gain + shift).float()
    return out


def weight(key, shape, device):
    if "*" in key:
        parts = [weight(key.replace("*", str(e)), shape[1:], device) for e in range(shape[0])]
        return torch.stack(parts)
    if len(shape) > 1:
        gain, shift = math.sqrt(3 / math.prod(shape[1:])), 0.0
    elif key.endswith(".bias"):
        gain, shift = 0.1, 0.0
    elif key.endswith(".scale"):
        gain, shift = 0.1, 0.2
    else:
        gain, shift = 0.1, 1.0
    return signed(key, math.prod(shape), device, gain, shift).reshape(shape)


def model_input(name, shape, device):
    return signed(name, math.prod(shape), device).reshape(shape)
