// What a check of types reads in place of `hooks.js`; nothing serves it.
export * from "preact/hooks";
