// Every command, in the order in which the help lists them.

import type { Command } from "commander";
import { benchCommand } from "./bench.ts";
import { calibrateCommand } from "./calibrate-router.ts";
import { capsuleCommand } from "./capsule.ts";
import { cascadeReportCommand } from "./cascade-report.ts";
import { checkCommands } from "./check.ts";
import { compileCommand } from "./compile.ts";
import { explainCommands } from "./explain.ts";
import { exportCommand } from "./export.ts";
import { fitHeadCommand } from "./fit-head.ts";
import { irCommands } from "./ir.ts";
import { lspCommand } from "./lsp.ts";
import { machineCommands } from "./machine.ts";
import { rankLayersCommand } from "./rank-layers.ts";
import { replayCommand } from "./replay.ts";
import { quantizeReportCommand } from "./quantize-report.ts";
import { reduceReportCommand } from "./reduce-report.ts";
import { runCommand } from "./run.ts";
import { tuneCommands } from "./tune.ts";
import { tuneDeviceCommand } from "./tune-device.ts";
import { tuneSchedulesCommand } from "./tune-schedules.ts";
import { verifyCommand } from "./verify.ts";

export function addCommands(program: Command): void {
  for (const add of [
    checkCommands,
    irCommands,
    compileCommand,
    exportCommand,
    runCommand,
    verifyCommand,
    benchCommand,
    tuneSchedulesCommand,
    tuneDeviceCommand,
    reduceReportCommand,
    quantizeReportCommand,
    rankLayersCommand,
    cascadeReportCommand,
    explainCommands,
    capsuleCommand,
    replayCommand,
    tuneCommands,
    fitHeadCommand,
    calibrateCommand,
    lspCommand,
    machineCommands,
  ])
    add(program);
}
