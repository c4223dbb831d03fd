// Codes of the errors of this folder; docs/errors.md is made from them.

export const onnxCodes = {
  "onnx.operator":
    "The model uses an op that has no form in ONNX, or not with these attributes. The note says where it is; write that part with other ops.",
  "onnx.dimension":
    "A size in the exported graph depends on a dimension that ONNX cannot know: it is no axis of an input, or the operator needs a number. Fix it with `--dim NAME=NUMBER`.",
  "onnx.size": "An ONNX file is one protobuf message, which cannot be larger than 2 GiB, weights included.",
} as const;
