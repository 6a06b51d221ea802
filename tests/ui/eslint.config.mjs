// What the page's source and its tests may not do. It is read from the root of the tree: `npm run lint`.

import js from "@eslint/js";
import { globalIgnores } from "eslint/config";
import globals from "globals";

/** The page's policy demands Trusted Types and allows none: a browser refuses each of these. */
const MARKUP = ["innerHTML", "outerHTML", "insertAdjacentHTML", "setHTMLUnsafe", "srcdoc", "dangerouslySetInnerHTML"];
const message = "The page's policy forbids text that becomes markup.";

export default [
  globalIgnores(["src/web/ui/vendor/", "tests/ui/generated/"]),
  js.configs.recommended,
  {
    linterOptions: { reportUnusedDisableDirectives: "error" },
    languageOptions: { ecmaVersion: 2024, sourceType: "module" },
    rules: {
      eqeqeq: "error",
      "no-shadow": "error",
      "no-unused-vars": "error",
      "no-var": "error",
      "prefer-const": "error",
    },
  },
  {
    files: ["src/web/ui/*.js"],
    languageOptions: { globals: globals.browser },
    rules: {
      "no-eval": "error",
      "no-implied-eval": "error",
      "no-new-func": "error",
      "no-restricted-properties": [
        "error",
        ...MARKUP.map((property) => ({ property, message })),
        { object: "document", property: "write", message },
      ],
      "no-restricted-syntax": [
        "error",
        {
          selector: `TemplateElement[value.raw=/\\b(${MARKUP.join("|")})=/]`,
          message,
        },
      ],
    },
  },
  {
    // What they give to the browser to be run there stands in the same files.
    files: ["tests/ui/*.mjs"],
    languageOptions: { globals: { ...globals.node, ...globals.browser } },
  },
];
