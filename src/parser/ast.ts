// The file as it was written, with spans; always produced, even when there are errors.
// Knows syntax only: no shapes, no values. Printed by format.ts, read by build.ts.

import type { Span } from "../support/source.ts";

export interface Name {
  readonly text: string;
  readonly span: Span;
}

/** A comment with the offset it starts at; the formatter puts each back before or behind what it stood by. */
export interface Comment {
  readonly text: string;
  readonly span: Span;
  /** Nothing but space stands before it on its line. */
  readonly ownLine: boolean;
}

export interface File {
  readonly kind: "file";
  readonly span: Span;
  readonly items: readonly Item[];
  readonly comments: readonly Comment[];
}

export type Item = Import | Const | Block | Config | Checkpoint;

/** `import { MetaFormer, Mlp as FeedForward } from "std/metaformer"` */
export interface Import {
  readonly kind: "import";
  readonly span: Span;
  readonly names: readonly { readonly name: Name; readonly as?: Name }[];
  readonly from: { readonly text: string; readonly span: Span };
}

/** `const eps = 1e-5`: a compile-time value of the file. */
export interface Const {
  readonly kind: "const";
  readonly span: Span;
  readonly name: Name;
  readonly type?: ParamType;
  readonly value: Expr;
}

/** `block Mlp(dim: int) (x: f32[B, dim]) -> f32[B, dim] { ... }` and `model` (the same, and an entry point). */
export interface Block {
  readonly kind: "block";
  readonly span: Span;
  readonly model: boolean;
  /** `default model`: the one taken where `--model` is absent and the file has several. */
  readonly isDefault: boolean;
  readonly name: Name;
  readonly params: readonly Param[];
  readonly inputs: readonly TensorParam[];
  readonly results: readonly Result[];
  readonly body: Body;
}

/** `name: int = 4`, `head: timm | original = timm`, `mixer: block`, `dims: [int]`, `bias: bool = true`. */
export interface Param {
  readonly span: Span;
  readonly name: Name;
  readonly type: ParamType;
  readonly default?: Expr;
}

export type ParamType =
  | { readonly kind: "name"; readonly name: Name } // int float bool string dtype block
  | { readonly kind: "enum"; readonly choices: readonly Name[]; readonly span: Span }
  | { readonly kind: "list"; readonly element: ParamType; readonly span: Span }
  | { readonly kind: "tuple"; readonly elements: readonly ParamType[]; readonly span: Span }
  | { readonly kind: "optional"; readonly of: ParamType; readonly span: Span }; // `block?`: may be `none`

/** A tensor in a signature. `mask?: i32[B, T]` may be left out by the caller. */
export interface TensorParam {
  readonly span: Span;
  readonly name: Name;
  readonly optional: boolean;
  readonly type: TensorTypeExpr;
}

/** One result; named when there are several: `-> (logits: f32[B, 10], features: f32[B, 64])`. */
export interface Result {
  readonly span: Span;
  readonly name?: Name;
  readonly type: TensorTypeExpr;
}

/**
 * `f32[B, C = dim, H, W]`: `C =` names the axis; a dimension is an expression over names, parameters and numbers. One of them may be
 * `...`, any number of axes.
 */
export interface TensorTypeExpr {
  readonly span: Span;
  readonly dtype: Name;
  readonly dims: readonly DimExpr[];
}

export interface DimExpr {
  readonly span: Span;
  readonly axis?: Name;
  readonly size: Expr;
  /** `n <= B * T`: a dimension whose live value a kernel writes, with its bound. */
  readonly bound?: Expr;
}

export interface Body {
  readonly span: Span;
  readonly statements: readonly Statement[];
}

export type Statement =
  Assign | Return | If | For | Repeat | State | Output | Weight | Preprocess | Assert | With;

/** `x = e`, `q, k, v = e`; a bare call is no statement. */
export interface Assign {
  readonly kind: "assign";
  readonly span: Span;
  readonly targets: readonly Name[];
  readonly value: Expr;
}

/** `return x`, or `return logits = a, features = b`. */
export interface Return {
  readonly kind: "return";
  readonly span: Span;
  readonly values: readonly { readonly name?: Name; readonly value: Expr }[];
}

export interface If {
  readonly kind: "if";
  readonly span: Span;
  readonly condition: Expr;
  readonly then: Body;
  /** A nested `if` is an `else` body of one statement. */
  readonly else?: Body;
}

/** `for (i, dim) in enumerate(dims) @stages { ... }` */
export interface For {
  readonly kind: "for";
  readonly span: Span;
  readonly pattern: readonly Name[];
  readonly list: Expr;
  readonly label?: Label;
  readonly annotations: readonly Annotation[];
  readonly body: Body;
}

/** `repeat depth as j @blocks { ... }`; `repeat 3 @layer shared { ... }` uses one set of weights each time. */
export interface Repeat {
  readonly kind: "repeat";
  readonly span: Span;
  readonly count: Expr;
  readonly index?: Name;
  readonly label?: Label;
  readonly annotations: readonly Annotation[];
  readonly body: Body;
}

/** `state load: f32[E] = 0`: kept between runs; later assigned like a name. */
export interface State {
  readonly kind: "state";
  readonly span: Span;
  readonly name: Name;
  readonly type: TensorTypeExpr;
  readonly initial: Expr;
}

/** `output stage0 = x`: one more output of the model, a tap. */
export interface Output {
  readonly kind: "output";
  readonly span: Span;
  readonly name: Name;
  /** `output stages[i] = x` gives `stages.0`, `stages.1`, ... */
  readonly index?: Expr;
  readonly value: Expr;
}

/** `weight cls_token: f32[1, 1, dim]`: a tensor of the checkpoint used as a value. */
export interface Weight {
  readonly kind: "weight";
  readonly span: Span;
  readonly name: Name;
  readonly type: TensorTypeExpr;
  /** Where its key differs from its name. */
  readonly label?: Label;
}

/** `preprocess image (resize = 248, crop = 224, interpolation = bicubic, mean = [...], std = [...])` */
export interface Preprocess {
  readonly kind: "preprocess";
  readonly span: Span;
  readonly input: Name;
  readonly args: readonly Argument[];
}

/** `assert dim % heads == 0, "heads must divide dim"` */
export interface Assert {
  readonly kind: "assert";
  readonly span: Span;
  readonly condition: Expr;
  readonly message?: Expr;
}

/** `with reduce tome(r = 8) { ... }`: the annotation holds for every call inside. */
export interface With {
  readonly kind: "with";
  readonly span: Span;
  readonly annotations: readonly Annotation[];
  readonly body: Body;
}

/**
 * `@stages`, `@stem.conv`, `@layer[i + 1]`, `@experts[n]`; `shared` lets a label be used again for the same weights. `@head from small`
 * names weights of another checkpoint, from its own root on; without parts (`from small`) that root itself.
 */
export interface Label {
  readonly span: Span;
  readonly parts: readonly { readonly name: Name; readonly index?: Expr }[];
  readonly shared: boolean;
  readonly from?: Name;
}

/** `with reduce tome(r = 8)`: `name` is `reduce`, `value` the call behind it. */
export interface Annotation {
  readonly span: Span;
  readonly name: Name;
  readonly value?: Expr;
}

export type Expr =
  | NumberLiteral
  | StringLiteral
  | BoolLiteral
  | NoneLiteral
  | Ellipsis
  | Reference
  | ListExpr
  | Comprehension
  | TupleExpr
  | Unary
  | Binary
  | IfExpr
  | MatchExpr
  | Call
  | Index
  | Member
  | BadExpr;

export interface NumberLiteral {
  readonly kind: "number";
  readonly span: Span;
  readonly value: number;
  /** Written without `.` and exponent. */
  readonly isInt: boolean;
  /** As written, for the formatter. */
  readonly text: string;
}
export interface StringLiteral {
  readonly kind: "string";
  readonly span: Span;
  readonly value: string;
}
export interface BoolLiteral {
  readonly kind: "bool";
  readonly span: Span;
  readonly value: boolean;
}
export interface NoneLiteral {
  readonly kind: "none";
  readonly span: Span;
}
/** `...`: the axes that stand there in the shapes of a signature, any number of them. */
export interface Ellipsis {
  readonly kind: "ellipsis";
  readonly span: Span;
}
export interface Reference {
  readonly kind: "name";
  readonly span: Span;
  readonly name: string;
}
export interface ListExpr {
  readonly kind: "list";
  readonly span: Span;
  readonly elements: readonly Expr[];
}
/** `[dim * 2 for dim in dims if dim > 64]` */
export interface Comprehension {
  readonly kind: "comprehension";
  readonly span: Span;
  readonly element: Expr;
  readonly pattern: readonly Name[];
  readonly list: Expr;
  readonly condition?: Expr;
}
export interface TupleExpr {
  readonly kind: "tuple";
  readonly span: Span;
  readonly elements: readonly Expr[];
}
export interface Unary {
  readonly kind: "unary";
  readonly span: Span;
  readonly op: "-" | "not";
  readonly operand: Expr;
}
export type BinaryOp =
  "+" | "-" | "*" | "/" | "%" | "**" | "==" | "!=" | "<" | "<=" | ">" | ">=" | "and" | "or";
export interface Binary {
  readonly kind: "binary";
  readonly span: Span;
  readonly op: BinaryOp;
  readonly left: Expr;
  readonly right: Expr;
}
/** `if a then b else c` */
export interface IfExpr {
  readonly kind: "if";
  readonly span: Span;
  readonly condition: Expr;
  readonly then: Expr;
  readonly else: Expr;
}
/** `match head { timm => a  original => b  _ => c }`: each arm's left is a literal, an enum word or `_`. */
export interface MatchExpr {
  readonly kind: "match";
  readonly span: Span;
  readonly subject: Expr;
  readonly arms: readonly { readonly pattern: Expr | "_"; readonly value: Expr; readonly span: Span }[];
}
export interface Argument {
  readonly span: Span;
  readonly name?: Name;
  readonly value: Expr;
}
/**
 * `f(a, b, k = 3) @label with reduce tome(r = 8)`. `x |> f(a)` is the call with `piped` set: `x` becomes the first
 * positional argument, and the formatter knows to print the pipe.
 */
export interface Call {
  readonly kind: "call";
  readonly span: Span;
  readonly callee: Name;
  readonly piped?: Expr;
  readonly args: readonly Argument[];
  readonly label?: Label;
  readonly annotations: readonly Annotation[];
}
/** `dims[i]`, `dims[-1]` */
export interface Index {
  readonly kind: "index";
  readonly span: Span;
  readonly object: Expr;
  readonly index: Expr;
}
/** `routes.weights`: a named result of a call that has several. */
export interface Member {
  readonly kind: "member";
  readonly span: Span;
  readonly object: Expr;
  readonly name: Name;
}
/** What recovery left where an expression should stand; an error has been reported for it. */
export interface BadExpr {
  readonly kind: "bad";
  readonly span: Span;
}

/** `config s12 of poolformer (depths = [2, 2, 6, 2])`, `config s24 of poolformer extends s12 (depths = ...)` */
export interface Config {
  readonly kind: "config";
  readonly span: Span;
  readonly name: Name;
  readonly model: Name;
  readonly extends?: Name;
  readonly args: readonly Argument[];
}

/**
 * How another checkpoint of the same model is named and laid out. Rules are tried in order:
 *
 *     checkpoint original of poolformer {
 *       strip "module."
 *       rename "network.{i}.{j}.{rest*}" = "stages.{i / 2}.blocks.{j}.{rest}"
 *       concat "attn.qkv.weight" = ["attn.q.weight", "attn.k.weight", "attn.v.weight"] axis 0
 *       ignore "*.num_batches_tracked"
 *     }
 */
export interface Checkpoint {
  readonly kind: "checkpoint";
  readonly span: Span;
  readonly name: Name;
  readonly model: Name;
  readonly rules: readonly CheckpointRule[];
}

export interface CheckpointRule {
  readonly span: Span;
  /** strip, rename, ignore, transpose, reshape, concat, split, stack, unstack */
  readonly verb: Name;
  readonly from: readonly { readonly text: string; readonly span: Span }[];
  readonly to: readonly { readonly text: string; readonly span: Span }[];
  readonly axis?: number;
}
