import { parse } from "./parse.ts";
import { readFileSync } from "node:fs";
const r = parse(readFileSync(process.argv[2]!,"utf8"), process.argv[2]);
console.log(r.ast.items.length, r.ast.items.map(i=>i.kind));
for (const d of r.diagnostics) console.log(d.code, r.file.text.slice(0,d.span!.start).split("\n").length, d.message, d.help);
