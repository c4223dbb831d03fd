// Large inputs on the software driver that arrives with `npm ci`.

import { describe, it } from "vitest";
import { stagingSuite } from "./staging.suite.ts";

if (process.platform === "linux" && process.arch === "x64") stagingSuite("embedded");
else describe("embedded driver", () => it("is for Linux x64", () => undefined));
