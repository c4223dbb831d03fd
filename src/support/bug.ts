// A mistake of ours, as opposed to a mistake in the user's file (which is a Diagnostic and is never thrown).
// The command line turns it into exit code 2 and a report file.

export class Bug extends Error {
  /** Facts for the report: pass name, graph text, kernel name. */
  readonly facts: Readonly<Record<string, string>>;

  constructor(message: string, facts: Readonly<Record<string, string>> = {}, options?: ErrorOptions) {
    super(message, options);
    this.name = "Bug";
    this.facts = facts;
  }
}

/** Ends an exhaustive switch over a closed union. */
export function unreachable(value: never): never {
  throw new Bug(`unreachable: ${JSON.stringify(value)}`);
}
