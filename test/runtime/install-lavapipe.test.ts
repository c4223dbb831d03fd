// tools/install-lavapipe.sh in a made-up system: which package source it writes, and how it fails. No package is installed.

import { spawnSync } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";

const script = join(import.meta.dirname, "../../tools/install-lavapipe.sh");
const folder = mkdtempSync(join(tmpdir(), "tokenloom-install-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const debian12 = 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nVERSION_CODENAME=bookworm\n';
const derived = "etc/apt/sources.list.d/tokenloom-bookworm-backports.sources";
const icd = "usr/share/vulkan/icd.d/lvp_icd.x86_64.json";

interface Outcome {
  readonly status: number | null;
  readonly err: string;
  readonly written: string | undefined;
  readonly apt: string;
}

let count = 0;

/** Runs the script in a system of these files; `apt-get` only writes down what it was asked, and exits with `aptStatus`. */
function install(files: Readonly<Record<string, string>>, aptStatus = 0): Outcome {
  const root = join(folder, String(count++));
  for (const [name, text] of Object.entries({ "etc/apt/sources.list.d/.keep": "", ...files })) {
    mkdirSync(dirname(join(root, name)), { recursive: true });
    writeFileSync(join(root, name), text);
  }
  const bin = join(root, "bin");
  mkdirSync(bin);
  writeFileSync(join(bin, "apt-get"), `#!/bin/sh\necho "$@" >>"${root}/apt"\nexit ${aptStatus}\n`);
  chmodSync(join(bin, "apt-get"), 0o755);
  const { status, stderr } = spawnSync(script, {
    encoding: "utf8",
    env: { PATH: `${bin}:${process.env["PATH"]}`, ROOT: root },
  });
  const read = (name: string): string | undefined =>
    existsSync(join(root, name)) ? readFileSync(join(root, name), "utf8") : undefined;
  return { status, err: stderr, written: read(derived), apt: read("apt") ?? "" };
}

describe.runIf(process.platform === "linux")("install-lavapipe.sh", () => {
  it("derives backports from the stanza of the release", () => {
    const sources = [
      "# comment\nTypes: deb\nURIs: http://mirror.example/security\nSuites: bookworm-security\nComponents: main\nSigned-By: /keys/s.gpg\n",
      "Types: deb deb-src\n# a comment\nURIs: http://mirror.example/debian\nSuites: bookworm bookworm-updates\nComponents: main\nSigned-By: /keys/a.gpg\n",
    ].join("\n");
    const done = install({
      "etc/os-release": debian12,
      "etc/apt/sources.list.d/debian.sources": sources,
      [icd]: "{}",
    });
    expect(done.written).toBe(
      "Types: deb\nURIs: http://mirror.example/debian\nSigned-By: /keys/a.gpg\nSuites: bookworm-backports\nComponents: main\n",
    );
    expect(done.apt.split("\n").slice(0, 2)).toEqual([
      "update",
      "install -y --no-install-recommends -t bookworm-backports mesa-vulkan-drivers libvulkan1",
    ]);
    expect(done).toMatchObject({ status: 0, err: "" });
  });

  it("keeps keys that are written out", () => {
    const sources =
      "Types: deb\nURIs: http://mirror.example/debian\nSuites: bookworm\nComponents: main\nSigned-By:\n -----BEGIN\n .\n -----END\n";
    const { written } = install({
      "etc/os-release": debian12,
      "etc/apt/sources.list.d/x.sources": sources,
      [icd]: "",
    });
    expect(written).toContain("Signed-By:\n -----BEGIN\n .\n -----END\nSuites: bookworm-backports\n");
  });

  it("reads the older format", () => {
    const list =
      "# deb http://no.example bookworm main\ndeb [arch=amd64 signed-by=/k.gpg] http://mirror.example/debian bookworm main\n";
    const { written } = install({ "etc/os-release": debian12, "etc/apt/sources.list": list, [icd]: "" });
    expect(written).toBe(
      "Types: deb\nURIs: http://mirror.example/debian\nSigned-By: /k.gpg\nSuites: bookworm-backports\nComponents: main\n",
    );
  });

  it("writes nothing where backports are there already", () => {
    const sources =
      "Types: deb\nURIs: http://mirror.example/debian\nSuites: bookworm bookworm-backports\nComponents: main\n";
    const done = install({
      "etc/os-release": debian12,
      "etc/apt/sources.list.d/x.sources": sources,
      [icd]: "",
    });
    expect(done).toMatchObject({ status: 0, written: undefined });
  });

  it("fails plainly", () => {
    const sources = {
      "etc/apt/sources.list.d/x.sources":
        "Types: deb\nURIs: http://m.example\nSuites: bookworm\nComponents: main\n",
    };
    expect(install({})).toMatchObject({
      status: 1,
      err: "install-lavapipe: this is no Debian: /etc/os-release is missing\n",
    });
    expect(install({ "etc/os-release": "VERSION_CODENAME=trixie\n" }).err).toContain("not trixie");
    expect(install({ "etc/os-release": debian12 }).err).toContain("no package source of bookworm found");
    expect(install({ "etc/os-release": debian12, ...sources }, 100)).toMatchObject({
      status: 1,
      err: "install-lavapipe: the package lists could not be fetched\n",
    });
    expect(install({ "etc/os-release": debian12, ...sources })).toMatchObject({
      status: 1,
      err: "install-lavapipe: the packages are installed, but lavapipe's driver file is not there\n",
    });
  });
});
