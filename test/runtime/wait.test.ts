import { describe, expect, it } from "vitest";
import { awaitDevice } from "../../src/runtime/wait.ts";

const later = <T>(value: T, ms: number): Promise<T> =>
  new Promise((resolve) => setTimeout(() => resolve(value), ms));

describe("awaitDevice", () => {
  it("gives the promise's value, also where several are open", async () => {
    expect(await Promise.all([awaitDevice(later("a", 30)), awaitDevice(later("b", 5))])).toEqual(["a", "b"]);
    expect(await awaitDevice(Promise.resolve("c"))).toBe("c");
  });

  it("gives the promise's rejection", async () => {
    await expect(awaitDevice(later(0, 5).then(() => Promise.reject(new Error("lost"))))).rejects.toThrow(
      "lost",
    );
  });

  it("leaves timers and immediates their turns while it waits", async () => {
    let timers = 0;
    let immediates = 0;
    let open = true;
    const timer = setInterval(() => timers++, 1);
    const count = (): void => {
      immediates++;
      if (open) setImmediate(count);
    };
    setImmediate(count);
    await awaitDevice(later(undefined, 40));
    open = false;
    clearInterval(timer);
    expect(timers).toBeGreaterThan(0);
    expect(immediates).toBeGreaterThan(0);
  });
});
