// node test/verify-s9pk.mjs FILE ARCH: is this what was packed, and all of it?

import { readFileSync } from 'node:fs'
import { complete, verified } from './s9pk.mjs'

const [file, arch] = process.argv.slice(2)
const bytes = readFileSync(file)
const files = verified(bytes)
const { id, version } = complete(files, arch)
console.log(
  `${file}: ${id} ${version} for ${arch}, ${files.size} files, ${bytes.length} bytes, signed and whole`,
)
