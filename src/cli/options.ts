// Flags that several commands take.

import { Option, type Command } from "commander";
import { expertWays } from "../passes/expert-cost.ts";

export function modelOptions(command: Command): Command {
  return command
    .option(
      "--model <names>",
      "which model of the file; several, separated by commas, are entry points of one plan",
      (names: string, before: readonly string[] = []) => [...before, ...names.split(",")],
    )
    .option("--config <name>", "a named configuration of the model")
    .option("--set <name=value...>", "parameters of the model")
    .option("--without <passes>", "passes to leave out, separated by commas")
    .option(
      "--schedule <name=schedule...>",
      "how a kernel is cut, by kernel name, value or *, in place of the one that would be chosen",
    )
    .option(
      "--tuned <path>",
      "tuned schedules of a compiled folder too, before those of the cache; none: neither",
    )
    .option(
      "--first-run-weight <w>",
      "what a millisecond of shader compilation counts, of one of a run (default 0.01)",
    )
    .option("--adapter <spec...>", "a LoRA adapter as PEFT saves it: its folder, or NAME=FOLDER")
    .option(
      "--adapter-mode <mode>",
      "fold: into the weights, at load; beside: as layers of its own (default fold)",
    )
    .option(
      "--reduce <method...>",
      "fewer tokens in attention encoders, which changes results: tome:r=8 (docs/token-reduction.md)",
    )
    .addOption(
      new Option(
        "--experts <way>",
        "how routed experts are computed, in place of what the cost model would choose (docs/experts.md)",
      ).choices(expertWays),
    )
    .addOption(
      new Option(
        "--storage <type>",
        "f16: weights and what kernels pass on in 16 bits, sums in f32; changes results (docs/numerics.md)",
      ).choices(["f32", "f16"]),
    )
    .option(
      "--quantize <width>",
      "int8 or int4, int4:group=64: weights of layers in 8 or 4 bits; changes results (docs/quantization.md)",
    )
    .option("--reroute", "a vector on the logits of each router, weight ROUTER.logit_delta (docs/tuning.md)")
    .option("--also <passes>", "passes that only run where asked for, separated by commas")
    .option("--json", "print data instead of text");
}

/** For commands that look at one entry point of a plan. */
export function entryOption(command: Command, what = "which entry point; default the first"): Command {
  return command.option("--entry <name>", what);
}

export function runOptions(command: Command): Command {
  return modelOptions(command)
    .option("--weights <spec...>", "FILE.safetensors, NAMESPACE=FILE, or seed:N")
    .option("--input <spec...>", "FILE.safetensors, name=FILE.png|jpg|npy, or name=seed:KEY")
    .option("--dim <name=value...>", "sizes that no input fixes")
    .option("--device <name>", "auto, embedded, lavapipe, or part of an adapter's name");
}
