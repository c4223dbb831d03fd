// Sessions on the adapter there is: a GPU, else a software driver of the system, else the embedded one.

import { sessionSuite } from "./session.suite.ts";

sessionSuite(process.env["TOKENLOOM_DEVICE"] ?? "auto");
