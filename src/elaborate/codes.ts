// Every error code of this layer, with the paragraph that docs/errors.md has for it. Codes of ops (`conv2d.channels`) are the
// constraints of their records, and codes of syntax are the parser's.

export const elaborationCodes: Readonly<Record<string, string>> = {
  "annotation-value": "An annotation is written as a call with named arguments: `with reduce tome(r = 8)`.",
  "argument-type":
    "A function of compile-time values, such as `len` or `max`, was given something it does not take. Tensors have ops of their own.",
  assertion: "A condition that the model states with `assert` does not hold for these parameters.",
  bound: "A size was declared with a bound, `n <= B * T`, and what is given is not known to stay below it.",
  "cannot-infer-dimension":
    "The size of a dimension would have to follow from an expression, and no whole number makes it come out; or two names in it are unknown.",
  "checkpoint-collision":
    "Two rules of a checkpoint map, or one rule twice, give the same name to two tensors.",
  "checkpoint-pattern":
    "A pattern of a checkpoint map is not well formed, or its result uses a name that is matched nowhere.",
  "checkpoint-rule":
    "A rule of a checkpoint map is written with the wrong number of patterns, or does not apply to a tensor that it matches.",
  "condition-type": "A condition is a bool. Compare numbers and lists: `depth > 0`, `len(dims) > 0`.",
  "config-cycle": "A configuration extends itself, by way of others perhaps.",
  "constant-cycle": "A constant is needed to compute itself.",
  "dimension-too-large":
    "A symbolic size grew beyond what can be compared: too many terms, or numbers that are too large.",
  "dimension-type": "A dimension is a size: an int of at least 0, or a symbol.",
  "division-by-zero": "A division or remainder by zero, while compiling.",
  "dtype-mismatch":
    "The element type of a tensor is not the one that the signature declares. Convert it with `cast`.",
  "duplicate-argument": "An argument is given twice, by name or by place.",
  "duplicate-model": "The same model is asked for twice. An entry point of a plan is named once.",
  "duplicate-name": "Two things at the top of a file, or two inputs, have the same name.",
  "duplicate-output": "Two outputs have the same name. Give taps an index, or the block a label.",
  "duplicate-state": "Two states have the same name. Give the calls of the block labels of their own.",
  "duplicate-weight":
    "Two calls make weights of the same name. Give each a label of its own, or write `shared` where the same weights are meant.",
  ellipsis:
    "`...` stands for any number of axes: in the types of a block's signature, and in lists of sizes behind it. The inputs of a model have a known number of axes.",
  "expert-call":
    "`per_expert(x, ids, of = Block(...), count = E) @experts` calls a block once for all experts; its arguments, or what the block gives, do not fit.",
  "expert-weights":
    "A layer inside an expert's block owns weights, and there is no form of it in which each row has its own.",
  "import-cycle": "A file imports itself, by way of others perhaps.",
  "import-not-found": "There is no file at the path of an import.",
  "import-path":
    "The path of an import is not allowed: it must be relative, and must not lead out of the folder of the file that is compiled.",
  "import-too-deep": "Imports within imports are too many levels deep.",
  "index-out-of-range": "A list or tuple has no element with this index.",
  "index-type": "An index is an int.",
  "inexact-division":
    "`/` of ints and sizes must come out for every size. Write `floor(a / b)` or `ceil(a / b)` where it need not.",
  "label-index": "The index of a label is an int, a string or a word.",
  "label-on-value":
    "A label stands at a call without tensors, which makes a block with parameters given and no weights. Write the label where the block is called.",
  "label-too-long": "A label is longer than any key of a checkpoint should be.",
  "list-too-long": "A list has more elements than a list may have.",
  "misplaced-preprocess":
    "`preprocess` speaks of the pictures of a model, and stands in a block that is none.",
  "missing-input": "A call lacks an input that is not optional.",
  "missing-parameter": "A call lacks a parameter that has no default.",
  "missing-return": "The body of a block ends without `return`.",
  "weights-missing": "The checkpoint has no tensor of this name, also after its map was applied.",
  "needs-label":
    "A call makes weights and has no label to name them by. Only a block with a single layer, called with a label, may leave it out.",
  "no-match": "No arm of a `match` is for this value. Add one, or `_ => ...` for all others.",
  "no-member":
    "The value has no part of this name. Tensors have `shape`, `rank` and `dtype`; calls with several results have those.",
  "no-model": "The file declares no model, so there is no entry point.",
  "no-tensors-here":
    "Constants, configurations and `--set` are values known while compiling; tensors exist only in blocks.",
  "not-a-list": "A list is needed, to go over or to index. `range(n)` is the list of the first n ints.",
  "not-a-tensor":
    "A tensor is needed. Blocks must be called, results of several must be picked, and parameters are given by name.",
  "not-a-value": "A function such as `len` can be called, and not passed on.",
  "not-callable": "The name stands for something that is neither a block nor an op.",
  "number-too-large":
    "A number is beyond what is exact: ints up to 2^53, floats up to about 1.8e308, and where they meet tensors up to 3.4e38, which is what an f32 holds.",
  "operand-type": "An operator does not take these operands.",
  "parameter-type": "A parameter was given a value that its type does not have.",
  "positional-parameter": "Tensors go by place, parameters by name: `linear(x, out = 8)`.",
  "rank-mismatch": "A tensor has more or fewer axes than the signature declares.",
  "repeat-count": "A loop is repeated a number of times that is known while compiling.",
  "shape-mismatch":
    "A size is not the one that the signature declares. The notes say where both numbers come from.",
  "shared-weight-type": "Weights that are shared by name would have two types.",
  "state-initial": "A state starts as one number.",
  "state-type": "A state is assigned a tensor of another type than it was declared with.",
  "string-too-long": "A string is longer than a string may be.",
  "tensor-condition":
    "A condition is decided while compiling, and the values of tensors are not known then. `where(condition, a, b)` chooses per element.",
  "tensor-index": "Tensors are not indexed with brackets. `slice` takes a range of an axis.",
  "too-deep":
    "Blocks call one another, or expressions stand within one another, too many levels deep; a block that calls itself never ends.",
  "too-many-errors": "There are more errors than are shown.",
  "too-many-files": "Too many files are imported.",
  "too-many-inputs": "A call has more tensors than the op or block takes.",
  "too-many-iterations": "A loop has more turns than a loop may have.",
  "too-many-nodes": "The model has more operations than a graph may have.",
  "too-much-work": "Computing what is known while compiling takes too many steps.",
  "two-defaults": "Two models of a file are called the default.",
  "undecided-size": "A choice depends on a size that is known only when the model runs.",
  "unknown-annotation": "There is no annotation of this name.",
  "unknown-axis": "The tensor has no axis of this name. Signatures name axes: `f32[B, T, C = dim]`.",
  "unknown-config": "The model has no configuration of this name.",
  "unknown-import": "The imported file does not declare this name.",
  "unknown-model": "There is no model of this name.",
  "unknown-name": "The name stands for nothing here: no variable, block, constant or op.",
  "unknown-parameter": "The block, op or model has no parameter of this name.",
  "unknown-result": "The block has no result of this name.",
  "unknown-rule": "There is no rule of this name for checkpoint maps.",
  "unknown-type": "There is no type of this name.",
  "unknown-word": "The word is not one of the enumeration.",
  unreachable: "Statements stand behind `return`.",
  "weights-shape": "A tensor of the checkpoint has another shape than the weight it is for.",
  "which-model": "The file has several models, and none is the default. Choose one with `--model`.",
  "wrong-arguments":
    "A function of compile-time values was called with the wrong number of arguments, or by name.",
  "wrong-count": "As many names or results are needed as there are values.",
  "zip-length": "`zip` takes lists of one length.",
};
