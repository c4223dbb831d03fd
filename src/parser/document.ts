// Text with places where a line may break, and the printer that decides: a group stays on one line if it fits (after
// Wadler, "A prettier printer", with comments at line ends as in the printer of the tool of that name).
// Knows nothing of the language. Loops with a stack of its own, so depth costs no call stack.

export type Doc = string | Node;

interface Node {
  readonly kind: "concat" | "indent" | "group" | "line" | "soft" | "hard" | "if-broken" | "line-end";
  /** Holds a hard line break, so a group around it is broken. */
  readonly forced: boolean;
  readonly parts: readonly Doc[];
  readonly text: string;
}

function node(kind: Node["kind"], parts: readonly Doc[], text = "", forced = false): Node {
  return {
    kind,
    parts,
    text,
    forced: forced || parts.some((part) => typeof part !== "string" && part.forced),
  };
}

export const concat = (...parts: readonly Doc[]): Doc => node("concat", parts);
export const indent = (...parts: readonly Doc[]): Doc => node("indent", parts);
/** On one line, or with every `line` and `softline` of its own broken. */
export const group = (...parts: readonly Doc[]): Doc => node("group", parts);
/** A space, or a line break in a broken group. */
export const line: Doc = node("line", [], " ");
/** Nothing, or a line break in a broken group. */
export const softline: Doc = node("soft", []);
export const hardline: Doc = node("hard", [], "", true);
/** Only in a broken group. */
export const ifBroken = (text: string): Doc => node("if-broken", [], text);
/** Put at the end of the line that it is on; breaks the groups around it. */
export const lineEnd = (text: string): Doc => node("line-end", [], text, true);

/** For lists of any length: as arguments of `concat`, a hundred thousand would not fit on the call stack. */
export const concatAll = (parts: readonly Doc[]): Doc => node("concat", parts);

export function joinDocs(docs: readonly Doc[], separator: Doc): Doc {
  return concatAll(docs.flatMap((doc, i) => (i === 0 ? [doc] : [separator, doc])));
}

export function isForced(doc: Doc): boolean {
  return typeof doc !== "string" && doc.forced;
}

interface Task {
  readonly doc: Doc;
  readonly depth: number;
  readonly broken: boolean;
}

const STEP = "  ";

export function printDoc(root: Doc, width: number): string {
  const output: string[] = [];
  const tasks: Task[] = [{ doc: root, depth: 0, broken: true }];
  let column = 0;
  let atLineEnd = "";
  let pendingIndent = 0;
  const write = (text: string): void => {
    if (text === "") return;
    // Indentation is written with the first text of a line, so that an empty line has no spaces.
    if (column === 0 && pendingIndent > 0) output.push(STEP.repeat(pendingIndent));
    if (column === 0) column = pendingIndent * STEP.length;
    output.push(text);
    column += text.length;
  };
  const newline = (depth: number): void => {
    output.push(atLineEnd, "\n");
    atLineEnd = "";
    column = 0;
    pendingIndent = depth;
  };
  while (tasks.length > 0) {
    const { doc, depth, broken } = tasks.pop()!;
    if (typeof doc === "string") {
      write(doc);
      continue;
    }
    const push = (toDepth: number, toBroken: boolean): void => {
      for (let i = doc.parts.length - 1; i >= 0; i--)
        tasks.push({ doc: doc.parts[i]!, depth: toDepth, broken: toBroken });
    };
    switch (doc.kind) {
      case "concat":
        push(depth, broken);
        break;
      case "indent":
        push(depth + 1, broken);
        break;
      case "group": {
        const used = column === 0 ? depth * STEP.length : column;
        push(depth, doc.forced || !fits(doc, tasks, width - used));
        break;
      }
      case "if-broken":
        if (broken) write(doc.text);
        break;
      case "line-end":
        atLineEnd += doc.text;
        break;
      case "hard":
        newline(depth);
        break;
      case "line":
      case "soft":
        if (broken) newline(depth);
        else write(doc.text);
        break;
      default:
        doc.kind satisfies never;
    }
  }
  output.push(atLineEnd);
  return output.join("");
}

/** Whether `doc` on one line, and what follows it up to the next line break, has room. */
function fits(doc: Node, rest: readonly Task[], room: number): boolean {
  let left = room;
  let next = rest.length - 1;
  const stack: { doc: Doc; broken: boolean }[] = doc.parts
    .map((part) => ({ doc: part, broken: false }))
    .reverse();
  while (left >= 0) {
    const task = stack.pop() ?? rest[next--];
    if (task === undefined) return true;
    const { doc: current, broken } = task;
    if (typeof current === "string") {
      left -= current.length;
      continue;
    }
    if (current.kind === "hard") return true;
    if (current.kind === "line" || current.kind === "soft") {
      if (broken) return true;
      left -= current.text.length;
    } else if (current.kind === "if-broken") {
      if (broken) left -= current.text.length;
    } else {
      const inBroken = current.kind === "group" ? current.forced : broken;
      for (let i = current.parts.length - 1; i >= 0; i--)
        stack.push({ doc: current.parts[i]!, broken: inBroken });
    }
  }
  return false;
}
