// The family of schedules of an op that writes its own kernels and can cut them in several ways (ir/program.ts). There is one for each such op.

import { Bug } from "../support/bug.ts";
import { substituteDim, type Dim } from "../ir/dim.ts";
import type { Node, Region } from "../ir/graph.ts";
import type { OpDefinition } from "../ir/op.ts";
import type { ProgramCuts, ProgramFacts } from "../ir/program.ts";
import { programFacts, programNode, programSteps } from "./program-kernel.ts";
import {
  countText,
  family,
  sizeIn,
  type Family,
  type KernelSizes,
  type Ranked,
  type Schedule,
  type SpaceOptions,
} from "./schedule-family.ts";
import { shaderOf } from "./streaming-cost.ts";
import { tileConstants } from "./tile-cost.ts";

interface Facts {
  readonly program: ProgramFacts;
  readonly o: SpaceOptions;
}

const cutsOf = ({ lowering }: OpDefinition): ProgramCuts | undefined =>
  lowering.kind === "program" ? lowering.cuts : undefined;

const known = new WeakMap<ProgramCuts, Family>();

/** Undefined where the op has one way alone. */
export function programFamily(op: OpDefinition): Family | undefined {
  const cuts = cutsOf(op);
  if (!cuts) return undefined;
  const made = known.get(cuts) ?? familyOf(op.name, cuts);
  known.set(cuts, made);
  return made;
}

/** That of the op which writes the kernels of this group. */
export function programFamilyOf({ attrs, body }: Node): Family | undefined {
  return attrs["kind"] === "program" && body ? programFamily(programNode(body).op) : undefined;
}

function familyOf(name: string, cuts: ProgramCuts): Family {
  const cost = (s: Schedule, { program }: Facts, z: KernelSizes) => ({
    microseconds: cuts.cycles(s, program, z) / tileConstants(program.target).cyclesPerMicrosecond,
    shaderMilliseconds: shaderOf(program.target, 8, 1),
  });
  const refuse = (s: Schedule, { program }: Facts) => cuts.refuse(s, program);
  return family<Schedule, Facts, KernelSizes>({
    ...{ name, kinds: cuts.kinds, example: cuts.example, refuse, cost },
    ...countText(cuts.counts),
    facts: (group, o) => programFamilyOf(group) && { program: programFacts(group.body!, o.target), o },
    sizes({ program, o }) {
      const of = (d: Dim): number | undefined => sizeIn(substituteDim(d, o.bounds), o.sizes);
      const all = Object.entries(cuts.sizes(program)).map(([size, d]) => [size, of(d)] as const);
      return all.some(([, n]) => n === undefined)
        ? undefined
        : (Object.fromEntries(all) as Readonly<Record<string, number>>);
    },
    showSizes: (z) =>
      Object.entries(z)
        .map(([size, n]) => `${n} ${size}`)
        .join(", "),
    choose: ({ program }) => cuts.choose(program),
    why: (s, { program }) => cuts.why(s, program),
    rank: (f, z) =>
      cuts
        .candidates(f.program)
        .filter((s) => refuse(s, f) === undefined)
        .map((schedule): Ranked => ({ schedule, ...cost(schedule, f, z) }))
        .sort((a, b) => a.microseconds - b.microseconds),
    steps({ body }, s, why, { target, bounds, live }) {
      if (!live) throw new Bug(`${name} is made without the live sizes`);
      return programSteps(body as Region, target, bounds, live, {
        ...{ cut: s, why, text: countText(cuts.counts).show(s) },
      });
    },
  });
}
