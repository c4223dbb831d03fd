// How the tests run. Nothing here asserts times: software adapters on a busy machine are slow, so limits are generous.

import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    // Processes, not threads: Dawn and its drivers read the environment of the process.
    pool: "forks",
    testTimeout: 120_000,
    hookTimeout: 300_000,
  },
});
