// Opening adapters by every name, in one process; the environment they start in; what is read off them.

import { describe, expect, it } from "vitest";
import { builtinTargets } from "../../src/ir/target.ts";
import {
  toggles,
  dawnFlags,
  onlyDrivers,
  systemDrivers,
  withEnvironment,
} from "../../src/runtime/dawn-node.ts";
import { listAdapters, openDevice } from "../../src/runtime/device-node.ts";
import { doctor, showDoctor } from "../../src/runtime/doctor-node.ts";
import { InputError } from "../../src/support/diagnostic.ts";

const linux = process.platform === "linux" && process.arch === "x64";

async function failure(work: Promise<unknown>): Promise<string> {
  const e: unknown = await work.catch((x: unknown) => x);
  if (!(e instanceof InputError)) throw new Error(`expected an InputError, got ${String(e)}`);
  return e.message;
}

describe("openDevice", () => {
  it("auto opens something, with all of the adapter's limits", async () => {
    const opened = await openDevice({ device: "auto" });
    expect(opened.name).not.toBe("");
    expect(opened.device.limits.maxBufferSize).toBe(opened.target.limits.maxBufferSize);
    expect(opened.target.features.every((f) => opened.device.features.has(f))).toBe(true);
    expect(opened.warnings.length > 0).toBe(opened.software);
    const again = await opened.reopen();
    expect(again).not.toBe(opened.device);
    expect(again.limits.maxBufferSize).toBe(opened.device.limits.maxBufferSize);
    again.destroy();
    opened.device.destroy();
  });

  it.runIf(linux)("opens the embedded driver and that of the system side by side", async () => {
    const before = { ...process.env };
    const auto = await openDevice({ device: "auto" });
    const embedded = await openDevice({ device: "embedded" });
    expect(embedded).toMatchObject({ source: "embedded", software: true, target: { name: "swiftshader" } });
    expect(embedded.info.vendor).toBe("google");
    expect(process.env).toEqual(before);
    // Both compute at the same time.
    for (const { device } of [auto, embedded]) {
      const buffer = device.createBuffer({ size: 16, usage: 4 | 8 });
      device.queue.writeBuffer(buffer, 0, new Uint32Array([1, 2, 3, 4]));
      await device.queue.onSubmittedWorkDone();
      device.destroy();
    }
  });

  it("opens by number and by part of a name", async () => {
    const listed = await listAdapters();
    expect(listed.length).toBeGreaterThan(0);
    const last = listed.length - 1;
    const byNumber = await openDevice({ device: String(last) });
    const byName = await openDevice({ device: listed[last]!.name.slice(0, 8).toLowerCase() });
    expect(byName.info.name).toBe(byNumber.info.name);
    byNumber.device.destroy();
    byName.device.destroy();
  });

  it("says what there is when nothing has that name, number or feature", async () => {
    expect(await failure(openDevice({ device: "voodoo" }))).toBe(
      "error[no-device]: no adapter for device voodoo: none has that name",
    );
    expect(await failure(openDevice({ device: "99" }))).toBe(
      "error[no-device]: no adapter for device 99: none has that name",
    );
    expect(await failure(openDevice({ device: "auto", features: ["shader-f128"] }))).toMatch(
      /has no shader-f128$/,
    );
  });

  it("knows the adapters that were measured", async () => {
    const opened = await openDevice({ device: "auto" });
    const known = builtinTargets.find((t) => t.name === opened.target.name);
    if (known) {
      const {
        minStorageBufferOffsetAlignment: _,
        minUniformBufferOffsetAlignment: __,
        ...limits
      } = known.limits;
      expect(opened.target.features).toEqual(known.features);
      expect(opened.target.subgroupSize).toBe(known.subgroupSize);
      expect(opened.target.measured).toEqual(known.measured);
      for (const [name, value] of Object.entries(limits))
        expect(opened.target.limits[name as keyof typeof limits], name).toBeGreaterThanOrEqual(value);
    }
    opened.device.destroy();
  });
});

describe("the environment of a start", () => {
  it("is set for one start at a time and put back, also after a failure", async () => {
    delete process.env["TOKENLOOM_TEST_A"];
    process.env["TOKENLOOM_TEST_B"] = "old";
    const seen: string[] = [];
    const look = async (label: string): Promise<void> => {
      await new Promise((resolve) => setTimeout(resolve, 2));
      seen.push(`${label} ${process.env["TOKENLOOM_TEST_A"]} ${process.env["TOKENLOOM_TEST_B"]}`);
    };
    const runs = [
      withEnvironment({ TOKENLOOM_TEST_A: "1", TOKENLOOM_TEST_B: undefined }, () => look("first")),
      withEnvironment({ TOKENLOOM_TEST_A: "2" }, async () => {
        throw new Error("no");
      }).catch(() => look("failed")),
      withEnvironment({ TOKENLOOM_TEST_A: "3" }, () => look("third")),
    ];
    await Promise.all(runs);
    expect(seen.filter((s) => !s.startsWith("failed"))).toEqual(["first 1 undefined", "third 3 old"]);
    expect(process.env["TOKENLOOM_TEST_A"]).toBeUndefined();
    expect(process.env["TOKENLOOM_TEST_B"]).toBe("old");
    delete process.env["TOKENLOOM_TEST_B"];
  });

  it("names drivers for old and new loaders", async () => {
    expect(onlyDrivers(["/a.json"])).toEqual({
      VK_DRIVER_FILES: "/a.json",
      VK_ICD_FILENAMES: "/a.json",
      VK_ADD_DRIVER_FILES: undefined,
    });
    const found = await withEnvironment(onlyDrivers(["/nowhere.json"]), async () => systemDrivers());
    expect(found).toEqual([]);
  });

  it("leaves checks on unless asked", () => {
    expect(toggles({ safe: true }).on).not.toContain("skip_validation");
    expect(dawnFlags({ safe: false })[0]).toContain("skip_validation");
  });
});

describe("doctor", () => {
  it("lists every adapter and says which is used", async () => {
    const report = await doctor();
    const listed = await listAdapters();
    expect(report.adapters.map((a) => a.name)).toEqual(listed.map((a) => a.name));
    const auto = report.adapters[report.auto!]!;
    const opened = await openDevice({ device: "auto" });
    expect(auto.facts!.name).toBe(opened.name);
    opened.device.destroy();
    expect(JSON.parse(JSON.stringify(report))).toMatchObject({ auto: report.auto });
    const text = showDoctor(report);
    expect(text).toContain(`* ${report.auto}  ${auto.name} (${auto.source})`);
    expect(text).toContain(`maxBufferSize ${auto.target!.limits.maxBufferSize}`);
    expect(text).toContain(report.cache.folder);
    expect(text).toContain(`node      ${process.version}`);
  });
});
