// A process of its own: opens the device that TOKENLOOM_DEVICE names, computes with it, and prints what it loaded.

import { readFileSync } from "node:fs";
import { openDevice } from "../../src/runtime/device-node.ts";
import { doctor, showDoctor } from "../../src/runtime/doctor-node.ts";
import { createSession } from "../../src/runtime/session.ts";
import { tensor } from "../../src/ir/tensor.ts";
import { InputError } from "../../src/support/diagnostic.ts";
import { scaleInput } from "./kernels.ts";
import { dispatch, entryOf, planOf, value } from "./tiny.ts";

const plan = planOf(
  [
    entryOf({
      symbols: [],
      inputs: [value("x", ["4"])],
      values: [value("%y", ["4"])],
      outputs: ["%y"],
      dispatches: [dispatch(0, ["x", "%y"], ["4", "3"])],
    }),
  ],
  [scaleInput],
);

async function compute(): Promise<object> {
  const opened = await openDevice();
  const session = await createSession(opened.device, plan, new Uint8Array());
  const { y } = await session.run({ x: tensor("f32", [4], [1, 2, 3, 4]) });
  await session.dispose();
  const mapped = readFileSync("/proc/self/maps", "utf8").matchAll(/(\/\S*(?:vulkan|swiftshader|dawn)\S*)$/gm);
  return {
    y: [...y!.data],
    source: opened.source,
    name: opened.name,
    warnings: opened.warnings,
    loaded: [...new Set([...mapped].map((m) => m[1]!))],
  };
}

if (process.argv[2] === "doctor") console.log(showDoctor(await doctor()));
else
  console.log(
    JSON.stringify(
      await compute().catch((e: unknown) => ({
        failure: e instanceof InputError ? e.diagnostics.map((d) => `${d.code}: ${d.message}`) : String(e),
      })),
    ),
  );
