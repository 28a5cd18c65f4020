/** Write confd/controller/dashboard/codemirror.js and its licences. */

import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const target = join(here, "../../confd/controller/dashboard");

/** The content policy of the dashboard forbids style elements: the rules go into a constructed style sheet. */
const policy = {
  name: "policy",
  setup({ onLoad }) {
    onLoad({ filter: /style-mod\.js$/ }, ({ path }) => {
      const text = readFileSync(path, "utf8");
      const changed = text.replace("if (!root.head && root.adoptedStyleSheets", "if (root.adoptedStyleSheets");
      if (changed === text) throw new Error("style-mod has changed: look at its constructor StyleSet.");
      return { contents: changed };
    });
  },
};

const { metafile } = await build({
  absWorkingDir: here,
  entryPoints: ["entry.js"],
  outfile: join(target, "codemirror.js"),
  bundle: true,
  minify: true,
  format: "esm",
  target: "es2022",
  charset: "utf8",
  legalComments: "none",
  banner: { js: "/* CodeMirror 6 and its parts, MIT: see codemirror.LICENSE.txt. Built by scripts/editor. */" },
  plugins: [policy],
  metafile: true,
});

const names = [...new Set(Object.keys(metafile.inputs).flatMap((each) => each.match(/node_modules\/((?:@[^/]+\/)?[^/]+)/)?.[1] ?? []))];
const licences = names.sort().map((name) => {
  const folder = join(here, "node_modules", name);
  const { version, license } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
  const file = readdirSync(folder).find((each) => /^licen[cs]e/i.test(each));
  return `${name} ${version} (${license})\n\n${readFileSync(join(folder, file), "utf8").trim()}\n`;
});
writeFileSync(join(target, "codemirror.LICENSE.txt"), licences.join("\n---\n\n"));
