"""What the card does at most by its vendor's libraries: matrix products and a copy. Lines of JSON."""

import json
import statistics
import sys

import torch


def milliseconds(run, count=10):
    for _ in range(3):
        run()
    times = []
    for _ in range(5):
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        for _ in range(count):
            run()
        end.record()
        torch.cuda.synchronize()
        times.append(start.elapsed_time(end) / count)
    return statistics.median(times)


def put(name, value, unit):
    print(json.dumps({"kind": "ceiling", "name": name, "value": value, "unit": unit}))


def products(name, dtype, tf32, n):
    torch.backends.cuda.matmul.allow_tf32 = tf32
    a, b = (torch.randn(n, n, device="cuda", dtype=dtype) for _ in range(2))
    put(f"PyTorch product {n}, {name}", 2 * n**3 / milliseconds(lambda: a @ b) / 1e9, "TFLOP/s")


if not torch.cuda.is_available():
    sys.exit("PyTorch finds no card here")
products("f32", torch.float32, False, 4096)
products("f32", torch.float32, False, 8192)
products("tf32", torch.float32, True, 8192)
products("f16", torch.float16, False, 8192)
products("bf16", torch.bfloat16, False, 8192)
x = torch.empty(1 << 28, device="cuda")
y = torch.empty_like(x)
put("PyTorch copy, read plus written", 2 * 4 * x.numel() / milliseconds(lambda: y.copy_(x)) / 1e6, "GB/s")
