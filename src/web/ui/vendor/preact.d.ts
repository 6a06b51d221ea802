// What a check of types reads in place of `preact.js`; nothing serves it.
export * from "preact";
