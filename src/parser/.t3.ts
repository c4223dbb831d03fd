import { parse } from "./parse.ts";
import { render } from "../support/render.ts";
import { readFileSync } from "node:fs";
console.log(render(parse(readFileSync(process.argv[2]!,"utf8"), process.argv[2]).diagnostics));
