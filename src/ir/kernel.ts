// Kernel IR: what one GPU dispatch does, between the graph and WGSL. Closed and small: the printer, the parser, the verifier,
// the CPU interpreter and the WGSL printer each switch over all kinds and end in `unreachable`.
// Knows nothing of tensors, ops or WGSL; a WebAssembly printer of the same IR must stay possible.
//
// Execution model: `workgroups` of `workgroupSize` invocations; invocations of a subgroup run in step. Index arithmetic is u32/i32.
// Sizes are parameters (a uniform buffer), so that one kernel serves every layer of its kind and every batch size.

import type { Location } from "../support/source.ts";

export type Scalar = "f32" | "f16" | "i32" | "u32" | "bool";
export type Width = 1 | 2 | 4;

export interface KernelType {
  readonly scalar: Scalar;
  readonly width: Width;
}

export type UnaryOp =
  | "neg"
  | "not"
  | "abs"
  | "sign"
  | "floor"
  | "ceil"
  | "round"
  | "trunc"
  | "exp"
  | "exp2"
  | "log"
  | "log2"
  | "sqrt"
  | "rsqrt"
  | "sin"
  | "cos"
  | "tanh";
export type BinaryOp =
  | "add"
  | "sub"
  | "mul"
  | "div"
  | "mod"
  | "min"
  | "max"
  | "pow"
  | "lt"
  | "le"
  | "gt"
  | "ge"
  | "eq"
  | "ne"
  | "and"
  | "or"
  | "bit_and"
  | "bit_or"
  | "bit_xor"
  | "shift_left"
  | "shift_right";
export type SubgroupOp = "broadcast" | "shuffle" | "shuffle_xor" | "add" | "max" | "min";
export type Builtin =
  | "workgroup_x"
  | "workgroup_y"
  | "workgroup_z" // u32: which workgroup
  | "local" // u32: invocation within its workgroup, flattened
  | "lane" // u32: invocation within its subgroup
  | "subgroup"; // u32: subgroup within its workgroup

export type Expr =
  | { readonly kind: "const"; readonly type: KernelType; readonly value: number | boolean }
  /** A size or scalar of the dispatch, declared in `Kernel.params`. */
  | { readonly kind: "param"; readonly name: string; readonly type: KernelType }
  | { readonly kind: "builtin"; readonly name: Builtin; readonly type: KernelType }
  /** A `let` or `var` of this kernel, or a loop counter. */
  | { readonly kind: "name"; readonly name: string; readonly type: KernelType }
  /** Element `index` of a buffer or workgroup array, in units of its declared element (a vec4 where its width is 4). */
  | { readonly kind: "load"; readonly from: string; readonly index: Expr; readonly type: KernelType }
  | { readonly kind: "unary"; readonly op: UnaryOp; readonly a: Expr; readonly type: KernelType }
  | {
      readonly kind: "binary";
      readonly op: BinaryOp;
      readonly a: Expr;
      readonly b: Expr;
      readonly type: KernelType;
    }
  /** a * b + c, rounded once or twice as the device likes. */
  | { readonly kind: "fma"; readonly a: Expr; readonly b: Expr; readonly c: Expr; readonly type: KernelType }
  | {
      readonly kind: "select";
      readonly condition: Expr;
      readonly yes: Expr;
      readonly no: Expr;
      readonly type: KernelType;
    }
  /** Value conversion (f32 -> u32 truncates); `bits` reinterprets 32-bit scalars instead. */
  | { readonly kind: "cast"; readonly a: Expr; readonly bits: boolean; readonly type: KernelType }
  /** One part: splat it over `type.width`; else `type.width` scalar parts. */
  | { readonly kind: "vector"; readonly parts: readonly Expr[]; readonly type: KernelType }
  | { readonly kind: "component"; readonly a: Expr; readonly index: Expr; readonly type: KernelType }
  /** Across the subgroup; `lane` for broadcast (a constant), shuffle and shuffle_xor. Needs target.subgroups. */
  | {
      readonly kind: "subgroup";
      readonly op: SubgroupOp;
      readonly a: Expr;
      readonly lane?: Expr;
      readonly type: KernelType;
    };

export type Statement =
  | { readonly kind: "let"; readonly name: string; readonly value: Expr }
  | { readonly kind: "var"; readonly name: string; readonly type: KernelType; readonly value: Expr }
  | { readonly kind: "set"; readonly name: string; readonly value: Expr }
  | { readonly kind: "store"; readonly to: string; readonly index: Expr; readonly value: Expr }
  /** `for name in start..end step step` over u32 (or i32); the counter cannot be assigned in the body. */
  | {
      readonly kind: "for";
      readonly name: string;
      readonly start: Expr;
      readonly end: Expr;
      readonly step: Expr;
      readonly body: readonly Statement[];
    }
  | {
      readonly kind: "if";
      readonly condition: Expr;
      readonly then: readonly Statement[];
      readonly else: readonly Statement[];
    }
  /** Workgroup memory written before is seen after, by all invocations; must be reached by all or none. */
  | { readonly kind: "barrier" }
  /** This invocation leaves; allowed only where no barrier or subgroup operation follows, or the condition is uniform. */
  | { readonly kind: "return" };

/** A storage buffer binding. `read` may be shared with other readers; `write` and `read_write` are exclusive by range. */
export interface BufferDecl {
  readonly name: string;
  readonly type: KernelType;
  readonly access: "read" | "write" | "read_write";
}

/** Workgroup memory. */
export interface SharedDecl {
  readonly name: string;
  readonly type: KernelType;
  readonly length: number;
}

/** A u32 (sizes, strides) or f32 scalar in the dispatch's uniform block. `live` ones are read from the extents buffer that kernels write. */
export interface ParamDecl {
  readonly name: string;
  readonly type: KernelType;
  readonly live: boolean;
}

export interface Kernel {
  /** Readable: `conv2d_gelu`, made from the ops it fuses. */
  readonly name: string;
  readonly params: readonly ParamDecl[];
  readonly buffers: readonly BufferDecl[];
  readonly shared: readonly SharedDecl[];
  readonly workgroupSize: readonly [number, number, number];
  /** Subgroup width it was generated for; 0 where it uses none. */
  readonly subgroupSize: number;
  readonly body: readonly Statement[];
  /** Comment lines for the reader: schedule, equation. */
  readonly notes: readonly string[];
  /** Lines of the model it came from (of the first dispatch that uses it; the plan has every dispatch's own). */
  readonly locations: readonly Location[];
}
