// Codes of the errors of this folder, with the paragraph that docs/errors.md has for each.

export const passCodes: Readonly<Record<string, string>> = {
  "pass-done":
    "A pass was named that comes before those which have run on a graph text, or the text is not what its list of passes says. Begin with a text that stopped earlier.",
  "pass-needs":
    "A pass was asked for by name on a graph that is not yet what the pass needs. The message names the first place; run the pass that the help names before it.",
  "pass-required":
    "A pass that everything after it needs cannot be left out. Use `--stop-after` to end before it.",
  quantize:
    "`--quantize` says neither `int8` nor `int4`, or the size of a group is no number from 1 up. `int4:group=64` has groups of 64 weights with one scale; docs/quantization.md says what the widths are and what they cost.",
  "quantize-finite":
    "A weight that is to be kept in 8 or 4 bits holds NaN or an infinity, which no integer and scale stand for. The message names the weight, or those that it is folded from. Mend the checkpoint, or compile without `--quantize`.",
  reduce:
    "`reduce` in the file, or `--reduce`, asks for fewer tokens where that cannot be: the method or its numbers are none, the number of tokens is not known while compiling, or the graph is no attention encoder. docs/token-reduction.md lists the methods.",
  "unknown-pass":
    "There is no pass of this name, or it did not run here: passes above level 1 run only where asked for with `--also`. docs/passes.md lists them all.",
};
