// Codes of the errors of this folder, with the paragraph that docs/errors.md has for each: the text of graphs and kernels, and
// what is found when sizes meet a graph.

export const irCodes: Readonly<Record<string, string>> = {
  "bad-dimension": "A dimension was given a value that is no positive whole number. Give one: `--dim B=2`.",
  "dimension-conflict":
    "Two inputs, or an input and `--dim`, give one dimension two sizes; or a size is above the bound that the model declares for it.",
  "empty-input":
    "An input has an axis without elements, and the model gives results that have some. Where all results are empty too (no tokens in, none out) the model runs, and does nothing.",
  "empty-tensor":
    "With these sizes an operation of the model has nothing left to compute, such as a window that is larger than the image. Give a larger input.",
  "input-rank":
    "An input has more or fewer axes than the model declares. A single picture needs its batch axis too: `[1, 3, H, W]`.",
  "input-shape":
    "A size of an input is not the one that the model declares, or no size at all. The message names the axis.",
  "input-dtype":
    "An input has another element type than the model declares. Convert it, or change the signature of the model.",
  "ir-cannot-infer":
    "An op of a graph text gives no type for the inputs and attributes that stand there. The label says what it failed at.",
  "ir-compilation":
    "The `compilation` of a graph text is not what `compile --to` writes. The message names the field that is wrong.",
  "guard-in-text":
    "A pass that depends on the values of weights has run on a graph text, and the weights that are given do not allow it. Stop before that pass, or compile the model file without it.",
  "ir-compiler":
    "A graph text was written by another version of the compiler. It is taken on; what its passes did is what they did then.",
  "ir-duplicate": "A value, attribute, dimension, weight or graph of a graph text is defined twice.",
  "ir-missing-attribute":
    "An attribute without a default is left out. docs/ops.md lists the attributes of every op.",
  "ir-missing-type":
    "The type of a result cannot be inferred here and must be written: `%3 = group ... : f32[B, 8]`.",
  "ir-next-id":
    "The `next` line of a graph names an id that is in use already. Ids are never given out twice; raise it, or leave the line out.",
  "ir-not-prepared":
    "A node stands among the guards or the prepared values and depends on an input. Those may be made from weights and constants alone.",
  "ir-preprocess":
    "The `preprocess` of an input is no object with exactly `size`, `crop_pct`, `interpolation`, `mean` and `std`.",
  "ir-settings":
    "Parameters and configurations are chosen where a model becomes graphs. A graph text is past that point: choose them when it is written.",
  "ir-syntax": "A graph text is not written as docs/ir.md says. The message says what was expected.",
  "ir-too-deep": "Bodies or lists of a graph text are nested deeper than any graph needs.",
  "ir-too-large":
    "A graph text, a word, a list or a type in it, or the number of its nodes is beyond the limit of the reader.",
  "ir-too-many-errors": "Reading stopped, for there are more errors than are shown. Correct the first ones.",
  "ir-type-mismatch":
    "The type that is written behind a node or an output is not the one that the op gives. Correct it, or leave it out and let it be inferred.",
  "ir-unknown-attribute": "The op has no attribute of this name. The help suggests the nearest one.",
  "ir-unknown-dim":
    "A dimension is used that the graph does not declare. Add it to the line `dims` at the start of the graph.",
  "ir-unknown-op": "There is no op of this name. The help suggests the nearest one; docs/ops.md lists all.",
  "ir-unknown-scope": "A node says that it is `in` a scope that no `scope` line of the graph declares.",
  "ir-unknown-source":
    "A location names a source file by a number that no `source` line at the top of the text declares.",
  "ir-unknown-value":
    "A value is used that is defined nowhere before. Nodes stand in the order in which they are computed.",
  "ir-wrong-attribute": "An attribute has a value of another kind than the op takes.",
  "ir-wrong-inputs": "The op takes another number of inputs.",
  "ir-wrong-order":
    "The order of a type, `f32[B, 8, H, W]{0, 2, 3, 1}`, does not name each of its axes once. It says how the axes lie in memory, the last one densest.",
  "ir-wrong-results": "The node gives names to more or fewer results than the op has.",
  "kernel-redefined":
    "A name of a kernel text is defined twice where both can be seen. Give one of them another name.",
  "kernel-syntax":
    "A kernel text is not written as the printer writes it. The message says what was expected.",
  "kernel-too-deep":
    "Blocks, brackets or operators of a kernel text are nested deeper than any kernel needs.",
  "kernel-too-large": "A kernel text has more characters than the reader takes.",
  "kernel-type":
    "An expression of a kernel text has a type that cannot stand here. Kernels convert nothing on their own: write the conversion.",
  "kernel-unknown-name": "A kernel text uses a name or a function that is not defined.",
  "missing-input": "An input of the graph is not given.",
  "weights-missing": "The evaluator was not given a weight that the graph reads. The message has its name.",
  "state-type": "A state was given a tensor of another shape than the model declares for it.",
  "size-limit":
    "A size that is known only when the model runs is larger than the model was made for, such as more tokens than it has positions. The message has the sizes and the line.",
  "too-large":
    "A tensor would have more elements, or more bytes, than can be computed with. Run a smaller batch or image.",
  "unbound-dimension":
    "No input says how large a dimension is. Give it with `--dim NAME=NUMBER`, or `dims` in the library.",
  "unknown-dimension": "A size was given for a dimension that the model does not have.",
  "unknown-state": "A value was given for a state that the model does not have.",
  "weights-shape": "A weight has another shape than the graph declares for it.",
};
