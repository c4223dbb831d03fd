// Codes of the errors of this folder, with the paragraph that docs/errors.md has for each.

export const codegenCodes: Readonly<Record<string, string>> = {
  "schedule-refused":
    "A kernel cannot run by the schedule that was given for it with `--schedule`: the target has no room for it, or the sizes do not fit. The message gives the reason.",
  "schedule-text":
    "A schedule given with `--schedule` cannot be read. `tokenloom ir --stage plan` shows how schedules are written.",
  "schedule-unused":
    "A schedule was given with `--schedule` for a kernel that this model does not have as a contraction. Kernels are named as in `tokenloom bench --kernels`, and groups by their value (`%12`).",
};
