// Makes the types of what the API answers, out of its description: `npm run types`. Nobody keeps what it makes, so it is never old.

import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import openapiTS, { astToString } from "openapi-typescript";

const description = JSON.parse(
  readFileSync(new URL("../../schema/openapi.v1.json", import.meta.url), "utf8"),
  // What stands beside a reference holds, too (JSON Schema 2020-12), and the maker of types would leave it out.
  (_, value) => {
    if (!value?.$ref || !value.properties) return value;
    const { $ref, ...beside } = value;
    return { allOf: [{ $ref }, beside] };
  },
);

const folder = new URL("generated/", import.meta.url);
mkdirSync(folder, { recursive: true });
writeFileSync(new URL("openapi.ts", folder), astToString(await openapiTS(description)));
