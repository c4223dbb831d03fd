"""PyTorch as a peer: a line of JSON in, a line of JSON out. It ends where its input does."""

import json
import statistics
import sys
import time

import torch

from networks import networks
from seeded import model_input, weight

WARM_UPS = 3
RUNS = 20
# Milliseconds of measured time after which no further run is begun.
BUDGET = 3000


class Peer:
    def __init__(self, asked):
        self.cuda = torch.cuda.is_available()
        self.device = torch.device("cuda" if self.cuda else "cpu")
        torch.backends.cuda.matmul.allow_tf32 = asked["tf32"]
        torch.backends.cudnn.allow_tf32 = asked["tf32"]
        dtype = torch.float16 if asked["dtype"] == "f16" else torch.float32
        weights = {w["key"]: weight(w["key"], w["shape"], self.device).to(dtype) for w in asked["weights"]}
        self.inputs = {}
        for i in asked["inputs"]:
            x = model_input(i["name"], i["shape"], self.device)
            # What f16 inputs hold is rounded, whatever is computed in.
            self.inputs[i["name"]] = (x.half() if i["dtype"] == "f16" else x).to(dtype)
        self.host = {name: x.cpu() for name, x in self.inputs.items()}
        network = networks[asked["network"]]
        settings = asked["set"]

        def forward(inputs):
            return network(weights, inputs, settings)

        self.forward = torch.compile(forward) if asked["compile"] else forward
        for _ in range(WARM_UPS):
            self.forward(self.inputs)
        self.wait()

    def wait(self):
        if self.cuda:
            torch.cuda.synchronize()

    def prepare(self):
        name = torch.cuda.get_device_name() if self.cuda else "CPU"
        return {"stats": {"version": torch.__version__, "adapter": name}}

    def outputs(self, file):
        y = self.forward(self.inputs)
        with open(file, "wb") as f:
            f.write(y.float().contiguous().cpu().numpy().tobytes())
        return {}

    def milliseconds(self, run):
        self.wait()
        start = time.perf_counter()
        run()
        self.wait()
        return {"milliseconds": (time.perf_counter() - start) * 1e3}

    def time(self):
        return self.milliseconds(
            lambda: self.forward({name: x.to(self.device) for name, x in self.host.items()}).cpu()
        )

    def resident(self):
        return self.milliseconds(lambda: self.forward(self.inputs))

    def graph(self):
        """A replay of the launches without the processor; None where the program has to look at values on the way."""
        try:
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                self.kept = self.forward(self.inputs)
            return graph.replay
        except Exception:
            torch.cuda.synchronize()
            return None

    def on_device(self):
        if not self.cuda:
            return {"time": None}
        replay = self.graph()
        # Replays stand in line on the device, so one after the other has no gap that is the processor's.
        run, together = (replay, 10) if replay else (lambda: self.forward(self.inputs), 1)
        times = []
        for _ in range(RUNS):
            start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            start.record()
            for _ in range(together):
                run()
            end.record()
            torch.cuda.synchronize()
            times.append(start.elapsed_time(end) / together)
            if sum(times) * together > BUDGET:
                break
        by = "CUDA events around replayed graphs" if replay else "CUDA events, launches included"
        return {"time": {"milliseconds": statistics.median(times), "by": by, "kernels": []}}


def main():
    peer = None
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            with torch.inference_mode():
                if asked["kind"] == "prepare":
                    peer = Peer(asked)
                    reply = peer.prepare()
                elif asked["kind"] == "outputs":
                    reply = peer.outputs(asked["file"])
                elif asked["kind"] == "time":
                    reply = peer.time()
                elif asked["kind"] == "resident":
                    reply = peer.resident()
                else:
                    reply = peer.on_device()
        except Exception as e:
            reply = {"failed": f"{type(e).__name__}: {e}"[:1000]}
        sys.stdout.write(json.dumps(reply) + "\n")
        sys.stdout.flush()


main()
