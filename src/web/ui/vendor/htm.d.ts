// What a check of types reads in place of `htm.js`; nothing serves it.
export { default } from "htm";
