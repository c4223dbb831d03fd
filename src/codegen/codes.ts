// Codes of the errors of this folder, with the paragraph that docs/errors.md has for each.

export const codegenCodes: Readonly<Record<string, string>> = {
  "schedule-refused":
    "A kernel cannot run by the schedule that was given for it with `--schedule`: the target has no room for it, the sizes do not fit, or it is a schedule of other kernels (`row:` for a contraction). The message gives the reason.",
  "schedule-text":
    "A schedule given with `--schedule` cannot be read. `tokenloom ir --stage plan` shows how schedules are written, and [performance.md](performance.md#choosing-schedules) what their parts mean.",
  "schedule-unused":
    "A schedule was given with `--schedule` for a kernel that this model does not have, or that has one form. Kernels are named as in `tokenloom bench --kernels`, and groups by their value (`%12`).",
};
