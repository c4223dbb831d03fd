// Codes of the errors of this folder, with the paragraph that docs/errors.md has for each: devices, sessions, weights, inputs and
// the files they come from.

export const runtimeCodes: Readonly<Record<string, string>> = {
  // Devices and sessions.
  "constants-cut-off":
    "The packed constants have fewer bytes than the plan reads. They belong to another plan, or were cut off while copying.",
  "device-feature":
    "A kernel of the plan needs a feature that the adapter lacks, such as `shader-f16`. Compile the model for this adapter, and without `--storage f16` where it has no `shader-f16`.",
  "device-limit":
    "A kernel of the plan needs more of something than the adapter allows. Compile the model for this adapter.",
  "device-lost":
    "The GPU device went away: the driver restarted, the computer slept, or a run took longer than the system lets one. A session that was told how to open a device again goes on by itself; where this is shown, it was not, or the device was lost a second time.",
  "device-subgroups":
    "The plan was compiled for subgroups of one width, and the adapter has another or several. Compile the model for this adapter.",
  "no-device":
    "No adapter can be used, or none of the name that was asked for. `tokenloom doctor` says what this machine has and what to install.",
  "out-of-memory":
    "The device has no room for a buffer. Run a smaller batch, or end other programs that use the GPU.",
  "output-memory":
    "The memory that a run was given for an output (`into`) is of another kind than its elements, or too small. f32 and f16 come as Float32Array, i32 as Int32Array, u32 and bool as Uint32Array.",
  "session-disposed": "A session was used after `dispose`. Make another one.",
  "state-lost":
    "The device was lost, and the values of the states with it. The session goes on from their initial values; set them, or start over.",
  "state-shape":
    "A state has a size that differs between runs. What is kept from run to run needs a size that is known when the model is compiled.",
  "state-type": "A state was set to a tensor of another type or shape than the model declares.",
  "too-large":
    "A buffer would be larger than the adapter allows. Run a smaller batch, or on an adapter with higher limits.",
  "unknown-constant":
    "Constants are set by ids that the plan does not have. `repackWeights` gives the ids of those that it made anew, for the plan that it packed.",
  "unknown-entry": "The plan has no entry point of this name. The help lists them.",
  "unknown-output": "The model has no output of this name.",
  "unknown-state": "The model has no state of this name.",

  // Inputs of a run, as tensors.
  "bad-dimension": "A size given with `--dim` or `dims` is no whole number of at least 0.",
  "input-data": "A tensor has more or fewer numbers than its shape holds.",
  "input-device":
    "A tensor on a GPU lies on another device than that of the session. Read it to the processor first, or open both on one device.",
  "input-dtype": "An input has another element type than the model declares. Convert it first.",
  "input-order":
    "A tensor on a GPU lies in memory in another order than the model reads. Read it to the processor first.",
  "input-shape": "The shape of an input is not the one that the model declares, or cannot be one.",
  "unknown-input":
    "Something is given for an input that the model does not have. The help lists its inputs, or suggests the nearest name.",

  // Inputs of a run, as arguments.
  "input-dim":
    "An input that is made rather than read has a size that nothing says, or one that is too large. Add `--dim NAME=SIZE`.",
  "input-duplicate": "An input is given by two arguments, or by one and by a tensor of a file.",
  "missing-input":
    "An input of the model is not given. `--input NAME=FILE` reads one, `--input NAME=seed:WORD` makes one; in the library, `run` takes a tensor by its name.",
  "input-preprocess":
    "A picture was given for an input, and the model does not say with `preprocess` how a picture becomes that input.",
  "input-spec":
    "`--input` takes `FILE.safetensors`, `NAME=FILE` with a .npy file or picture, `NAME=NUMBER` or `NAME=seed:WORD`; and it must be clear which input a file is for.",
  "input-tensor": "The file has no tensor of the name that was asked for.",
  "output-format": "Results are written to .safetensors, or to .npy where there is one.",
  "output-is-input": "The file to write is one that the run reads. Nothing was written.",

  // Files of any kind.
  "file-changed":
    "A file of a compiled folder is no longer the one that was there when the plan was read. Leave a folder alone while it runs.",
  "file-kind": "The path leads to a folder, a device or a pipe, and a regular file is needed.",
  "file-missing": "There is no file at this path, or an index names a file that is not beside it.",
  "file-read": "A file may not be read, or reading it failed. The message has the reason.",
  "file-write": "A file cannot be written. What was there before is unchanged.",

  // Pictures.
  "image-colour": "A picture has colours that become RGB in no one way, such as CMYK. Convert it first.",
  "image-damaged": "A picture begins as one and cannot be decoded: it was cut off or damaged.",
  "image-format": "The file is no PNG, JPEG or WebP picture.",
  "image-limit":
    "A picture has more bytes or pixels than are read, or would have after resizing. Make it smaller, or crop it first.",

  // .npy files.
  "npy-dtype":
    "The array has elements that are not read: records, text, complex or big-endian numbers. In numpy, `x.astype('<f4')` makes f32.",
  "npy-header": "The header of a .npy file is not the description that numpy writes.",
  "npy-limit": "The array has more axes or elements, or a longer header, than is read.",
  "npy-magic": "The file does not begin as .npy files do.",
  "npy-size": "The file has fewer or more bytes than its header says: it was cut off, or is another array's.",
  "npy-version": "The file has a version of the format that is not read; numpy writes 1.0, 2.0 and 3.0.",

  // .safetensors files.
  "safetensors-dtype":
    "A tensor of the file has an element type that is not read. The help lists those that are.",
  "safetensors-duplicate-key":
    "A name stands twice in the header, so that readers could disagree on what it means.",
  "safetensors-entry":
    "A tensor of the header is not described by exactly `dtype`, `shape` and `data_offsets`, each of its form.",
  "safetensors-hole":
    "Some bytes of the file belong to no tensor, which the format forbids: they could hide something.",
  "safetensors-json": "The header of the file is not a JSON object in UTF-8.",
  "safetensors-limit": "The file has more tensors, axes, elements or bytes of header than are read.",
  "safetensors-offsets": "A tensor lies outside of the file: it was cut off or damaged. Fetch it again.",
  "safetensors-overlap": "Two tensors own the same bytes, which the format forbids.",
  "safetensors-shape":
    "A tensor's shape and element type take another number of bytes than the file has for it.",
  "safetensors-short":
    "The file is too short for the header that it announces, so it is cut off or no safetensors file. A .pth file is converted with `safetensors.torch.save_file`.",

  // Tensors out of files.
  "tensor-dtype":
    "The numbers of a tensor cannot be read as the type that is wanted: floats are never turned into integers silently.",
  "tensor-memory": "There is no memory for a tensor of this size.",
  "tensor-missing": "The file or the model has no tensor of this name.",
  "tensor-range":
    "A number that was given, in a file or by itself, lies outside of what the wanted type holds. The message says which, and where.",

  // Weights.
  "weights-dtype":
    "A weight is a float in the model and an integer in the checkpoint, or the other way round.",
  "weights-shard-duplicate":
    "Two files of a checkpoint hold a tensor of the same name, so it is not clear which is meant.",
  "weights-format":
    'The weights are no safetensors file. A .pth file becomes one with PyTorch: `safetensors.torch.save_file(torch.load("x.pth", weights_only=True), "x.safetensors")`.',
  "weights-index":
    "The index of a checkpoint in several files cannot be read, or its files do not hold what it says.",
  "weights-index-limit": "The index of a checkpoint is larger, or names more files, than is read.",
  "checkpoint-rule":
    "A rule of the checkpoint map does not apply to the tensors that the file has: a split that does not come out, a `concat` of parts that do not fit.",
  "weights-missing":
    "The checkpoint lacks weights that the model needs, or none is given for one of the model's namespaces. All are listed, with the nearest name that is not used. Where a whole prefix differs, a checkpoint map of the model translates it; `tokenloom weights FILE` shows what the model wants.",
  "weights-namespace": "Weights are given for a namespace that the model does not have.",
  "weights-shape":
    "A weight has another shape in the checkpoint than in the model. Often a parameter of the model is set differently (`--set`, `--config`).",
  "weights-shard-path":
    "The index of a checkpoint names a file outside of its own folder. Such files are never opened.",
  "weights-spec":
    "`--weights` takes `FILE.safetensors`, `NAMESPACE=FILE.safetensors` or `seed:N`, and one of them for the same weights.",
  "weights-unused":
    "A warning: the checkpoint has tensors that the model does not use. If that is right, a checkpoint map may `ignore` them.",
};
