// Every command, in the order in which the help lists them. A command's module is loaded when somebody asks for it: most of them bring the
// compiler, and reading it takes longer than many a command.

import type { Command } from "commander";

interface CommandModule {
  readonly names: readonly string[];
  load(): Promise<(program: Command) => void>;
}

export const commandModules: readonly CommandModule[] = [
  { names: ["check", "fmt", "weights"], load: async () => (await import("./check.ts")).checkCommands },
  { names: ["ir", "opt"], load: async () => (await import("./ir.ts")).irCommands },
  { names: ["compile"], load: async () => (await import("./compile.ts")).compileCommand },
  { names: ["export"], load: async () => (await import("./export.ts")).exportCommand },
  { names: ["run"], load: async () => (await import("./run.ts")).runCommand },
  { names: ["verify"], load: async () => (await import("./verify.ts")).verifyCommand },
  { names: ["bench"], load: async () => (await import("./bench.ts")).benchCommand },
  { names: ["tune-schedules"], load: async () => (await import("./tune-schedules.ts")).tuneSchedulesCommand },
  { names: ["tune-device"], load: async () => (await import("./tune-device.ts")).tuneDeviceCommand },
  { names: ["reduce-report"], load: async () => (await import("./reduce-report.ts")).reduceReportCommand },
  {
    names: ["quantize-report"],
    load: async () => (await import("./quantize-report.ts")).quantizeReportCommand,
  },
  { names: ["rank-layers"], load: async () => (await import("./rank-layers.ts")).rankLayersCommand },
  { names: ["cascade-report"], load: async () => (await import("./cascade-report.ts")).cascadeReportCommand },
  { names: ["explain", "annotate"], load: async () => (await import("./explain.ts")).explainCommands },
  { names: ["capsule"], load: async () => (await import("./capsule.ts")).capsuleCommand },
  { names: ["replay"], load: async () => (await import("./replay.ts")).replayCommand },
  { names: ["tune", "tune-merge"], load: async () => (await import("./tune.ts")).tuneCommands },
  { names: ["fit-head"], load: async () => (await import("./fit-head.ts")).fitHeadCommand },
  { names: ["calibrate-router"], load: async () => (await import("./calibrate-router.ts")).calibrateCommand },
  { names: ["lsp"], load: async () => (await import("./lsp.ts")).lspCommand },
  { names: ["doctor", "cache"], load: async () => (await import("./machine.ts")).machineCommands },
];

/** The commands of the module that has the one of this name; where none has, or no name is given, all of them. */
export async function addCommands(program: Command, name?: string): Promise<void> {
  const asked = commandModules.find((m) => name !== undefined && m.names.includes(name));
  const adders = await Promise.all((asked ? [asked] : commandModules).map((m) => m.load()));
  for (const add of adders) add(program);
}
