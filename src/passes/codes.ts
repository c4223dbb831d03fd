// Codes of the errors of this folder, with the paragraph that docs/errors.md has for each.

export const passCodes: Readonly<Record<string, string>> = {
  "pass-required":
    "A pass that everything after it needs cannot be left out. Use `--stop-after` to end before it.",
  "unknown-pass":
    "There is no pass of this name, or it did not run here: passes above level 1 run only where asked for with `--also`. docs/passes.md lists them all.",
};
