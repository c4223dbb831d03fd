// Codes of the errors of the command line, with the paragraph that docs/errors.md has for each.

export const cliCodes: Readonly<Record<string, string>> = {
  "adapter-config":
    "The `adapter_config.json` of an adapter is none of a LoRA adapter, or asks for what is not applied. The message says what.",
  "adapter-place":
    "An adapter changes a layer that the model has not, or that has another shape. The message has both names or shapes.",
  "adapter-spec":
    "`--adapter` takes the folder that PEFT saves, with `adapter_config.json` and `adapter_model.safetensors`; several have different names.",
  "adapter-tensors":
    "The tensors of an adapter are pairs called `<module>.lora_A.weight` and `<module>.lora_B.weight`, of the rank that its configuration says.",
  "batch-spec": "`--batch` takes the number of rows that run at a time, at least 1.",
  "capsule-content":
    "A capsule is damaged, was changed, or is of another version: a file of it is missing, is not what was packed, or its record cannot be read. Ask for it again.",
  "capsule-values":
    "A capsule holds weights and inputs only where that was asked for. Those that were read from files have to be given again, or packed: `--with-weights`, `--with-inputs`.",
  "capsule-zip":
    "A zip is not unpacked: it is no zip, or it names files elsewhere, or what it holds is larger than a capsule would be.",
  cascade:
    "`cascade-report` measures a model that has an input `threshold` and outputs `score` and `source`, as `Cascade` of std/cascade gives them, on one row of data at least.",
  "compile-from":
    "`compile` takes one thing: a model file, or with `--from` the graph text that `compile --to` wrote.",
  "calibrate-number":
    "A flag of `calibrate-router` is out of its range. The message has the flag and the range.",
  "first-run-weight":
    "`--first-run-weight` says what a millisecond of shader compilation counts against one of a run: a number from 0 up.",
  "tuned-adapter":
    "Schedules are tuned for one adapter with its driver. Those of another are not used; a compiled folder has them in its kernels and keeps them.",
  "tuned-content":
    "A file of tuned schedules is damaged or of another version. Nothing of it is used; `tokenloom tune-schedules` makes it anew.",
  "tuned-missing": "`--tuned` names a compiled folder that has tuned schedules, the file itself, or `none`.",
  "tune-schedules": "A flag of `tune-schedules` is out of its range. The message has the flag and the range.",
  "dim-spec": "`--dim` takes a name and a whole number: `--dim B=2 H=224`.",
  "export-flag": "A flag of `export` means nothing for the format that is written. Leave it out.",
  "export-format":
    "The ending of the file says what `export` writes: `.onnx`, `.dot` for Graphviz, `.json` for Model Explorer.",
  "extract-stage": "`ir --extract` takes a kernel out of a plan, so it goes with `--stage kernel`.",
  "fit-data":
    "`fit-head` needs inputs, the class of each row, and at least one row of every class among those it fits. The message has what does not fit.",
  "fit-layer":
    "`fit-head` makes a linear layer with a bias that reads one row of features for each sample. The message has what was found instead.",
  "folder-flag":
    "A compiled folder is past the point where this flag has a meaning: it holds the plan and the constants. Give the flag when you compile.",
  "no-state":
    "`run --state FILE` keeps the states of a model from one run to the next, and the model (or the entry point) has none.",
  "target-twice":
    "`compile --target` packs a variant for each target that it names, each once; `--to` stops as the text of one.",
  "line-spec": "A line is a number, or a file and a number: `--line 14`, `--line std/metaformer.model:14`.",
  "file-too-large": "A file has more bytes than one of its kind is read with. The message has both numbers.",
  "rank-layers":
    "`rank-layers` needs an encoder whose layers are x + attention, then x + MLP, and data to run it on. The message has what was found instead.",
  "routing-folder":
    "A compiled folder gives the outputs that it was compiled for, and what routers did is none of them. Run the model file with `--routing`.",
  "weights-missing":
    "The command computes with weights and was given none. `--weights FILE.safetensors` reads trained ones, `--weights seed:0` makes them from their names.",
  "no-router":
    "`--routing` reports on routers, and the model has none. `calibrate-router` sets selection biases: the model needs a router whose bias is a weight of its checkpoint, and data to count loads over.",
  "output-exists":
    "The folder or file to write is there already. `--force` writes over it, `-o` names another. Nothing was changed.",
  "page-not-built":
    "The page of `explain` is made when the package is built. In a copy of the repository: `npm run build`.",
  "plan-content":
    "A compiled folder does not hold together: its plan names what is not there, or has fields that cannot be read. Compile the model again.",
  "plan-format":
    "The folder holds no compiled model: its `plan.json` does not say that it is a plan of this program.",
  "plan-syntax": "The `plan.json` of a compiled folder is not JSON. Compile the model again.",
  "plan-version":
    "The folder was compiled by a version of the program whose plans have another form. Compile the model again.",
  "profile-format":
    "A profile is what `run --profile` writes. The message says what is wrong with this file.",
  "profile-mismatch":
    "A profile has one time for each dispatch, and this model has another number of them. Profile it with the same settings.",
  "runs-spec": "`--runs` takes the number of measured runs, at least 1.",
  "set-spec":
    "`--set` takes a parameter of the model and its value: `--set classes=10`; `--schedule` a kernel and its schedule.",
  "tolerance-spec": "`--tolerance` takes a positive number, the largest difference that counts as equal.",
  "tune-data":
    "Tuning needs rows of input and the right class of each: as many labels as rows, and some rows that are not held out.",
  "tune-log":
    "A tuning log does not fit: it is none, was cut off, is of other weights or settings, or two logs disagree on a direction. The message says which.",
  reroute:
    "`--reroute` puts vectors on the logits of routers, and the model has no router that chooses experts for tokens (`route`). Expert choice and Soft MoE have none.",
  "tune-number": "A number of `tune` is out of its range. The message has the flag and the range.",
  "tune-only":
    "`--only` takes patterns of weight keys, such as `head.*`, and each must fit at least one float weight.",
  "tune-output":
    "Tuning makes the cross-entropy of one output of one model small: an f32 output of shape [rows, classes].",
  "unknown-node":
    "No graph of the pipeline has a node of this name. `tokenloom ir FILE --after-all` prints all of them, with their names in front.",
  "unknown-kernel":
    "The plan has no kernel of this number or name. Numbers begin at 0; `ir --stage kernel` prints all.",
  "unknown-rule": "No pass and no rule has this name. docs/passes.md lists both.",
  "unknown-source": "The model was not compiled from this file. The help lists those it was.",
  "unknown-stage": "`--stage` is one of `graph`, `kernel`, `plan` and `wgsl`.",
  "unknown-weight": "The model reads no weight of this key. `tokenloom weights FILE` lists them.",
  "unknown-target": "There is no built-in target of this name. The help lists them.",
  "which-entry":
    "The command looks at one entry point, and several were asked for. `--entry` or `--model` names one.",
};
