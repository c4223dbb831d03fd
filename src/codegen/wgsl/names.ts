// Names that WGSL takes as they are; others get a tail. WGSL reserves its keywords, its predeclared names and `__`.

const reserved: ReadonlySet<string> = new Set(
  (
    "alias break case const const_assert continue continuing default diagnostic discard else enable false fn for if let loop override " +
    "requires return struct switch true var while bool f16 f32 i32 u32 vec2 vec3 vec4 vec2f vec3f vec4f vec2u vec4u vec2i vec4i vec4h " +
    "mat2x2 array atomic ptr sampler texture_1d abs acos all any asin atan bitcast ceil clamp cos cross degrees distance dot exp exp2 " +
    "floor fma fract length log log2 max min mix modf normalize pow radians reflect round select sign sin smoothstep sqrt step tan tanh " +
    "transpose trunc inverseSqrt target active auto await become class do enum export extern final filter from friend get goto handle " +
    "interface import impl in inline instanceof macro match meta mod module move mut namespace new nil noexcept null of operator package " +
    "partition pass patch precise premerge private protected pub public ref regardless register resource restrict self set shared sizeof " +
    "smooth snorm static std subroutine super this thread throw trait try type typedef typeid typename typeof union unless unorm unsafe " +
    "using varying virtual volatile where with writeonly yield params extents main Params workgroup_id local_index lane"
  ).split(" "),
);

export function safeName(name: string): string {
  const plain = name.replace(/\W/g, "_").replace(/__+/g, "_").replace(/^_+/, "");
  const start = /^[A-Za-z]/.test(plain) ? plain : `v${plain}`;
  return reserved.has(start) ? `${start}_v` : start;
}
