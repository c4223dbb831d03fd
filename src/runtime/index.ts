// All that running a compiled folder needs, and nothing of the compiler: usable in a browser.

export {
  createSession,
  Session,
  type RunOptions,
  type RunResult,
  type SessionOptions,
  type SessionStats,
  type StateAccess,
} from "./session.ts";
export { type ConstantSource } from "./constants.ts";
export { adapterFacts, requestDevice, targetOf, type AdapterFacts } from "./device.ts";
export { type RunInputs } from "./inputs.ts";
export { atPeak, dimReader, planMemory, showMemoryPlan, type Lifetime, type MemoryPlan } from "./memory.ts";
export { checkDevice } from "./pipelines.ts";
export { type GpuTensor } from "./transfer.ts";
export { planFormat, planVersion, type Plan } from "../ir/plan.ts";
export { tensor, zeros, type Tensor } from "../ir/tensor.ts";
