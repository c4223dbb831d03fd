// Starts `tokenloom lsp` and lets the editor's client speak to it. No build step: this is the file that runs.

const { workspace } = require("vscode");
const { LanguageClient } = require("vscode-languageclient/node");

let client;

exports.activate = async () => {
  const [command, ...args] = workspace.getConfiguration("tokenloom").get("command");
  const cwd = workspace.workspaceFolders?.[0]?.uri.fsPath;
  const run = { command, args, options: { ...(cwd !== undefined && { cwd }) } };
  client = new LanguageClient(
    "tokenloom",
    "Tokenloom",
    { run, debug: run },
    { documentSelector: [{ language: "tokenloom" }] },
  );
  await client.start();
};

exports.deactivate = () => client?.stop();
