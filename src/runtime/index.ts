// All that running a compiled folder needs, and nothing of the compiler: usable in a browser.

export {
  createSession,
  Session,
  type RunOptions,
  type RunResult,
  type SessionOptions,
  type SessionStats,
} from "./session.ts";
export { dimReader, planMemory, type MemoryPlan } from "./memory.ts";
export { planFormat, planVersion, type Plan } from "../ir/plan.ts";
export { tensor, zeros, type Tensor } from "../ir/tensor.ts";
