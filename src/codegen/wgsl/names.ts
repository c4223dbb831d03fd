// Identifiers that WGSL accepts: words it keeps for itself, names its predeclared functions and types have, and the names
// that the printer gives get a tail. Knows words only.

const keywords =
  "alias break case const const_assert continue continuing default diagnostic discard else enable false fn for if let loop " +
  "override requires return struct switch true var while";

/** Kept for later by the specification: a name that is one is an error today. */
const reserved =
  "NULL Self abstract active alignas alignof as asm asm_fragment async attribute auto await become cast catch class co_await " +
  "co_return co_yield coherent column_major common compile compile_fragment concept const_cast consteval constexpr constinit " +
  "crate debugger decltype delete demote demote_to_helper do dynamic_cast enum explicit export extends extern external " +
  "fallthrough filter final finally friend from fxgroup get goto groupshared highp impl implements import inline instanceof " +
  "interface layout lowp macro macro_rules match mediump meta mod module move mut mutable namespace new nil noexcept noinline " +
  "nointerpolation non_coherent noncoherent noperspective null nullptr of operator package packoffset partition pass patch " +
  "pixelfragment precise precision premerge priv protected pub public readonly ref regardless register reinterpret_cast " +
  "require resource restrict self set shared sizeof smooth snorm static static_assert static_cast std subroutine super target " +
  "template this thread_local throw trait try type typedef typeid typename typeof union unless unorm unsafe unsized use using " +
  "varying virtual volatile wgsl where with writeonly yield";

/** May be redeclared, but then the printer could no longer mean the original. */
const predeclared =
  "bool f16 f32 i32 u32 vec2 vec3 vec4 vec2f vec3f vec4f vec2h vec4h vec2i vec4i vec2u vec3u vec4u array bitcast select abs " +
  "sign floor ceil round trunc exp exp2 log log2 sqrt inverseSqrt sin cos tanh min max pow fma workgroupBarrier " +
  "subgroupBroadcast subgroupShuffle subgroupShuffleXor subgroupAdd subgroupMax subgroupMin";

/** Names that the printer itself declares. */
const own =
  "Params params extents main workgroup_id local_index lane subgroup " +
  "infinity_bits infinity not_a_number half_infinity_bits half_infinity half_not_a_number";

const taken: ReadonlySet<string> = new Set(`${keywords} ${reserved} ${predeclared} ${own}`.split(" "));

/** One name in, one name out, and never the same for two; readable where the original was. */
export class Names {
  readonly #given = new Map<string, string>();
  readonly #used = new Set<string>();

  of(name: string): string {
    let safe = this.#given.get(name);
    if (safe === undefined) this.#given.set(name, (safe = this.fresh(name)));
    return safe;
  }

  /** A name that nothing else has, made from this one. */
  fresh(name: string): string {
    // Letters, digits and single underscores: two in front, or a single one alone, are not allowed.
    const plain = name.replace(/\W/g, "_").replace(/_{2,}/g, "_").replace(/_$/, "");
    const base = /^[A-Za-z]/.test(plain) ? plain : `v${plain}`;
    let safe = base;
    for (let i = 1; taken.has(safe) || this.#used.has(safe); i++) safe = `${base}_${i}`;
    this.#used.add(safe);
    return safe;
  }
}
