// Codes of the errors of the command line, with the paragraph that docs/errors.md has for each.

export const cliCodes: Readonly<Record<string, string>> = {
  "batch-spec": "`--batch` takes the number of rows that run at a time, at least 1.",
  "dim-spec": "`--dim` takes a name and a whole number: `--dim B=2 H=224`.",
  "file-too-large": "A file has more bytes than one of its kind is read with. The message has both numbers.",
  "weights-missing":
    "The command computes with weights and was given none. `--weights FILE.safetensors` reads trained ones, `--weights seed:0` makes them from their names.",
  "output-exists":
    "The folder to write is there already. `--force` writes into it, `-o` names another. Nothing was changed.",
  "plan-content":
    "A compiled folder does not hold together: its plan names what is not there, or has fields that cannot be read. Compile the model again.",
  "plan-format":
    "The folder holds no compiled model: its `plan.json` does not say that it is a plan of this program.",
  "plan-syntax": "The `plan.json` of a compiled folder is not JSON. Compile the model again.",
  "plan-version":
    "The folder was compiled by a version of the program whose plans have another form. Compile the model again.",
  "runs-spec": "`--runs` takes the number of measured runs, at least 1.",
  "set-spec":
    "`--set` takes a parameter of the model and its value: `--set classes=10`; `--schedule` a kernel and its schedule.",
  "tolerance-spec": "`--tolerance` takes a positive number, the largest difference that counts as equal.",
  "unknown-stage": "`--stage` is one of `graph`, `kernel`, `plan` and `wgsl`.",
  "unknown-target": "There is no built-in target of this name. The help lists them.",
  "which-entry":
    "The command looks at one entry point, and several were asked for. `--entry` or `--model` names one.",
};
