import { parse } from "./parse.ts";
import { format } from "./format.ts";
import { render } from "../support/render.ts";
import { readFileSync } from "node:fs";
const r = parse(readFileSync(process.argv[2]!,"utf8"), process.argv[2]);
console.log(render(r.diagnostics));
const f=format(r.ast,r.file); console.log(f);
const r2=parse(f,"f"); console.log(render(r2.diagnostics)); const f2=format(r2.ast,r2.file); console.log(f===f2); if(f!==f2) console.log(f2);
