// Sessions on the software driver that arrives with `npm ci`.

import { describe, it } from "vitest";
import { sessionSuite } from "./session.suite.ts";

if (process.platform === "linux" && process.arch === "x64") sessionSuite("embedded");
else describe("embedded driver", () => it("is for Linux x64", () => undefined));
